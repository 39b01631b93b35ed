"""Requests that wait for an external server: no SIP worker waits with them.

A worker suspends the request and writes a question into a pipe; it is free for the next one. One
process of Kamailio's (`rtimer` in kamailio.cfg) reads the pipe, asks the servers, and resumes each
request when its verdict is in.

The pipe is made before the fork, so that every process has both of its ends. The kernel writes a
question as a whole or not at all: none is longer than PIPE_BUF, since RADIUS sets a limit to its
attributes.
"""

import fcntl
import mmap
import os
import resource
import struct
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from sbcauth.exceptions import Unavailable
from sbcauth.http.client import HttpClient
from sbcauth.http.settings import HttpSettings
from sbcauth.policy.external_server import ExternalServer, Record, Verdict
from sbcauth.radius.client import RadiusClient
from sbcauth.radius.settings import RadiusSettings

_PIPE_SIZE = 1 << 20
"""Bytes in the pipe: some four thousand questions."""
_OTHER_FILES = 100
"""How many files and sockets are left to the rest of the process."""
_MOST_WAITING = 1000
_IN_A_ROW = 50
"""Verdicts before the route is left: Kamailio ends a `while` after 100 rounds."""
_SIGN_OF_LIFE = 10.0
"""Seconds in which the process shows that it is there."""
_PATIENCE = 1.0

_HEAD = struct.Struct("!HIIdB")


class Ticket(NamedTuple):
    """A suspended request: the place of its transaction, and when it came (seconds since 1970)."""

    index: int  # type: ignore[assignment]  # hides the method of tuple
    label: int
    arrived_at: float


class Question(NamedTuple):
    """What is to be asked about a suspended request of an IP Group."""

    ticket: Ticket
    ip_group: str
    attributes: bytes

    def encode(self) -> bytes:
        """Return the question as it goes through the pipe."""
        name = self.ip_group.encode()
        length = _HEAD.size + len(name) + len(self.attributes)
        return _HEAD.pack(length, *self.ticket, len(name)) + name + self.attributes


def decode(buffer: bytes) -> tuple[list[Question], bytes]:
    """Return the questions in `buffer`, and what is left of it: the beginning of another."""
    questions = []
    while len(buffer) >= _HEAD.size:
        length, index, label, arrived_at, name = _HEAD.unpack_from(buffer)
        if len(buffer) < length:
            break
        start = _HEAD.size + name
        ip_group = buffer[_HEAD.size : start].decode()
        ticket = Ticket(index, label, arrived_at)
        questions.append(Question(ticket, ip_group, buffer[start:length]))
        buffer = buffer[length:]
    return questions, buffer


class Waiting:
    """The requests that wait; made before the fork, and shared by all processes from then on.

    `clock` tells the time (seconds since 1970).
    """

    def __init__(self, clock: Callable[[], float], record: Record | None = None) -> None:
        self._clock = clock
        self._record = record
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(OSError):  # an unprivileged user may have less room
            fcntl.fcntl(self._write_end, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        # Shared: the process writes, the workers read, and both do so in one instruction.
        self._alive = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")
        self._process: ExternalProcess | None = None

    def check(self, now: float) -> None:
        """Raise Unavailable where no process has shown recently that it is there to ask."""
        if now - self._alive[0] > _SIGN_OF_LIFE:
            raise Unavailable("there is no process that asks: see docs/existing-deployment.md")

    def put(self, question: Question) -> None:
        """Have a question asked; raises Unavailable."""
        try:
            os.write(self._write_end, question.encode())
        except BlockingIOError:
            raise Unavailable("more requests wait for a verdict than there is room for") from None

    def show_life(self, now: float) -> None:
        """Tell the workers that there is a process that asks."""
        self._alive[0] = now

    @property
    def process(self) -> "ExternalProcess":
        """Return the process's own part; it begins when it is first asked for."""
        if self._process is None:
            self._process = ExternalProcess(self._read_end, self._clock, self._record)
        return self._process


SettingsOf = Callable[[str], ExternalServer | None]


class ExternalProcess:
    """Asks what is in the pipe, and hands out verdicts one by one."""

    def __init__(self, questions: int, clock: Callable[[], float], record: Record | None) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = min(_MOST_WAITING, files - _OTHER_FILES)
        self._radius: RadiusClient[Ticket] = RadiusClient(limit, record=record)
        self._radius.watch(questions, self._read)
        self._http: HttpClient[Ticket] = HttpClient(limit, clock, record)
        self._radius.watch(self._http.descriptor, self._http.verdicts)
        self._questions = questions
        self._buffer = b""
        self._settings_of: SettingsOf = lambda _: None
        self._verdicts: deque[tuple[Ticket, Verdict]] = deque()
        self._in_a_row = 0

    def next_verdict(self, settings_of: SettingsOf) -> tuple[Ticket, Verdict] | None:
        """Return the next verdict; None where a second has passed, or it is time for a break.

        `settings_of` returns what holds for an IP Group.
        """
        self._settings_of = settings_of
        if self._in_a_row < _IN_A_ROW:
            if not self._verdicts:
                self._verdicts.extend(self._radius.poll(_PATIENCE))
            if self._verdicts:
                self._in_a_row += 1
                return self._verdicts.popleft()
        self._in_a_row = 0
        return None

    def _read(self) -> Sequence[tuple[Ticket, Verdict]]:
        """Put to the servers what is in the pipe."""
        questions, self._buffer = decode(self._buffer + os.read(self._questions, _PIPE_SIZE))
        for ticket, ip_group, question in questions:
            # None where this process has loaded another configuration than the worker
            match self._settings_of(ip_group):
                case HttpSettings() as settings:
                    self._http.ask(ticket, question, settings)
                case RadiusSettings() as settings:
                    self._radius.ask(ticket, question, settings)
                case _:
                    self._radius.ask(ticket, question, RadiusSettings(servers=()))
        return ()
