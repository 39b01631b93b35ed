"""Requests that wait until an external server has answered: Kamailio's suspended transactions."""

import KSR

from sbcauth.exceptions import Unavailable


def suspend(patience: float) -> tuple[int, int]:
    """Put the request aside, and return by which two numbers its transaction is found again.

    It is answered 408 by itself where nobody resumes it for `patience` seconds.
    """
    KSR.tm.t_set_fr(0, int(patience * 1000))
    if KSR.tmx.t_suspend() < 0:
        raise Unavailable("the request cannot be suspended")
    return KSR.pv.get("$T(id_index)"), KSR.pv.get("$T(id_label)")


def name_suspended(index: int, label: int) -> None:
    """Tell the route block which request can go on; Kamailio's variables are signed."""
    KSR.pv.seti("$var(sbcauth_index)", _signed(index))
    KSR.pv.seti("$var(sbcauth_label)", _signed(label))


def resume() -> None:
    """Give a request that goes on the timers of any other."""
    KSR.tm.t_reset_fr()


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number
