"""Dialogs: the routing functions that seal them, and judge what comes within them.

`within_dialog` decides on a request within a dialog and sends it on its way; `dialog_branch` seals
what leaves, `dialog_reply` what comes back; `late_reply` judges a 2xx whose transaction has ended.
What one function leaves for the next is kept in an AVP of the transaction.
"""

import re
import time
from collections.abc import Sequence
from hashlib import blake2s
from typing import NamedTuple
from urllib.parse import unquote

import KSR

from sbcauth.digest.credentials import parse_parameters
from sbcauth.digest.text import to_bytes
from sbcauth.exceptions import BadCredentials, Unavailable
from sbcauth.monitoring.log_line import NOTICE, record
from sbcauth.policy.assertions import hides, wants_privacy
from sbcauth.policy.decision import Pass, Reason, outcome_key
from sbcauth.policy.dialogs import Mark, Place, Side, Token
from sbcauth.policy.ip_groups import AuthenticationMode, IPGroupType
from sbcauth.policy.passages import Claims, Passage, proves
from sbcauth.policy.request import Party
from sbcauth.policy.shared_state import Table
from sbcauth.policy.targets import Target, base, part, place_of, place_of_via, tokens, uris_of
from sbcauth.service import Service
from sbcauth_door import outcomes, registrar
from sbcauth_door import request as ksr
from sbcauth_door.client import ClientRoutes, acknowledge, forget_call, routing_function
from sbcauth_door.request import ReturnCode
from sbcauth_door.state import count

_RECORD_ROUTED = ("INVITE", "SUBSCRIBE", "REFER")
_RECORD_ROUTED_WITHIN = ("NOTIFY", "REFER")
_SEALED = ("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER")
"""The methods whose Contact says where their sender is reached (RFC 3261, 12.2; RFC 6665)."""
_OWN_SEALS = ("ACK", "BYE")
"""What passes on the seals alone, wherever it comes from: a BYE that is refused goes on costing."""
_REFUSED_FOR = 64
"""Seconds for which the ACK to a refusal of ours is looked for: twice 64*T1 (RFC 3261)."""

_get_route, _get_uri = KSR.hdr.get, KSR.kx.get_ruri
_get_address, _get_port, _get_proto = KSR.kx.get_srcip, KSR.kx.get_srcport, KSR.kx.get_proto
_set = KSR.pv.sets


class Known(NamedTuple):
    """What a transaction within a dialog leaves for its branches and answers.

    `to` is the URI at which the other party is reached, `registered` whether it is registered
    there.
    """

    from_caller: bool
    registered: bool
    token: str
    to: str

    def __str__(self) -> str:
        """Return it as the AVP has it."""
        return f"{'c' if self.from_caller else 'k'}{int(self.registered)}{self.token} {self.to}"

    @classmethod
    def parse(cls, text: str) -> "Known | None":
        """Return what the AVP has; None where it has nothing."""
        if not text:
            return None
        token, _, to = text[2:].partition(" ")
        return cls(text[0] == "c", text[1] == "1", token, to)


class DialogRoutes(ClientRoutes):
    """The routing functions of dialogs; see docs/dialogs.md for where they stand."""

    @routing_function
    def dialog_branch(self, service: Service) -> int:
        """Seal what leaves: our Record-Route, and the sender's Contact."""
        method = ksr.text("rm").upper()
        known = Known.parse(ksr.text("avp(sbcauth_dialog)"))
        if known:
            return _seal_within(service, known, method)
        if ksr.has_totag() <= 0:
            _tell_identity(service)
            if dialled := ksr.text("avp(sbcauth_dialled)"):
                _set("$rU", dialled)  # a PBX is told which of its numbers is called
        if method in _RECORD_ROUTED:
            return _seal_first(service, method)
        return ReturnCode.PASSED

    @routing_function
    def dialog_reply(self, service: Service) -> int:
        """Seal what comes back, and withhold what must not."""
        status = int(ksr.text("rs"))
        for name in _CHALLENGES:
            if KSR.hdr.is_present(name) > 0:
                _withhold(service, name)
        if 100 < status < 300:
            _seal_answer(service)
        if KSR.hdr.is_present("P-Asserted-Identity") > 0 or KSR.hdr.is_present(_RPID) > 0:
            _keep_identity_of_servers(service)
        return ReturnCode.PASSED

    @routing_function
    def late_reply(self, service: Service) -> int:
        """Let a 2xx to an INVITE pass whose transaction has ended, from callee to caller."""
        source = _source()
        found = service.dialogs.token_of_answer(
            tokens(ksr.fields("Record-Route")), ksr.text("ci"), source, int(time.time())
        )
        if found is None:
            return ReturnCode.NOTHING_YET
        _, token = found
        goes_to = place_of_via(ksr.fields("Via"), 1)
        bindings = _Bindings(service)
        if not service.dialogs.is_answer_between(token, ksr.text("ft"), source, goes_to, bindings):
            return ReturnCode.NOTHING_YET
        if goes_to and goes_to.transport != "udp" and not _is_by_its_connection(service):
            return ReturnCode.NOTHING_YET
        _mark_contact(service, token.callee, token.callee.place, token.callee.registered, "tt")
        return ReturnCode.PASSED


