"""How often one address of record is accepted: none may fill shared memory with its nonce counts.

Each request that is accepted leaves an entry that outlives its nonce. A phone has some twenty of
them; who knows one password, and sends what it can, would fill the memory of all. So each process
counts what it accepts, and ends it far above what a busy trunk needs.

One in so many is counted, and stands for the others. Which one, Python's hash says: its seed is
secret, so that nobody can send only what is not counted. The counts are an array of fixed size, in
which a few addresses of record may share one: that costs a process 256 KB, whoever comes, and no
shared memory. Nobody can look for those that share another's, either.
"""

from array import array

from sbcauth.exceptions import Unavailable
from sbcauth.policy.shared_state import Table

MOST_ACCEPTED = 30_000
"""Requests of one address of record that a process accepts in one stretch of time, roughly."""
_TOO_FAST = 60
"""Seconds until whoever was accepted too often is to try again."""
_STRETCH = Table.NONCE_COUNTS.lifetime
"""Seconds that a nonce count is kept."""
_PLACES = 1 << 16
SAMPLE = 16
"""One request in so many is counted: whose nonce count has a key with a hash that it divides."""


class Pace:
    """Counts what this process accepts; `stopped` are the places of those that were too fast."""

    def __init__(self) -> None:
        self.stopped: set[int] = set()
        self._stretch = 0
        self._counts = array("I")

    def check(self, ip_group: str, local_user: str, nonce_count: str, now: int) -> None:
        """Count a request of an address of record at `now` (seconds), if it is sampled.

        Raises Unavailable where that has had too many, for the rest of the stretch of time. It need
        not be called for what is not sampled while nobody is stopped.
        """
        if now // _STRETCH != self._stretch:
            self._stretch = now // _STRETCH
            self._counts = array("I", bytes(4 * _PLACES))
            self.stopped.clear()
        place = hash((ip_group, local_user)) & _PLACES - 1
        if not hash(nonce_count) % SAMPLE:
            self._counts[place] += SAMPLE
            if self._counts[place] > MOST_ACCEPTED:
                self.stopped.add(place)
        if place in self.stopped:
            raise Unavailable(f"{MOST_ACCEPTED} requests accepted in ten minutes", _TOO_FAST)
