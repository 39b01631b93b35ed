"""Emergency calls: anybody's who is classified, before he is asked for anything.

They are opt in, and limited in rate: a call beyond the limit is as any other, so that it is asked
for credentials. A count is kept for a minute.
"""

from functools import lru_cache
from urllib.parse import unquote

from sbcauth.exceptions import Unavailable
from sbcauth.policy.ip_groups import Emergency
from sbcauth.policy.request import Request, source_of, user_and_host
from sbcauth.policy.shared_state import SharedState, Table

MOST_OF_A_SOURCE = 10
"""Emergency calls of one source in a minute."""
MOST_OF_ALL = 100
"""Emergency calls of all sources in a minute."""
_MINUTE = 60  # seconds


class Emergencies:
    """Tells which calls are emergency calls, and counts them."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared

    def admits(self, emergency: Emergency, request: Request, now: int) -> bool:
        """Tell whether a request is an emergency call, and not one too many.

        Where nobody can count, it is a call as any other.
        """
        if request.method != "INVITE" or request.in_dialog:
            return False
        if not _called(request.request_uri) & emergency.numbers:
            return False
        source, minute = source_of(request.source_address), now // _MINUTE
        try:
            return self._count(f"{source} {minute}") <= MOST_OF_A_SOURCE and (
                self._count(f"* {minute}") <= MOST_OF_ALL
            )
        except Unavailable:
            return False

    def _count(self, whose: str) -> int:
        def one_more(count: int) -> tuple[int, int]:
            return count + 1, count + 1

        key = f"emergency {whose}"
        return self._shared.update(Table.ATTEMPTS, key, 2 * _MINUTE, one_more)


@lru_cache(maxsize=1000)
def _called(uri: str) -> frozenset[str]:
    """Return the numbers and URNs that a Request-URI stands for.

    `urn:service:sos.fire` is a kind of `urn:service:sos` (RFC 5031, 4.2).
    """
    lower = uri.lower()
    if lower.startswith("urn:"):
        parts = lower.partition(";")[0].split(".")
        return frozenset(".".join(parts[: end + 1]) for end in range(len(parts)))
    if lower.startswith("tel:"):
        return frozenset((lower[4:].partition(";")[0],))
    user = unquote(user_and_host(uri)[0]).partition(";")[0]
    return frozenset((user.lower(),)) if user else frozenset()
