"""The routes of the API."""

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any

from starlette.routing import BaseRoute, Route

from sbcauth.console.api.call import Call, Operation, endpoint
from sbcauth.console.api.openapi import document
from sbcauth.console.api.operations import OPERATIONS
from sbcauth.console.console import Console
from sbcauth.console.problems import ROOT


def openapi(call: Call[None, None]) -> dict[str, Any]:
    """Describe the API, as OpenAPI does it."""
    return document()


def routes(console: Console) -> Iterator[BaseRoute]:
    """Yield a route for each path, with all its methods; a user name may have slashes."""
    described = Operation("GET", "/openapi.json", openapi)
    for path, found in groupby((described, *OPERATIONS), attrgetter("path")):
        operations = list(found)
        yield Route(
            ROOT + path.replace("{username}", "{username:path}"),
            endpoint(console, operations),
            methods=[each.method for each in operations],
        )
