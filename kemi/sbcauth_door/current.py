"""The request that Kamailio is routing, as a decision sees it."""

import re
from collections.abc import Callable
from typing import Any, cast

import KSR

from sbcauth.exceptions import Retransmission
from sbcauth.policy.request import AUTHORIZATION, PROXY_AUTHORIZATION, Party, Request, phone_behind
from sbcauth_door import bindings, repeated_register
from sbcauth_door import request as ksr
from sbcauth_door.in_progress import InProgress

KEPT_HERE = "REGISTER" if bindings.TABLE else None
"""The method of requests that kamailio.cfg keeps here where they are accepted."""

# Each look-up of one of these costs half as much as the call.
_field, _has_totag, _new_transaction = KSR.hdr.get_idx, KSR.siputils.has_totag, KSR.tm.t_newtran
_get_source_address, _get_transport = KSR.kx.get_srcip, KSR.kx.get_proto
_get_source_port = KSR.kx.get_srcport
_get_from_user, _get_to_user = KSR.kx.get_fuser, KSR.kx.get_tuser
_get_call_id = KSR.kx.get_callid


class CurrentRequest:
    """The request that Kamailio is routing: a Request, read as far as somebody looks at it.

    A process has one, since Kamailio routes one at a time. A decision needs some five of its
    fields, and to read the others would cost 4 µs.
    """

    __slots__ = (
        "_begun",
        "contact",
        "edge",
        "first",
        "has_transaction",
        "in_progress",
        "method",
        "party",
        "source_address",
        "told",
    )
    first: Callable[[str], str | None]
    """Returns the value of the first header field of a name, or raises UnicodeDecodeError."""
    has_transaction: bool
    method: str
    party: Party | None
    source_address: str
    told: tuple[int, str] | None
    """Port and transport, where an edge proxy tells them; `edge` is its address."""
    contact: str
    """From which port a registration comes, and its Contact."""

    fields = Request.fields
    flow = Request.flow
    is_anonymous = Request.is_anonymous
    sender_hosts = Request.sender_hosts
    sender_user = Request.sender_user

    def __init__(self) -> None:
        self.in_progress = InProgress()

    @property
    def claimed_user(self) -> str:
        """Return the user part of the address of record that the request speaks for."""
        registers = self.method == "REGISTER"
        try:
            return (_get_to_user() if registers else _get_from_user()) or ""
        except UnicodeDecodeError:
            return ksr.text("tU" if registers else "fU")

    def has_second(self, name: str) -> bool:
        """Tell whether there is more than one header field `name`."""
        try:
            return _field(name, 1) is not None
        except UnicodeDecodeError:
            return True

    authorization = property(lambda _: ksr.fields(AUTHORIZATION))
    proxy_authorization = property(lambda _: ksr.fields(PROXY_AUTHORIZATION))
    request_uri = property(lambda _: ksr.text("ou"))
    source_port = property(lambda self: self.told[0] if self.told else int(KSR.pv.get("$sp")))
    transport = property(lambda self: self.told[1] if self.told else _get_transport().lower())
    from_user = property(lambda _: _text(_get_from_user, "fU"))
    from_host = property(lambda _: ksr.text("fd"))
    to_user = property(lambda _: _text(_get_to_user, "tU"))
    in_dialog = property(lambda _: _has_totag() > 0)
    call_id = property(lambda _: _text(_get_call_id, "ci"))
    body = property(lambda _: ksr.body())
    event = property(lambda _: ksr.first("Event"))
    user_agent = property(lambda _: ksr.first("User-Agent"))
    preferred_identity = property(lambda _: ksr.first("P-Preferred-Identity"))
    asserted_identities = property(lambda _: ksr.fields("P-Asserted-Identity"))
    has_route = property(lambda _: KSR.hdr.is_present("Route") > 0)
    connection = property(lambda _: int(KSR.pv.get("$conid") or 0))
    vias = property(lambda _: ksr.fields("Via"))

    def as_told_by_edge(self) -> "CurrentRequest":
        """Be the request of the phone behind the edge proxy that has relayed it."""
        address, port, transport = phone_behind(self.vias)
        self.edge = self.source_address
        if address:
            self.source_address, self.told = address, (port, transport)
        return self

    def comes_from_where_registered(self, local_user: str, realm: str) -> bool:
        """Tell whether it comes by the very flow from which a user is registered."""
        return bindings.is_registered_here(cast(Request, self), local_user, realm)

    def begin_transaction(self) -> None:
        """Have a transaction answer the request when it comes again; raises Retransmission."""
        if not self.has_transaction and _new_transaction() == 0:
            raise Retransmission
        self.has_transaction = True

    def begin_registration(self, nonce_count: str) -> str | None:
        """Have all workers know that it is being carried out, until its binding shows it.

        Returns from which port it comes, and its Contact. One that removes bindings leaves none.
        (An expiry of 0 that is written otherwise is taken for another: its repetition is
        challenged, and then accepted.)
        """
        first = self.first
        try:
            if self.method != KEPT_HERE or first("Expires") == "0":
                return None
            contact = first("Contact") or ""
            if "expires=0" in contact:
                return None
            which = hash((_get_call_id(), first("CSeq")))  # the same in all workers: they are forks
        except UnicodeDecodeError:
            return None
        self._begun = begun = f"{nonce_count} {which}".encode("utf-8", "replace")
        self.in_progress.begin(begun)
        self.contact = contact = f"{_get_source_port()} {contact}"
        return contact

    def usual_contact(self) -> str:
        """Return what `begin_registration` has returned, if that is nothing to look at twice.

        Over UDP a process serves no other transport, so that the Contact tells the flow.
        """
        if self.told or self.transport != "udp" or not bindings.RENEWS:
            return ""
        found = _USUAL_CONTACT(self.contact)
        if not found or found["host"] != self.source_address or "reg-id" in found["rest"]:
            return ""
        return self.contact if found["port"] == (found["own"] or "5060") else ""

    def absorb_repeat(self) -> None:
        """Raise Retransmission where the transaction of an earlier copy answers the request."""
        if not self.has_transaction and ksr.has_answered():
            raise Retransmission

    def repeat_as_query(self, local_user: str, realm: str) -> bool:
        """Tell whether the registrar has carried out this very request; it is then a query.

        Raises Retransmission where another worker is carrying it out, too. Whoever has done so
        since the first look has left its trace by the second.
        """
        if not repeated_register.has_carried_out(local_user, realm):
            if self.in_progress.is_of_another(self._begun):
                raise Retransmission
            if not repeated_register.has_carried_out(local_user, realm):
                return False
        changed = repeated_register.make_query()
        if changed == 0:
            raise Retransmission
        return changed > 0


