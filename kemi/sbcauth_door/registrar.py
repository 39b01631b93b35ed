"""Registrations without a transaction, where kamailio.cfg keeps them itself.

A transaction would absorb a REGISTER that comes again, at a third of what all of it costs. Without
one, a REGISTER whose nonce count is used up is looked for where it must have left its trace: in the
binding that has its Call-ID and CSeq (RFC 3261, 10.3). If it is there, the same request has been
carried out. It then goes on without its Contact, as a query: the registrar answers with what is
registered and changes nothing, whatever else somebody may have made of the request.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2s
from math import inf
from operator import itemgetter
from time import time
from typing import Any

import KSR

from sbcauth.digest.text import to_bytes
from sbcauth.exceptions import Unavailable
from sbcauth.policy.decision import Reject
from sbcauth.policy.dialogs import Place
from sbcauth.policy.ip_groups import IPGroup
from sbcauth.policy.registration import MOST_FIELDS, fault
from sbcauth.policy.registrations import Binding
from sbcauth.policy.request import Request
from sbcauth.policy.shared_state import Table
from sbcauth.policy.targets import place_of
from sbcauth.policy.unproved import unescaped
from sbcauth_door import request as ksr

TABLE = ksr.definition("SBCAUTH_REGISTRAR")
"""The usrloc table in which kamailio.cfg keeps the registrations that we accept, if it does."""

_MODULES = ("registrar", "textopsx")
_PROFILE = "sbcauth"
_WHERE = "sbcauth_where"
_MOST_BINDINGS = 64


def check() -> None:
    """Raise Unavailable where kamailio.cfg lacks a module that this needs."""
    missing = [name for name in _MODULES if not hasattr(KSR, name)]
    if TABLE and missing:
        raise Unavailable(
            f"SBCAUTH_REGISTRAR needs the module {missing[0]}.so, loaded before app_python3.so"
        )


class KamailioRegistrations:
    """Registrations in the table of Kamailio's registrar."""

    def of(self, user: str, realm: str) -> Sequence[Binding]:
        """Return the Contacts of an address of record, where the route block keeps them."""
        if not TABLE:
            return ()
        with _fetched(f"sip:{ksr.escaped(user)}@{realm}") as numbers:
            return tuple(filter(None, map(_binding, numbers)))

    def owner_of(self, address: str, port: int, transport: str) -> tuple[str, str]:
        """Return the address of record that registered from there last, and its IP Group."""
        flow = f"{address}:{port}" if transport == "udp" else address
        try:
            owner = str(KSR.htable.sht_get(_FLOWS, flow) or "")
        except UnicodeDecodeError:
            return "", ""
        account, _, ip_group = owner.partition(" ")
        return (unescaped(account), ip_group) if "@" in account else ("", "")


_FLOWS = Table.FLOWS


@contextmanager
def _fetched(aor: str, profile: str = _PROFILE) -> Iterator[list[int]]:
    """Have the bindings of an address of record at hand, and yield their numbers.

    One that was taken away stays in the list, expired, until the database has been told.
    """
    if aor.startswith("sip:@") or KSR.registrar.reg_fetch_contacts(TABLE, aor, profile) < 0:
        yield []  # nobody's; Kamailio would call a user that is none an error
        return
    try:
        count = min(KSR.pv.get(f"$(ulc({profile}=>count))") or 0, _MOST_BINDINGS)
        now = time()
        yield [number for number in range(count) if _expiry(number, profile) > now]
    finally:
        KSR.registrar.reg_free_contacts(profile)


def _expiry(number: int, profile: str) -> float:
    return float(_attribute("expires", number, profile) or inf)


def _attribute(name: str, number: int, profile: str = _PROFILE) -> Any:
    try:
        return KSR.pv.get(f"$(ulc({profile}=>{name})[{number}])")
    except UnicodeDecodeError:
        return None


