"""Which pairs of source and user name have succeeded recently, and are trusted.

The limits that count strangers do not hold for them. Shared memory has until when; a worker
remembers which pairs it has asked about.
"""

from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.shared_state import SharedState, Table

TRUST_UNIT = 60  # seconds, so that a time fits in 31 bits
_REMEMBERED = 1000


class Trust:
    """Remembers which pairs are trusted, by their keys; times are in seconds since 1970."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self._until: dict[str, int] = {}

    def holds(self, pair: str, now: int) -> bool:
        """Tell whether a pair has succeeded recently."""
        if self._until.get(pair, 0) > now:
            return True
        until = int(self._shared.get(Table.TRUSTED, pair) or 0) * TRUST_UNIT
        if until <= now:
            return False
        self._remember(pair, until)
        return True

    def sure_until(self, pair: str, limit: AttemptLimit, now: int) -> int:
        """Return until when a success of a pair changes nothing; `now` or earlier if it may."""
        if not self.holds(pair, now):
            return 0
        return self._until[pair] - limit.trust_duration * 3 // 4

    def renew(self, pair: str, limit: AttemptLimit, now: int) -> bool:
        """Trust a pair from now on; tell whether it was not trusted before."""
        sure_until = self.sure_until(pair, limit, now)
        if sure_until > now:
            return False
        until = -(-(now + limit.trust_duration) // TRUST_UNIT)
        self._shared.set(Table.TRUSTED, pair, until, limit.trust_duration)
        self._remember(pair, until * TRUST_UNIT)
        return sure_until == 0

    def _remember(self, pair: str, until: int) -> None:
        if len(self._until) >= _REMEMBERED:
            self._until.clear()
        self._until[pair] = until
