"""Logging in and out."""

from starlette.responses import RedirectResponse, Response

from sbcauth.console.logins import LockedOut
from sbcauth.console.sessions import LONGEST
from sbcauth.console.visit import Visit
from sbcauth.exceptions import Unavailable


def login(visit: Visit) -> Response:
    """Show the form, or judge it."""
    there = _local(visit.form.get("next", "") or visit.asked("next", 2048))
    if visit.request.method == "GET":
        if visit.session:
            return RedirectResponse("/", 303)
        has_accounts = bool(visit.console.accounts.all())
        return visit.page("login.html", next=there, problem="", has_accounts=has_accounts)
    name = visit.form.get("name", "")[:64]
    try:
        account = visit.console.logins.log_in(
            name, visit.form.get("password", ""), visit.source, visit.now
        )
        problem = "Name or password is wrong."
    except LockedOut:
        account, problem = None, "Too many attempts have failed: try again in a few minutes."
    except Unavailable:
        account, problem = None, "Too many log in at once: try again."
    if account is None:
        visit.log("login-refused", account=name)
        return visit.page("login.html", 403, next=there, problem=problem, has_accounts=True)
    token = visit.console.sessions.open(account, visit.now)
    visit.log("login", account=account.name)
    answer = RedirectResponse(there, 303)
    answer.set_cookie(
        visit.console.cookie,
        token,
        max_age=LONGEST,
        path="/",
        secure=visit.console.tls,
        httponly=True,
        samesite="strict",
    )
    return answer


def logout(visit: Visit) -> Response:
    """End the session."""
    visit.console.sessions.end(visit.request.cookies.get(visit.console.cookie, ""))
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
