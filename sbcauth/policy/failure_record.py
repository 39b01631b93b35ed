"""The record of failures in shared memory: one number, of how many and when the last one was.

Its lower bits are seconds since 1970, as far as they tell two times within a window apart; above
them is the count, and in that of a pair a mark.
"""

from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.claimants import Scope

TIME_BITS = 17  # 36 hours, far more than any window
_TIME_MASK = (1 << TIME_BITS) - 1
LENIENT = 1 << 13
"""Marks the count of a pair that has answered with its password before; above MAX_ATTEMPTS."""


def record_of(attempts: int, now: int) -> int:
    """Return the record of so many attempts, with their mark, the last of them at `now`."""
    return attempts << TIME_BITS | now & _TIME_MASK


def attempts_in(record: int, limit: AttemptLimit, now: int) -> int:
    """Return the attempts in a record, with their mark; none where they are too old."""
    attempts, last = record >> TIME_BITS, record & _TIME_MASK
    # Above half of the time, another process's clock read a second more.
    return 0 if limit.attempt_window < (now - last) & _TIME_MASK < _TIME_MASK // 2 else attempts


def flag_of(scope: Scope) -> int:
    """Return the bit of a count that is a mark and none of its digits."""
    return LENIENT if scope is Scope.PAIR else 0