def _binding(number: int) -> Binding | None:
    """Return where a binding is reached: by its flow, if it has no Path."""
    received = str(_attribute("received", number) or _attribute("addr", number) or "")
    found = _RECEIVED.match(received)
    if not found:
        return None
    address, port, transport = found.groups()
    return Binding(
        address.strip("[]"),
        int(port or 5060),
        (transport or "udp").lower(),
        max(0, int(_attribute("conid", number) or 0)),
        bool(_attribute("path", number)),
    )


_RECEIVED = re.compile(
    r"sips?:(?:[^@]*@)?(\[[^]]*\]|[^:;>]*)(?::(\d+))?(?:.*?;transport=(\w+))?", re.IGNORECASE
)


def refusal(group: IPGroup, username: str) -> Reject | None:
    """Return how the REGISTER at hand is refused that cannot be kept as it is, None if it can."""
    contacts, required = ksr.fields("Contact", MOST_FIELDS), ksr.fields("Require")
    user = ksr.text("tU")
    return fault(user, contacts, required, _is_ours, group.name, username)


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


def make_room(aor: str) -> bool:
    """Take one binding away for another: of the same instance, of a lost connection, the oldest."""
    instance = _INSTANCE.search(ksr.first("Contact"))
    with _fetched(aor) as numbers:
        bindings = [
            (
                not (instance and _attribute("instance", number) == instance[1]),
                _is_connected(_attribute("conid", number)),
                int(_attribute("modified", number) or 0),
                str(_attribute("ruid", number)),
            )
            for number in numbers
        ]
    if not bindings:
        return False
    return bool(KSR.registrar.unregister_ruid(TABLE, aor, min(bindings)[3]) > 0)


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
        aors.append(f"{ksr.escaped(user)}@{realm}")
    return any(_go_to_contact(f"sip:{aor}", target) for aor in aors)


def _go_to_contact(aor: str, target: str) -> bool:
    with _fetched(aor) as numbers:
        for number in numbers:
            reached = str(_attribute("received", number) or "")
            is_called = _of_uri(str(_attribute("addr", number))) == target
            if is_called and reached and not _attribute("path", number):
                return bool(KSR.pv.sets("$du", reached) > 0)
    return False


def _of_uri(uri: str) -> str:
    """Return user, host and port of a SIP URI, as they are compared (RFC 3261, 19.1.4)."""
    user, _, place = uri.partition(";")[0].partition("?")[0].partition(":")[2].rpartition("@")
    return f"{user}@{place.lower()}"


def set_limits(group: IPGroup) -> None:
    """Tell the registrar how many Contacts the address of record may have."""
    if group.max_contacts != _USUAL_CONTACTS:
        KSR.pv.seti("$xavp(sbcauth_registrar=>max_contacts)", group.max_contacts)
    if group.max_registered_users:
        KSR.pv.sets("$avp(sbcauth_limited)", "1")


def tell_limits(groups: Iterable[IPGroup]) -> None:
    """Have the route block ask for IP Groups whose registrations have limits of their own."""
    KSR.htable.sht_reset(_LIMITS)
    for group in groups:
        if group.max_contacts != _USUAL_CONTACTS or group.max_registered_users:
            KSR.htable.sht_seti(_LIMITS, group.name, 1)


def has_room_for(aor: str, group: IPGroup) -> bool:
    """Tell whether one more address of record may be registered in an IP Group, or is already."""
    if not group.max_registered_users:
        return True
    prefix = _prefix(group.name)
    if KSR.htable.sht_get(_REGISTERED, f"{prefix}{_short(aor)}"):
        return True
    count = int(KSR.pv.get(f"$shtcn({_REGISTERED}=>%~{prefix})") or 0)
    return count < group.max_registered_users


def note_registered(aor: str, ip_group: str) -> None:
    """Keep in mind whether an address of record is registered, for as long as it may be."""
    key = f"{_prefix(ip_group)}{_short(aor)}"
    with _fetched(f"sip:{aor}") as numbers:
        if numbers:
            KSR.htable.sht_seti(_REGISTERED, key, 1)
        else:
            KSR.htable.sht_rm(_REGISTERED, key)


