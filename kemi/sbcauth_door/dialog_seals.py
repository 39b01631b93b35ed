"""Sealing what leaves and what comes back: our Record-Route, and Contacts (docs/dialogs.md)."""

import re
import time
from urllib.parse import unquote

import KSR

from sbcauth.policy.ip_groups import IPGroupType
from sbcauth.policy.places import Place
from sbcauth.policy.seals import Mark, Side, Token
from sbcauth.policy.shared_state import Table
from sbcauth.policy.targets import Target, base, part, place_of, tokens, uris_of
from sbcauth.service import Service
from sbcauth_door import request as ksr
from sbcauth_door.nodes import nodes
from sbcauth_door.parties import Bindings, Known, key_of
from sbcauth_door.route_block import ReturnCode

RECORD_ROUTED = ("INVITE", "SUBSCRIBE", "REFER")
_RECORD_ROUTED_WITHIN = ("NOTIFY", "REFER")
_set = KSR.pv.sets


def seal_first(service: Service, method: str, to: Side) -> int:
    """Seal a request that may begin a dialog, on its way to one of its targets.

    Another node that reaches the target gets it from here.
    """
    group = ksr.text("avp(sbcauth_ip_group)")
    if group not in service.ip_groups.by_name or not ksr.text("avp(sbcauth_word)"):
        return ReturnCode.NOTHING_YET  # nobody vouches for it
    call_id, from_tag, source = ksr.text("ci"), ksr.text("ft"), nodes.source()
    account = ksr.text("avp(sbcauth_local_user)") or ksr.text("fU")
    caller = Side(group, unquote(account, errors="surrogateescape"), source)
    if service.ip_groups.by_name[group].type is IPGroupType.SERVER:
        caller = caller._replace(account="")
    elif source in Bindings(service)(caller):
        caller = caller._replace(registered=True)
    token = Token(int(time.time()), from_tag, caller, to, lasts=method != "INVITE")
    sealed = service.dialogs.seals.seal_token(token, call_id)
    if to.place.node:
        nodes.hand_on(to.place.node, sealed, within=False)
    if method not in RECORD_ROUTED:
        return ReturnCode.PASSED
    record_route(sealed, between_nodes=bool(to.place.node))
    _set(f"$avp(sbcauth_token_{ksr.text('T_branch_idx')})", sealed)
    if method == "INVITE" and source.transport != "udp":
        connection = int(KSR.pv.get("$conid") or 0)
        service.shared.set(Table.CSEQ, _key_of_connection(), connection, _ANSWERED_WITHIN)
    mark_contact(service, caller, source, caller.registered, "ft")
    return ReturnCode.PASSED


def callee(service: Service) -> Side:
    """Return whom this branch goes to: as its binding says, or by the address."""
    uri = ksr.text("du") or ksr.text("ru")
    address, _, rest = uri.partition(";g=")
    if rest:
        name, _, account = rest.partition(";a=")
        place = place_of(address)
        known = _from_hexa(name)
        if place and known in service.ip_groups.by_name:
            place = place._replace(node=nodes.at(uri))
            return Side(known, unquote(_from_hexa(account), errors="surrogateescape"), place, True)
    user = _user_of(ksr.text("ou"))
    route_to, realm = ksr.text("avp(sbcauth_route_to)"), ksr.text("avp(sbcauth_realm)")
    found = service.dialogs.callee_at(address, route_to, user, realm)
    return found._replace(place=found.place._replace(node=nodes.at(uri)))


def record_route(token: str, *, between_nodes: bool) -> None:
    """Have what follows in a dialog come by here.

    Between nodes only the address is told that the party has to do with: by the other address the
    nodes alone speak to each other.
    """
    if not between_nodes:
        KSR.rr.record_route_params(f";sb={token}")
        return
    face = ksr.text("avp(sbcauth_face)")
    if not face:
        face = Place.of(ksr.text("pr"), ksr.text("RAi"), int(ksr.text("RAp"))).uri
    before = "Record-Route" if KSR.hdr.is_present("Record-Route") > 0 else "CSeq"
    KSR.hdr.insert_before(f"Record-Route: <{face};lr;sb={token}>\r\n", before)


