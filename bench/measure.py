"""Rounds: the same load for each server in turn, and what its CPU time was.

What spoils a comparison on a machine that is not one's own, and what is done about it:

- Other programs take caches and shared execution units. A round in which they were busy is
  run again, a bounded number of times; how many were kept all the same is reported.
- Fresh memory costs page faults. Kamailio keeps a transaction for five seconds, so a young
  server takes fresh shared memory for each, and an old one does not. Every server is warmed
  up with as many requests as any five seconds of rounds have, calls among them, since not every
  server makes a transaction for a registration; and then it is left alone for longer.
- Each server is alone on its processor in real life, and here the others have filled the caches
  with theirs before it has its turn again. So a round begins with a prelude that does not count.
- The clock of a round counts idle time. Only CPU time is compared: that of all processes of
  a server, with the system calls that they make.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, cycle, islice, repeat
from pathlib import Path
from typing import NamedTuple

from bench.load import Line
from bench.phones import Phones, Start
from bench.servers import LOAD_CPUS, Server

_SETTLE = 6.0
_WARM_UP = 20_000
_TRIES = 10
_PRELUDE = 5
"""One in so many conversations of a round is held before the measurement."""
_OTHERS = 0.06
"""How busy other programs may be in a round, as a share of one processor."""
_TICK = 1 / os.sysconf("SC_CLK_TCK")

Scenario = Callable[[Phones, Iterable[int]], Iterator[Start]]


class Settings(NamedTuple):
    """How long to measure: `pairs` conversations a round, with `workers` processes a server."""

    folder: Path
    rounds: int
    pairs: int
    workers: int


class Series(NamedTuple):
    """The values of one server (or one setting), one for each round."""

    name: str
    values: list[float]

    @property
    def median(self) -> float:
        """Return the median over the rounds."""
        return statistics.median(self.values)


class Bed(NamedTuple):
    """A running server and the phones that talk to it."""

    server: Server
    line: Line
    phones: Phones


disturbed = 0
"""Rounds that were kept although other programs were busy."""


@contextmanager
def beds(
    servers: Sequence[Server], active: Sequence[int], algorithm: str = "MD5"
) -> Iterator[list[Bed]]:
    """Start all servers, and have the `active` users register and call until each is warm."""
    os.sched_setaffinity(0, LOAD_CPUS)
    with ExitStack() as stack:
        running = []
        for server in servers:
            stack.enter_context(server)
            line = stack.enter_context(Line(server.port))
            phones = Phones(line.port, server.port, algorithm=algorithm)
            times = max(2, _WARM_UP // len(active))
            for _ in range(times):
                line.keep_busy(phones.register(active))
                line.keep_busy(phones.invite(active))
            running.append(Bed(server, line, phones))
        time.sleep(_SETTLE)
        yield running


def compare(
    beds: Sequence[Bed],
    scenario: Scenario,
    active: Sequence[int],
    settings: Settings,
    *,
    once: bool = False,
) -> list[Series]:
    """Return the CPU time of a conversation (µs) of each server, round by round.

    The order of the servers changes from round to round. Where nobody may speak more than `once`
    with a server, a round that is run again takes users that no other round needs.
    """
    series = [Series(bed.server.name, []) for bed in beds]
    whose = once_each if once else again_and_again
    turns = [whose(active, settings) for _ in beds]
    for number in range(settings.rounds):
        order = [(number + place) % len(beds) for place in range(len(beds))]
        for place in order:
            tries = islice(next(turns[place]), _TRIES)
            series[place].values.append(_round(beds[place], scenario, tries))
    return series


Tries = Iterator[Sequence[int]]
"""Whose turn it is in a round, and whenever that is run again."""


def again_and_again(active: Sequence[int], settings: Settings) -> Iterator[Tries]:
    """Yield who speaks in each round, from the start again after the last of `active`."""
    for number in range(settings.rounds):
        first = number * settings.pairs % len(active)
        yield repeat(list(islice(cycle(active), first, first + settings.pairs)))


def once_each(active: Sequence[int], settings: Settings) -> Iterator[Tries]:
    """Yield who speaks in each round, nobody twice; spare users are for what is run again."""
    rounds, pairs = settings.rounds, settings.pairs
    if rounds * pairs > len(active):
        raise ValueError(f"{rounds} rounds of {pairs} need more than {len(active)} users")
    chunks = [active[at : at + pairs] for at in range(0, len(active) - pairs + 1, pairs)]
    spare = iter(chunks[rounds:])
    for users in chunks[:rounds]:
        yield chain([users], spare)


def _round(bed: Bed, scenario: Scenario, tries: Tries) -> float:
    """Return the CPU time of a conversation (µs), in a round that nobody disturbed."""
    global disturbed
    for users in tries:
        first = len(users) // _PRELUDE
        bed.line.keep_busy(scenario(bed.phones, users[:first]))
        before, busy, own = bed.server.cpu(), _busy(), time.process_time()
        load = bed.line.keep_busy(scenario(bed.phones, users[first:]))
        used = bed.server.cpu() - before
        others = _busy() - busy - used / 1e6 - (time.process_time() - own)
        if others < _OTHERS * load.duration + 2 * _TICK:
            break
        time.sleep(0.3)
    else:
        disturbed += 1
    return used / (len(users) - first)


def _busy() -> float:
    """Return for how long all processors together have been busy, in seconds."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields) - fields[3] - fields[4]) * _TICK
