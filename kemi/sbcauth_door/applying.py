"""Doing with a request what was decided: it is answered, or the route block is told whose it is."""

from collections.abc import Callable
from functools import lru_cache

import KSR

from sbcauth.digest.text import to_bytes
from sbcauth.exceptions import Unavailable
from sbcauth.policy.decision import (
    Accept,
    Challenge,
    Decision,
    Drop,
    Pass,
    Reason,
    Reject,
    Reply,
)
from sbcauth.policy.ip_groups import IPGroupType
from sbcauth.policy.passages import Passage
from sbcauth.policy.request import Request
from sbcauth.policy.unproved import unescaped
from sbcauth.policy.words import Word
from sbcauth.service import Route, Service
from sbcauth_door import (
    assertions,
    connections,
    dialogs,
    outcomes,
    removing,
    replies,
    route_block,
    user_parts,
)
from sbcauth_door import log as sbcauth_log
from sbcauth_door.current import KEPT_HERE, current, read_request
from sbcauth_door.nodes import nodes
from sbcauth_door.parties import Bindings
from sbcauth_door.route_block import ReturnCode

_BUG = Reject(500, "Server Internal Error", Reason.INTERNAL_ERROR)


def apply(decision: Decision, request: Request, service: Service, *, waited: bool = False) -> int:
    """Do with the request what was decided; returns a ReturnCode.

    One that has `waited` for a verdict has lost its credentials already.
    """
    if isinstance(decision, Accept):
        return let_in(decision, request, service, waited=waited)
    if isinstance(decision, Challenge):
        if decision.ip_group in service.server_groups:
            connections.keep_of_server_group(request)
        replies.challenge(decision.status, decision.headers)
        return ReturnCode.ANSWERED
    match decision:
        case Pass(ip_group=ip_group):
            found = _route_of(decision, service)
            if found:
                group = service.ip_groups.by_name[ip_group]
                removing.clean(group)
                assertions.keep_diversions_of(
                    group, decision.local_user or unescaped(request.sender_user), service
                )
                route_block.set_word(decision.word)
                route_block.set_local_user(decision.local_user)
                route_block.set_origin(found.ip_group, found.realm)
                route_block.set_route(found)
            return ReturnCode.PASSED
        case Reply():
            replies.keep_alive()
        case Reject(ip_group=ip_group):
            if ip_group in service.server_groups:
                connections.keep_of_server_group(request)
            replies.refuse(decision)
        case Drop():
            pass
    return ReturnCode.ANSWERED


def let_in(decision: Accept, request: Request, service: Service, *, waited: bool = False) -> int:
    """Tell the route block who the sender is, and where the request may go."""
    ip_group, username, user, realm, word = (*decision[:4], decision.word)
    method = request.method
    registers = method == "REGISTER"
    if not waited and (method != KEPT_HERE or word is not _DIGEST):
        removing.remove_credentials(request, realm)
        if not registers and is_of_users(service, ip_group):
            removing.remove_assertions()
            assertions.keep_own_diversions(decision, request, service)
    if not registers and is_of_users(service, ip_group):
        route_block.set_identity(service.server.screening.asserted_number(decision, request), realm)
    route = service.routes[ip_group, registers]
    if user.isalnum() and user.isascii():
        local_user = user
    else:
        local_user = user_parts.escaped(user)
        if method == KEPT_HERE and not user_parts.is_text(local_user):
            return _refuse_name(decision, request)
    route_block.admit(username, local_user, route.ip_group, route.realm, word)
    if route.route_to or route.apart:
        route_block.set_route(route)
    return _ACCEPTED


def _refuse_name(decision: Accept, request: Request) -> int:
    """Refuse to register a user whose name no registrar keeps."""
    ip_group, username = decision[:2]
    detail = "To has a user that is no text in UTF-8"
    refusal = Reject(400, "Bad Request", Reason.BAD_REGISTRATION, ip_group, username, detail=detail)
    outcomes.report(refusal, request)
    replies.refuse(refusal)
    return ReturnCode.ANSWERED


