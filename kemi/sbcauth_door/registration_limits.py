"""How many Contacts an address of record may have, and how many of these an IP Group."""

from collections.abc import Iterable
from hashlib import blake2s

import KSR

from sbcauth.digest.text import to_bytes
from sbcauth.policy.ip_groups import USUAL_CONTACTS, IPGroup
from sbcauth.policy.shared_state import Table
from sbcauth_door.bindings import fetched

_LIMITS, _REGISTERED = Table.LIMITS, Table.REGISTERED


def set_limits(group: IPGroup) -> None:
    """Tell the registrar how many Contacts the address of record may have."""
    if group.max_contacts != USUAL_CONTACTS:
        KSR.pv.seti("$xavp(sbcauth_registrar=>max_contacts)", group.max_contacts)
    if group.max_registered_users:
        KSR.pv.sets("$avp(sbcauth_limited)", "1")


def tell_limits(groups: Iterable[IPGroup]) -> None:
    """Have the route block ask for IP Groups whose registrations have limits of their own."""
    KSR.htable.sht_reset(_LIMITS)
    for group in groups:
        if group.has_limits:
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
    if fetched(f"sip:{aor}"):
        KSR.htable.sht_seti(_REGISTERED, key, 1)
    else:
        KSR.htable.sht_rm(_REGISTERED, key)


def _prefix(ip_group: str) -> str:
    return f"{_short(ip_group)}."


def _short(name: str) -> str:
    """Return a short key without what means something to Kamailio."""
    return blake2s(to_bytes(name), digest_size=12).hexdigest()