def _prefix(ip_group: str) -> str:
    return f"{_short(ip_group)}."


def _short(name: str) -> str:
    """Return a short key without what means something to Kamailio."""
    return blake2s(to_bytes(name), digest_size=12).hexdigest()


_LIMITS, _REGISTERED = Table.LIMITS, Table.REGISTERED
_USUAL_CONTACTS = 10
"""How many Contacts kamailio.cfg lets an address of record have."""


def has_carried_out(local_user: str, realm: str) -> bool:
    """Tell whether the registrar has a binding of the user by the very request at hand.

    It comes from where the binding was made, or by the Path of an edge proxy: who has overheard it
    elsewhere is told no Contacts. `local_user` is as it stands in a URI.
    """
    aor = f"sip:{local_user}@{realm}"
    try:
        with _fetched(aor) as numbers:
            request = KSR.kx.get_callid(), int(KSR.pv.get("$cs") or 0)
            return any(_request_of(n) == request and _is_from_here(n) for n in numbers)
    except UnicodeDecodeError:
        return False


def is_registered_here(request: Request, local_user: str, realm: str) -> bool:
    """Tell whether a user is registered from the very flow that the request comes by.

    What is behind an edge proxy (a Path) has no flow of its own here. Without a registrar in
    kamailio.cfg nobody is.
    """
    return any(each.is_flow_of(request) for each in KamailioRegistrations().of(local_user, realm))


def places(local_user: str, realm: str) -> list[Place]:
    """Return where a user is registered now, the newest first; `local_user` as in a URI.

    A binding whose connection has gone is nowhere.
    """
    if not TABLE:
        return []
    try:
        with _fetched(f"sip:{local_user}@{realm}", _WHERE) as numbers:
            found = [
                (_attribute("modified", number, _WHERE) or 0, place)
                for number in numbers
                if (place := _place_of(number)) and not _has_hung_up(number)
            ]
    except UnicodeDecodeError:
        return []
    return [place for _, place in sorted(found, key=itemgetter(0), reverse=True)]


def _has_hung_up(number: int) -> bool:
    """Tell whether the connection of a binding has gone."""
    connection = KSR.pv.get(f"$(ulc({_WHERE}=>conid)[{number}])") or 0
    return connection > 0 and hasattr(KSR, "tcpops") and KSR.tcpops.tcp_conid_alive(connection) < 0


def _place_of(number: int, profile: str = _WHERE) -> Place | None:
    """Return where the phone of a binding is reached: by its Path, or where it registered from."""
    for name in ("path", "received", "addr"):
        uri = KSR.pv.get(f"$(ulc({profile}=>{name})[{number}])")
        if uri:
            return place_of(uri.partition(";g=")[0].strip("<").partition(">")[0])
    return None


def _is_from_here(number: int) -> bool:
    """Tell whether the request comes from where a binding was made; any may by its Path."""
    if KSR.pv.get(f"$(ulc({_PROFILE}=>path)[{number}])"):
        return True
    made_at = _place_of(number, _PROFILE)
    source = Place.of(KSR.kx.get_proto(), KSR.kx.get_srcip(), KSR.kx.get_srcport())
    return made_at is not None and made_at.admits(source)


def make_query() -> int:
    """Have the request ask for its bindings, and change none (RFC 3261, 10.2.3).

    Above zero it does. Below zero Kamailio has left it as it was: it would get too long, or has a
    Record-Route of ours by now. At zero it is not to be touched any more.
    """
    if KSR.textops.remove_hf("Contact") < 0:
        return -1
    changed: int = KSR.textopsx.msg_apply_changes()
    return -1 if changed > 0 and KSR.hdr.is_present("Contact") > 0 else changed


def _request_of(number: int) -> tuple[str, int]:
    """Return the Call-ID and CSeq of the request that a binding was last renewed by."""
    get = KSR.pv.get
    return (
        get(f"$(ulc({_PROFILE}=>callid)[{number}])"),
        int(get(f"$(ulc({_PROFILE}=>cseq)[{number}])") or 0),
    )
