"""Load: many conversations at once over UDP, none of them lost unnoticed."""

import select
import socket
import time
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple, Self

from bench.phones import CALL_ID_LENGTH, Conversation, Datagrams, Start

_PATIENCE = 2.0
_PAUSE = 0.0005
_CALL_ID = b"\r\nCall-ID: "
_IP_PKTINFO = 8
_RECEIVE_BUFFER = 4 << 20


class LostError(Exception):
    """A request was not answered in time."""


class Load(NamedTuple):
    """What came of a load: how long it took, and each conversation (seconds).

    `lost` conversations waited in vain for an answer.
    """

    duration: float
    latencies: list[float]
    lost: int = 0


class Line:
    """The line from all phones to one server: one socket for all addresses of 127.0.0.0/8."""

    def __init__(self, server_port: int) -> None:
        self._server = ("127.0.0.1", server_port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.bind(("", 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._active: dict[bytes, tuple[float, int, Conversation]] = {}
        self._latencies: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def keep_busy(self, starts: Iterable[Start], window: int = 48) -> Load:
        """Hold `window` conversations at once until all are over; the server is never idle.

        Answers are collected twice in a millisecond. To wait for each would have the server wake
        this side up, which is work that a slow server does for each answer and a fast one
        does not; to spin would take the processor from it where two share a core.
        """
        began = time.perf_counter()
        self._latencies = []
        for start in starts:
            self._begin(start, time.perf_counter())
            while len(self._active) >= window:
                self._receive(_PAUSE)
        while self._active:
            self._receive(_PAUSE)
        return Load(time.perf_counter() - began, self._latencies)

    def keep_pace(self, starts: Iterable[Start], rate: float) -> Load:
        """Begin `rate` conversations a second, whatever becomes of those before.

        Latency counts from when a conversation was due, so a server that falls behind
        cannot hide it by slowing the load down. Nothing is sent again, and what is not
        answered is lost.
        """
        began = due = time.perf_counter()
        self._latencies = []
        for start in starts:
            while (left := due - time.perf_counter()) > 0:
                if select.select([self._socket], [], [], left)[0]:
                    self._receive()
            self._begin(start, due)
            due += 1 / rate
        while self._active and select.select([self._socket], [], [], _PATIENCE)[0]:
            self._receive()
        lost = len(self._active)
        self._active.clear()
        return Load(time.perf_counter() - began, self._latencies, lost)

    def _begin(self, start: Start, due: float) -> None:
        self._active[start.call_id] = due, start.address, start.conversation
        self._say(start.call_id, next(start.conversation), start.address)

    def _receive(self, pause: float | None = None) -> None:
        """Take one datagram and go on with its conversation.

        Where there is none, look again after each `pause`.
        """
        give_up = time.perf_counter() + _PATIENCE
        while True:
            try:
                reply = self._socket.recv(65535)
                break
            except BlockingIOError:
                if pause is None or time.perf_counter() > give_up:
                    raise LostError(f"{len(self._active)} requests were not answered") from None
                time.sleep(pause)
        if not reply.startswith(b"SIP/2.0 1"):
            self._go_on(reply)

    def _go_on(self, reply: bytes) -> None:
        at = reply.index(_CALL_ID) + len(_CALL_ID)
        call_id = reply[at : at + CALL_ID_LENGTH]
        if call_id not in self._active:
            return  # an INVITE's answer again, because its ACK was lost
        due, address, conversation = self._active[call_id]
        try:
            datagrams = conversation.send(reply)
        except StopIteration as end:
            datagrams = end.value
            self._latencies.append(time.perf_counter() - due)
            del self._active[call_id]
        self._say(call_id, datagrams, address)

    def _say(self, call_id: bytes, datagrams: Datagrams, address: int) -> None:
        for datagram in datagrams:
            self._send(datagram, address)

    def _send(self, datagram: bytes, address: int) -> None:
        source = bytes(4) + address.to_bytes(4, "big") + bytes(4)  # struct in_pktinfo
        self._socket.sendmsg(
            [datagram], [(socket.IPPROTO_IP, _IP_PKTINFO, source)], 0, self._server
        )