_USUAL_CONTACT = re.compile(
    r"(?P<port>\d+) <sip:[^<>@, ]+@(?P<host>[0-9.]+)(?::(?P<own>\d{1,5}))?"
    r"(?P<rest>(?:;[^<>, ]*)?>[^,*]*)"
).fullmatch
"""One Contact at an IPv4 address, as kamailio.cfg has it."""

current = CurrentRequest()
_as_request = cast(Request, current)


def set_rank(rank: int) -> None:
    """Tell which worker process this is, by its rank."""
    current.in_progress.set_rank(rank)


def read_request(
    message: Any = None, *, has_transaction: bool = False, party: Party | None = None
) -> Request:
    """Return the request that Kamailio is routing; it is so until the next one.

    `message` is what Kamailio hands to a routing function, where it hands over anything: what it
    tells costs half of what KSR would take. `party` is the sender within a dialog.
    """
    current.has_transaction = has_transaction
    current.party = party
    current.told = None
    current.edge = current.contact = ""
    current.source_address = _get_source_address()
    current.first = message.getHeader if message else _first
    try:
        method = message.Method if message else ksr.text("rm")
    except UnicodeDecodeError:
        method = ksr.text("rm")
    current.method = method.upper()  # to Kamailio `invite` is an INVITE, and so it is to us
    return _as_request


def _first(name: str) -> str | None:
    value: str | None = _field(name, 0)
    return value


def _text(get: Callable[[], str | None], name: str) -> str:
    """Return what `get` tells, or the pseudo-variable `name` where that is no UTF-8."""
    try:
        return get() or ""
    except UnicodeDecodeError:
        return ksr.text(name)
