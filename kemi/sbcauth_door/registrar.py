"""Registrations without a transaction, where kamailio.cfg keeps them itself.

A transaction would absorb a REGISTER that comes again, at a third of what all of it costs. Without
one, a REGISTER whose nonce count is used up is looked for where it must have left its trace: in the
binding that has its Call-ID and CSeq (RFC 3261, 10.3). If it is there, the same request has been
carried out. It then goes on without its Contact, as a query: the registrar answers with what is
registered and changes nothing, whatever else somebody may have made of the request.
"""

import re
from operator import itemgetter
from typing import Any

import KSR

from sbcauth.exceptions import Unavailable
from sbcauth.policy.dialogs import Place
from sbcauth.policy.targets import place_of
from sbcauth_door import request as ksr

TABLE = ksr.definition("SBCAUTH_REGISTRAR")
"""The usrloc table in which kamailio.cfg keeps the registrations that we accept, if it does."""

_MODULES = ("registrar", "textopsx")
_PROFILE = "sbcauth"
_PORT = re.compile(r":\d+\Z", re.ASCII).search
_TRANSPORT = re.compile(r";transport=(\w+)", re.ASCII).search
_WHERE = "sbcauth_where"
_MOST_BINDINGS = 32


def check() -> None:
    """Raise Unavailable where kamailio.cfg lacks a module that this needs."""
    missing = [name for name in _MODULES if not hasattr(KSR, name)]
    if TABLE and missing:
        raise Unavailable(
            f"SBCAUTH_REGISTRAR needs the module {missing[0]}.so, loaded before app_python3.so"
        )


def has_carried_out(local_user: str, realm: str) -> bool:
    """Tell whether the registrar has a binding of the user by the very request at hand.

    `local_user` is as it stands in a URI.
    """
    aor = f"sip:{local_user}@{realm}"
    if KSR.registrar.reg_fetch_contacts(TABLE, aor, _PROFILE) < 0:
        return False
    try:
        request = KSR.kx.get_callid(), int(KSR.pv.get("$cs") or 0)
        bindings = min(KSR.pv.get(f"$(ulc({_PROFILE}=>count))") or 0, _MOST_BINDINGS)
        return any(_request_of(number) == request for number in range(bindings))
    except UnicodeDecodeError:
        return False
    finally:
        KSR.registrar.reg_free_contacts(_PROFILE)


def is_registered_here(local_user: str, realm: str) -> bool:
    """Tell whether a user is registered from the very flow that the request at hand comes by.

    That is the same address, port and transport, and the same connection where there is one. What
    is behind an edge proxy (a Path) has no flow of its own here. `local_user` is as it stands in a
    URI. Without a registrar in kamailio.cfg nobody is.
    """
    aor = f"sip:{local_user}@{realm}"
    if not TABLE or KSR.registrar.reg_fetch_contacts(TABLE, aor, _PROFILE) < 0:
        return False
    get = KSR.pv.get
    try:
        host = get("$si")
        host = f"[{host}]" if ":" in host and host[0] != "[" else host
        here = f"{host}:{get('$sp')}", (get("$proto") or "").lower()
        connection = get("$conid") or 0
        bindings = min(get(f"$(ulc({_PROFILE}=>count))") or 0, _MOST_BINDINGS)
        return any(_is_at(number, here, connection) for number in range(bindings))
    except UnicodeDecodeError:
        return False
    finally:
        KSR.registrar.reg_free_contacts(_PROFILE)


def _is_at(number: int, flow: tuple[str, str], connection: int) -> bool:
    """Tell whether a binding is of this flow: address with port, transport."""

    def of_binding(what: str) -> Any:
        return KSR.pv.get(f"$(ulc({_PROFILE}=>{what})[{number}])")

    if of_binding("path"):
        return False
    uri, _, parameters = (of_binding("received") or of_binding("addr") or "").partition(";")
    address = uri.partition(":")[2].rpartition("@")[2]
    if not _PORT(address):
        address += ":5060"
    transport = _TRANSPORT(f";{parameters}".lower())
    if (address, transport[1] if transport else "udp") != flow:
        return False
    its = of_binding("conid") or 0
    return connection <= 0 or its <= 0 or its == connection


def places(local_user: str, realm: str) -> list[Place]:
    """Return where a user is registered now, the newest first; `local_user` as in a URI.

    A binding whose connection has gone is nowhere.
    """
    if (
        not TABLE
        or KSR.registrar.reg_fetch_contacts(TABLE, f"sip:{local_user}@{realm}", _WHERE) < 0
    ):
        return []
    get = KSR.pv.get
    try:
        bindings = min(get(f"$(ulc({_WHERE}=>count))") or 0, _MOST_BINDINGS)
        found = [
            (get(f"$(ulc({_WHERE}=>modified)[{number}])") or 0, place)
            for number in range(bindings)
            if (place := _place_of(number)) and not _has_hung_up(number)
        ]
        return [place for _, place in sorted(found, key=itemgetter(0), reverse=True)]
    except UnicodeDecodeError:
        return []
    finally:
        KSR.registrar.reg_free_contacts(_WHERE)


def _has_hung_up(number: int) -> bool:
    """Tell whether the connection of a binding has gone."""
    connection = KSR.pv.get(f"$(ulc({_WHERE}=>conid)[{number}])") or 0
    return connection > 0 and hasattr(KSR, "tcpops") and KSR.tcpops.tcp_conid_alive(connection) < 0


def _place_of(number: int) -> Place | None:
    """Return where the phone of a binding is reached: by its Path, or where it registered from."""
    for name in ("path", "received", "addr"):
        uri = KSR.pv.get(f"$(ulc({_WHERE}=>{name})[{number}])")
        if uri:
            return place_of(uri.partition(";g=")[0].strip("<").partition(">")[0])
    return None


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
