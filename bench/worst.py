"""The two worst moments of a registrar: all phones at once after a power cut, and a botnet."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from bench.load import Line
from bench.measure import Bed, Series, Settings
from bench.persistence import PersistentLine
from bench.phones import Phones, Start
from bench.report import Result
from bench.servers import LOAD_CPUS, Native, Ours, Server
from bench.shipped import WORKERS

_PHONES = 20_000
_RATE = 2000
"""Phones that begin in a second."""
_SOURCES = 5000
_GUESSES, _RIGHT = 1000, 200
"""Wrong and right passwords a second."""
_SECONDS = 10


def storm(settings: Settings) -> Result:
    """Have all phones register at once, right after a start; they send again what is lost."""
    series: list[Series] = []
    facts: dict[str, float | str] = {
        "conditions": f"{WORKERS} workers, log: changes, {_PHONES} phones, {_RATE} a second, "
        "sent again after 0.5, 1, 2 and 4 s"
    }
    for server in _servers(settings.folder / "storm", _PHONES):
        with server, PersistentLine(server.port) as line:
            before = server.cpu()
            phones = Phones(line.port, server.port)
            load = line.persist(phones.register(range(_PHONES)), _RATE)
            used = (server.cpu() - before) / _PHONES
        series.append(Series(f"{server.name}, until the last 200", [load.duration]))
        facts[f"CPU of a phone, {server.name}"] = f"{used:.0f} µs"
        facts[f"requests sent again, {server.name}"] = line.sent_again
        facts[f"phones that gave up, {server.name}"] = load.lost
    return Result("storm", "all phones at once, right after a start", "s", series, facts=facts)


def botnet(settings: Settings) -> Result:
    """Guess from many sources while phones register; the series are of the phones alone."""
    series: list[Series] = []
    facts: dict[str, float | str] = {
        "conditions": f"{WORKERS} workers, log: changes, {_GUESSES} guesses a second from "
        f"{_SOURCES} sources, {_RIGHT} registrations a second"
    }
    for server in _servers(settings.folder / "botnet", 2 * _SOURCES):
        with server, _guessing(server), Line(server.port) as line:
            bed = Bed(server, line, Phones(line.port, server.port))
            load = bed.line.keep_pace(bed.phones.register(_some(_RIGHT * _SECONDS)), _RIGHT)
        facts[f"lost, {server.name}"] = load.lost
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            latencies = sorted(load.latencies)
            value = latencies[int(share * (len(latencies) - 1))] * 1000
            series.append(Series(f"{server.name}, {name}", [value]))
    return Result("botnet", "registrations while a botnet guesses", "ms", series, facts=facts)


def _servers(folder: Path, users: int) -> Sequence[Server]:
    os.sched_setaffinity(0, LOAD_CPUS)
    return Ours(folder / "ours", users, WORKERS), Native(folder / "native", users, WORKERS)


def _some(count: int) -> Iterator[int]:
    """Return phones that nobody guesses at, one after the other."""
    return islice((user for _ in range(count) for user in range(_SOURCES, 2 * _SOURCES)), count)


@contextmanager
def _guessing(server: Server) -> Iterator[None]:
    """Have another process guess at the passwords of the first users, each from an address."""
    process = os.fork()
    if process == 0:
        try:
            with Line(server.port) as line:
                line.keep_pace(
                    _guesses(Phones(line.port, server.port, first=500_000_000)), _GUESSES
                )
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.waitpid(process, 0)


def _guesses(phones: Phones) -> Iterator[Start]:
    users = [number % _SOURCES for number in range(_GUESSES * (_SECONDS + 1))]
    return phones.register(users, wrong=lambda _: True)
