"""Requests within a dialog: whether one may pass, and where it goes (docs/dialogs.md)."""

import KSR

from sbcauth.exceptions import Unavailable
from sbcauth.policy.decision import Reason, outcome_key
from sbcauth.policy.ip_groups import AuthenticationMode, IPGroupType
from sbcauth.policy.passages import Claims, Passage, proves
from sbcauth.policy.places import Place
from sbcauth.policy.request import Party
from sbcauth.policy.seals import Side
from sbcauth.policy.shared_state import Table
from sbcauth.policy.targets import place_of
from sbcauth.service import Service
from sbcauth_door import assertions, bindings, outcomes, removing, user_parts
from sbcauth_door import request as ksr
from sbcauth_door.client_cseq import acknowledge, forget_call
from sbcauth_door.nodes import nodes
from sbcauth_door.parties import Bindings, Known, key_of
from sbcauth_door.route_block import ReturnCode
from sbcauth_door.state import count

_SEALED = ("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER")
"""The methods whose Contact says where their sender is reached (RFC 3261, 12.2; RFC 6665)."""
_OWN_SEALS = ("ACK", "BYE")
"""What passes on the seals alone, wherever it comes from: a BYE that is refused goes on costing."""
_REFUSED_FOR = 64
"""Seconds for which the ACK to a refusal of ours is looked for: twice 64*T1 (RFC 3261)."""
_get_route = KSR.hdr.get
_set = KSR.pv.sets


def find(service: Service, method: str, places: Bindings, now: int) -> Passage | None:
    """Return the way of the request within a dialog that Kamailio routes; None for none of ours."""
    try:
        route = _get_route("Route") or ""
    except UnicodeDecodeError:
        return None
    request_uri = ksr.text("ru")
    if not route or "\0" in request_uri:
        return None
    claims = Claims(
        method,
        route,
        ksr.text("ci"),
        ksr.text("ft"),
        ksr.text("tt"),
        request_uri,
        nodes.source(),
    )
    passage = service.dialogs.judge(claims, places, now)
    return passage if passage and may_pass(passage, method) else None


def may_pass(passage: Passage, method: str) -> bool:
    """Tell whether a request may come from where it does.

    From elsewhere ACK and BYE may with both seals. Of others, those of users can be asked for the
    account. REGISTER is never one party's to the other (RFC 3261, 10.2).
    """
    if method == "REGISTER":
        return False
    if passage.is_at_home or (method in _OWN_SEALS and passage.is_marked):
        return True
    return passage.comes_from_user and method != "ACK"


def party_of(passage: Passage, method: str) -> Party:
    """Return who sends the request, as a decision needs to know it.

    A Request-URI that a server has not named itself may be any number that costs: the account of a
    user answers for that.
    """
    sender = passage.sender
    if method in _OWN_SEALS:
        proved = passage.is_at_home or passage.is_marked
    else:
        proved = passage.is_at_home and (passage.is_marked or not passage.goes_to_server)
    return Party(sender.ip_group, sender.account, passage.comes_from_user and not proved)


def needs_decision(service: Service, party: Party, method: str) -> bool:
    """Tell whether more has to be known than the seals say."""
    if method == "ACK":
        return False
    if party.must_answer or outcomes.log.writes_all:
        return True
    group = service.ip_groups.by_name[party.ip_group]
    if group.authentication_mode is not AuthenticationMode.SBC_AS_SERVER:
        return False
    return method in group.methods


def count_pass(party: Party, method: str) -> None:
    """Count a request that the seals let pass."""
    if method != "ACK":
        count(outcome_key(party.ip_group, Reason.WITHIN_DIALOG))


def send_on(service: Service, passage: Passage, method: str, places: Bindings) -> int:
    """Set where the request goes, and take out of it what stays here; returns a ReturnCode."""
    if node := service.dialogs.node(passage, places):
        nodes.hand_on(node, passage.token, within=True)
        _leave_word(passage, method, "")
        return _keep_what_stays(service, passage, method)
    KSR.rr.loose_route()  # takes our Routes away; what else it sets does not count
    further = ksr.text("du") if passage.goes_to_server else ""
    to = service.dialogs.way(passage, further, places)
    if to is None:
        return ReturnCode.ANSWERED
    _go_to(to, passage)
    _leave_word(passage, method, to)
    _count_cseq(service, passage, method)
    return _keep_what_stays(service, passage, method)


