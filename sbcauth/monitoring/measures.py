"""Times and look-ups that the processes of one server measure, in memory that they share.

Each process has a place of its own there and writes nowhere else: nothing is locked, and nothing
lost. The sum over all places is what the server has measured. The memory is made before the fork.
"""

import mmap
from bisect import bisect_left
from itertools import accumulate
from typing import NamedTuple, Self

DECISION_BOUNDS = (25e-6, 50e-6, 1e-4, 25e-5, 5e-4, 1e-3, 25e-4, 5e-3, 1e-2, 25e-3, 0.1, 1.0)
"""Seconds: a decision from the cache takes some fifty microseconds, one from disk milliseconds."""
EXTERNAL_BOUNDS = (1e-3, 25e-4, 5e-3, 1e-2, 25e-3, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_PLACES = 1024
_HITS, _MISSES, _DECISIONS = 0, 1, 2
_EXTERNAL = _DECISIONS + len(DECISION_BOUNDS) + 2
_CELLS = _EXTERNAL + len(EXTERNAL_BOUNDS) + 2
"""Numbers of one process; a histogram has its sum, a number for each bound, and one for beyond."""


class Times(NamedTuple):
    """How many things took up to each of `bounds`, and longer; `total` is of all. In seconds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def number(self) -> int:
        """Return how many there were."""
        return sum(self.counts)

    def within(self, share: float) -> float | None:
        """Return the bound that at least this share kept to; None where none did, or none was."""
        enough = zip(self.bounds, accumulate(self.counts), strict=False)
        return next((bound for bound, n in enough if n and n >= share * self.number), None)


class Totals(NamedTuple):
    """What all processes have measured."""

    cache_hits: int
    cache_misses: int
    decisions: Times
    external: Times

    @classmethod
    def of(cls, cells: list[float]) -> Self:
        """Return the totals that are in the sums of all places."""
        decisions, external = cells[_DECISIONS:_EXTERNAL], cells[_EXTERNAL:]
        return cls(
            int(cells[_HITS]),
            int(cells[_MISSES]),
            Times(DECISION_BOUNDS, tuple(map(int, decisions[1:])), decisions[0]),
            Times(EXTERNAL_BOUNDS, tuple(map(int, external[1:])), external[0]),
        )

    @classmethod
    def decode(cls, text: str) -> Self | None:
        """Return the totals that `Measures.encode` has written; None of another version."""
        cells = [float(word) for word in text.split()]
        return cls.of(cells) if len(cells) == _CELLS else None


class Measures:
    """What is measured; made before the fork, and shared by all processes from then on."""

    def __init__(self) -> None:
        self._cells = memoryview(mmap.mmap(-1, _PLACES * _CELLS * 8)).cast("d")
        self._place = 0

    def set_place(self, number: int) -> None:
        """Have this process measure at the place of this number; no other may have it."""
        self._place = number % _PLACES * _CELLS

    def decided(self, seconds: float) -> None:
        """Note how long a decision took."""
        self._observe(_DECISIONS, DECISION_BOUNDS, seconds)

    def asked_externally(self, seconds: float) -> None:
        """Note how long an external server took to answer."""
        self._observe(_EXTERNAL, EXTERNAL_BOUNDS, seconds)

    def looked_up(self, hit: bool) -> None:
        """Note that a user was looked up, and whether the cache had the answer."""
        self._cells[self._place + (_HITS if hit else _MISSES)] += 1

    def totals(self) -> Totals:
        """Return what all processes have measured up to now."""
        return Totals.of(self._sums())

    def encode(self) -> str:
        """Return the totals as text, for another program."""
        return " ".join(
            f"{number:.9g}" if number % 1 else str(int(number)) for number in self._sums()
        )

    def _observe(self, first: int, bounds: tuple[float, ...], seconds: float) -> None:
        cells, place = self._cells, self._place + first
        cells[place] += seconds
        cells[place + 1 + bisect_left(bounds, seconds)] += 1

    def _sums(self) -> list[float]:
        return [sum(self._cells[cell::_CELLS]) for cell in range(_CELLS)]