def renew(decision: Accept, request: Request) -> int:
    """Tell the route block what to save, and where the phone is reached; raises Unavailable.

    Beside that stands whose it is, and which node reaches it, as route[NAME_PHONE] of kamailio.cfg
    has it.
    """
    outcomes.report(decision, request)
    ip_group, _, user, realm, *_ = decision
    received = f"sip:{current.source_address}:{current.contact.partition(' ')[0]}"
    owner = _digits(ip_group)
    if owner and len(user) < _LONGEST_NAME:
        received += f";g={owner};a={user.encode().hex()}"
    received += nodes.mark
    if (
        _set("$var(aor)", f"{user}@{realm}") != 1
        or _set("$avp(received)", received) != 1
        or _set("$avp(sbcauth_ip_group)", ip_group) != 1
    ):
        raise route_block.half_told()
    return _RENEWED


@lru_cache(1000)
def _digits(ip_group: str) -> str:
    """Return the name of an IP Group in hexadecimal digits, empty for one that is too long."""
    name = to_bytes(ip_group)
    return name.hex() if len(name) < _LONGEST_NAME else ""


_set = KSR.pv.sets
_LONGEST_NAME = 45
_ACCEPTED, _RENEWED, _DIGEST = ReturnCode.ACCEPTED, ReturnCode.RENEWED, Word.DIGEST


def unknown_dialog(service: Service, method: str) -> int:
    """Answer a request within a dialog that we do not know; an ACK has no answer."""
    if method != "ACK":
        request = read_request()
        decision = service.unknown_dialog(request)
        outcomes.report(decision, request)
        apply(decision, request, service)
    return ReturnCode.ANSWERED


def apply_within(
    decision: Decision, request: Request, service: Service, passage: Passage, places: Bindings
) -> int:
    """Do with a request within a dialog what was decided; returns a ReturnCode.

    It is refused without a transaction: whoever has been in a call has its seals. The ACK to it is
    known by what is noted.
    """
    method = request.method
    if isinstance(decision, Pass | Accept):
        outcomes.report(decision, request)
        if method == "INVITE":
            dialogs.forget_refusal(service)
        return dialogs.send_on(service, passage, method, places)
    if method == "INVITE":
        dialogs.note_refusal(service)
    outcomes.report(decision, request)
    return apply(decision, request, service)


def _route_of(decision: Pass, service: Service) -> Route | None:
    """Return where a request goes that passes; None for one of no IP Group."""
    if decision.reason is Reason.EMERGENCY:
        return service.emergency_routes.get(decision.ip_group)
    return service.routes.get((decision.ip_group, False))


def is_of_users(service: Service, ip_group: str) -> bool:
    """Tell whether an IP Group is one of users."""
    return service.ip_groups.by_name[ip_group].type is IPGroupType.USER


def refuse(cause: Unavailable, ip_group: str = "", username: str = "") -> int:
    """Answer 503 to a request that cannot go on, whatever was decided."""
    return _answer(
        Reject(
            cause.status,
            cause.phrase,
            Reason.UNAVAILABLE,
            ip_group,
            username,
            cause.retry_after,
            str(cause),
        )
    )


def fail() -> int:
    """Answer 500 to a request that met a bug, and leave its trace in the log."""
    sbcauth_log.bug()
    return _answer(_BUG)


def _answer(refusal: Reject) -> int:
    """Log a refusal that is no decision, and answer with it, whatever else fails."""
    steps: tuple[Callable[[], object], ...] = (
        lambda: outcomes.report(refusal, read_request()),
        lambda: replies.refuse(refusal),
    )
    for step in steps:
        try:
            step()
        except Exception as error:
            sbcauth_log.err(f"sbcauth: another bug, while it was answered: {error!r}\n")
    return ReturnCode.ANSWERED
