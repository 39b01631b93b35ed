"""What the processes of one server share: Kamailio's htables.

Their functions are looked up in KSR once, here: each look-up costs half as much as the call.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import KSR

from sbcauth.exceptions import Unavailable
from sbcauth.monitoring.counts import LISTED, TABLE, dead_key, event_key
from sbcauth.monitoring.in_force import KEY as IN_FORCE
from sbcauth.monitoring.in_force import InForce
from sbcauth.monitoring.measures import Measures
from sbcauth.policy.external_server import Answer
from sbcauth.policy.shared_state import Table, Value

T = TypeVar("T")

_TURN = f"{LISTED}turn"

_sht_inc = KSR.htable.sht_inc
_sht_get = KSR.htable.sht_get
_sht_setxi = KSR.htable.sht_setxi
_sht_setxs = KSR.htable.sht_setxs
_sht_rm = KSR.htable.sht_rm
_sht_lock = KSR.htable.sht_lock
_sht_unlock = KSR.htable.sht_unlock


class KamailioState:
    """SharedState in Kamailio's shared memory: one htable for each table."""

    get = staticmethod(_sht_get)
    increment = staticmethod(_sht_inc)

    def set(self, table: Table, key: str, value: Value, lifetime: int) -> None:
        """Keep `value` for `lifetime` seconds.

        An old text goes first, since Kamailio loses the lifetime of a text that gets longer;
        nobody looks in between, or a lockout would have a gap.
        """
        if isinstance(value, int):
            kept = _sht_setxi(table, key, value, lifetime)
        else:
            _sht_lock(table, key)
            try:
                _sht_rm(table, key)
                kept = _sht_setxs(table, key, value, lifetime)
            finally:
                _sht_unlock(table, key)
        if kept < 0:
            raise _not_kept(table)

    def remove(self, table: Table, key: str) -> None:
        """Forget the value, if there is one."""
        _sht_rm(table, key)

    def update(
        self, table: Table, key: str, lifetime: int, change: Callable[[int], tuple[int, T]]
    ) -> T:
        """Change a number while no other process can, and return what `change` says of it."""
        _sht_lock(table, key)
        try:
            new, result = change(_sht_get(table, key) or 0)
            if not new:
                _sht_rm(table, key)
            elif _sht_setxi(table, key, new, lifetime) < 0:
                raise _not_kept(table)
        finally:
            _sht_unlock(table, key)
        return result

    def update_text(
        self, table: Table, key: str, lifetime: int, change: Callable[[str], tuple[str, T]]
    ) -> T:
        """Change a text while no other process can, and return what `change` says of it."""
        _sht_lock(table, key)
        try:
            new, result = change(_sht_get(table, key) or "")
            if _sht_setxs(table, key, new, lifetime) < 0:
                raise _not_kept(table)
        finally:
            _sht_unlock(table, key)
        return result

    def count(self, event: str, kind: str, whose: str) -> None:
        """Count an event, for `sbcauth status`."""
        count(event_key(event, kind, whose))


class ExternalRecord:
    """What the process that asks remembers of the external servers, for `sbcauth status`."""

    def __init__(self, measures: Measures | None) -> None:
        self._measures = measures

    def answered(self, server: str, answer: Answer, seconds: float) -> None:
        """Count an answer; that there was none is one too."""
        count(event_key("external", answer, server))
        if self._measures and answer is not Answer.NONE:
            self._measures.asked_externally(seconds)

    def left_alone(self, server: str, seconds: float) -> None:
        """Note that a server will not be asked for so long; 0 when it has answered again."""
        until = int(time.time() + seconds) if seconds else 0
        KSR.htable.sht_sets(TABLE, dead_key(server), str(until))


def _not_kept(htable: Table) -> Unavailable:
    return Unavailable(
        f"shared memory is full, or kamailio.cfg lacks the htable {htable} as `sbcauth "
        "kamailio-snippet` has it"
    )


def count(key: str) -> None:
    """Count something under a key of sbcauth/monitoring/counts.py, for `sbcauth status`."""
    if _sht_inc(TABLE, key) == 1:
        enlist(key)


def enlist(key: str) -> None:
    """Make a new key known to `sbcauth status`."""
    number = _sht_inc(TABLE, LISTED)
    KSR.htable.sht_sets(TABLE, f"{LISTED}{number}", key)


def check_nonce_counts() -> None:
    """Raise Unavailable where kamailio.cfg lacks the table, or has it as it was before."""
    if _sht_inc(Table.NONCE_COUNTS, "check") < 0:
        raise _not_kept(Table.NONCE_COUNTS)
    _sht_rm(Table.NONCE_COUNTS, "check")


def set_in_force(in_force: InForce) -> None:
    """Tell `sbcauth status` and `reload` what this process works by."""
    KSR.htable.sht_sets(TABLE, IN_FORCE, in_force.encode())


@contextmanager
def turn() -> Iterator[bool]:
    """Enter what one process may do at a time; says whether it is this one's turn."""
    mine = _sht_inc(TABLE, _TURN) == 1
    try:
        yield mine
    finally:
        KSR.htable.sht_dec(TABLE, _TURN)


def is_told_first(key: str, value: str) -> bool:
    """Tell whether no process has told `value` under `key` yet; asked within one's `turn`."""
    if KSR.htable.sht_get(TABLE, f"{LISTED}{key}") == value:
        return False
    KSR.htable.sht_sets(TABLE, f"{LISTED}{key}", value)
    return True


def set_dialog_key(key: str) -> None:
    """Give the route block the key that it signs dialogs with, where it has a place for it."""
    if KSR.htable.sht_is_null(Table.KEYS, "dialog") == 1:
        KSR.htable.sht_sets(Table.KEYS, "dialog", key)
