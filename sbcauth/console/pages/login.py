"""Logging in and out."""

from starlette.responses import RedirectResponse, Response

from sbcauth.console.accounts import Account
from sbcauth.console.connections import source
from sbcauth.console.devices import LASTS
from sbcauth.console.logins import LockedOut
from sbcauth.console.sessions import LONGEST
from sbcauth.console.visit import Visit
from sbcauth.exceptions import Unavailable


def login(visit: Visit) -> Response:
    """Show the form, or judge it."""
    there = _local(visit.form.get("next", "") or visit.asked("next", 2048))
    if visit.request.method != "POST":
        if visit.session:
            return RedirectResponse("/", 303)
        has_accounts = bool(visit.console.accounts.all())
        return visit.page("login.html", next=there, problem="", has_accounts=has_accounts)
    name = visit.form.get("name", "")[:64]
    try:
        account = _judged(visit, name, visit.form.get("password", ""))
        problem = "Name or password is wrong."
    except LockedOut:
        account, problem = None, "Too many attempts have failed: try again in a few minutes."
    except Unavailable:
        account, problem = None, "Too many log in at once: try again."
    if account is None:
        visit.log("login-refused", account=name)
        return visit.page("login.html", 403, next=there, problem=problem, has_accounts=True)
    _end_session(visit)
    token = visit.console.sessions.open(account, visit.now)
    visit.log("login", account=account.name)
    answer = RedirectResponse(there, 303)
    console = visit.console
    _set_cookie(visit, answer, console.cookie, token, LONGEST)
    if not console.devices.known(name, visit.request.cookies.get(console.device_cookie, "")):
        device = console.devices.new(name)
        _set_cookie(visit, answer, console.device_cookie, device, LASTS, "/login")
    return answer


def _judged(visit: Visit, name: str, password: str) -> Account | None:
    """Return whose password it is; raises LockedOut, Unavailable.

    Browsers that the account has logged in with are judged apart from strangers.
    """
    console = visit.console
    cookie = visit.request.cookies.get(console.device_cookie, "")
    if device := console.devices.known(name, cookie):
        return console.device_logins.log_in(name, password, device, visit.now)
    return console.logins.log_in(name, password, source(visit.source), visit.now)


def _set_cookie(
    visit: Visit, answer: Response, name: str, value: str, lasts: int, path: str = "/"
) -> None:
    answer.set_cookie(
        name,
        value,
        max_age=lasts,
        path=path,
        secure=visit.console.tls,
        httponly=True,
        samesite="strict",
    )


def _end_session(visit: Visit) -> None:
    visit.console.sessions.end(visit.request.cookies.get(visit.console.cookie, ""))


def logout(visit: Visit) -> Response:
    """End the session."""
    _end_session(visit)
    visit.log("logout")
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(
        visit.console.cookie, secure=visit.console.tls, httponly=True, samesite="strict"
    )
    return answer


def _local(path: str) -> str:
    """Return a path of this console, never another site."""
    is_path = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_path and "\\" not in path else "/"