def take_on(service: Service, passage: Passage, method: str, places: Bindings) -> int:
    """Send a request on that another node has judged; returns a ReturnCode."""
    handed = nodes.take_on(passage.token)
    further = handed.further if passage.goes_to_server else ""
    to = service.dialogs.way(passage, further, places)
    if to is None or service.dialogs.node(passage, places):
        KSR.sl.send_reply(480, "Temporarily Unavailable")  # it has just moved
        return ReturnCode.ANSWERED
    _go_to(to, passage)
    if place := place_of(to):
        face_to(service, passage.other, place, handed.face)
    _leave_word(passage, method, to)
    _count_cseq(service, passage, method)
    return ReturnCode.PASSED


def face_to(service: Service, side: Side, place: Place, known: Place | None = None) -> None:
    """Have a request that came from another node leave by our address that its receiver knows.

    That is the `known` one of the dialog, else the one that it registered at, else the first.
    """
    realm = service.ip_groups.by_name[side.ip_group].realm
    face = known if known and known.transport == place.transport else None
    if face is None and side.account:
        face = bindings.face(side.account, realm, place)
    face = face or nodes.face(place.transport, place.address)
    if face is None:
        return
    _set("$avp(sbcauth_face)", face.uri)
    if face.transport == "udp":
        host = f"[{face.address}]" if ":" in face.address else face.address
        _set("$fs", f"udp:{host}:{face.port}")


def _go_to(to: str, passage: Passage) -> None:
    """Set where a request goes."""
    if _set("$du", to) != 1:
        raise Unavailable("shared memory is full")
    if not passage.goes_to_server and ";transport=" in to:
        KSR.set_forward_no_connect()  # a phone's connection is its own to make
    if passage.is_marked:
        _set("$ru", passage.uri)


def _leave_word(passage: Passage, method: str, to: str) -> None:
    """Leave for branches and answers what they have to know; `to` is as Known has it."""
    _set("$avp(sbcauth_ip_group)", passage.sender.ip_group)
    if method in _SEALED:
        known = Known(passage.from_caller, passage.registered, passage.token, to)
        _set("$avp(sbcauth_dialog)", str(known))


def _keep_what_stays(service: Service, passage: Passage, method: str) -> int:
    """Take out of a request what is not the other party's business; returns a ReturnCode."""
    group = service.ip_groups.by_name[passage.sender.ip_group]
    other = service.ip_groups.by_name[passage.other.ip_group]
    assertions.settle_within(service, passage.sender, other, method)
    if proves(group):
        removing.remove_all_credentials(group.realm)
    return ReturnCode.PASSED


def _count_cseq(service: Service, passage: Passage, method: str) -> None:
    """Have SBC as Client go on as the dialog has begun."""
    by_name = service.ip_groups.by_name
    group, other = by_name[passage.sender.ip_group], by_name[passage.other.ip_group]
    as_client = AuthenticationMode.SBC_AS_CLIENT
    if as_client not in (group.authentication_mode, other.authentication_mode):
        return
    if method == "ACK":
        acknowledge(service)
    elif other.type is IPGroupType.SERVER:
        _set("$avp(sbcauth_peer)", other.name)
        if passage.sender.account:
            _set("$avp(sbcauth_local_user)", user_parts.escaped(passage.sender.account))
    elif method == "BYE":
        forget_call(service)


def is_one_too_many(service: Service, passage: Passage, now: float) -> bool:
    """Count a BYE that its seals alone let pass; tell whether its dialog has had too many.

    Each takes memory until it is answered, and whoever was in a call has its seals for a day.
    """

    def one_more(count: int) -> tuple[int, int]:
        return count + 1, count + 1

    key = key_of("bye", passage.token, str(passage.from_caller), str(int(now) // _MINUTE))
    return service.shared.update(Table.ATTEMPTS, key, 2 * _MINUTE, one_more) > _MOST_BYES


_MINUTE = 60  # seconds
_MOST_BYES = 10
"""BYEs of one party in a minute, from elsewhere than its place."""


def note_refusal(service: Service) -> None:
    """Remember that an INVITE was refused here: its ACK ends here, whatever its branch.

    It is the last one of its party: a dialog takes no more memory, however many come.
    """
    service.shared.set(Table.CSEQ, _key_of_refusal(), ksr.text("cs"), _REFUSED_FOR)


def forget_refusal(service: Service) -> None:
    """Forget which INVITE was refused: one goes on now."""
    service.shared.remove(Table.CSEQ, _key_of_refusal())


def was_refused(service: Service) -> bool:
    """Tell whether the INVITE was refused here that this is the ACK to."""
    return service.shared.get(Table.CSEQ, _key_of_refusal()) == ksr.text("cs")


def _key_of_refusal() -> str:
    return key_of("refused", ksr.text("ci"), ksr.text("ft"))
