"""Attempts that are counted over all nodes.

The engine counts, in one step after judging and before anything is disclosed. All that only looks,
looks at the copies in this node's shared memory. Without the engine, strangers are refused,
whatever they answer; a pair that is known is counted here, with this node's share of its attempts.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from sbcauth.cluster import scripts
from sbcauth.cluster.copies import Copies
from sbcauth.cluster.engine import Engine
from sbcauth.exceptions import EngineAway, LockedOut, Unavailable
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.attempts import Attempts
from sbcauth.policy.claimants import Claimant, Scope, digest
from sbcauth.policy.failure_record import LENIENT
from sbcauth.policy.lockout_list import in_words
from sbcauth.policy.reservations import STRETCH, Reservations
from sbcauth.policy.shared_state import SharedState


class ClusterAttempts(Attempts):
    """Counts failed attempts over all nodes; see Attempts."""

    def __init__(self, shared: SharedState, engine: Engine, nodes: int) -> None:
        super().__init__(shared)
        self._engine = engine
        self._nodes = nodes
        self._copies = Copies(shared)

    def locked_out(self, claimant: Claimant, limit: AttemptLimit, now: int) -> Scope | None:
        """Return the limit for which `claimant` must be refused at `now`, whatever it answers.

        Raises Unavailable for strangers without the engine, before anything is judged.
        """
        scope = super().locked_out(claimant, limit, now)
        if (
            scope is None
            and not self._engine.is_there()
            and self.needs_engine(claimant, limit, now)
        ):
            raise EngineAway("the engine of the cluster does not answer")
        return scope

    def confirm(self, claimant: Claimant, limit: AttemptLimit, now: int, shared: str = "") -> None:
        """Have all nodes agree that a claimant who has proved who it is may be let in.

        A pair that has succeeded recently, and against which nothing is held, may.
        """
        pair = "" if claimant.presenter else (claimant.pair or claimant).key
        own = [claimant.key]
        if claimant.presenter:
            own.append(claimant.presenter.key)
        is_sure = pair and self.sure_until(pair, limit, now) > now
        if is_sure and self.held_against(claimant.key) is None:
            return
        strangers = [claimant.key_by(scope) for scope, _ in limit.for_strangers()]
        if claimant.pair:
            strangers = []
        cleared = "" if claimant.presenter else claimant.key
        try:
            answer = self._engine.ask(
                scripts.CONFIRM, shared, cleared, pair, limit.trust_duration, len(own),
                *own, *strangers,
            )  # fmt: skip
        except EngineAway:
            if self.needs_engine(claimant, limit, now):
                raise
            return
        if answer[0] == "locked" and not limit.spares(claimant.source):
            at = int(answer[1]) - len(own)
            scopes = [scope for scope, _ in limit.for_strangers()]
            raise LockedOut(Scope.PAIR if at < 0 else scopes[at])

    def claim(self, nonce_count: str) -> bool:
        """Use up a nonce count that the engine remembers; tell whether it was unused."""
        return self._engine.claim(nonce_count)

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
        """Count a proven failure; tell whether it was the last attempt; see Attempts."""
        if limit.spares(claimant.source):
            return False
        limits = list(self.limits(claimant, limit, now))
        arguments: list[object] = []
        longest = max(limit.max_lockout_duration, limit.lockout_duration)
        for scope, maximum in limits:
            arguments += [claimant.key_by(scope), maximum, limit.lockout_duration, longest,
                          in_words(scope, claimant)]  # fmt: skip
        seen = digest(Scope.PAIR, f"{claimant.key} {evidence}")
        marked = claimant.pair.key if claimant.pair else ""
        try:
            kind, *counted = self._engine.ask(
                scripts.FAIL, shared, seen, limit.attempt_window, LENIENT if is_old else 0, marked,
                *arguments,
            )  # fmt: skip
        except EngineAway:
            if self.is_stranger(claimant, now):
                raise
            share = replace(limit, max_auth_attempts=max(1, limit.max_auth_attempts // self._nodes))
            return super().fail(claimant, evidence, share, now, is_old=is_old)
        if kind != "counted":
            return None if kind == "used" else False
        return self._copy(claimant, limit, limits, counted, now)

    def harden(self, claimant: Claimant, now: int) -> None:
        """Make the lockout of a pair one that lets nobody in, at any node."""
        with suppress(EngineAway):
            self._engine.ask(scripts.HARDEN, claimant.key)
        super().harden(claimant, now)

    def lift(self, claimant: Claimant, now: int) -> None:
        """End a lenient lockout, unless another node has found a wrong answer meanwhile."""
        try:
            (answer,) = self._engine.ask(scripts.LIFT, claimant.key)
        except EngineAway:
            answer = "away"
        if answer != "lifted":
            raise LockedOut(Scope.PAIR)
        super().lift(claimant, now)

    def needs_engine(self, claimant: Claimant, limit: AttemptLimit, now: int) -> bool:
        """Tell whether a claimant is refused without the engine."""
        return not limit.spares(claimant.source) and self.is_stranger(claimant, now)

    def limits(
        self, claimant: Claimant, limit: AttemptLimit, now: int
    ) -> Iterator[tuple[Scope, int]]:
        """Yield the limits by which a failure is counted, that of the pair first."""
        yield Scope.PAIR, limit.max_auth_attempts
        if self.is_stranger(claimant, now):
            yield from limit.for_strangers()

    def _copy(
        self,
        claimant: Claimant,
        limit: AttemptLimit,
        limits: Sequence[tuple[Scope, int]],
        counted: Sequence[int],
        now: int,
    ) -> bool:
        """Copy what the engine has counted, at once; tell whether it was the last attempt."""
        last = False
        for at, (scope, _) in enumerate(limits):
            count, left, duration, begins = counted[4 * at : 4 * at + 4]
            key = claimant.key_by(scope)
            if left:
                words = f"{duration} {in_words(scope, claimant)}"
                self._copies.locked(key, words, left, count, now)
                last = True
            elif scope is Scope.PAIR:
                self._copies.held(key, count, limit.attempt_window + 1, now)
            if begins:
                self._shared.count("lockout", scope, claimant.ip_group)
        self._shared.count("attempt", "failed", claimant.ip_group)
        if claimant.pair:
            self._copies.marked(claimant.pair.key, limit.attempt_window + 1, now)
        elif len(limits) > 1:
            self._count_stranger(claimant, limit, now)
        return last


class ClusterReservations(Reservations):
    """Counts what waits for a verdict, over all nodes; the places to wait in are each node's."""

    def __init__(
        self, shared: SharedState, attempts: ClusterAttempts, engine: Engine, nodes: int
    ) -> None:
        super().__init__(shared, attempts)
        self._of_cluster = attempts
        self._engine = engine
        self._nodes = nodes

    def reserve(
        self, keys: tuple[str, ...], claimant: Claimant, limit: AttemptLimit, now: int
    ) -> None:
        """Reserve an attempt for a claimant at `now`; see Reservations."""
        if not self._engine.is_there():
            limit = replace(limit, max_auth_attempts=max(1, limit.max_auth_attempts // self._nodes))
        super().reserve(keys, claimant, limit, now)
        try:
            self._reserve_at_engine(keys, claimant, limit, now)
        except Unavailable:
            self.leave(keys, now)
            raise

    def give_back(self, keys: tuple[str, ...], arrived_at: int) -> None:
        """Give back what was reserved at `arrived_at`, when the verdict has been counted."""
        super().give_back(keys, arrived_at)
        with suppress(EngineAway):
            self._engine.ask(scripts.GIVE_BACK, arrived_at // STRETCH, *keys[2:])

    def _reserve_at_engine(
        self, keys: tuple[str, ...], claimant: Claimant, limit: AttemptLimit, now: int
    ) -> None:
        if limit.spares(claimant.source):
            return
        _, _, *places = keys
        key_of = dict(zip((Scope.SOURCE, Scope.USER, Scope.PAIR), places, strict=True))
        arguments: list[object] = []
        for scope, maximum in self._of_cluster.limits(claimant, limit, now):
            arguments += [key_of[scope], maximum, claimant.key_by(scope)]
        try:
            kind, *waiting = self._engine.ask(
                scripts.RESERVE, now // STRETCH, 2 * STRETCH, *arguments
            )
        except EngineAway:
            if self._of_cluster.needs_engine(claimant, limit, now):
                raise
            return
        if kind == "full":
            raise Unavailable(f"{waiting[0]} requests of this pair or source wait", 1)