_RPID = "Remote-Party-ID"
_CHALLENGES = ("WWW-Authenticate", "Proxy-Authenticate")
"""Phones answer either at 401 and 407 alike (pjsip); and who knows at what else."""


class _Bindings:
    """Where accounts are registered now."""

    def __init__(self, service: Service) -> None:
        self._groups = service.ip_groups.by_name

    def __call__(self, side: Side) -> Sequence[Place]:
        group = self._groups.get(side.ip_group)
        if not side.account or group is None or group.type is not IPGroupType.USER:
            return ()
        return registrar.places(ksr.escaped(side.account), group.realm)


def find(service: Service, now: int) -> Passage | None:
    """Return the way of the request within a dialog that Kamailio routes; None for none of ours."""
    try:
        route = _get_route("Route") or ""
    except UnicodeDecodeError:
        return None
    if not route:
        return None
    claims = Claims(
        ksr.text("rm").upper(),
        route,
        ksr.text("ci"),
        ksr.text("ft"),
        ksr.text("tt"),
        ksr.text("ru"),
        _source(),
    )
    passage = service.dialogs.judge(claims, _Bindings(service), now)
    if passage is None:
        return None
    return passage if may_pass(passage, claims.method) else None


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


def passed(party: Party) -> Pass:
    """Return the decision on what the seals let pass."""
    return Pass(Reason.WITHIN_DIALOG, party.ip_group, party.account)


def send_on(service: Service, passage: Passage, method: str) -> int:
    """Set where the request goes, and take out of it what stays here; returns a ReturnCode."""
    KSR.rr.loose_route()  # takes our Routes away; what else it sets does not count
    group = service.ip_groups.by_name[passage.sender.ip_group]
    other = service.ip_groups.by_name[passage.other.ip_group]
    is_phone = other.type is IPGroupType.USER
    further = "" if is_phone else ksr.text("du")
    to = service.dialogs.way(passage, further, _Bindings(service))
    if to is None:
        return ReturnCode.ANSWERED
    if _set("$du", to) != 1:
        raise Unavailable("shared memory is full")
    if is_phone and ";transport=" in to:
        KSR.set_forward_no_connect()  # a phone's connection is its own to make
    if passage.is_marked:
        _set("$ru", passage.uri)
    _set("$avp(sbcauth_ip_group)", group.name)
    if method in _SEALED:
        known = Known(passage.from_caller, passage.registered, passage.token, to)
        _set("$avp(sbcauth_dialog)", str(known))
    _count_cseq(service, passage, method)
    asserts = KSR.hdr.is_present("P-Asserted-Identity") > 0 or KSR.hdr.is_present(_RPID) > 0
    if asserts and hides(group, other, private=_is_private()):
        ksr.remove_assertions()
    if not proves(group):
        return ReturnCode.PASSED
    ksr.remove_all_credentials(group.realm)
    return ReturnCode.FROM_PHONE if group.type is IPGroupType.USER else ReturnCode.PASSED


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
            _set("$avp(sbcauth_local_user)", ksr.escaped(passage.sender.account))
    elif method == "BYE":
        forget_call(service)


