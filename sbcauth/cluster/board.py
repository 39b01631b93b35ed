"""What the processes of a node know of the engine, in the shared memory of the node.

One process finds the engine and writes here where it is and what its epoch is; workers only read.
Whoever waits in vain writes that, too, so that no other worker waits.
"""

from time import monotonic
from typing import NamedTuple

from sbcauth.cluster.link import Address
from sbcauth.policy.shared_state import SharedState, Table

_ENGINE, _AWAY = "engine", "engine_away"
LEFT_ALONE = 1.0
"""Seconds for which an engine that did not answer is not asked."""


class Place(NamedTuple):
    """Where the engine is, and its epoch."""

    epoch: str
    address: Address


class Board:
    """What is known of the engine; see sbcauth/policy/shared_state.py for `shared`."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self._words: str = ""
        self._place: Place | None = None

    @property
    def place(self) -> Place | None:
        """Return where the engine is; None before it was first found."""
        words = self._shared.get(Table.KEYS, _ENGINE)
        if words != self._words and isinstance(words, str):
            epoch, host, port = words.split(" ")
            self._words, self._place = words, Place(epoch, Address(host, int(port)))
        return self._place

    @property
    def judged_by(self) -> str:
        """Return the epoch that was last looked up; by it nonces were judged."""
        return self._place.epoch if self._place else ""

    def epoch(self) -> str:
        """Return the epoch of the engine; empty before it was first found."""
        place = self.place
        return place.epoch if place else ""

    def is_there(self) -> bool:
        """Tell whether the engine was found, and has answered recently."""
        until = self._shared.get(Table.KEYS, _AWAY)
        return self.place is not None and (not until or float(until) <= monotonic())

    def write(self, place: Place) -> None:
        """Write down where the engine is."""
        self._shared.set(Table.KEYS, _ENGINE, f"{place.epoch} {place.address}", 0)

    def tell_away(self) -> None:
        """Have no process ask the engine for a while."""
        self._shared.set(Table.KEYS, _AWAY, f"{monotonic() + LEFT_ALONE:.3f}", 0)

    def tell_there(self) -> None:
        """Have all processes ask the engine again."""
        if self._shared.get(Table.KEYS, _AWAY):
            self._shared.remove(Table.KEYS, _AWAY)
