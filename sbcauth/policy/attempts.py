"""Attempt limits: proven failures are counted, and whoever reaches a limit is locked out.

There are three counts, each in one IP Group, and each locks out what it counts and no more:

- of a pair of source and user name (`max_attempts`);
- of a source over all user names (`max_failures_per_source`): it guesses at many;
- of a user name over all sources (`max_failures_per_user`): many guess at it.

A lockout of a source or a user name is for strangers. A pair that has succeeded of late is
trusted: it has its own count alone, so that neither a neighbour behind the same address translator
nor a botnet can lock it out. A success does not take a lockout's length back: one who guesses
behind the address of the real phone would have it each time.

A count is one number in shared memory: how many attempts have failed, and when the last one
did. It is forgotten once `window` seconds have passed without another. Whoever is locked out has a
count, too, of 0: so one look tells that nothing is held against a pair. What strangers can have
kept there is bounded: a source by its limit, and all of them by MOST_FAILURES.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache, partial
from hashlib import blake2s
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

from sbcauth.digest.text import to_bytes
from sbcauth.exceptions import Unavailable
from sbcauth.policy.shared_state import SharedState, Table

_TIME_BITS = 17  # 36 hours, far more than any window
_TIME_MASK = (1 << _TIME_BITS) - 1
MAX_ATTEMPTS = 100
"""The highest limit of a pair."""
MAX_FAILURES = 10_000
"""The highest of the other limits; the count must fit beside the time in 31 bits."""
MOST_FAILURES = 20_000
"""Failures of strangers that are kept count of in one window; then they are all refused."""
_TRUST_UNIT = 60  # seconds, so that a time fits in 31 bits
_REMEMBERED = 100_000
_NONCE_OF_ANOTHER = "nonce:"

Network = IPv4Network | IPv6Network


class Scope(StrEnum):
    """Whom a limit counts, and locks out."""

    PAIR = "pair"
    SOURCE = "source"
    USER = "user"


@dataclass(frozen=True, slots=True)
class AttemptLimit:
    """How many attempts there are, and for how long they lock out after the last. Times in seconds.

    `window` is how long a failed attempt is held against whoever made it. Each lockout is
    twice as long as the last one before it, up to `max_lockout_duration`, unless that one has been
    over for as long as it took. 0 failures per source or user is no limit. No limit at all is
    for `trusted_sources`.
    """

    max_attempts: int = 3
    lockout_duration: int = 60
    window: int = 60
    max_lockout_duration: int = 900
    max_failures_per_source: int = 30
    max_failures_per_user: int = 100
    trust_duration: int = 259_200
    trusted_sources: tuple[Network, ...] = ()

    def for_strangers(self) -> Iterator[tuple[Scope, int]]:
        """Yield the limits that do not hold for trusted pairs."""
        if self.max_failures_per_source:
            yield Scope.SOURCE, self.max_failures_per_source
        if self.max_failures_per_user:
            yield Scope.USER, self.max_failures_per_user

    def spares(self, source: str) -> bool:
        """Tell whether no limit holds for `source`."""
        return bool(self.trusted_sources) and _is_within(source, self.trusted_sources)

    def next_lockout(self, last: int) -> int:
        """Return how long a lockout is after one of `last` seconds, 0 for none."""
        longest = max(self.max_lockout_duration, self.lockout_duration)
        return min(2 * last, longest) if last else self.lockout_duration


class Claimant(NamedTuple):
    """Who claims to be whom: what attempts are counted by."""

    ip_group: str
    source: str
    username: str

    @classmethod
    def with_nonce_of_another(cls, ip_group: str, tag: str, username: str) -> "Claimant":
        """Return whoever answers a nonce that was issued to another source, known by its tag."""
        return cls(ip_group, f"{_NONCE_OF_ANOTHER}{tag}", username)

    def as_counted_by(self, scope: Scope) -> "Claimant":
        """Return the part that a limit counts; `*` stands for all."""
        match scope:
            case Scope.PAIR:
                return self
            case Scope.SOURCE:
                return self._replace(username="*")
            case Scope.USER:
                return self._replace(source="*")

    @property
    def key(self) -> str:
        """Return a short key; text from the network must not set the size of shared memory."""
        return pair_key(self.ip_group, self.source, self.username)


class _Lockout(NamedTuple):
    until: int
    duration: int


_NO_LOCKOUT = _Lockout(0, 0)


class Attempts:
    """Counts failed attempts over all worker processes.

    `held_against` looks up what is held against a pair, known by its key: None where there is no
    failure of late, and no lockout.
    """

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self.held_against = partial(shared.get, Table.ATTEMPTS)
        self._trusted_until: dict[str, int] = {}

    def locked_out(self, claimant: Claimant, limit: AttemptLimit, now: int) -> Scope | None:
        """Return the limit for which `claimant` must be refused at `now`, whatever it answers.

        Raises Unavailable for strangers where so many guess that no more can be counted.
        """
        if limit.spares(claimant.source):
            return None
        pair = claimant.key
        if self._lockout(pair).until > now:
            return Scope.PAIR
        if self._is_trusted(pair, now):
            return None
        for scope, _ in limit.for_strangers():
            if self._lockout(_key(scope, claimant)).until > now:
                return scope
        if int(self._shared.get(Table.ATTEMPTS, _all(limit, now)) or 0) >= MOST_FAILURES:
            raise Unavailable(f"{MOST_FAILURES} wrong answers within {limit.window} s")
        return None

    def sure_until(self, pair: str, limit: AttemptLimit, now: int) -> int:
        """Return until when a success of a pair changes nothing; `now` or earlier if it may."""
        if not self._is_trusted(pair, now):
            return 0
        return self._trusted_until[pair] - limit.trust_duration * 3 // 4

    def fail(self, claimant: Claimant, evidence: str, limit: AttemptLimit, now: int) -> bool:
        """Count a proven failure; tell whether it was the last attempt.

        `evidence` is what was wrong. The same again, of the same claimant, is no other attempt.
        """
        if limit.spares(claimant.source):
            return False
        pair = claimant.key
        seen = _digest(Scope.PAIR, f"{pair} {evidence}")
        if self._shared.update(Table.ATTEMPTS, seen, limit.window, _see):
            return False
        last = self._count(Scope.PAIR, claimant, limit.max_attempts, limit, now)
        if not self._is_trusted(pair, now):
            for scope, maximum in limit.for_strangers():
                last = self._count(scope, claimant, maximum, limit, now) or last
            self._shared.update(Table.ATTEMPTS, _all(limit, now), 2 * limit.window, _one_more)
        return last

    def succeed(self, claimant: Claimant, limit: AttemptLimit, now: int) -> None:
        """Forget the failures of a claimant that has proved who it is, and trust it."""
        if claimant.source.startswith(_NONCE_OF_ANOTHER):  # where it is now was not proved
            self._shared.remove(Table.ATTEMPTS, claimant.key)
        else:
            self.trust(claimant.key, limit, now)

    def trust(self, pair: str, limit: AttemptLimit, now: int) -> None:
        """Forget the failures of a pair, known by its key, and trust it."""
        self._shared.remove(Table.ATTEMPTS, pair)
        lockout = self._lockout(pair)
        if lockout.until > now:  # set by another process since this request came in
            self._hold(pair, lockout, now)
        if self.sure_until(pair, limit, now) > now:
            return
        until = -(-(now + limit.trust_duration) // _TRUST_UNIT)
        self._shared.set(Table.TRUSTED, pair, until, limit.trust_duration)
        self._remember(pair, until * _TRUST_UNIT)

    def _count(
        self, scope: Scope, claimant: Claimant, maximum: int, limit: AttemptLimit, now: int
    ) -> bool:
        """Count a failure by one limit; tell whether it has been reached."""
        key = _key(scope, claimant)

        def count(record: int) -> tuple[int, int]:
            attempts, last = record >> _TIME_BITS, record & _TIME_MASK
            if limit.window < (now - last) & _TIME_MASK < _TIME_MASK // 2:
                attempts = 0  # above that, another process's clock read a second more
            attempts = min(attempts + 1, MAX_FAILURES)
            return attempts << _TIME_BITS | now & _TIME_MASK, attempts

        attempts = self._shared.update(Table.ATTEMPTS, key, limit.window + 1, count)
        lockout = self._lockout(key)
        # Another worker may have counted the last attempt since this request came in.
        if lockout.until <= now:
            if attempts < maximum:
                return False
            repeated = now < lockout.until + lockout.duration
            duration = limit.next_lockout(lockout.duration if repeated else 0)
            who = map(_quoted, claimant.as_counted_by(scope))
            words = (str(now + duration), str(duration), scope, *who)
            self._shared.set(Table.LOCKOUTS, key, " ".join(words), 2 * duration)
            self._shared.count("lockout", scope, claimant.ip_group)
            lockout = _Lockout(now + duration, duration)
        self._hold(key, lockout, now)
        return True

    def _hold(self, key: str, lockout: _Lockout, now: int) -> None:
        """Start counting anew, and have `held_against` see the lockout as long as it lasts."""
        self._shared.set(Table.ATTEMPTS, key, now & _TIME_MASK, lockout.until - now)

    def _lockout(self, key: str) -> _Lockout:
        """Return the last lockout; it is kept for as long again as it took."""
        words = self._shared.get(Table.LOCKOUTS, key)
        if not isinstance(words, str):
            return _NO_LOCKOUT
        until, duration, _ = words.split(" ", 2)
        return _Lockout(int(until), int(duration))

    def _is_trusted(self, pair: str, now: int) -> bool:
        """Tell whether a pair has succeeded of late; a worker remembers which it asked about."""
        if self._trusted_until.get(pair, 0) > now:
            return True
        until = int(self._shared.get(Table.TRUSTED, pair) or 0) * _TRUST_UNIT
        if until <= now:
            return False
        self._remember(pair, until)
        return True

    def _remember(self, pair: str, until: int) -> None:
        if len(self._trusted_until) >= _REMEMBERED:
            self._trusted_until.clear()
        self._trusted_until[pair] = until


def pair_key(ip_group: str, source: str, username: str) -> str:
    """Return the key of a pair, which is that of its Claimant."""
    return _digest(Scope.PAIR, f"{ip_group}\0{source}\0{username}")


def _key(scope: Scope, claimant: Claimant) -> str:
    return _digest(scope, "\0".join(claimant.as_counted_by(scope)))


def _digest(scope: Scope, text: str) -> str:
    return blake2s(to_bytes(text), digest_size=12, person=scope.encode()).hexdigest()


def _all(limit: AttemptLimit, now: int) -> str:
    """Return the key of the count of all strangers' failures in this window."""
    return f"all {limit.window} {now // limit.window}"


@lru_cache(4096)
def _is_within(source: str, networks: tuple[Network, ...]) -> bool:
    if source.startswith(_NONCE_OF_ANOTHER):
        return False  # it only says that it is there
    network = ip_network(source)
    return any(
        each.version == network.version and network.subnet_of(each)  # type: ignore[arg-type]
        for each in networks
    )


def _see(seen: int) -> tuple[int, int]:
    """Mark as seen; the result is whether it was already."""
    return 1, seen


def _one_more(count: int) -> tuple[int, None]:
    return count + 1, None


def _quoted(text: str) -> str:
    """Return `text` as one short printable word for the list of lockouts."""
    return text.encode("unicode_escape").decode("ascii").replace(" ", "\\x20")[:80] or "-"
