"""A call: one request with a token, and how it is answered.

An operation is a function from a Call to a NamedTuple. Its annotations say what it takes as query
and body, and what it returns: requests are checked by them, and the OpenAPI document is made of
them. It runs in a thread of its own, as a page does.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import getdoc
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from sbcauth.console.accounts import Role
from sbcauth.console.api.bearer import token_of
from sbcauth.console.console import Console
from sbcauth.console.problems import as_json, problem
from sbcauth.console.tokens import Token
from sbcauth.console.visit import Refused, read_body
from sbcauth.exceptions import (
    ConfigError,
    NoSuchUser,
    SbcAuthError,
    SeveralUsers,
    UserExists,
    UserInfoError,
)
from sbcauth.monitoring.log_line import NOTICE, record
from sbcauth.monitoring.plain import plain
from sbcauth.monitoring.reloading import NotReloaded
from sbcauth.monitoring.sip_message import NotARequest
from sbcauth.users.names import check_names

LONGEST = 16 << 10
"""Bytes of a body, unless the operation takes more."""
_RETRY = {"Retry-After": "5"}
_MOST_ERRORS = 20

Query = TypeVar("Query")
Body = TypeVar("Body")


class Invalid(Exception):
    """A query or a body has values that will not do."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{each['where']}: {each['message']}" for each in errors))
        self.errors = errors


@dataclass
class Call(Generic[Query, Body]):
    """A request with a token. `username` is that of its path; `is_new` what has been added."""

    console: Console
    request: Request
    token: Token
    now: float
    query: Query
    body: Body
    is_new: bool = False

    @property
    def username(self) -> str:
        """Return the user name in the path; raises UserInfoError where nobody can be named so."""
        name: str = self.request.path_params["username"]
        check_names({"username": name})
        return name

    def log(self, change: str, **values: str) -> None:
        """Write into the log which token has changed what, from where."""
        source = self.request.client.host if self.request.client else ""
        by = f"token:{self.token.name}"
        self.console.log(record(NOTICE, change=change, by=by, source=source, **values))


@dataclass(frozen=True)
class Operation:
    """What a method does at a path; `may` is the role that it takes, `longest` bounds the body."""

    method: str
    path: str
    answer: Callable[[Call[Any, Any]], Any]
    may: Role = Role.LOOK
    longest: int = LONGEST

    @cached_property
    def query(self) -> type[BaseModel] | None:
        """Return the shape of the query, if there may be one."""
        return self._taken(0)

    @cached_property
    def body(self) -> type[BaseModel] | None:
        """Return the shape of the body, if there may be one."""
        return self._taken(1)

    @property
    def returned(self) -> Any:
        """Return the type of the answer; NoneType for none."""
        return get_type_hints(self.answer)["return"]

    @property
    def words(self) -> tuple[str, str]:
        """Return what it does in a line, and the rest of what is to be said."""
        first, _, rest = (getdoc(self.answer) or "").partition("\n")
        return first, " ".join(rest.split())

    def _taken(self, place: int) -> type[BaseModel] | None:
        kind = get_args(get_type_hints(self.answer)["call"])[place]
        return kind if kind is not type(None) else None


def endpoint(console: Console, operations: Iterable[Operation]) -> Callable[[Request], Any]:
    """Return the endpoint of a path, which may have several methods."""
    by_method = {each.method: each for each in operations}

    async def answer(request: Request) -> Response:
        operation = by_method["GET" if request.method == "HEAD" else request.method]
        now = console.clock()
        try:
            token = await run_in_threadpool(token_of, console, request, now)
            if operation.may is Role.CHANGE and token.role is not Role.CHANGE:
                raise Refused(403, "The token may look, and change nothing.")
            query = _query(operation.query, request)
            body = await _body(operation, request)
            call = Call(console, request, token, now, query, body)
            return await run_in_threadpool(_answered, operation, call)
        except Refused as refused:
            return problem(refused.status, str(refused), refused.headers)
        except Invalid as error:
            return problem(422, str(error), errors=error.errors)
        except SbcAuthError as error:  # of the names in a query, and of the file of tokens
            return problem(422 if isinstance(error, UserInfoError) else 503, str(error))

    return answer


def _answered(operation: Operation, call: Call[Any, Any]) -> Response:
    """Return what the operation returns, or the problem that there is."""
    try:
        found = operation.answer(call)
    except ConfigError as error:
        wrong = [{"where": f"{m.file}:{m.line}", "message": str(m)} for m in error.mistakes]
        return problem(503, "The configuration has a mistake.", errors=wrong)
    except (SbcAuthError, OSError) as error:
        status = _status(error)
        return problem(status, str(error), _RETRY if status == 503 else None)
    if found is None:
        return Response(status_code=204)
    return as_json(plain(found), 201 if call.is_new else 200)


def _status(error: Exception) -> int:
    match error:
        case SeveralUsers() | UserExists() | NotReloaded():
            return 409
        case NoSuchUser():
            return 404
        case UserInfoError() | NotARequest():
            return 422
    return 503


def _query(shape: type[BaseModel] | None, request: Request) -> BaseModel | None:
    """Return the query in its shape: each name once, and none that is not known."""
    given = request.query_params.multi_items()
    values = dict(given)
    if len(values) != len(given):
        raise Invalid([{"where": "query", "message": "a name is there twice"}])
    if shape is None:
        if values:
            raise Invalid([{"where": "query", "message": "it takes none"}])
        return None
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        raise _invalid("query", error) from None


async def _body(operation: Operation, request: Request) -> BaseModel | None:
    """Return the body in its shape; none at all stands for an empty object."""
    text = await read_body(request, operation.longest)
    if operation.body is None:
        if text:
            raise Refused(400, "It takes no body.")
        return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if text and kind != "application/json":
        raise Refused(415, "The body must be application/json.")
    try:
        return operation.body.model_validate_json(text or b"{}")
    except ValidationError as error:
        raise _invalid("body", error) from None


def _invalid(where: str, error: ValidationError) -> Invalid:
    """Return what is wrong, without the values: one may be a password."""
    found: list[Mapping[str, Any]] = list(
        error.errors(include_url=False, include_context=False, include_input=False)
    )
    return Invalid(
        [
            {"where": ".".join((where, *map(str, each["loc"]))), "message": str(each["msg"])}
            for each in found[:_MOST_ERRORS]
        ]
    )
