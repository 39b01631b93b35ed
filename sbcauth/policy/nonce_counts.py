"""Replay protection: every nonce count is accepted once, over all worker processes.

Each count that is used up is an entry of its own in shared memory, made and judged in one step that
no other process can come between. So the order in which counts arrive does not matter: UDP reorders
requests, and some phones count from 0.
"""

from functools import partial

from sbcauth.digest.credentials import Credentials
from sbcauth.digest.nonces import UNIQUE
from sbcauth.exceptions import Unavailable
from sbcauth.policy.shared_state import SharedState, Table


class NonceCounts:
    """The nonce counts (RFC 7616, 3.4) that have been used, by their keys.

    They are kept for longer than any nonce lives. Every method raises Unavailable. `count_use` is
    `use` without its judgement: it returns how often a nonce count has been used, 1 for the first
    time, and is one call less on the usual way.
    """

    def __init__(self, shared: SharedState) -> None:
        self.count_use = partial(shared.increment, Table.NONCE_COUNTS)
        self._get = shared.get

    def use(self, key: str) -> bool:
        """Use up a nonce count; tell whether it was still unused."""
        uses = self.count_use(key)
        check_kept(uses)
        return uses == 1

    def was_used(self, key: str) -> bool:
        """Tell whether `use` would refuse this count."""
        return bool(self._get(Table.NONCE_COUNTS, key))


def check_kept(uses: int) -> None:
    """Raise Unavailable where what `count_use` has returned is no number of uses."""
    if uses < 0:
        raise Unavailable("shared memory is full, and takes no further nonce count")


def key_of(credentials: Credentials) -> str:
    """Return the key of a nonce count: what no other nonce, and no other count of it, has."""
    return f"{credentials.nonce[UNIQUE]}{credentials.nonce_count:08x}"
