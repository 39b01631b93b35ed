"""What users see: the server as it is shipped, with four workers and its default log.

A server that has just started is another one than the benchmark's usual, which is warm: each worker
sees each phone for the first time. So it is started anew several times, and the phones come in
visits: all once, all once more.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.load import Line
from bench.measure import Bed, Series, Settings
from bench.phones import Phones, Start
from bench.report import Result
from bench.servers import LOAD_CPUS, Native, Ours, Plain, Server

WORKERS = 4
"""As `children` in kamailio.cfg has it."""
_USERS = 4000
_ROUNDS_A_START = 7
"""So many rounds are worth one start of all servers."""
_VISITS = 4
_UNTIL_WARM = 8
"""Visits after which nearly every worker has seen nearly every phone."""
_CONDITIONS = "4 workers, log: changes"

_Scenario = Callable[[Phones, Iterable[int]], Iterator[Start]]


def as_shipped(settings: Settings) -> Result:
    """Register right after a start, again and again; then count up, call, guess and fill memory."""
    series: dict[str, list[float]] = {}
    facts: dict[str, float | str] = {"conditions": f"{_CONDITIONS}, {_USERS} phones"}
    for start in range(max(1, settings.rounds // _ROUNDS_A_START)):
        with ExitStack() as stack:
            beds = _started(stack, settings.folder / f"start{start}")
            for name, scenario, users in _visits():
                for bed in beds[start % len(beds) :] + beds[: start % len(beds)]:
                    used = _cpu_of(bed, scenario(bed.phones, users), len(users))
                    series.setdefault(f"{name}: {bed.server.name}", []).append(used)
                if name == f"visit {_VISITS}":
                    for bed in beds:
                        grown = bed.server.proportional_memory() / 1024
                        facts[f"memory, {_USERS} phones, {bed.server.name}"] = f"{grown:.0f} MiB"
                    _warm(beds)
    return Result(
        "as-shipped",
        f"as shipped: {_CONDITIONS}, each phone from its own address",
        "µs",
        [Series(name, values) for name, values in series.items()],
        facts=facts,
    )


def _started(stack: ExitStack, folder: Path) -> list[Bed]:
    """Start all servers; nobody has registered yet."""
    os.sched_setaffinity(0, LOAD_CPUS)
    servers: Sequence[Server] = (
        Ours(folder / "ours", _USERS, WORKERS),
        Native(folder / "native", _USERS, WORKERS),
        Plain(folder / "plain", _USERS, WORKERS, name="native, as documented"),
    )
    beds = []
    for server in servers:
        stack.enter_context(server)
        line = stack.enter_context(Line(server.port))
        beds.append(Bed(server, line, Phones(line.port, server.port)))
    return beds


def _visits() -> Iterator[tuple[str, _Scenario, Sequence[int]]]:
    everybody = range(_USERS)
    for visit in range(1, _VISITS + 1):
        yield f"visit {visit}", Phones.register, everybody
    yield "warm", Phones.register, everybody
    yield "counting up, four times", Phones.count_up, range(0, _USERS, 4)
    yield "whole call", Phones.call, range(0, _USERS, 4)
    yield "no credentials", Phones.knock, everybody
    yield "wrong password", _wrong, range(0, _USERS, 2)


def _wrong(phones: Phones, users: Iterable[int]) -> Iterator[Start]:
    return phones.register(users, wrong=lambda _: True)


def _warm(beds: Sequence[Bed]) -> None:
    for bed in beds:
        for _ in range(_UNTIL_WARM):
            bed.line.keep_busy(bed.phones.register(range(_USERS)))
        bed.line.keep_busy(bed.phones.call(range(0, _USERS, 4)))
    time.sleep(6)  # until Kamailio has ended the transactions


def _cpu_of(bed: Bed, starts: Iterable[Start], count: int) -> float:
    """Return the CPU time of a conversation, in µs, over all processes of a server."""
    before = bed.server.cpu()
    bed.line.keep_busy(starts)
    return (bed.server.cpu() - before) / count
