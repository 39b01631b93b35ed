"""What kamailio.cfg is told of a request, and what it defines itself.

The route block reads the `$avp(sbcauth_…)`: who has sent a request, on whose word it goes on, and
where it may go. Where shared memory is full, a request must not go on with half of that.
"""

from enum import IntEnum

import KSR

from sbcauth.exceptions import Unavailable
from sbcauth.policy.words import Word
from sbcauth.service import Route
from sbcauth_door.request import text
from sbcauth_door.user_parts import escaped

_set = KSR.pv.sets


class ReturnCode(IntEnum):
    """What `python_exec` returns to the route block."""

    NOTHING_YET = -1
    ANSWERED = 0
    PASSED = 1
    ACCEPTED = 2
    RENEWED = 4
    """A registration that may be saved at once: the same Contact as before, from the same place."""


def definition(name: str) -> str:
    """Return what kamailio.cfg defines `name` as, or nothing."""
    return str(KSR.kx.get_def(name) or "").strip('"')


def check_modules() -> None:
    """Raise Unavailable where kamailio.cfg lacks a module that is missed only later."""
    if not hasattr(KSR, "tmx"):
        raise Unavailable("the module tmx.so has to be loaded before app_python3.so")


def admit(
    username: str, local_user: str, ip_group: str, realm: str, word: str = Word.DIGEST
) -> None:
    """Tell the route block who the sender is; raises Unavailable.

    `local_user` is as it stands in a URI.
    """
    if (
        _set("$avp(sbcauth_word)", word) != 1
        or _set("$avp(sbcauth_username)", username) != 1
        or _set("$avp(sbcauth_local_user)", local_user) != 1
        or _set("$avp(sbcauth_ip_group)", ip_group) != 1
        or _set("$avp(sbcauth_realm)", realm) != 1
    ):
        raise half_told()


def set_word(word: Word | None) -> None:
    """Tell the route block on whose word the request goes on; raises Unavailable."""
    if word and _set("$avp(sbcauth_word)", word) != 1:
        raise half_told()


def set_identity(number: str, realm: str) -> None:
    """Tell the route block how the sender is known to servers; raises Unavailable."""
    if number and _set("$avp(sbcauth_identity)", f"sip:{escaped(number)}@{realm}") != 1:
        raise half_told()


def set_local_user(local_user: str) -> None:
    """Tell the route block whose word it is, where From does not say it; raises Unavailable."""
    if local_user and _set("$avp(sbcauth_local_user)", escaped(local_user)) != 1:
        raise half_told()


def set_origin(ip_group: str, realm: str) -> None:
    """Tell the route block which IP Group the request is from; raises Unavailable."""
    if _set("$avp(sbcauth_ip_group)", ip_group) != 1 or _set("$avp(sbcauth_realm)", realm) != 1:
        raise half_told()


def set_route(route: Route) -> None:
    """Tell the route block where the request may go; raises Unavailable."""
    if route.out_of_reach and _set("$avp(sbcauth_out_of_reach)", "1") != 1:
        raise half_told()
    if route.apart:
        KSR.pv.unset("$avp(sbcauth_realm)")
        for realm in reversed(route.realms_of(text("rd"))):  # the last one is the first
            if _set("$avp(sbcauth_realm)", realm) != 1:
                raise half_told()
    if not route.route_to:
        return
    avps = [("route_to", route.route_to), ("peer", route.peer)]
    avps += (("next_hop", uri) for uri in reversed(route.next_hops))  # the last one is the first
    for name, value in avps:
        if value and _set(f"$avp(sbcauth_{name})", value) != 1:
            raise half_told()


def half_told() -> Unavailable:
    """Return the error: the route block must not go on with half of what it is told."""
    return Unavailable("shared memory is full")
