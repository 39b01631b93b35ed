"""The little that all worker processes must agree on, behind a small interface.

Values are integers (31 bits) or short strings. Every entry has a lifetime, so nothing is
kept for ever. Kamailio's shared memory holds them in the running server; `kemi/` brings
that implementation.
"""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol, TypeVar

Value = int | str
T = TypeVar("T")


class Table(StrEnum):
    """The tables, by what they hold: the names of Kamailio's htables."""

    NONCE_COUNTS = "sbcauth_nonce_counts"
    ATTEMPTS = "sbcauth_attempts"
    LOCKOUTS = "sbcauth_lockouts"
    TRUSTED = "sbcauth_trusted"
    CSEQ = "sbcauth_cseq"


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
