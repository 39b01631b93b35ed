"""The application: which page is where."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from sbcauth.console.api import routes as api
from sbcauth.console.console import Console
from sbcauth.console.guard import Guard
from sbcauth.console.live import Live
from sbcauth.console.pages import configuration, explain, ip_groups, login, now, refusals, users
from sbcauth.console.problems import is_of_api, problem
from sbcauth.console.visit import change, page, public

_STATIC = Path(__file__).with_name("static")


def application(console: Console, names: Iterable[str] = ()) -> ASGIApp:
    """Return the console as an ASGI application, reached by `names` besides its addresses."""

    @asynccontextmanager
    async def watching(_: Starlette) -> AsyncIterator[None]:
        console.watch.start()
        yield
        console.watch.stop()

    get, post, both = ["GET"], ["POST"], ["GET", "POST"]
    routes = [
        Route("/", page(console, now.now), methods=get),
        Route("/live", Live(console).endpoint(), methods=get),
        Route("/login", public(console, login.login), methods=both),
        Route("/logout", page(console, login.logout), methods=post),
        Route("/users", page(console, users.users), methods=get),
        Route("/users/add", change(console, users.add), methods=both),
        Route("/user", page(console, users.user), methods=get),
        Route("/user/{action}", change(console, users.act), methods=post),
        Route("/lockouts/lift", change(console, users.lift), methods=post),
        Route("/refusals", page(console, refusals.refusals), methods=get),
        Route("/ip-groups", page(console, ip_groups.ip_groups), methods=get),
        Route("/explain", page(console, explain.explain, longest=explain.LONGEST), methods=both),
        Route("/configuration", page(console, configuration.configuration), methods=get),
        Route(
            "/configuration/check",
            page(console, configuration.check, longest=configuration.LONGEST),
            methods=post,
        ),
        Route(
            "/configuration/save",
            change(console, configuration.save, longest=configuration.LONGEST),
            methods=post,
        ),
        Route("/configuration/reload", change(console, configuration.reload), methods=post),
        *api.routes(console),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]
    errors = {404: _not_found, 405: _not_found, 500: _bug}
    app = Starlette(routes=routes, lifespan=watching, exception_handlers=errors)
    app.router.redirect_slashes = False
    return Guard(app, names, console.clock, console.who, tls=console.tls)


def _not_found(request: Request, error: Exception) -> Response:
    if is_of_api(request.url.path):
        status = error.status_code if isinstance(error, HTTPException) else 404
        headers = error.headers if isinstance(error, HTTPException) else None
        return problem(status, "There is no such path, or method of it.", headers)
    return PlainTextResponse("There is no such page.\n", 404)


def _bug(request: Request, __: Exception) -> Response:
    words = "This is a bug; the console's log has its trace."
    if is_of_api(request.url.path):
        return problem(500, words)
    return PlainTextResponse(f"{words}\n", 500)
