"""The request that Kamailio is routing, as a decision sees it."""

from collections.abc import Callable
from typing import Any, cast

import KSR

from sbcauth.exceptions import Absorbed
from sbcauth.policy.request import AUTHORIZATION, PROXY_AUTHORIZATION, Party, Request, phone_behind
from sbcauth_door import registrar
from sbcauth_door import request as ksr
from sbcauth_door.in_progress import InProgress

_KEPT_HERE = "REGISTER" if registrar.TABLE else None

# Each look-up of one of these costs half as much as the call.
_field, _has_totag, _new_transaction = KSR.hdr.get_idx, KSR.siputils.has_totag, KSR.tm.t_newtran
_get_source_address, _get_transport = KSR.kx.get_srcip, KSR.kx.get_proto
_get_from_user, _get_to_user = KSR.kx.get_fuser, KSR.kx.get_tuser
_get_call_id = KSR.kx.get_callid


class CurrentRequest:
    """The request that Kamailio is routing: a Request, read as far as somebody looks at it.

    A process has one, since Kamailio routes one at a time; `begin` has it be the next. A decision
    needs some five of its fields, and to read the others would cost 4 µs.
    """

    __slots__ = (
        "_begun",
        "_first",
        "_has_transaction",
        "_told",
        "edge",
        "in_progress",
        "method",
        "party",
        "source_address",
    )

    claimed_user = Request.claimed_user
    fields = Request.fields
    flow = Request.flow
    is_anonymous = Request.is_anonymous
    sender_hosts = Request.sender_hosts
    sender_user = Request.sender_user

    def __init__(self) -> None:
        self.in_progress = InProgress()

    def begin(self, message: Any, *, has_transaction: bool, party: Party | None) -> None:
        """Begin with the request that Kamailio routes now.

        `message` is what Kamailio hands to a routing function, where it hands over anything: what
        it tells costs half of what KSR would take.
        """
        self._has_transaction = has_transaction
        self.party = party
        self._told: tuple[int, str] | None = None
        self.edge = ""
        self.source_address = _get_source_address()
        self._first = message.getHeader if message else _first
        try:
            method = message.Method if message else ksr.text("rm")
        except UnicodeDecodeError:
            method = ksr.text("rm")
        self.method = method.upper()  # to Kamailio `invite` is an INVITE, and so it is to us

    @property
    def is_kept_here(self) -> bool:
        """Tell of a REGISTER that kamailio.cfg keeps where it is accepted."""
        return self.method == _KEPT_HERE

    @property
    def leaves_binding(self) -> bool:
        """Tell whether a binding will show that the request has been carried out.

        One that removes bindings leaves none. (An expiry of 0 that is written otherwise is taken
        for another: its repetition is challenged, and then accepted.)
        """
        first = self._first
        try:
            return (
                self.method == _KEPT_HERE
                and first("Expires") != "0"
                and "expires=0" not in (first("Contact") or "")
            )
        except UnicodeDecodeError:
            return False

    def first(self, name: str) -> str | None:
        """Return the value of the first header field `name`."""
        try:
            return self._first(name)
        except UnicodeDecodeError:
            return ksr.fields(name)[0]

    def has_second(self, name: str) -> bool:
        """Tell whether there is more than one header field `name`."""
        try:
            return _field(name, 1) is not None
        except UnicodeDecodeError:
            return True

    authorization = property(lambda _: ksr.fields(AUTHORIZATION))
    proxy_authorization = property(lambda _: ksr.fields(PROXY_AUTHORIZATION))
    request_uri = property(lambda _: ksr.text("ou"))
    source_port = property(lambda self: self._told[0] if self._told else int(KSR.pv.get("$sp")))
    transport = property(lambda self: self._told[1] if self._told else _get_transport().lower())
    from_user = property(lambda _: _text(_get_from_user, "fU"))
    from_host = property(lambda _: ksr.text("fd"))
    to_user = property(lambda _: _text(_get_to_user, "tU"))
    in_dialog = property(lambda _: _has_totag() > 0)
    call_id = property(lambda _: _text(_get_call_id, "ci"))
    body = property(lambda _: ksr.body())
    event = property(lambda _: ksr.first("Event"))
    preferred_identity = property(lambda _: ksr.first("P-Preferred-Identity"))
    has_route = property(lambda _: KSR.hdr.is_present("Route") > 0)
    connection = property(lambda _: int(KSR.pv.get("$conid") or 0))
    vias = property(lambda _: ksr.fields("Via"))

    def as_told_by_edge(self) -> "CurrentRequest":
        """Be the request of the phone behind the edge proxy that has relayed it."""
        address, port, transport = phone_behind(self.vias)
        self.edge = self.source_address
        if address:
            self.source_address, self._told = address, (port, transport)
        return self

    def comes_from_where_registered(self, local_user: str, realm: str) -> bool:
        """Tell whether it comes by the very flow from which a user is registered."""
        return registrar.is_registered_here(cast(Request, self), local_user, realm)

    def begin_transaction(self) -> None:
        """Have the request absorbed when it comes again; raises Absorbed where it has."""
        if not self._has_transaction and _new_transaction() == 0:
            raise Absorbed
        self._has_transaction = True

    def begin_registration(self, nonce_count: str) -> None:
        """Have all workers know that it is being carried out, until its binding shows it."""
        which = hash((self.call_id, self.first("CSeq")))  # of all workers the same: they are forks
        self._begun = f"{nonce_count} {which}"
        self.in_progress.begin(self._begun)

    def absorb_repeat(self) -> None:
        """Raise Absorbed where the request has come before, and its transaction answers it."""
        if not self._has_transaction and ksr.has_answered():
            raise Absorbed

    def repeat_as_query(self, local_user: str, realm: str) -> bool:
        """Tell whether the registrar has carried out this very request; it is then a query.

        Raises Absorbed where another worker is carrying it out, too. Whoever has done so since the
        first look has left its trace by the second.
        """
        if not registrar.has_carried_out(local_user, realm):
            if self.in_progress.is_of_another(self._begun):
                raise Absorbed
            if not registrar.has_carried_out(local_user, realm):
                return False
        changed = registrar.make_query()
        if changed == 0:
            raise Absorbed
        return changed > 0


_current = CurrentRequest()


def take_place(rank: int) -> None:
    """Begin in the worker process with this rank."""
    _current.in_progress.take_place(rank)


def read_request(
    message: Any = None, *, has_transaction: bool = False, party: Party | None = None
) -> Request:
    """Return the request that Kamailio is routing; it is so until the next one.

    `party` is its sender within a dialog.
    """
    _current.begin(message, has_transaction=has_transaction, party=party)
    return cast(Request, _current)


def _first(name: str) -> str | None:
    value: str | None = _field(name, 0)
    return value


def _text(get: Callable[[], str | None], name: str) -> str:
    """Return what `get` tells, or the pseudo-variable `name` where that is no UTF-8."""
    try:
        return get() or ""
    except UnicodeDecodeError:
        return ksr.text(name)
