"""What the processes of a running server count together, in the htable `sbcauth_outcomes`.

Every outcome is counted by IP Group and reason, by whichever process decides; so are lockouts, and
the answers of external servers. The sum over all processes is there at any time.

Kamailio's answer to `htable.dump` must fit into a datagram, and its numbers have 32 bits. So the
process that counts a key to 1 also enters the key in a list, in the same table: `#` is how long
the list is, `#1` its first key. A key that stands there twice has been counted past 2^32 once.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from sbcauth.monitoring.rpc import Rpc, RpcError
from sbcauth.policy.shared_state import Table

TABLE = Table.OUTCOMES
LISTED = "#"
"""The key of how many keys are listed; followed by a number, that of a listed key."""
PROCESSES = "#processes"
"""The key of how many processes have begun."""
MEASURES = "#measures"
"""The key of what `sbcauth.measures` has, as text."""

LOST = "#lost"
"""The key of how many outcomes the log has not taken."""

_EVENT = "@"
_WRAPS_AT = 1 << 32


class Outcome(NamedTuple):
    """How often requests of an IP Group were decided for one reason."""

    ip_group: str
    reason: str
    times: int


class Lockouts(NamedTuple):
    """How often a pair, a source or a user (`scope`) of an IP Group was locked out."""

    ip_group: str
    scope: str
    times: int


class ExternalAnswers(NamedTuple):
    """How often an external server gave one answer; `none` is that it did not in time."""

    server: str
    answer: str
    times: int


class Counts(NamedTuple):
    """Everything that was counted since the server started."""

    outcomes: tuple[Outcome, ...]
    lockouts: tuple[Lockouts, ...]
    external: tuple[ExternalAnswers, ...]
    failed_attempts: int = 0


def event_key(event: str, kind: str, whose: str) -> str:
    """Return the key under which other events are counted: `lockout`, `attempt`, `external`."""
    return f"{_EVENT}{event} {kind} {whose}"


def dead_key(server: str) -> str:
    """Return the key of when an external server is asked again (seconds since 1970)."""
    return f"{LISTED}dead {server}"


def read(rpc: Rpc) -> Counts:
    """Return what has been counted; raises NotRunning and RpcError."""
    outcomes: list[Outcome] = []
    lockouts: list[Lockouts] = []
    external: list[ExternalAnswers] = []
    failed_attempts = 0
    for key, times in _counted(rpc):
        kind, _, whose = key.partition(" ")
        match kind:
            case "@lockout":
                scope, _, ip_group = whose.partition(" ")
                lockouts.append(Lockouts(ip_group, scope, times))
            case "@attempt":
                failed_attempts += times
            case "@external":
                answer, _, server = whose.partition(" ")
                external.append(ExternalAnswers(server, answer, times))
            case reason:
                outcomes.append(Outcome(whose, reason, times))
    return Counts(
        tuple(sorted(outcomes)), tuple(sorted(lockouts)), tuple(sorted(external)), failed_attempts
    )


def _counted(rpc: Rpc) -> Iterator[tuple[str, int]]:
    """Yield each key and how often it was counted."""
    listed = range(1, int(value(rpc, LISTED) or 0) + 1)
    keys = (value(rpc, f"{LISTED}{number}") for number in listed)
    for key, rounds in Counter(filter(None, keys)).items():
        count = int(value(rpc, str(key)) or 0)
        yield str(key), max(count, count % _WRAPS_AT + (rounds - 1) * _WRAPS_AT)


def value(rpc: Rpc, key: str) -> int | str | None:
    """Return what is kept under `key`, or None where there is nothing (yet)."""
    try:
        found: int | str = rpc.call("htable.get", TABLE, key)["item"]["value"]
    except RpcError as error:
        if "exist" in str(error):
            return None
        raise
    return found
