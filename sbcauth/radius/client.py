"""A RADIUS client that waits for many replies at once, in the one process that has time to.

Each question has a connected socket of its own. So the kernel takes datagrams of the asked server
only, identifiers cannot collide, whoever forges a reply has to guess a port as well, and a
computer on which nobody listens says so.

A server that did not answer is left alone for `dead_time`, unless it has answered another question
in the meantime. After that one question finds out how it is, while all others pass it by.
"""

import selectors
import socket
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from sbcauth.policy.external_server import LONGEST_WAIT, Answer, Record, Verdict
from sbcauth.radius.packets import AccessRequest, UntrustedReply
from sbcauth.radius.settings import RadiusServer, RadiusSettings

_SILENT = "no answer (a server is silent too where it does not know our address or shared secret)"

Ticket = TypeVar("Ticket", bound=Hashable)


@dataclass(slots=True, eq=False)
class _Question(Generic[Ticket]):
    """What is asked; `next_servers` are still to be asked, `failures` say why others failed."""

    ticket: Ticket
    attributes: bytes
    settings: RadiusSettings
    next_servers: list[RadiusServer]
    give_up: float
    failures: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Call(Generic[Ticket]):
    """A question that has been put to one server, and what went amiss so far."""

    question: _Question[Ticket]
    server: RadiusServer
    request: AccessRequest
    line: socket.socket
    began: float
    tries: int = 0
    deadline: float = 0.0
    failure: str = _SILENT


class RadiusClient(Generic[Ticket]):
    """Asks RADIUS servers; nothing but `poll` waits.

    A ticket is what a question is known by to whoever asks. At most `limit` wait at a time.
    """

    def __init__(
        self,
        limit: int = 1000,
        clock: Callable[[], float] = time.monotonic,
        record: Record | None = None,
    ) -> None:
        self._record = record
        self._limit = limit
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._calls: set[_Call[Ticket]] = set()
        self._timers: list[tuple[float, int, _Call[Ticket]]] = []
        self._serial = count()
        self._dead_until: dict[RadiusServer, float] = {}
        self._last_answer: dict[RadiusServer, float] = {}
        self._verdicts: list[tuple[Ticket, Verdict]] = []

    def __len__(self) -> int:
        """Return how many questions wait for an answer."""
        return len(self._calls)

    def watch(self, source: int, read: Callable[[], Iterable[tuple[Ticket, Verdict]]]) -> None:
        """Call `read` whenever the file descriptor `source` can be read while `poll` waits.

        The verdicts that it returns, of other servers, come from `poll` as well.
        """
        self._selector.register(source, selectors.EVENT_READ, read)

    def ask(self, ticket: Ticket, attributes: bytes, settings: RadiusSettings) -> None:
        """Ask the first server that may answer; the verdict comes from `poll`."""
        if len(self._calls) >= self._limit:
            self._give_up(ticket, f"{self._limit} requests wait for RADIUS already")
            return
        give_up = self._clock() + LONGEST_WAIT
        self._ask_next(_Question(ticket, attributes, settings, [*settings.servers], give_up))

    def poll(self, patience: float) -> list[tuple[Ticket, Verdict]]:
        """Return the verdicts that are in; wait up to `patience` seconds where there are none."""
        end = self._clock() + patience
        while not self._verdicts:
            self._read(end)
            self._look_at_timers()
            if self._clock() >= end:
                break
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    def close(self) -> None:
        """Forget all questions."""
        for call in [*self._calls]:
            self._hang_up(call)
        self._selector.close()

    def _ask_next(self, question: _Question[Ticket]) -> None:
        """Put a question to its next server that is not known to be dead."""
        while question.next_servers and self._clock() < question.give_up:
            server = question.next_servers.pop(0)
            if not self._may_be_asked(server, question.settings):
                question.failures.append(f"{server}: has not answered recently, not asked")
                continue
            try:
                line = _connect(server)
            except OSError as error:
                question.failures.append(f"{server}: {error.strerror}")
                continue
            request = AccessRequest(question.attributes, server.secret)
            call = _Call(question, server, request, line, self._clock())
            self._calls.add(call)
            self._selector.register(line, selectors.EVENT_READ, call)
            self._send(call)
            return
        self._give_up(question.ticket, "; ".join(question.failures) or "no server to ask")

    def _may_be_asked(self, server: RadiusServer, settings: RadiusSettings) -> bool:
        """Tell whether a server may answer; the first to be told so after a silence finds out."""
        until = self._dead_until.get(server)
        if until is None or not settings.dead_time:
            return True
        if until > self._clock():
            return False
        self._dead_until[server] = self._clock() + settings.tries * settings.timeout
        return True

    def _send(self, call: _Call[Ticket]) -> None:
        """Send the request, the same packet each time: a late answer to the first fits too."""
        call.tries += 1
        call.deadline = self._clock() + call.question.settings.timeout
        heappush(self._timers, (call.deadline, next(self._serial), call))
        try:
            call.line.send(call.request.datagram)
        except OSError as error:
            call.failure = error.strerror or _SILENT

    def _read(self, end: float) -> None:
        """Wait until `end`, or the next timer, and take what has arrived."""
        if self._timers:
            end = min(end, self._timers[0][0])
        for key, _ in self._selector.select(max(0.0, end - self._clock())):
            if isinstance(key.data, _Call):
                self._receive(key.data)
            else:
                self._verdicts.extend(key.data())

    def _receive(self, call: _Call[Ticket]) -> None:
        """Read what has arrived for a call, until there is a verdict.

        What cannot be trusted is noted and passed over: the true reply may come yet. So may a
        server that is just being restarted.
        """
        while call in self._calls:
            try:
                verdict = call.request.verdict(call.line.recv(4096))
            except BlockingIOError:
                return
            except UntrustedReply as reply:
                call.failure = str(reply)
            except OSError as error:
                call.failure = error.strerror or _SILENT
            else:
                now = self._last_answer[call.server] = self._clock()
                revived = self._dead_until.pop(call.server, None) is not None
                if self._record:
                    self._record.answered(str(call.server), verdict.answer, now - call.began)
                    if revived:
                        self._record.left_alone(str(call.server), 0)
                self._hang_up(call)
                self._verdicts.append((call.question.ticket, verdict))

    def _look_at_timers(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            deadline, _, call = heappop(self._timers)
            if call in self._calls and call.deadline == deadline:
                self._time_out(call, now)

    def _time_out(self, call: _Call[Ticket], now: float) -> None:
        """Ask the same server once more, or the next one where it has had its tries."""
        question = call.question
        if call.tries < question.settings.tries and now < question.give_up:
            self._send(call)
            return
        answered = self._last_answer.get(call.server, call.began) > call.began
        dead_time = 0 if answered else question.settings.dead_time
        if dead_time:
            self._dead_until[call.server] = now + dead_time
        if self._record:
            self._record.answered(str(call.server), Answer.NONE, now - call.began)
            if dead_time:
                self._record.left_alone(str(call.server), dead_time)
        question.failures.append(f"{call.server}: {call.failure}")
        self._hang_up(call)
        self._ask_next(question)

    def _hang_up(self, call: _Call[Ticket]) -> None:
        self._calls.remove(call)
        self._selector.unregister(call.line)
        call.line.close()

    def _give_up(self, ticket: Ticket, detail: str) -> None:
        self._verdicts.append((ticket, Verdict(Answer.NONE, detail)))


def _connect(server: RadiusServer) -> socket.socket:
    """Return a socket that sends to the server and hears nobody else; raises OSError."""
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    line = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        line.connect((server.address, server.port))
    except OSError:
        line.close()
        raise
    return line
