"""Pictures of counts, as places and sizes that a template makes SVG of."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sbcauth.console.watch import Counts, Minute
from sbcauth.console.words import kind

KINDS = ("in", "asked", "passed", "refused")
"""What becomes of requests, from the bottom of a bar to its top."""
HEIGHT = 160
STEP = 12
_MOST_GROUPS = 20


class Bar(NamedTuple):
    """A rectangle of one kind, in the units of its picture."""

    kind: str
    x: float
    y: float
    width: float
    height: float


class Hour(NamedTuple):
    """A bar of parts for each minute; `top` is the count that the highest line stands for."""

    bars: list[Bar]
    top: int
    minutes: Sequence[int]
    width: int
    height: int


class Part(NamedTuple):
    """A reason of an IP Group: how often, and its share of the widest bar in percent."""

    reason: str
    kind: str
    times: int
    x: float
    width: float


class Group(NamedTuple):
    """An IP Group with its reasons, the most frequent first."""

    name: str
    times: int
    parts: list[Part]


def hour(minutes: Sequence[Minute]) -> Hour:
    """Return the picture of an hour."""
    stacks = [_by_kind(minute.counts) for minute in minutes]
    top = _round_up(max((sum(stack.values()) for stack in stacks), default=0))
    bars: list[Bar] = []
    for place, stack in enumerate(stacks):
        y = float(HEIGHT)
        for each in KINDS:
            height = stack[each] * HEIGHT / top
            if height:
                y -= height
                bars.append(Bar(each, place * STEP + 1, round(y, 2), STEP - 2, round(height, 2)))
    return Hour(bars, top, [minute.at for minute in minutes], len(stacks) * STEP, HEIGHT)


def by_group(counts: Counts) -> list[Group]:
    """Return the IP Groups, the busiest first, each as a bar of its reasons."""
    sums = Counter[str]()
    for (group, _), times in counts.items():
        sums[group] += times
    widest = max(sums.values(), default=1)
    groups = []
    for name, total in sums.most_common(_MOST_GROUPS):
        reasons = [(reason, times) for (group, reason), times in counts.items() if group == name]
        x, parts = 0.0, []
        for reason, times in sorted(reasons, key=_place):
            width = round(100 * times / widest, 2)
            parts.append(Part(reason, kind(reason), times, round(x, 2), width))
            x += width
        groups.append(Group(name, total, parts))
    return groups


def _place(counted: tuple[str, int]) -> tuple[int, int]:
    """Return where a reason and its count stand in a bar."""
    reason, times = counted
    return KINDS.index(kind(reason)), -times


def _by_kind(counts: Counts) -> Counter[str]:
    found = Counter[str]()
    for (_, reason), times in counts.items():
        found[kind(reason)] += times
    return found


def _round_up(count: int) -> int:
    """Return the next number that reads well: 1, 2 or 5 with zeros, at least 10."""
    size = 10
    while True:
        for factor in (1, 2, 5):
            if factor * size >= count:
                return factor * size
        size *= 10
