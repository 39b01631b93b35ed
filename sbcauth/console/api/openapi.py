"""The OpenAPI document (3.1.0), made of the operations themselves."""

import re
from collections.abc import Iterable
from functools import cache
from types import NoneType
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from sbcauth import __version__
from sbcauth.console.accounts import Role
from sbcauth.console.api.call import Operation
from sbcauth.console.api.operations import OPERATIONS
from sbcauth.console.api.shapes import shape
from sbcauth.console.problems import ROOT

_SCHEMA = "#/components/schemas/"
_PROBLEM: dict[str, Any] = {
    "description": "What is wrong, as problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["where", "message"],
                "properties": {"where": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


@cache
def document() -> dict[str, Any]:
    """Return the description of the API."""
    schemas = _schemas(OPERATIONS)
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schemas)
    bodies = {each.body.__name__ for each in OPERATIONS if each.body}
    queries = {each.query.__name__ for each in OPERATIONS if each.query}
    kept = {name: found for name, found in schemas.items() if name not in queries - bodies}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sbcauth console",
            "version": __version__,
            "description": "What the pages of `sbcauth console` show and do, for programs.",
        },
        "servers": [{"url": ROOT}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `sbcauth console-token add`.",
                }
            },
            "schemas": {**kept, "Problem": _PROBLEM},
        },
    }


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return all schemas by name: those of queries and bodies, and those of answers."""
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = []
    for each in operations:
        models += [(taken, "validation") for taken in (each.query, each.body) if taken]
        if each.returned is not NoneType:
            models.append((shape(each.returned), "serialization"))
    unique = list(dict.fromkeys(models))
    _, found = models_json_schema(unique, ref_template=f"{_SCHEMA}{{model}}")
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    summary, rest = operation.words
    found: dict[str, Any] = {
        "operationId": operation.answer.__name__,
        "summary": summary,
        "description": " ".join(filter(None, (rest, f"It takes the role `{operation.may}`."))),
        "parameters": [*_path_parameters(operation), *_query_parameters(operation, schemas)],
        "responses": _responses(operation),
    }
    if operation.may is Role.LOOK:
        found["description"] = rest or summary
    if operation.body:
        is_required = bool(schemas[operation.body.__name__].get("required"))
        content = {"application/json": {"schema": _reference(operation.body.__name__)}}
        found["requestBody"] = {"required": is_required, "content": content}
    return found


def _path_parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", operation.path):
        schema = {"type": "string"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(operation: Operation, schemas: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if operation.query is None:
        return
    shown = schemas[operation.query.__name__]
    for name, schema in shown["properties"].items():
        is_required = name in shown.get("required", ())
        yield {"name": name, "in": "query", "required": is_required, "schema": schema}


def _responses(operation: Operation) -> dict[str, Any]:
    refusal = {"application/problem+json": {"schema": _reference("Problem")}}
    found: dict[str, Any] = {
        "default": {"description": "It is refused, or has failed.", "content": refusal}
    }
    if operation.returned is NoneType:
        return {"204": {"description": "It is done."}, **found}
    content = {"application/json": {"schema": _reference(shape(operation.returned).__name__)}}
    answered = {"description": "The answer.", "content": content}
    if operation.method == "PUT":
        found["201"] = {"description": "It is new.", "content": content}
    return {"200": answered, **found}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"{_SCHEMA}{name}"}
