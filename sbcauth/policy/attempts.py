"""Attempt limits: proven failures are counted, and whoever reaches a limit is locked out.

There are three counts, each in one IP Group, and each locks out what it counts and no more:

- of a pair of source and user name (`max_auth_attempts`);
- of a source over all user names (`max_failures_per_source`): it guesses at many;
- of a user name over all sources (`max_failures_per_user`): many guess at it.

A lockout of a source or a user name is for strangers. A pair that has succeeded recently is
trusted: it has its own count alone, so that neither a neighbour behind the same address translator
nor a botnet can lock it out. A success does not shorten the next lockout: one who guesses
behind the address of the real phone would have it each time. The flow from which a user is
registered is taken out of its pair, and has a count of its own: that neighbour, at another port,
does not lock it out either.

An answer that is right for the password before a change is an attempt as any other: else it would
be told by what it does not cost. But a lockout that it has helped to bring about is lenient: the
right password gets in all the same, so that the phone that was left behind gets in when it has it.
The first wrong answer in the meantime makes it a lockout as any other. To whoever does not know the
password, both look the same.

A count is one number in shared memory: how many attempts have failed, and when the last one
did. It is forgotten once `window` seconds have passed without another. Whoever is locked out has a
count, too, of 0: so one look-up tells that nothing is held against a pair. What strangers can have
kept there is bounded: a source by its limit, and all of them in an IP Group by MOST_FAILURES.
"""

from functools import lru_cache, partial

from sbcauth.exceptions import EngineAway, Unavailable
from sbcauth.policy.attempt_limit import MAX_FAILURES, AttemptLimit
from sbcauth.policy.claimants import Claimant, Scope, digest
from sbcauth.policy.failure_record import LENIENT, TIME_BITS, attempts_in, flag_of, record_of
from sbcauth.policy.lockout_list import Lockout, LockoutList
from sbcauth.policy.shared_state import SharedState, Table
from sbcauth.policy.trust import Trust

MOST_FAILURES = 20_000
"""Failures of strangers that are kept count of in one IP Group and window; then all are refused."""
_SEVERAL = 1 << 30
"""Stands for several accounts at one flow; each alone is a number below."""
_FLOW_LASTS = 600
_MOST_ANSWERS = 100
"""Answers that are looked at during a lenient lockout; more could tell it by its time."""


