"""Attempt limits: proven failures are counted, and the last one locks out.

A count belongs to one pair of source and username in one IP Group, so that nobody can lock
out a stranger. It is one number in shared memory: how many attempts have failed, and when
the last one did. Attempts are forgotten once `window` seconds have passed without another.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2s
from typing import NamedTuple

from sbcauth.request import to_bytes
from sbcauth.shared_state import SharedState, Table

_TIME_BITS = 24  # 194 days, far more than any window
_TIME_MASK = (1 << _TIME_BITS) - 1
MAX_ATTEMPTS = 100
"""The highest limit that can be set; the count must fit beside the time in 31 bits."""


@dataclass(frozen=True, slots=True)
class AttemptLimit:
    """How many attempts a pair has, and for how long it is locked out after the last.

    `window` is how long a failed attempt is held against it. Both times are in seconds.
    """

    max_attempts: int = 3
    lockout_duration: int = 60
    window: int = 60


class Claimant(NamedTuple):
    """Who claims to be whom: what attempts are counted by."""

    ip_group: str
    source: str
    username: str

    @property
    def key(self) -> str:
        """Return a short key; text from the network must not set the size of shared memory."""
        return _key(self)


class Attempts:
    """Counts failed attempts over all worker processes."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared

    def is_locked_out(self, claimant: Claimant, now: int) -> bool:
        """Tell whether `claimant` must be refused at `now` (seconds), whatever it answers."""
        lockout = self._shared.get(Table.LOCKOUTS, claimant.key)
        return isinstance(lockout, str) and int(lockout.partition(" ")[0]) > now

    def fail(self, claimant: Claimant, evidence: str, limit: AttemptLimit, now: int) -> bool:
        """Count a proven failure; tell whether it was the last attempt.

        `evidence` is what was wrong. The same again, of the same claimant, is no other attempt.
        """
        key = claimant.key
        if self._shared.update(Table.ATTEMPTS, _digest(f"{key} {evidence}"), limit.window, _see):
            return False

        def count(record: int) -> tuple[int, int]:
            attempts, last = record >> _TIME_BITS, record & _TIME_MASK
            if limit.window < (now - last) & _TIME_MASK < _TIME_MASK // 2:
                attempts = 0  # above that, another process's clock read a second more
            attempts = min(attempts + 1, MAX_ATTEMPTS)
            return attempts << _TIME_BITS | now & _TIME_MASK, attempts

        attempts = self._shared.update(Table.ATTEMPTS, key, limit.window + 1, count)
        # Another worker may have counted the last attempt since this request came in.
        if not self.is_locked_out(claimant, now):
            if attempts < limit.max_attempts:
                return False
            until = now + limit.lockout_duration
            lockout = " ".join((str(until), *map(_quoted, claimant)))
            self._shared.set(Table.LOCKOUTS, key, lockout, limit.lockout_duration)
        self._shared.remove(Table.ATTEMPTS, key)
        return True

    def clear(self, claimant: Claimant) -> None:
        """Forget the failures of a claimant that has proved who it is."""
        self._shared.remove(Table.ATTEMPTS, claimant.key)


@lru_cache(4096)  # 2 µs saved for each phone that comes again
def _key(claimant: Claimant) -> str:
    return _digest("\0".join(claimant))


def _digest(text: str) -> str:
    return blake2s(to_bytes(text), digest_size=12).hexdigest()


def _see(seen: int) -> tuple[int, int]:
    """Mark as seen; the result is whether it was already."""
    return 1, seen


def _quoted(text: str) -> str:
    """Return `text` as one short printable word for the list of lockouts."""
    return text.encode("unicode_escape").decode("ascii").replace(" ", "\\x20")[:80] or "-"
