"""What changes on the page Now, sent to whoever looks at it (server-sent events, HTML 9.2)."""

from collections import Counter
from collections.abc import AsyncIterator

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from sbcauth.console.console import Console
from sbcauth.console.pages.now import live
from sbcauth.console.sessions import Session
from sbcauth.console.visit import Endpoint

_LOOKS_EVERY = 0.1
_LOOKS_A_SESSION = 10
"""Whether a session lasts is asked before each event, and after so many looks."""
_MOST = 60
_MOST_OF_AN_ACCOUNT = 25
_LONGEST = 3600.0
"""Seconds after which a browser has to connect again."""


class Live:
    """Sends the same text to all streams; it is made once for each look at the server."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._streams = Counter[str]()
        self._number = -1
        self._text = b""

    def endpoint(self) -> Endpoint:
        """Return the endpoint of the streams."""

        async def stream(request: Request) -> Response:
            token = request.cookies.get(self._console.cookie, "")
            session = await self._session(token)
            if session is None:
                return PlainTextResponse("log in\n", 401)
            account = session.account
            if self._streams.total() >= _MOST or self._streams[account] >= _MOST_OF_AN_ACCOUNT:
                return PlainTextResponse("too many streams\n", 503)
            return StreamingResponse(
                self._events(token, account),
                media_type="text/event-stream",
                headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            )

        return stream

    async def _events(self, token: str, account: str) -> AsyncIterator[bytes]:
        self._streams[account] += 1
        sent, watch = -1, self._console.watch
        try:
            with anyio.move_on_after(_LONGEST):
                while await self._session(token):
                    watch.wanted()
                    if watch.seen.number != sent:
                        sent = watch.seen.number
                        yield await run_in_threadpool(self._event, sent)
                    for _ in range(_LOOKS_A_SESSION):
                        if watch.seen.number == sent:
                            await anyio.sleep(_LOOKS_EVERY)
        finally:
            self._streams[account] -= 1
            self._streams += Counter()  # without those that are at 0

    async def _session(self, token: str) -> Session | None:
        """Return the session while it lasts; to look at a stream is not to use it."""
        console = self._console
        return await run_in_threadpool(console.sessions.find, token, console.clock(), renews=False)

    def _event(self, number: int) -> bytes:
        if self._number != number:
            template = self._console.templates.get_template("live.html")
            text = template.render(**live(self._console.watch), now=self._console.clock())
            lines = "".join(f"data: {line}\n" for line in text.splitlines())
            self._text, self._number = f"{lines}\n".encode(), number
        return self._text
