"""Load: many conversations at once over one UDP socket, none of them lost unnoticed."""

import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

from bench.phones import CALL_ID, Conversation, Start

_PATIENCE = 2.0
_PAUSE = 0.001
_CALL_ID_FIELD = b"\r\nCall-ID: "


class LostError(Exception):
    """A request was not answered in time."""


class Load(NamedTuple):
    """What came of a load: how long it took, and each conversation (seconds)."""

    duration: float
    latencies: list[float]


def keep_busy(socket: socket.socket, starts: Iterator[Start], window: int) -> Load:
    """Hold `window` conversations at once until all are over; the server is never idle.

    Answers are collected every millisecond. To wait for each would have the server wake this
    side up, which is work that a slow server does for each answer and a fast one does not; to
    spin would take the server's processor away where two share a core.
    """
    began = time.perf_counter()
    active: dict[bytes, tuple[float, Conversation]] = {}
    latencies: list[float] = []
    socket.setblocking(False)
    for start in starts:
        _begin(socket, start, time.perf_counter(), active)
        if len(active) >= window:
            while not _receive(socket, active, latencies):
                pass
    while active:
        _receive(socket, active, latencies)
    return Load(time.perf_counter() - began, latencies)


def keep_pace(socket: socket.socket, starts: Iterator[Start], rate: float) -> Load:
    """Begin `rate` conversations a second, whatever becomes of those before.

    Latency counts from when a conversation was due, so a server that falls behind cannot hide
    it by slowing the load down.
    """
    began = due = time.perf_counter()
    active: dict[bytes, tuple[float, Conversation]] = {}
    latencies: list[float] = []
    socket.setblocking(False)
    for start in starts:
        while time.perf_counter() < due:
            _receive(socket, active, latencies, due)
        _begin(socket, start, due, active)
        due += 1 / rate
    while active:
        _receive(socket, active, latencies)
    return Load(time.perf_counter() - began, latencies)


def _begin(
    socket: socket.socket,
    start: Start,
    due: float,
    active: dict[bytes, tuple[float, Conversation]],
) -> None:
    call, conversation = start
    active[call] = due, conversation
    for datagram in next(conversation):
        socket.send(datagram)


def _receive(
    socket: socket.socket,
    active: dict[bytes, tuple[float, Conversation]],
    latencies: list[float],
    until: float | None = None,
) -> bool:
    """Take one datagram and go on with its conversation; tell whether that ended it.

    Without a datagram it gives up at the time `until`; where that is None, one must come.
    """
    reply = _datagram(socket, until)
    if reply[8:9] in (b"", b"1"):
        return False
    at = reply.index(_CALL_ID_FIELD) + len(_CALL_ID_FIELD)
    call = reply[at : at + CALL_ID]
    due, conversation = active[call]
    ended = False
    try:
        datagrams = conversation.send(reply)
    except StopIteration as end:
        datagrams = end.value
        ended = True
        latencies.append(time.perf_counter() - due)
        del active[call]
    for datagram in datagrams:
        socket.send(datagram)
    return ended


def _datagram(socket: socket.socket, until: float | None) -> bytes:
    deadline = time.perf_counter() + _PATIENCE if until is None else until
    while True:
        try:
            return socket.recv(65535)
        except BlockingIOError:
            if time.perf_counter() < deadline:
                time.sleep(_PAUSE)
                continue
        if until is None:
            raise LostError(f"no answer within {_PATIENCE} seconds")
        return b""
