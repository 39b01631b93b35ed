"""The list of lockouts in shared memory: until when each lasts, how long it is, and of whom.

A lockout is kept for as long again as it takes, so that the next one can be longer.
"""

from typing import NamedTuple

from sbcauth.policy.claimants import Claimant, Scope
from sbcauth.policy.shared_state import SharedState, Table


class Lockout(NamedTuple):
    """Until when a lockout lasts, in seconds since 1970, and how long it is altogether."""

    until: int
    duration: int


_NONE = Lockout(0, 0)


class LockoutList:
    """The lockouts, by the keys of what they lock out."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared

    def last(self, key: str) -> Lockout:
        """Return the last lockout, which may be over; one of no length where there is none."""
        words = self._shared.get(Table.LOCKOUTS, key)
        if not isinstance(words, str):
            return _NONE
        until, duration, _ = words.split(" ", 2)
        return Lockout(int(until), int(duration))

    def set(self, scope: Scope, claimant: Claimant, lockout: Lockout) -> None:
        """Note that a limit locks out a claimant."""
        until, duration = lockout
        words = f"{until} {duration} {in_words(scope, claimant)}"
        self._shared.set(Table.LOCKOUTS, claimant.key_by(scope), words, 2 * duration)


def in_words(scope: Scope, claimant: Claimant) -> str:
    """Return whom a limit locks out, as the list of lockouts has it."""
    return " ".join((scope, *map(_quoted, claimant.as_counted_by(scope))))


def _quoted(text: str) -> str:
    """Return `text` as one short printable word for the list of lockouts."""
    return text.encode("unicode_escape").decode("ascii").replace(" ", "\\x20")[:80] or "-"
