"""How many attempts there are, and for how long they lock out."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from sbcauth.policy.claimants import Scope

MAX_ATTEMPTS = 100
"""The highest limit of a pair."""
MAX_FAILURES = 10_000
"""The highest of the other limits; the count must fit beside the time in 31 bits."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class AttemptLimit:
    """How many attempts there are, and for how long they lock out after the last. Times in seconds.

    `attempt_window` is how long a failed attempt is held against whoever made it. Each lockout is
    twice as long as the last one before it, up to `max_lockout_duration`, unless that one has been
    over for as long as it took. 0 failures per source or user is no limit. No limit at all is
    for `trusted_sources`. The defaults are those of the configuration, declared here alone.
    """

    max_auth_attempts: int = 3
    lockout_duration: int = 60
    attempt_window: int = 60
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


@lru_cache(4096)
def _is_within(source: str, networks: tuple[Network, ...]) -> bool:
    if source.startswith("nonce:"):
        return False  # it only says that it is there
    network = ip_network(source)
    return any(
        each.version == network.version and network.subnet_of(each)  # type: ignore[arg-type]
        for each in networks
    )
