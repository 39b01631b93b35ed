"""Logging in, by password or token: the attempts are limited as those of phones are.

By the same code, too.
"""

from collections.abc import Callable
from hashlib import blake2s
from threading import BoundedSemaphore, Lock
from typing import Generic, TypeVar

from sbcauth.exceptions import Unavailable
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.attempts import Attempts
from sbcauth.policy.claimants import Claimant
from sbcauth.policy.shared_state import LocalState, Table, Value

LIMIT = AttemptLimit(
    max_auth_attempts=5,
    lockout_duration=60,
    attempt_window=900,
    max_lockout_duration=900,
    max_failures_per_source=20,
    max_failures_per_user=50,
)
"""Five attempts for an account and a source; more for a source, and for an account, in all."""
_MOST_ENTRIES = 50_000
_WAITING = 4
"""So many logins wait for the hash of another, which takes 64 MB and a tenth of a second."""

T = TypeVar("T")
Who = TypeVar("Who")


class LockedOut(Exception):
    """Too many attempts have failed."""


class _Bounded(LocalState):
    """Forgets what is oldest where there is too much: whoever comes, memory has a bound."""

    def set(self, table: Table, key: str, value: Value, lifetime: int) -> None:
        super().set(table, key, value, lifetime)
        self._trim()

    def update(
        self, table: Table, key: str, lifetime: int, change: Callable[[int], tuple[int, T]]
    ) -> T:
        result = super().update(table, key, lifetime, change)
        self._trim()
        return result

    def count(self, event: str, kind: str, whose: str) -> None:
        """Count nothing: nobody asks."""

    def _trim(self) -> None:
        if len(self._values) > _MOST_ENTRIES:
            del self._values[next(iter(self._values))]


class Logins(Generic[Who]):
    """Judges logins of one `kind`, one after the other.

    `verify` returns who has this name and this secret; `waiting` may wait for it.
    """

    def __init__(
        self, kind: str, verify: Callable[[str, str], Who | None], waiting: int = _WAITING
    ) -> None:
        self._kind = kind
        self._verify = verify
        self._attempts = Attempts(_Bounded())
        self._places = BoundedSemaphore(waiting)
        self._one = Lock()

    def log_in(self, name: str, secret: str, source: str, now: float) -> Who | None:
        """Return whose name and secret they are, where both are right.

        Raises LockedOut, and Unavailable where too many are waiting.
        """
        claimant = Claimant(self._kind, source, name)
        if not self._places.acquire(blocking=False):
            raise Unavailable("too many logins at once")
        try:
            with self._one:
                if self._attempts.locked_out(claimant, LIMIT, int(now)):
                    raise LockedOut
                found = self._verify(name, secret)
                if found:
                    self._attempts.succeed(claimant, LIMIT, int(now))
                    return found
                evidence = blake2s(secret.encode("utf-8", "replace")).hexdigest()
                self._attempts.fail(claimant, evidence, LIMIT, int(now))
                return None
        finally:
            self._places.release()
