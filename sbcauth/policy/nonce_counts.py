"""Replay protection: every nonce count is accepted once, over all worker processes.

Each count that is used up is an entry of its own in shared memory, made and judged in one step that
no other process can come between. So the order in which counts arrive does not matter: UDP reorders
requests, and some phones count from 0.
"""

from sbcauth.digest.nonces import UNIQUE
from sbcauth.exceptions import Unavailable
from sbcauth.policy.shared_state import SharedState, Table


class NonceCounts:
    """The nonce counts (RFC 7616, 3.4) that have been used.

    They are kept for longer than any nonce lives. Every method raises Unavailable.
    """

    def __init__(self, shared: SharedState) -> None:
        self._increment, self._get = shared.increment, shared.get

    def use(self, nonce: str, count: int) -> bool:
        """Use up `count`; tell whether it was still unused."""
        uses = self._increment(Table.NONCE_COUNTS, _key(nonce, count))
        if uses < 0:
            raise Unavailable("shared memory is full, and takes no further nonce count")
        return uses == 1

    def was_used(self, nonce: str, count: int) -> bool:
        """Tell whether `use` would refuse this count."""
        return bool(self._get(Table.NONCE_COUNTS, _key(nonce, count)))


def _key(nonce: str, count: int) -> str:
    return f"{nonce[UNIQUE]}{count:08x}"
