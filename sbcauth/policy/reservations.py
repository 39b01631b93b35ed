"""Attempts that are reserved while an external server is asked.

Without them, all guesses that are sent before the first verdict comes would be asked about. So what
waits for a verdict counts with what has failed: of a pair, and for strangers of their source and of
the user name. Of the places to wait in, one source and one IP Group have a share each; a source is
known by the tag of its nonces, which nobody can forge.

A reservation is given back when the verdict is in. One that is lost, with a process say, ends by
itself: each is kept with others of the same stretch of time.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import inf

from sbcauth.exceptions import Unavailable
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.attempts import Attempts
from sbcauth.policy.claimants import Claimant, Scope, digest
from sbcauth.policy.shared_state import SharedState, Table

SHARE_OF_SOURCE = 100
"""Requests of one source that may wait at a time: a tenth of all places."""
SHARE_OF_IP_GROUP = 500
"""Requests of one IP Group that may wait at a time: half of all places."""
STRETCH = 40
"""Seconds; none waits for longer."""
_RETRY_AFTER = 1


class Reservations:
    """Counts what waits for a verdict, over all worker processes."""

    def __init__(self, shared: SharedState, attempts: Attempts) -> None:
        self._shared = shared
        self._attempts = attempts

    def reserve(
        self, keys: tuple[str, ...], claimant: Claimant, limit: AttemptLimit, now: int
    ) -> None:
        """Reserve an attempt for a claimant at `now`, in the `places` with these keys.

        Raises Unavailable where there is none left. What has failed is looked at last: a verdict is
        counted before its place is given back, so that none is missed.
        """
        counted = 0
        try:
            for key, (whose, left) in zip(keys, self._limits(claimant, limit, now), strict=True):
                waiting = self._count(key, now)
                counted += 1
                if waiting > left():
                    raise Unavailable(f"{waiting - 1} requests of this {whose} wait", _RETRY_AFTER)
        except Unavailable:
            self.leave(keys[:counted], now)
            raise

    def give_back(self, keys: tuple[str, ...], arrived_at: int) -> None:
        """Give back what was reserved at `arrived_at`, when the verdict has been counted."""
        self.leave(keys, arrived_at)

    def leave(self, keys: tuple[str, ...], arrived_at: int) -> None:
        """Leave the places of this server that were taken at `arrived_at`, and no others."""
        for key in keys:
            this = f"{key}{arrived_at // STRETCH}"
            self._shared.update(Table.ATTEMPTS, this, 2 * STRETCH, _one_less)

    def _limits(
        self, claimant: Claimant, limit: AttemptLimit, now: int
    ) -> Iterator[tuple[str, Callable[[], float]]]:
        """Yield whose places there are, in the order of their keys, and what tells how many."""
        yield "IP Group", lambda: SHARE_OF_IP_GROUP
        yield "source", lambda: SHARE_OF_SOURCE
        maxima = {} if limit.spares(claimant.source) else {Scope.PAIR: limit.max_auth_attempts}
        if maxima and self._attempts.is_stranger(claimant, now):
            maxima.update(limit.for_strangers())
        for scope in (Scope.SOURCE, Scope.USER, Scope.PAIR):
            yield scope, partial(self._left, scope, maxima.get(scope), claimant, limit, now)

    def _left(
        self,
        scope: Scope,
        maximum: int | None,
        claimant: Claimant,
        limit: AttemptLimit,
        now: int,
    ) -> float:
        if maximum is None:
            return inf
        return maximum - self._attempts.failures(scope, claimant, limit, now)

    def _count(self, key: str, now: int) -> int:
        """Count one more, and return how many there are."""
        stretch = now // STRETCH
        before = int(self._shared.get(Table.ATTEMPTS, f"{key}{stretch - 1}") or 0)
        this = f"{key}{stretch}"
        return before + self._shared.update(Table.ATTEMPTS, this, 2 * STRETCH, _one_more)


def places(ip_group: str, tag: str, username: str) -> tuple[str, ...]:
    """Return the keys of the counts that a request is in while it waits.

    `tag` is that of its nonce.
    """
    return (
        digest("waiting", f"all {ip_group}"),
        digest("waiting", f"share {tag}"),
        digest("waiting", f"source {ip_group}\0{tag}"),
        digest("waiting", f"user {ip_group}\0{username}"),
        digest("waiting", f"pair {ip_group}\0{tag}\0{username}"),
    )


def _one_more(count: int) -> tuple[int, int]:
    return count + 1, count + 1


def _one_less(count: int) -> tuple[int, None]:
    return max(count - 1, 0), None