class Attempts:
    """Counts failed attempts over all worker processes.

    `held_against` looks up what is held against a pair, known by its key: None where there is no
    failure recently, and no lockout. `sure_until` is that of Trust.
    """

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self.held_against = partial(shared.get, Table.ATTEMPTS)
        self._lockouts = LockoutList(shared)
        self._trust = Trust(shared)
        self.sure_until = self._trust.sure_until

    def locked_out(self, claimant: Claimant, limit: AttemptLimit, now: int) -> Scope | None:
        """Return the limit for which `claimant` must be refused at `now`, whatever it answers.

        Who presents a nonce of another source is held to what holds where it is, too. Raises
        Unavailable for strangers where so many guess that no more can be counted.
        """
        if limit.spares(claimant.source):
            return None
        pair = claimant.key
        if self._lockouts.last(pair).until > now:
            if claimant.pair:
                self._mark(claimant.pair.key, limit.lockout_duration, now)
            return Scope.PAIR
        if claimant.pair:
            return None
        if claimant.presenter:
            scope = self.locked_out(claimant.presenter, limit, now)
            if scope:
                return scope
        elif self._trust.holds(pair, now):
            return None
        for scope, _ in limit.for_strangers():
            if self._lockouts.last(claimant.key_by(scope)).until > now:
                return scope
        if self._failures(_of_all_strangers(claimant, limit, now)) >= MOST_FAILURES:
            raise Unavailable(f"{MOST_FAILURES} wrong answers within {limit.attempt_window} s")
        return None

    def failures(self, scope: Scope, claimant: Claimant, limit: AttemptLimit, now: int) -> int:
        """Return how many attempts a limit holds against `claimant` at `now`."""
        record = self._failures(claimant.key_by(scope))
        return attempts_in(record, limit, now) & ~flag_of(scope)

    def is_stranger(self, claimant: Claimant, now: int) -> bool:
        """Tell whether the limits of strangers hold for `claimant`."""
        if claimant.pair:
            return False
        return claimant.presenter is not None or not self._trust.holds(claimant.key, now)

    def confirm(self, claimant: Claimant, limit: AttemptLimit, now: int, shared: str = "") -> None:
        """Have all nodes agree that a claimant who has proved who it is may be let in.

        Where there is one node, it may. `shared` is the key of the nonce count, where the engine
        of a cluster remembers its use. Raises LockedOut, and Unavailable.
        """

    def claim(self, nonce_count: str) -> bool:
        """Use up a nonce count that the engine of a cluster remembers; tell whether it was unused.

        Raises EngineAway. Where there is one node, there is none.
        """
        raise EngineAway("there is no cluster")

    def fail(
        self,
        claimant: Claimant,
        evidence: str,
        limit: AttemptLimit,
        now: int,
        *,
        is_old: bool = False,
        shared: str = "",
    ) -> bool | None:
        """Count a proven failure; tell whether it was the last attempt.

        `evidence` is what was wrong. The same again, of the same claimant, is no other attempt.
        One that `is_old` was right for the password before. `shared` is the key of a nonce count
        whose use the engine of a cluster remembers; None is returned where it was used before.
        """
        if limit.spares(claimant.source):
            return False
        pair = claimant.key
        if self._has_seen(pair, evidence, limit):
            return False
        self._shared.count("attempt", "failed", claimant.ip_group)
        lenient = LENIENT if is_old else 0
        last = self._count(Scope.PAIR, claimant, limit.max_auth_attempts, limit, now, lenient)
        if claimant.pair:
            self._mark(claimant.pair.key, limit.attempt_window + 1, now)
        elif self.is_stranger(claimant, now):
            for scope, maximum in limit.for_strangers():
                last = self._count(scope, claimant, maximum, limit, now) or last
            self._count_stranger(claimant, limit, now)
        return last

    def looks_at(self, claimant: Claimant, evidence: str, limit: AttemptLimit, now: int) -> bool:
        """Tell whether an answer of who is locked out may be right all the same.

        It may be during a lenient lockout of the pair.
        """
        pair = claimant.key
        if not self._failures(pair) >> TIME_BITS & LENIENT:
            return False
        if self._has_seen(pair, evidence, limit):
            return False
        looked_at = digest("lenient", pair)
        lifetime = max(1, self._lockouts.last(pair).until - now)
        return self._shared.update(Table.ATTEMPTS, looked_at, lifetime, _next) <= _MOST_ANSWERS

    def harden(self, claimant: Claimant, now: int) -> None:
        """Make the lockout of a pair one that lets nobody in, whatever it answers."""
        lockout = self._lockouts.last(claimant.key)
        if lockout.until > now:
            self._hold(claimant.key, lockout, now)

    def lift(self, claimant: Claimant, now: int) -> None:
        """End a lenient lockout. Its length is remembered: it takes nothing back."""
        lockout = self._lockouts.last(claimant.key)
        if lockout.until > now:
            self._lockouts.set(Scope.PAIR, claimant, Lockout(now, lockout.duration))
        self._shared.remove(Table.ATTEMPTS, claimant.key)

    def is_only_one_at(self, flow: Claimant) -> bool:
        """Tell whether no other account has been asked for at a flow recently."""
        mine = int(digest("account", f"{flow.ip_group}\0{flow.username}")[:7], 16) or 1

        def note(owner: int) -> tuple[int, bool]:
            return (owner or mine, True) if owner in (0, mine) else (_SEVERAL, False)

        return self._shared.update(Table.ATTEMPTS, digest("flow", flow.place), _FLOW_LASTS, note)

    def succeed(self, claimant: Claimant, limit: AttemptLimit, now: int) -> bool:
        """Forget the failures of a claimant that has proved who it is, and trust it.

        Tells whether it was not trusted before.

        Who presents a nonce of another source has not proved where it is. Who is at the flow from
        which the user is registered leaves what others of its pair have done.
        """
        if claimant.presenter:
            return True
        if claimant.pair:
            self._shared.remove(Table.ATTEMPTS, claimant.key)
            return self._trust.renew(claimant.pair.key, limit, now)
        return self.trust(claimant.key, limit, now)

    def trust(self, pair: str, limit: AttemptLimit, now: int) -> bool:
        """Forget the failures of a pair, known by its key, and trust it.

        Tells whether it was not trusted before.
        """
        self._shared.remove(Table.ATTEMPTS, pair)
        lockout = self._lockouts.last(pair)
        if lockout.until > now:  # set by another process since this request came in
            self._hold(pair, lockout, now)
        return self._trust.renew(pair, limit, now)

    def _count(
        self,
        scope: Scope,
        claimant: Claimant,
        maximum: int,
        limit: AttemptLimit,
        now: int,
        lenient: int = 0,
    ) -> bool:
        """Count a failure by one limit; tell whether it has been reached."""
        key, flag = claimant.key_by(scope), flag_of(scope)

        def count(record: int) -> tuple[int, int]:
            before = attempts_in(record, limit, now)
            attempts = min((before & ~flag) + 1, MAX_FAILURES) | before & flag | lenient
            return record_of(attempts, now), attempts

        attempts = self._shared.update(Table.ATTEMPTS, key, limit.attempt_window + 1, count)
        lockout = self._lockouts.last(key)
        # Another worker may have counted the last attempt since this request came in.
        if lockout.until <= now:
            if attempts & ~flag < maximum:
                return False
            repeated = now < lockout.until + lockout.duration
            duration = limit.next_lockout(lockout.duration if repeated else 0)
            lockout = Lockout(now + duration, duration)
            self._lockouts.set(scope, claimant, lockout)
            self._shared.count("lockout", scope, claimant.ip_group)
        self._hold(key, lockout, now, attempts & flag)
        return True

    def _count_stranger(self, claimant: Claimant, limit: AttemptLimit, now: int) -> None:
        """Count a failure among those of all strangers in the IP Group."""
        all_ = _of_all_strangers(claimant, limit, now)
        self._shared.update(Table.ATTEMPTS, all_, 2 * limit.attempt_window, _one_more)

    def _hold(self, key: str, lockout: Lockout, now: int, flags: int = 0) -> None:
        """Start counting anew, and have `held_against` see the lockout as long as it lasts."""
        record = record_of(flags, now)
        self._shared.set(Table.ATTEMPTS, key, record, lockout.until - now)

    def _mark(self, pair: str, lifetime: int, now: int) -> None:
        """Have `held_against` see that a flow of the pair has a count of its own."""
        lifetime = max(lifetime, self._lockouts.last(pair).until - now)
        self._shared.update(
            Table.ATTEMPTS, pair, lifetime, lambda record: (record or record_of(0, now) or 1, None)
        )

    def _has_seen(self, pair: str, evidence: str, limit: AttemptLimit) -> bool:
        """Tell whether a pair has given this wrong answer before; it has from now on."""
        seen = digest(Scope.PAIR, f"{pair} {evidence}")
        return bool(self._shared.update(Table.ATTEMPTS, seen, limit.attempt_window, _see))

    def _failures(self, key: str) -> int:
        return int(self._shared.get(Table.ATTEMPTS, key) or 0)


def _of_all_strangers(claimant: Claimant, limit: AttemptLimit, now: int) -> str:
    """Return the key of the count of all strangers' failures in an IP Group in this window."""
    return _all_of(claimant.ip_group, limit.attempt_window, now // limit.attempt_window)


@lru_cache(256)
def _all_of(ip_group: str, window: int, number: int) -> str:
    return digest("all", f"{ip_group} {window} {number}")


def _see(seen: int) -> tuple[int, int]:
    """Mark as seen; the result is whether it was already."""
    return 1, seen


def _one_more(count: int) -> tuple[int, None]:
    return count + 1, None


def _next(count: int) -> tuple[int, int]:
    return count + 1, count + 1
