"""How this node's copy of User Info in PostgreSQL stands, as the process that keeps it tells."""

import json
from typing import NamedTuple

from sbcauth.monitoring import counts
from sbcauth.monitoring.rpc import Rpc

KEY = f"{counts.LISTED}users copy"
"""The key under which shared memory has a CopyState, as text."""


class CopyState(NamedTuple):
    """The copy is as the database was at `seen_at` (seconds since 1970), at this revision.

    `server` is the one that is followed; it is empty where none answers, and `error` says why. The
    copy has so many `users`. Since the start it could not be brought up to date `failures` times.
    """

    server: str
    revision: int
    seen_at: int
    error: str = ""
    users: int = 0
    failures: int = 0

    def encode(self) -> str:
        """Return it as text."""
        return json.dumps(self)


def running(rpc: Rpc) -> CopyState | None:
    """Return what the process tells, None where there is none; raises NotRunning, RpcError."""
    text = counts.value(rpc, KEY)
    return CopyState(*json.loads(str(text))) if text else None
