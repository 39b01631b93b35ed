"""The last outcomes that a server keeps in shared memory: there is no journal under `make run`.

Each reason has a ring of its own, so that a flood of one does not push out the others. An entry is
the time in seconds since 1970 and the line that the log has.
"""

from collections.abc import Iterator
from datetime import datetime

from sbcauth.monitoring.counts import LISTED, value
from sbcauth.monitoring.rpc import Rpc
from sbcauth.monitoring.why import Outcome, parse
from sbcauth.policy.decision import Reason

SIZE = 64
"""So many outcomes are kept for each reason."""


def counter_key(reason: str) -> str:
    """Return the key of how many outcomes of this reason have been kept."""
    return f"{LISTED}recent {reason}"


def entry_key(reason: str, number: int) -> str:
    """Return the key of the outcome with this number, counted from 1."""
    return f"{LISTED}recent {reason} {number % SIZE}"


def entry(now: float, line: str) -> str:
    """Return what is kept of an outcome at `now` (seconds since 1970)."""
    return f"{now:.3f} {line}"


def recent(rpc: Rpc) -> list[Outcome]:
    """Return the outcomes that a running server has kept, the newest last.

    Raises NotRunning and RpcError.
    """
    found = sorted(entry for reason in Reason for entry in _entries(rpc, reason))
    return [outcome for _, line in found if (outcome := parse(line))]


def _entries(rpc: Rpc, reason: Reason) -> Iterator[tuple[float, str]]:
    """Yield time and line of each outcome of a reason."""
    kept = int(value(rpc, counter_key(reason)) or 0)
    for number in range(max(1, kept - SIZE + 1), kept + 1):
        time, _, line = str(value(rpc, entry_key(reason, number)) or "").partition(" ")
        if line:
            at = float(time)
            yield at, f"{datetime.fromtimestamp(at).astimezone().isoformat('T', 'seconds')} {line}"