def is_one_too_many(service: Service, passage: Passage, now: float) -> bool:
    """Count a BYE that its seals alone let pass; tell whether its dialog has had too many.

    Each takes memory until it is answered, and whoever was in a call has its seals for a day.
    """

    def one_more(count: int) -> tuple[int, int]:
        return count + 1, count + 1

    key = _key("bye", passage.token, str(passage.from_caller), str(int(now) // _MINUTE))
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
    return _key("refused", ksr.text("ci"), ksr.text("ft"))


def _key(*parts: str) -> str:
    return blake2s(to_bytes("\0".join(parts)), digest_size=12).hexdigest()


def _tell_identity(service: Service) -> None:
    """Have a branch of a first request say who sends it, to whom may know (RFC 3325)."""
    sender = service.ip_groups.by_name.get(ksr.text("avp(sbcauth_ip_group)"))
    receiver = service.ip_groups.by_name.get(_callee(service).ip_group)
    if receiver is None:
        return
    identity, private = ksr.text("avp(sbcauth_identity)"), _is_private()
    if hides(sender, receiver, private=private):
        ksr.remove_assertions()
    elif identity and receiver.type is IPGroupType.SERVER:
        KSR.hdr.append(f"P-Asserted-Identity: <{identity}>\r\n")


def _is_private() -> bool:
    return wants_privacy(ksr.fields("Privacy"), ksr.fields(_RPID))


def _seal_first(service: Service, method: str) -> int:
    """Seal a request that may begin a dialog, on its way to one of its targets."""
    group = ksr.text("avp(sbcauth_ip_group)")
    if group not in service.ip_groups.by_name or not ksr.text("avp(sbcauth_word)"):
        return ReturnCode.NOTHING_YET  # nobody vouches for it
    call_id, from_tag, source = ksr.text("ci"), ksr.text("ft"), _source()
    account = ksr.text("avp(sbcauth_local_user)") or ksr.text("fU")
    caller = Side(group, unquote(account, errors="surrogateescape"), source)
    if service.ip_groups.by_name[group].type is IPGroupType.SERVER:
        caller = caller._replace(account="")
    elif source in _Bindings(service)(caller):
        caller = caller._replace(registered=True)
    token = Token(int(time.time()), from_tag, caller, _callee(service), lasts=method != "INVITE")
    sealed = service.dialogs.seals.seal_token(token, call_id)
    KSR.rr.record_route_params(f";sb={sealed}")
    _set(f"$avp(sbcauth_token_{ksr.text('T_branch_idx')})", sealed)
    if method == "INVITE" and source.transport != "udp":
        connection = int(KSR.pv.get("$conid") or 0)
        service.shared.set(Table.CSEQ, _key_of_connection(), connection, _ANSWERED_WITHIN)
    _mark_contact(service, caller, source, caller.registered, "ft")
    return ReturnCode.PASSED


def _callee(service: Service) -> Side:
    """Return whom this branch goes to: as its binding says, or by the address."""
    uri = ksr.text("du") or ksr.text("ru")
    address, _, rest = uri.partition(";g=")
    if rest:
        name, _, account = rest.partition(";a=")
        place = place_of(address)
        known = _from_hexa(name)
        if place and known in service.ip_groups.by_name:
            return Side(known, unquote(_from_hexa(account), errors="surrogateescape"), place, True)
    user = _user_of(ksr.text("ou"))
    route_to, realm = ksr.text("avp(sbcauth_route_to)"), ksr.text("avp(sbcauth_realm)")
    return service.dialogs.callee_at(address, route_to, user, realm)


def _seal_within(service: Service, known: Known, method: str) -> int:
    """Seal a request within a dialog."""
    call_id = ksr.text("ci")
    token = service.dialogs.seals.open_token(known.token, call_id, int(time.time()))
    if token is None:
        return ReturnCode.NOTHING_YET  # it has just got too old
    if method in _RECORD_ROUTED_WITHIN:
        KSR.rr.record_route_params(f";sb={known.token}")
    side, source = token.caller if known.from_caller else token.callee, _source()
    registered = side.registered
    if source != side.place:
        registered = source in _Bindings(service)(side)
    _mark_contact(service, side, source, registered, "ft")
    return ReturnCode.PASSED


def _seal_answer(service: Service) -> None:
    """Seal the Contact of an answer that may begin a dialog, or change where its owner is."""
    known = Known.parse(ksr.text("avp(sbcauth_dialog)"))
    call_id, now = ksr.text("ci"), int(time.time())
    if known:
        token = service.dialogs.seals.open_token(known.token, call_id, now)
        place = place_of(known.to)
        if token and place:
            side = token.callee if known.from_caller else token.caller
            _mark_contact(service, side, place, known.registered, "tt")
        return
    texts = tokens(ksr.fields("Record-Route"))
    own = ksr.text(f"avp(sbcauth_token_{ksr.text('T_branch_idx')})")
    if own:
        _keep_us_in(own)
        texts = [own]
    found = service.dialogs.token_of_answer(texts, call_id, _source(), now) if texts else None
    if found:
        side = found[1].callee
        _mark_contact(service, side, side.place, side.registered, "tt")


def _is_by_its_connection(service: Service) -> bool:
    """Tell whether an answer that comes late goes by the connection of its caller.

    Kamailio sends it by the one that `i` of our own Via names, whatever else is said there.
    """
    named = _CONNECTION.findall(ksr.first("Via"))
    if not named:
        return True
    known = service.shared.get(Table.CSEQ, _key_of_connection())
    return len(named) == 1 and int(named[0][::-1] or "0", 16) == known


def _key_of_connection() -> str:
    return _key("connection", ksr.text("ci"), ksr.text("ft"))


_CONNECTION = re.compile(r";\s*i\s*=\s*([0-9A-Fa-f]*)", re.IGNORECASE)
_ANSWERED_WITHIN = 300
"""Seconds in which a 2xx may come again: as long as a phone rings, and then twice 64*T1."""


def _keep_us_in(token: str) -> None:
    """Have the caller's route begin as it must: where the request came by, and then here.

    A callee that leaves our Record-Route out, or puts another there, would have the caller send
    what follows, credentials included, to a place of its own (RFC 3261, 12.1.2 and 16.7).
    """
    before = uris_of((ksr.text("T_req($(hdr(Record-Route)[*]))"),))
    answered = uris_of(ksr.fields("Record-Route", _MOST_ROUTES))
    start = len(answered) - len(before) - 1
    has_us = start >= 0 and f";sb={token}" in answered[start]
    if has_us and answered[start + 1 :] == before and KSR.is_myself(answered[start]) > 0:
        return
    here = Place.of(ksr.text("T_req($pr)"), ksr.text("T_req($RAi)"), int(ksr.text("T_req($RAp)")))
    uris = [f"{here.uri};lr;sb={token}", *before]
    KSR.hdr.remove("Record-Route")
    for uri in uris:
        KSR.hdr.insert_before(f"Record-Route: <{uri}>\r\n", "CSeq")


_MOST_ROUTES = 70


def _mark_contact(service: Service, side: Side, place: Place, registered: bool, tag: str) -> None:
    """Put into the Contact where its owner is reached; `tag` is the name of the owner's."""
    field = next(iter(ksr.fields("Contact", 1)), "")
    target = Target.parse(field) if field else None
    if target is None:
        return
    plain, inner = part(target.uri)
    home = service.dialogs.home(side, plain, place)
    if home != place and KSR.is_myself(home.uri) > 0:
        home = place
    mark = Mark(home, registered, inner)
    sealed = service.dialogs.seals.seal_mark(mark, ksr.text("ci"), ksr.text(tag), base(plain))
    KSR.hdr.insert_before(f"Contact: {target.with_mark(sealed)}\r\n", "Contact")
    KSR.textops.remove_hf_idx("Contact", 0)


def _withhold(service: Service, name: str) -> None:
    """Take challenges out of an answer that would be answered by what is good here.

    That is one with a nonce of ours, or in the realm in which we challenge the sender. `name` is
    the header field's. Without it a 401 is a refusal as any other.
    """
    source = ksr.text("avp(sbcauth_ip_group)")
    group = service.ip_groups.by_name.get(source)
    if group is not None and group.shadow:
        return None
    realm = service.dialogs.withholds_from(source)
    challenges = ksr.all_fields(name)
    if challenges is None:
        return _take_out(name, source, "")
    for field in challenges:
        try:
            parameters = parse_parameters(field)
        except BadCredentials:
            parameters = {}
        named = parameters.get("realm")
        asks_for_ours = realm is not None and (named is None or named.lower() == realm.lower())
        if asks_for_ours or _has_nonce_of_ours(service, field):
            return _take_out(name, source, named or "")
    return None


def _has_nonce_of_ours(service: Service, field: str) -> bool:
    """Tell whether a nonce of ours is anywhere in a challenge.

    Several may stand in one field (RFC 7235, 4.1), and phones read them as they like.
    """
    found = set(_MAY_BE_NONCE.findall(field.replace("\\", "")))
    return len(found) > _MOST_NONCES or any(service.has_minted(f, time.time()) for f in found)


_MAY_BE_NONCE = re.compile(r"(?<![\w-])[\w-]{40,64}(?![\w-])", re.ASCII)
_MOST_NONCES = 8


def _take_out(name: str, source: str, realm: str) -> None:
    """Take the challenges of one kind out of an answer, and write that."""
    KSR.hdr.remove(name)
    entry = record(
        NOTICE,
        client="withheld",
        ip_group=source,
        method=ksr.text("rm"),
        realm=realm,
        username="",
        call_id=ksr.text("ci"),
    )
    outcomes.log.write(entry)


def _keep_identity_of_servers(service: Service) -> None:
    """Take out of an answer what a phone asserts, or a server under Privacy (RFC 3325)."""
    place = _source()
    group = service.ip_groups.likely_at(place.address, place.port, place.transport)
    receiver = service.ip_groups.by_name.get(ksr.text("avp(sbcauth_ip_group)"))
    hidden = receiver is not None and hides(group, receiver, private=_is_private())
    if group is None or hidden or (group.type is IPGroupType.USER and proves(group)):
        KSR.hdr.remove("P-Asserted-Identity")
        KSR.hdr.remove(_RPID)


def _source() -> Place:
    """Return where the message comes from."""
    return Place.of(_get_proto(), _get_address(), _get_port())


def _from_hexa(text: str) -> str:
    try:
        return bytes.fromhex(text.partition(";")[0]).decode("utf-8", "surrogateescape")
    except ValueError:
        return ""


def _user_of(uri: str) -> str:
    user, at, _ = uri.partition("@")
    return unquote(user.partition(":")[2], errors="surrogateescape") if at else ""
