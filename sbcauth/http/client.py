"""An HTTP client that waits for many replies at once, in a thread of the one process that has time.

The thread has an event loop of its own; `ask` hands it a question and returns at once. When a
verdict is in, `descriptor` can be read: it wakes up the process, which waits for others as well.

A service that did not answer is left alone for `dead_time`; after that one question finds out how
it is, while all others pass it by.
"""

import asyncio
import os
import signal
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar
from uuid import uuid4

import httpx

from sbcauth.http import messages
from sbcauth.http.settings import HttpSettings
from sbcauth.policy.external_server import LONGEST_WAIT, Answer, Record, Verdict

Ticket = TypeVar("Ticket", bound=Hashable)

_CONNECTIONS = 100


class HttpClient(Generic[Ticket]):
    """Asks services by HTTP; nothing here waits but its own thread.

    A ticket is what a question is known by to whoever asks. At most `limit` wait at a time. `clock`
    is that of timestamps (seconds since 1970).
    """

    def __init__(
        self,
        limit: int,
        clock: Callable[[], float],
        record: Record | None = None,
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._record = record
        self._waiting = 0
        self._dead_until: dict[str, float] = {}
        self._verdicts: deque[tuple[Ticket, Verdict]] = deque()
        self._notes: deque[Callable[[Record], None]] = deque()
        self._clients: dict[Path | None, httpx.AsyncClient] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.descriptor, self._bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def ask(self, ticket: Ticket, question: bytes, settings: HttpSettings) -> None:
        """Ask the first service that may answer; the verdict comes from `verdicts`."""
        self._waiting += 1
        if self._waiting > self._limit:
            self._tell(ticket, _none(f"{self._limit} requests wait for a verdict already"))
            return
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._run, args=(self._loop,), daemon=True).start()
        self._loop.call_soon_threadsafe(self._begin, ticket, question, settings)

    def verdicts(self) -> list[tuple[Ticket, Verdict]]:
        """Return the verdicts that are in, and tell the record what has happened until now."""
        os.read(self.descriptor, 65536)
        while self._notes:
            note = self._notes.popleft()
            if self._record:
                note(self._record)
        found: list[tuple[Ticket, Verdict]] = []
        while self._verdicts:
            found.append(self._verdicts.popleft())
        self._waiting -= len(found)
        return found

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the event loop; Kamailio's signals are for the main thread."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        loop.run_forever()

    def _begin(self, ticket: Ticket, question: bytes, settings: HttpSettings) -> None:
        task = asyncio.get_running_loop().create_task(self._judge(ticket, question, settings))
        self._tasks.add(task)  # the loop itself holds no reference
        task.add_done_callback(self._tasks.discard)

    async def _judge(self, ticket: Ticket, question: bytes, settings: HttpSettings) -> None:
        """Ask one service after the other until one has answered."""
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                verdict = await self._ask_all(question, settings)
        except TimeoutError:
            verdict = _none(f"nobody answered within {LONGEST_WAIT:.0f} seconds")
        except Exception as bug:  # the request is answered 503, and the next one served
            verdict = _none(f"a bug, please report it: {bug!r}")
        self._tell(ticket, verdict)

    async def _ask_all(self, question: bytes, settings: HttpSettings) -> Verdict:
        failures = []
        for url in settings.urls:
            if not self._may_be_asked(url, settings):
                failures.append(f"{url}: has not answered recently, not asked")
                continue
            for _ in range(settings.tries):
                client = self._client(settings.ca_file)
                began = time.monotonic()
                try:
                    async with asyncio.timeout(settings.timeout):
                        verdict = await self._ask_one(client, url, question, settings)
                except (TimeoutError, httpx.HTTPError, OSError, messages.UntrustedReply) as error:
                    failure = str(error) or "no answer in time"
                    self._note(url, Answer.NONE, began)
                else:
                    self._note(url, verdict.answer, began)
                    self._revive(url)
                    return verdict
            failures.append(f"{url}: {failure}")
            self._leave_alone(url, settings.dead_time)
        return _none("; ".join(failures) or "no service to ask")

    async def _ask_one(
        self, client: httpx.AsyncClient, url: str, question: bytes, settings: HttpSettings
    ) -> Verdict:
        """Return what a service says; raises httpx.HTTPError and UntrustedReply."""
        sent = messages.signed(settings.secret, uuid4().hex, int(self._clock()), question)
        headers = {**sent, "content-type": "application/json"}
        async with client.stream("POST", url, content=question, headers=headers) as reply:
            if reply.status_code != 200:
                raise messages.UntrustedReply(f"it answered {reply.status_code}")
            body = b""
            async for piece in reply.aiter_raw():
                body += piece
                if len(body) > messages.LONGEST_REPLY:
                    raise messages.UntrustedReply("its reply is too long")
        return messages.verdict(settings.secret, sent, reply.headers, body, question)

    def _client(self, ca_file: Path | None) -> httpx.AsyncClient:
        """Return the client that trusts the certificates in this file, or those of the system."""
        if ca_file not in self._clients:
            self._clients[ca_file] = httpx.AsyncClient(
                verify=ssl.create_default_context(cafile=str(ca_file) if ca_file else None),
                limits=httpx.Limits(max_connections=_CONNECTIONS),
                timeout=None,  # noqa: S113 - asyncio bounds the whole of it, not each step
                trust_env=False,
            )
        return self._clients[ca_file]

    def _may_be_asked(self, url: str, settings: HttpSettings) -> bool:
        """Tell whether a service may answer; the first to be told so after a silence finds out."""
        until = self._dead_until.get(url)
        if until is None or not settings.dead_time:
            return True
        now = time.monotonic()
        if until > now:
            return False
        self._dead_until[url] = now + settings.tries * settings.timeout
        return True

    def _leave_alone(self, url: str, dead_time: int) -> None:
        if dead_time:
            self._dead_until[url] = time.monotonic() + dead_time
            self._notes.append(lambda record: record.left_alone(url, dead_time))

    def _revive(self, url: str) -> None:
        if self._dead_until.pop(url, None) is not None:
            self._notes.append(lambda record: record.left_alone(url, 0))

    def _note(self, url: str, answer: Answer, began: float) -> None:
        seconds = time.monotonic() - began
        self._notes.append(lambda record: record.answered(url, answer, seconds))

    def _tell(self, ticket: Ticket, verdict: Verdict) -> None:
        """Keep a verdict for `verdicts`, and wake up who waits for it."""
        self._verdicts.append((ticket, verdict))
        try:
            os.write(self._bell, b"\0")
        except BlockingIOError:
            return  # it rings already


def _none(detail: str) -> Verdict:
    return Verdict(Answer.NONE, detail)
