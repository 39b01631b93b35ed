"""What is asked of Kamailio's registrar: to keep a binding, take one away, or go to one."""

import re
from collections.abc import Sequence

import KSR

from sbcauth.exceptions import Unavailable
from sbcauth.policy.decision import Reject
from sbcauth.policy.ip_groups import IPGroup
from sbcauth.policy.registration import MOST_FIELDS, fault
from sbcauth_door import request as ksr
from sbcauth_door import user_parts
from sbcauth_door.bindings import TABLE, KamailioRegistrations, attribute, fetched

_MODULES = ("registrar", "textopsx")


def check() -> None:
    """Raise Unavailable where kamailio.cfg lacks a module that this needs."""
    missing = [name for name in _MODULES if not hasattr(KSR, name)]
    if TABLE and missing:
        raise Unavailable(
            f"SBCAUTH_REGISTRAR needs the module {missing[0]}.so, loaded before app_python3.so"
        )


def refusal(group: IPGroup, username: str, user: str) -> Reject | None:
    """Return how the REGISTER at hand is refused that cannot be kept as it is, None if it can.

    `user` is whom it would be kept for, empty where that is nobody.
    """
    contacts, required = ksr.fields("Contact", MOST_FIELDS), ksr.fields("Require")
    if _is_ours(ksr.text("su")):  # forged: a phone is reached where it registered from
        contacts = (*contacts, f"<{ksr.text('su')}>")
    return fault(user, contacts, required, _is_ours, group.name, username, call_id=ksr.text("ci"))


def _is_ours(uri: str) -> bool:
    return bool(KSR.is_myself(uri))


def settle_path(group: IPGroup) -> None:
    """Believe the Path of an edge proxy, and nobody else's (RFC 3327, 6.1).

    A phone is reached where it registered from, or by its edge proxy.
    """
    if KSR.hdr.is_present("Path") < 0:
        return
    if group.is_edge(ksr.text("si")):
        KSR.pv.sets("$avp(sbcauth_by_path)", "1")
    elif KSR.textops.remove_hf("Path") > 0 and KSR.textopsx.msg_apply_changes() < 0:
        raise Unavailable("the Path of a stranger cannot be taken out")


def make_room(aor: str, at_most: int) -> bool:
    """Have an address of record that may have so many bindings get another; tell whether it may.

    One goes: that of the same instance, of a lost connection, or the oldest. More do where other
    nodes have just told of theirs. What another process has taken away meanwhile is gone, too.
    """
    instance = _INSTANCE.search(ksr.first("Contact"))
    bindings = [
        (
            not (instance and attribute("instance", number) == instance[1]),
            _is_connected(attribute("conid", number)),
            int(attribute("modified", number) or 0),
            str(attribute("ruid", number)),
        )
        for number in fetched(aor)
    ]
    going = sorted(bindings)[: max(1, len(bindings) - at_most + 1)]
    for *_, ruid in going:
        KSR.registrar.unregister_ruid(TABLE, aor, ruid)
    return bool(going)


_INSTANCE = re.compile(r'\+sip\.instance\s*=\s*"([^"]*)"', re.IGNORECASE)


def _is_connected(connection: object) -> bool:
    """Tell whether a binding can still be reached; over UDP nobody knows better."""
    number = int(str(connection or 0))
    return number <= 0 or bool(KSR.tcpops.tcp_conid_alive(number) > 0)


def find_contact(realms: Sequence[str]) -> bool:
    """Have the request go to the binding whose Contact it calls, if that is in one of `realms`.

    It is looked for under the user that it names, and under who registered from there.
    """
    target = _of_uri(ksr.text("ru"))
    host, port = target.rpartition("@")[2], ksr.text("rp")
    owner, _ = KamailioRegistrations().owner_of(host.partition(":")[0], int(port or 5060), "udp")
    user = ksr.text("rU")
    aors = [f"{user}@{realm}" for realm in realms] if user else []
    if owner and owner.rpartition("@")[2] in realms:
        user, _, realm = owner.rpartition("@")
        aors.append(f"{user_parts.escaped(user)}@{realm}")
    return any(_go_to_contact(f"sip:{aor}", target) for aor in aors)


def _go_to_contact(aor: str, target: str) -> bool:
    for number in fetched(aor):
        reached = str(attribute("received", number) or "")
        is_called = _of_uri(str(attribute("addr", number))) == target
        if is_called and reached and not attribute("path", number):
            return bool(KSR.pv.sets("$du", reached) > 0)
    return False


def _of_uri(uri: str) -> str:
    """Return user, host and port of a SIP URI, as they are compared (RFC 3261, 19.1.4)."""
    user, _, place = uri.partition(";")[0].partition("?")[0].partition(":")[2].rpartition("@")
    return f"{user}@{place.lower()}"
