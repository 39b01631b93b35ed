"""A visit: one request of somebody who is logged in, and how it is answered.

A page is a function from a Visit to a Response. It runs in a thread of its own, since it may wait
for the database or the server; what the network brings is read, bounded and checked before.
"""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sbcauth.console.accounts import AccountError, Role
from sbcauth.console.console import Console
from sbcauth.console.sessions import Session
from sbcauth.exceptions import ConfigError, SbcAuthError, UserInfoError
from sbcauth.monitoring.log_line import NOTICE, record
from sbcauth.monitoring.rpc import NotRunning

LONGEST_FORM = 16 << 10
"""Bytes of a form, unless the page takes more."""
_PATIENCE = 10.0
"""Seconds for a form to come in."""
_MOST_FIELDS = 50


class Refused(Exception):
    """The request is answered so, and goes no further."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@dataclass
class Visit:
    """A request of a session; `session` is None before the login alone."""

    console: Console
    request: Request
    session: Session | None
    now: float
    form: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def source(self) -> str:
        """Return the address that the request came from."""
        return self.request.client.host if self.request.client else ""

    @property
    def is_part(self) -> bool:
        """Tell whether our script asks, which wants a part of the page alone."""
        return self.request.headers.get("x-part") == "1"

    @property
    def may_change(self) -> bool:
        """Tell whether the account may change things."""
        return self.session is not None and self.session.role is Role.CHANGE

    def asked(self, name: str, longest: int = 256) -> str:
        """Return what the address has for a name, cut and without spaces around.

        Nothing has a NUL in its name, and PostgreSQL takes none.
        """
        return self.request.query_params.get(name, "").strip()[:longest].replace("\0", "\ufffd")

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return a page, or the part of it that is asked for."""
        context = {
            "visit": self,
            "session": self.session,
            "may_change": self.may_change,
            "now": self.now,
            "path": self.request.url.path,
            "part": self.is_part,
        }
        text = self.console.templates.get_template(template).render({**context, **values})
        return HTMLResponse(text, status)

    def log(self, change: str, **values: str) -> None:
        """Write into the log who has changed what, from where."""
        by = self.session.account if self.session else "-"
        self.console.log(record(NOTICE, change=change, by=by, source=self.source, **values))


Page = Callable[[Visit], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


def page(console: Console, show: Page, *, longest: int = LONGEST_FORM) -> Endpoint:
    """Return the endpoint of a page that everybody who is logged in may see."""
    return _endpoint(console, show, longest, Role.LOOK)


def change(console: Console, show: Page, *, longest: int = LONGEST_FORM) -> Endpoint:
    """Return the endpoint of what only the role `change` may do."""
    return _endpoint(console, show, longest, Role.CHANGE)


def public(console: Console, show: Page) -> Endpoint:
    """Return the endpoint of the one page that nobody is logged in for."""
    return _endpoint(console, show, LONGEST_FORM, None)


def _endpoint(console: Console, show: Page, longest: int, role: Role | None) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        now = console.clock()
        visit = Visit(console, request, None, now)
        try:
            token = request.cookies.get(console.cookie, "")
            # a page that is open by itself keeps no session
            renews = request.headers.get("x-unattended") != "1"
            visit.session = await run_in_threadpool(
                console.sessions.find, token, now, renews=renews
            )
            if visit.session is None and role is not None:
                return _to_login(visit)
            if request.method == "POST":
                _check_origin(request, tls=console.tls)
                visit.form = await _form(request, longest)
                if role is not None:
                    _check_form(visit)
            if role is Role.CHANGE and not visit.may_change:
                raise Refused(403, "Your account may look, and change nothing.")
            return await run_in_threadpool(_answered, visit, show)
        except Refused as refused:
            return visit.page("problem.html", refused.status, message=str(refused))
        except AccountError:  # which file it is, is nothing for strangers
            message = "The accounts cannot be read: sbcauth console-user list says why."
            return visit.page("problem.html", 503, message=message)

    return endpoint


def _answered(visit: Visit, show: Page) -> Response:
    """Return the page, or what is wrong in words."""
    try:
        return show(visit)
    except UserInfoError as error:
        return visit.page("problem.html", 422, message=str(error))
    except ConfigError as error:
        message = "The configuration has a mistake; nothing can be shown before it is put right."
        return visit.page("problem.html", 503, message=message, complaints=error.mistakes)
    except NotRunning as error:
        return visit.page("problem.html", 503, message=f"The server does not answer: {error}")
    except (SbcAuthError, OSError) as error:
        return visit.page("problem.html", 503, message=str(error))


def _to_login(visit: Visit) -> Response:
    if visit.request.method == "POST" or visit.is_part:
        return HTMLResponse("Your session has ended: log in again.", 401)
    url = visit.request.url
    there = url.path + (f"?{url.query}" if url.query else "")
    return RedirectResponse(f"/login?next={quote(there, safe='')}", 303)


def _check_origin(request: Request, *, tls: bool) -> None:
    """Refuse a form of another site's: every browser says where a form comes from."""
    scheme, _, host = request.headers.get("origin", "").partition("://")
    expected = request.headers.get("host", "")
    if host.lower() != expected.lower() or scheme not in (("https",) if tls else ("http", "https")):
        raise Refused(403, "The form comes from another site.")


def _check_form(visit: Visit) -> None:
    """Refuse a form that does not have the token of its session."""
    given, expected = visit.form.pop("csrf", ""), visit.session.csrf if visit.session else ""
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        raise Refused(403, "The form is of another session: load the page again.")


async def _form(request: Request, longest: int) -> dict[str, str]:
    """Return the fields of a form, each once; refuses what is too long, too slow, or no form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(415, "That is no form.")
    try:
        pairs = parse_qsl(
            (await read_body(request, longest)).decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise Refused(400, "The form cannot be read.") from None
    if any("\0" in value for _, value in pairs):
        raise Refused(400, "The form has a NUL.")
    return dict(reversed(pairs))


async def read_body(request: Request, longest: int) -> bytes:
    """Return the body of a request; refuses what is longer than so many bytes, or too slow."""
    body = bytearray()
    try:
        with anyio.fail_after(_PATIENCE):
            async for chunk in request.stream():
                body += chunk
                if len(body) > longest:
                    raise Refused(413, f"It is longer than {longest} bytes.")
    except TimeoutError:
        raise Refused(408, "It was too slow.") from None
    except ClientDisconnect:
        raise Refused(400, "It is not complete.") from None
    return bytes(body)
