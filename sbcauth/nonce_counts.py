"""Replay protection: every nonce count is accepted once, over all worker processes.

What is kept of a nonce is one number: the highest count used, and which of the `_WINDOW`
counts up to it were. A higher count is new. One within the window that was not used is
accepted too, since UDP reorders requests; everything older is refused.
"""

from sbcauth.shared_state import SharedState, Table

_WINDOW = 16
_WINDOW_MASK = (1 << _WINDOW) - 1
MAX_NONCE_COUNT = (1 << 31 - _WINDOW) - 1
"""The highest count that is accepted; after it the phone is given a new nonce."""


class NonceCounts:
    """The nonce counts (RFC 7616, 3.4) that have been used."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared

    def use(self, nonce: str, count: int, lifetime: int) -> bool:
        """Use up `count`, for `lifetime` seconds at least; tell whether it was still unused."""

        def claim(record: int) -> tuple[int, bool]:
            if _was_used(record, count):
                return record, False
            highest, used = record >> _WINDOW, record & _WINDOW_MASK
            if count <= highest:
                return record | 1 << highest - count, True
            used = used << min(count - highest, _WINDOW) & _WINDOW_MASK
            return count << _WINDOW | used | 1, True

        return self._shared.update(Table.NONCE_COUNTS, nonce, lifetime, claim)

    def was_used(self, nonce: str, count: int) -> bool:
        """Tell whether `use` would refuse this count."""
        return _was_used(int(self._shared.get(Table.NONCE_COUNTS, nonce) or 0), count)


def _was_used(record: int, count: int) -> bool:
    if not 0 < count <= MAX_NONCE_COUNT:
        return True
    behind = (record >> _WINDOW) - count
    return behind >= _WINDOW or (behind >= 0 and bool(record >> behind & 1))
