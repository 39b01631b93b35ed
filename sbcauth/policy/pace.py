"""How often one address of record is accepted: none may fill shared memory with its nonce counts.

Each request that is accepted leaves an entry that outlives its nonce. A phone has some twenty of
them; who knows one password, and sends what it can, would fill the memory of all. So each process
counts what it accepts, and ends it far above what a busy trunk needs.

The counts are an array of fixed size, in which a few addresses of record may share one: that costs
a process 256 KB, whoever comes, and no shared memory. Python's seed is secret, so that nobody can
look for those that share another's.
"""

from array import array

from sbcauth.policy.shared_state import Table

MOST_ACCEPTED = 30_000
"""Requests of one address of record that a process accepts in one stretch of time."""
_STRETCH = Table.NONCE_COUNTS.lifetime
"""Seconds that a nonce count is kept."""
_PLACES = 1 << 16


class Pace:
    """Counts what this process accepts."""

    def __init__(self) -> None:
        self._stretch = 0
        self._counts = array("I")

    def is_too_fast(self, ip_group: str, local_user: str, now: int) -> bool:
        """Count a request of an address of record at `now` (seconds); tell whether it is too many.

        It is so for the rest of the stretch of time.
        """
        if now // _STRETCH != self._stretch:
            self._stretch = now // _STRETCH
            self._counts = array("I", bytes(4 * _PLACES))
        place = hash((ip_group, local_user)) & _PLACES - 1
        count = self._counts[place] = self._counts[place] + 1
        return count > MOST_ACCEPTED
