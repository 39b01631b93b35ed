"""The little that all worker processes must agree on, behind a small interface.

Values are integers (31 bits) or short strings. Every entry has a lifetime, so nothing is
kept for ever. Kamailio's shared memory holds them in the running server; `kemi/` brings
that implementation.
"""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol, Self, TypeVar

from sbcauth.digest.nonces import LONGEST_LIFE

Value = int | str
T = TypeVar("T")


_HOUR, _DAY = 3600, 86400


class Table(StrEnum):
    """The tables, by what they hold: the names of Kamailio's htables, and how it is to keep them.

    `size` is the power of two of how many slots there are. An entry is kept for `lifetime` seconds
    unless it has a shorter one of its own, 0 for ever; counted up, it `counts_from_0`. One that is
    written again lives anew only where that `renews`.
    """

    size: int
    lifetime: int
    renews: bool
    counts_from_0: bool

    NONCE_COUNTS = "sbcauth_nonce_counts", 16, LONGEST_LIFE + 5, False, True
    ATTEMPTS = "sbcauth_attempts", 14, _DAY + _HOUR
    LOCKOUTS = "sbcauth_lockouts", 12, _DAY + _HOUR
    TRUSTED = "sbcauth_trusted", 14, 30 * _DAY
    CSEQ = "sbcauth_cseq", 10, _DAY
    FLOWS = "sbcauth_flows", 14, 2 * _HOUR, True
    REGISTERED = "sbcauth_registered", 10, 2 * _HOUR, True
    LIMITS = "sbcauth_limits", 4
    OUTCOMES = "sbcauth_outcomes", 8, 0, False, True
    KEYS = "sbcauth_keys", 2

    def __new__(
        cls,
        name: str,
        size: int = 0,
        lifetime: int = 0,
        renews: bool = False,
        counts_from_0: bool = False,
    ) -> Self:
        """Return the table that Kamailio calls `name`."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.size = size
        member.lifetime = lifetime
        member.renews = renews
        member.counts_from_0 = counts_from_0
        return member

    @property
    def parameter(self) -> str:
        """Return the line of kamailio.cfg that makes the table."""
        traits = f"size={self.size};"
        if self.counts_from_0:
            traits += "initval=0;"
        if self.lifetime:
            traits += f"autoexpire={self.lifetime};"
            if not self.renews:
                traits += "updateexpire=0;"
        return f'modparam("htable", "htable", "{self}=>{traits}")'


class SharedState(Protocol):
    """Tables of short-lived values that all worker processes share.

    Each method raises Unavailable where the value cannot be kept.
    """

    def get(self, table: Table, key: str) -> Value | None:
        """Return the value, or None where there is none."""

    def set(self, table: Table, key: str, value: Value, lifetime: int) -> None:
        """Keep `value` for `lifetime` seconds, in place of any other."""

    def remove(self, table: Table, key: str) -> None:
        """Forget the value, if there is one."""

    def increment(self, table: Table, key: str) -> int:
        """Count a key one up and return its count; below 0 where it cannot be kept.

        It is kept for as long as entries of the table live: in NONCE_COUNTS, longer than nonces.
        """

    def update(
        self, table: Table, key: str, lifetime: int, change: Callable[[int], tuple[int, T]]
    ) -> T:
        """Change a number while no other process can, and return what `change` says of it.

        `change` gets the number, 0 where there is none, and returns the new number, 0 to forget
        it, and the result of the call; it must not do anything else.
        """

    def update_text(
        self, table: Table, key: str, lifetime: int, change: Callable[[str], tuple[str, T]]
    ) -> T:
        """Change a text likewise; it is empty where there is none, and never gets longer."""

    def count(self, event: str, kind: str, whose: str) -> None:
        """Count an event, for `sbcauth status`."""


class LocalState:
    """Shared with nobody: for `explain`, and for tests of the rooms above.

    Lifetimes are not enforced: whoever reads a value knows how old is too old.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[Table, str], Value] = {}
        self.counted: Counter[tuple[str, str, str]] = Counter()

    def get(self, table: Table, key: str) -> Value | None:
        """Return the value, or None where there is none."""
        return self._values.get((table, key))

    def set(self, table: Table, key: str, value: Value, lifetime: int) -> None:
        """Keep `value`, in place of any other."""
        self._values[table, key] = value

    def remove(self, table: Table, key: str) -> None:
        """Forget the value, if there is one."""
        self._values.pop((table, key), None)

    def increment(self, table: Table, key: str) -> int:
        """Count a key one up and return its count."""
        count = int(self._values.get((table, key), 0)) + 1
        self._values[table, key] = count
        return count

    def update(
        self, table: Table, key: str, lifetime: int, change: Callable[[int], tuple[int, T]]
    ) -> T:
        """Change a number and return what `change` says of it."""
        old = self._values.get((table, key), 0)
        new, result = change(int(old))
        if new:
            self._values[table, key] = new
        else:
            self._values.pop((table, key), None)
        return result

    def update_text(
        self, table: Table, key: str, lifetime: int, change: Callable[[str], tuple[str, T]]
    ) -> T:
        """Change a text and return what `change` says of it."""
        new, result = change(str(self._values.get((table, key), "")))
        self._values[table, key] = new
        return result

    def count(self, event: str, kind: str, whose: str) -> None:
        """Count an event."""
        self.counted[event, kind, whose] += 1
