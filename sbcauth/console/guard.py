"""What every request passes first, and every answer gets: before anything is looked up.

A page of another site must not reach the console by a name that leads here (DNS rebinding), no
script but our own runs, nothing is cached, and nobody has more than his share of requests.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sbcauth.console.connections import source
from sbcauth.console.problems import is_of_api, problem

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_STRETCH = 10
MOST_REQUESTS = 400
"""Requests of one source, session or token in ten seconds: who types fast sends some fifty."""
_MOST_SOURCES = 10_000


class Guard:
    """Wraps an application; `names` are host names that it is reached by, besides addresses.

    `who` returns whose session or token a request has, and nothing for a stranger's. Each has a
    count of its own, so that strangers behind the same address, or tunnel, use up nobody's.
    """

    def __init__(
        self,
        app: ASGIApp,
        names: Iterable[str],
        clock: Callable[[], float],
        who: Callable[[Headers], str],
        *,
        tls: bool,
    ) -> None:
        self._app = app
        self._who = who
        self._names = {"localhost", *(name.lower() for name in names)}
        self._clock = clock
        self._tls = tls
        self._stretch = 0
        self._requests = Counter[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that may not go on, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")
                for name, value in _HEADERS.items():
                    headers[name] = value
                if self._tls:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        app = self._refusal(scope) or self._app
        await app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers and "content-length" in headers:
            # where one ends is read in two ways (RFC 9112, 6.1)
            return _answer(scope, 400, "Its length is told twice.", {"Connection": "close"})
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return _answer(scope, 421, "This is not a name of the console: --name makes it one.")
        who = self._who(headers)
        if connection := scope.get("state", {}).get("connection"):
            connection.is_known = bool(who)
        address = scope["client"][0] if scope.get("client") else ""
        if self._is_too_fast(who or source(address)):
            return _answer(scope, 429, "Too many requests.", {"Retry-After": str(_STRETCH)})
        return None

    def _is_ours(self, host: str) -> bool:
        """Tell whether Host is a name of ours or an address; the port may be a tunnel's."""
        name = host.lower()
        if not name.endswith("]"):
            name = name.rpartition(":")[0] if ":" in name else name
        if name in self._names:
            return True
        try:
            ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True

    def _is_too_fast(self, whose: str) -> bool:
        stretch = int(self._clock()) // _STRETCH
        if stretch != self._stretch or len(self._requests) > _MOST_SOURCES:
            self._stretch = stretch
            self._requests.clear()
        self._requests[whose] += 1
        return self._requests[whose] > MOST_REQUESTS


def _answer(
    scope: Scope, status: int, text: str, headers: Mapping[str, str] | None = None
) -> ASGIApp:
    if is_of_api(scope["path"]):
        return problem(status, text, headers)
    return PlainTextResponse(f"{text}\n", status, headers)