def seal_within(service: Service, known: Known, method: str) -> int:
    """Seal a request within a dialog."""
    call_id = ksr.text("ci")
    token = service.dialogs.seals.open_token(known.token, call_id, int(time.time()))
    if token is None:
        return ReturnCode.NOTHING_YET  # it has just got too old
    side, source = token.caller if known.from_caller else token.callee, nodes.source()
    if method in _RECORD_ROUTED_WITHIN:
        record_route(known.token, between_nodes=bool(source.node) or not known.to)
    registered = side.registered
    if source != side.place:
        registered = source in Bindings(service)(side)
    mark_contact(service, side, source, registered, "ft")
    return ReturnCode.PASSED


def seal_answer(service: Service) -> None:
    """Seal the Contact of an answer that may begin a dialog, or change where its owner is."""
    known = Known.parse(ksr.text("avp(sbcauth_dialog)"))
    call_id, now = ksr.text("ci"), int(time.time())
    if known:
        token = service.dialogs.seals.open_token(known.token, call_id, now)
        place = place_of(known.to)
        if token and place:
            side = token.callee if known.from_caller else token.caller
            mark_contact(service, side, place, known.registered, "tt")
        return
    texts = tokens(ksr.fields("Record-Route"))
    own = ksr.text(f"avp(sbcauth_token_{ksr.text('T_branch_idx')})")
    if own:
        _keep_us_in(own)
        texts = [own]
    found = service.dialogs.token_of_answer(texts, call_id, nodes.source(), now) if texts else None
    if found:
        side = found[1].callee
        mark_contact(service, side, side.place, side.registered, "tt")


def answering(service: Service) -> Side | None:
    """Return which party of a dialog answers; None where the request began none.

    A phone that answers the first request is who its binding says, wherever the answer is from.
    """
    known = Known.parse(ksr.text("avp(sbcauth_dialog)"))
    sealed = known.token if known else ksr.text(f"avp(sbcauth_token_{ksr.text('T_branch_idx')})")
    if not sealed:
        return None
    token = service.dialogs.seals.open_token(sealed, ksr.text("ci"), int(time.time()))
    if token is None:
        return None
    return token.caller if known and not known.from_caller else token.callee


def is_by_its_connection(service: Service) -> bool:
    """Tell whether an answer that comes late goes by the connection of its caller.

    Kamailio sends it by the one that `i` of our own Via names, whatever else is said there.
    """
    named = _CONNECTION.findall(ksr.first("Via"))
    if not named:
        return True
    known = service.shared.get(Table.CSEQ, _key_of_connection())
    return len(named) == 1 and int(named[0][::-1] or "0", 16) == known


def _key_of_connection() -> str:
    return key_of("connection", ksr.text("ci"), ksr.text("ft"))


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
    here = ksr.text("avp(sbcauth_face)")
    if not here:
        address, port = ksr.text("T_req($RAi)"), int(ksr.text("T_req($RAp)"))
        here = Place.of(ksr.text("T_req($pr)"), address, port).uri
    uris = [f"{here};lr;sb={token}", *before]
    KSR.hdr.remove("Record-Route")
    for uri in uris:
        KSR.hdr.insert_before(f"Record-Route: <{uri}>\r\n", "CSeq")


_MOST_ROUTES = 70


def mark_contact(service: Service, side: Side, place: Place, registered: bool, tag: str) -> None:
    """Put into the Contact where its owner is reached; `tag` is the name of the owner's.

    The node that reaches it does.
    """
    if place.node:
        return
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


def _from_hexa(text: str) -> str:
    try:
        return bytes.fromhex(text.partition(";")[0]).decode("utf-8", "surrogateescape")
    except ValueError:
        return ""


def _user_of(uri: str) -> str:
    user, at, _ = uri.partition("@")
    return unquote(user.partition(":")[2], errors="surrogateescape") if at else ""
