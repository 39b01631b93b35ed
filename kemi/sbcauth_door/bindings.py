"""The bindings of Kamailio's registrar: who is registered, and where each is reached."""

import re
from collections.abc import Sequence
from math import inf
from time import time
from typing import Any

import KSR

from sbcauth.policy.places import Place
from sbcauth.policy.registrations import Binding
from sbcauth.policy.request import Request
from sbcauth.policy.shared_state import Table
from sbcauth.policy.targets import place_of
from sbcauth.policy.unproved import unescaped
from sbcauth_door import route_block, user_parts
from sbcauth_door.nodes import nodes

TABLE = route_block.definition("SBCAUTH_REGISTRAR")
"""The usrloc table in which kamailio.cfg keeps the registrations that we accept, if it does."""
RENEWS = bool(route_block.definition("SBCAUTH_RENEWAL"))
"""Whether it saves the same Contact again without a look at it."""
PROFILE = "sbcauth"
_WHERE = "sbcauth_where"
_MOST_BINDINGS = 64
_FLOWS = Table.FLOWS
_get = KSR.pv.get


class KamailioRegistrations:
    """Registrations in the table of Kamailio's registrar."""

    def of(self, user: str, realm: str) -> Sequence[Binding]:
        """Return the Contacts of an address of record, where the route block keeps them."""
        if not TABLE:
            return ()
        numbers = fetched(f"sip:{user_parts.escaped(user)}@{realm}")
        found = (_binding(number, _reached_at(number)) for number in numbers)
        return tuple(filter(None, found))

    def owner_of(self, address: str, port: int, transport: str) -> tuple[str, str]:
        """Return the address of record that registered from there last, and its IP Group."""
        flow = f"{address}:{port}" if transport == "udp" else address
        try:
            owner = str(KSR.htable.sht_get(_FLOWS, flow) or "")
        except UnicodeDecodeError:
            return "", ""
        account, _, ip_group = owner.partition(" ")
        return (unescaped(account), ip_group) if "@" in account else ("", "")


def is_registered_here(request: Request, local_user: str, realm: str) -> bool:
    """Tell whether a user is registered from the very flow that the request comes by.

    What is behind an edge proxy (a Path) has no flow of its own here. Without a registrar in
    kamailio.cfg nobody is.
    """
    if not TABLE:
        return False
    address = request.source_address
    for number in fetched(f"sip:{user_parts.escaped(local_user)}@{realm}"):
        reached_at = _reached_at(number)
        if address not in reached_at:
            continue  # the usual case for who guesses, and soon seen
        binding = _binding(number, reached_at)
        if binding and binding.is_flow_of(request):
            return True
    return False


def places(local_user: str, realm: str) -> list[Place]:
    """Return where a user is registered now, the newest first; `local_user` as in a URI.

    A binding whose connection has gone is nowhere.
    """
    if not TABLE:
        return []
    try:
        numbers = fetched(f"sip:{local_user}@{realm}", _WHERE)
        found = [
            (number, place)
            for number in numbers
            if (place := place_of_binding(number)) and not _has_hung_up(number)
        ]
    except UnicodeDecodeError:
        return []
    if len(found) > 1:
        found.sort(key=lambda each: attribute("modified", each[0], _WHERE) or 0, reverse=True)
    return [place for _, place in found]


def _has_hung_up(number: int) -> bool:
    """Tell whether the connection of a binding has gone."""
    connection = attribute("conid", number, _WHERE) or 0
    return connection > 0 and hasattr(KSR, "tcpops") and KSR.tcpops.tcp_conid_alive(connection) < 0


def place_of_binding(number: int, profile: str = _WHERE) -> Place | None:
    """Return where the phone of a binding is reached: by its Path, or where it registered from."""
    for name in ("path", "received", "addr"):
        uri = _get(f"$(ulc({profile}=>{name})[{number}])")
        if uri:
            place, node = (
                place_of(uri.partition(";g=")[0].strip("<").partition(">")[0]),
                nodes.at(uri),
            )
            return place._replace(node=node) if place and node else place
    return None


def face(local_user: str, realm: str, place: Place) -> Place | None:
    """Return our address that a user registered at from a place; None where none did."""
    for number in fetched(f"sip:{user_parts.escaped(local_user)}@{realm}", _WHERE):
        if place_of_binding(number) == place:
            socket = str(attribute("socket", number, _WHERE) or "")
            host, _, port = socket.partition(":")[2].rpartition(":")
            return Place.of(place.transport, host, int(port)) if port.isdigit() else None
    return None


def fetched(aor: str, profile: str = PROFILE) -> list[int]:
    """Have the bindings of an address of record at hand, until the next; return their numbers.

    One that was taken away stays in the list, expired, until the database has been told.
    """
    nobodys = aor.startswith("sip:@") or not user_parts.is_text(aor)
    if nobodys or KSR.registrar.reg_fetch_contacts(TABLE, aor, profile) < 0:
        return []  # nobody's; Kamailio would call a user that is none an error
    count = min(_get(f"$(ulc({profile}=>count))") or 0, _MOST_BINDINGS)
    now = time()
    return [number for number in range(count) if _expiry(number, profile) > now]


def _expiry(number: int, profile: str) -> float:
    return float(attribute("expires", number, profile) or inf)


def attribute(name: str, number: int, profile: str = PROFILE) -> Any:
    """Return what the registrar knows of a binding; None where it is unset, or no UTF-8."""
    try:
        return _get(f"$(ulc({profile}=>{name})[{number}])")
    except UnicodeDecodeError:
        return None


def _reached_at(number: int) -> str:
    """Return the URI that a binding is reached at, without its Path."""
    return str(attribute("received", number) or attribute("addr", number) or "")


def _binding(number: int, reached_at: str) -> Binding | None:
    """Return where a binding is reached: by its flow, if it has no Path."""
    found = _RECEIVED.match(reached_at)
    if not found:
        return None
    address, port, transport = found.groups()
    return Binding(
        address.strip("[]"),
        int(port or 5060),
        (transport or "udp").lower(),
        max(0, int(attribute("conid", number) or 0)),
        bool(attribute("path", number)),
    )


_RECEIVED = re.compile(
    r"sips?:(?:[^@]*@)?(\[[^]]*\]|[^:;>]*)(?::(\d+))?(?:.*?;transport=(\w+))?", re.IGNORECASE
)
