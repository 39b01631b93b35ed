"""Refusals that a program reads: problem details (RFC 9457)."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

ROOT = "/api/v1"
"""Where the API is."""


def is_of_api(path: str) -> bool:
    """Tell whether a program asks for this path, and a person does not."""
    return path == ROOT or path.startswith(f"{ROOT}/")


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer in ASCII: whatever the network has sent, it is valid JSON."""
    text = json.dumps(value, separators=(",", ":"))
    return Response(text, status, headers, "application/json")


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, str]] = (),
) -> Response:
    """Return a refusal; `errors` says of each value that will not do where it is and why."""
    found: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        found["errors"] = list(errors)
    return Response(json.dumps(found), status, headers, "application/problem+json")
