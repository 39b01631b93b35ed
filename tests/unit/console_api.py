"""Programs with tokens, as callers of the console's JSON API."""

import asyncio
from typing import Any

import httpx
import pytest
from console_web import URL
from jsonschema import Draft202012Validator
from starlette.types import ASGIApp

from sbcauth.console.accounts import Role
from sbcauth.console.api.openapi import document
from sbcauth.console.app import application
from sbcauth.console.console import Console

ROOT = "/api/v1"


class Program:
    """Calls the API with a token; each answer has to be as the OpenAPI document has it."""

    def __init__(self, app: ASGIApp, token: str, source: str = "127.0.0.1") -> None:
        self.app = app
        self.token = token
        self.source = source

    def call(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Return the answer to a request."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= how.pop("headers", {})
        answer = asyncio.run(self._send(method, path, headers, how))
        check(method, path.partition("?")[0], answer)
        return answer

    async def _send(
        self, method: str, path: str, headers: dict[str, str], how: dict[str, Any]
    ) -> httpx.Response:
        transport = httpx.ASGITransport(
            self.app, raise_app_exceptions=False, client=(self.source, 50000)
        )
        async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
            return await client.request(method, ROOT + path, headers=headers, **how)

    def get(self, path: str, **query: Any) -> Any:
        """Return what GET returns, which must work."""
        answer = self.call("GET", path, params=query) if query else self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()


def check(method: str, path: str, answer: httpx.Response) -> None:
    """Have an answer be as the OpenAPI document says that it is."""
    kind = answer.headers.get("content-type")
    if answer.status_code >= 400:
        assert kind == "application/problem+json"
        assert_fits("Problem", answer.json())
        assert answer.json()["status"] == answer.status_code
    elif answer.status_code != 204 and path != "/openapi.json":
        assert kind == "application/json"
        first, _, rest = path.strip("/").partition("/")
        pattern = f"/{first}/{{username}}" if rest else f"/{first}"
        paths = document()["paths"]
        described = paths.get(path) or paths[pattern]
        found = described[method.lower()]["responses"][str(answer.status_code)]
        name = found["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert_fits(name, answer.json())


def assert_fits(name: str, value: Any) -> None:
    """Fail where a value has not the schema of this name."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}
    Draft202012Validator(schema).validate(value)


@pytest.fixture
def looking(console: Console) -> Program:
    """Return a program that may look."""
    return Program(application(console, ["console.example"]), console.tokens.add("eye", Role.LOOK))


@pytest.fixture
def changing(console: Console) -> Program:
    """Return a program that may change things."""
    return Program(
        application(console, ["console.example"]), console.tokens.add("hand", Role.CHANGE)
    )
