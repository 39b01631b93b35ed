"""Reading what a request says out of KSR, and applying a decision to it.

Kamailio hands text over as UTF-8 and raises where bytes are none; those are fetched again in
hexadecimal, so that every byte reaches the digest as it was sent.
"""

import re
import traceback
from base64 import b64decode
from collections.abc import Iterable
from enum import IntEnum
from urllib.parse import quote

import KSR

from sbcauth.digest.credentials import parse_credentials, scheme
from sbcauth.digest.text import to_bytes
from sbcauth.exceptions import BadCredentials, Unavailable
from sbcauth.monitoring.counts import TABLE
from sbcauth.monitoring.log_line import outcome, word
from sbcauth.policy.decision import (
    Accept,
    Challenge,
    Decision,
    Drop,
    Reason,
    Reject,
    outcome_key,
)
from sbcauth.policy.identities import as_number, numbers_in
from sbcauth.policy.ip_groups import IPGroup, IPGroupType
from sbcauth.policy.request import AUTHORIZATION, PROXY_AUTHORIZATION, Request
from sbcauth.policy.words import Word
from sbcauth.service import Route
from sbcauth_door import log as sbcauth_log
from sbcauth_door import outcomes
from sbcauth_door.state import enlist

_MAX_FIELDS = 8
"""How many header fields of one name are looked at."""
_MOST_FIELDS = 64
"""How many header fields with credentials are looked at one by one; more are all taken out."""
_USER_UNRESERVED = "-_.!~*'()&=+$,?/"
"""What stands unescaped in the user part of a URI (RFC 3261, 25.1), but for `;`."""
_LONG_BODY = 49149
"""Kamailio has room to encode so many bytes at once."""


class ReturnCode(IntEnum):
    """What `python_exec` returns to the route block."""

    NOTHING_YET = -1
    ANSWERED = 0
    PASSED = 1
    ACCEPTED = 2
    FROM_PHONE = 3
    """Passed within a dialog, from a phone whose word alone asserts no identity."""
    RENEWED = 4
    """A registration that may be saved at once: the same Contact as before, from the same place."""


# Each look-up of one of these costs half as much as the call.
append_to_reply, send_reply = KSR.hdr.append_to_reply, KSR.sl.send_reply
_field, _count = KSR.hdr.get_idx, KSR.htable.sht_inc


def check_modules() -> None:
    """Raise Unavailable where kamailio.cfg lacks a module that is missed only later."""
    if not hasattr(KSR, "tmx"):
        raise Unavailable("the module tmx.so has to be loaded before app_python3.so")


def has_answered() -> bool:
    """Tell whether the transaction of a request that has come before has answered this one.

    Kamailio would say so, too, where the route block has begun this one's own transaction.
    """
    return KSR.pv.get("$T(id_index)") is None and KSR.tm.t_check_trans() == 0


def challenge(status: int, headers: Iterable[str]) -> None:
    """Answer the request with challenges."""
    for header in headers:
        append_to_reply(f"{header}\r\n")
    send_reply(status, PHRASES[status])


def refuse(decision: Reject) -> None:
    """Answer the request with a refusal."""
    retry_after = decision.retry_after
    if retry_after:
        append_to_reply(f"Retry-After: {retry_after}\r\n")
    for header in decision.headers:
        append_to_reply(f"{header}\r\n")
    send_reply(decision.status, decision.phrase)


has_totag = KSR.siputils.has_totag


def keep_alive() -> None:
    """Answer the request with 200: that we are there is all that it asks."""
    send_reply(200, "OK")


PHRASES = {401: "Unauthorized", 407: "Proxy Authentication Required"}


def suspend(patience: float) -> tuple[int, int]:
    """Put the request aside, and return by which two numbers its transaction is found again.

    It is answered 408 by itself where nobody resumes it for `patience` seconds.
    """
    KSR.tm.t_set_fr(0, int(patience * 1000))
    if KSR.tmx.t_suspend() < 0:
        raise Unavailable("the request cannot be suspended")
    return KSR.pv.get("$T(id_index)"), KSR.pv.get("$T(id_label)")


def name_suspended(index: int, label: int) -> None:
    """Tell the route block which request can go on; Kamailio's variables are signed."""
    KSR.pv.seti("$var(sbcauth_index)", _signed(index))
    KSR.pv.seti("$var(sbcauth_label)", _signed(label))


def resume() -> None:
    """Give a request that goes on the timers of any other."""
    KSR.tm.t_reset_fr()


def clean(group: IPGroup) -> None:
    """Take out of a request what its sender cannot vouch for, and what must not leave.

    Those are the credentials for a realm that we challenge in, what cannot be read included, and
    who the sender says the network says he is.
    """
    if not group.asks:
        return
    remove_all_credentials(group.realm)
    if group.type is IPGroupType.USER:
        remove_assertions()


def remove_all_credentials(realm: str) -> None:
    """Take out all credentials for a realm, what cannot be read included."""
    for name in (AUTHORIZATION, PROXY_AUTHORIZATION):
        values = all_fields(name)
        if values is None:
            KSR.hdr.remove(name)
            continue
        for index, value in enumerate(values):
            if is_for(realm, value, doubtful=True):
                KSR.textops.remove_hf_idx(name, index)


def remove_assertions() -> None:
    """Take out who the network says the sender is (RFC 3325, 5): a phone is not the network."""
    for name in _ASSERTIONS:
        _remove(name)


def diversions() -> list[str]:
    """Return which header fields the request has that tell of a diversion."""
    return [name for name in _DIVERSIONS if KSR.hdr.is_present(name) > 0]


def diverting(name: str) -> list[str]:
    """Return the numbers that such a header field names, none where there are too many.

    History-Info has who is called as well (RFC 7044), which is not meant.
    """
    values = fields(name, _MOST_FIELDS)
    if len(values) == _MOST_FIELDS:
        return []
    called = as_number(text("rU")) if name == _HISTORY else None
    return [number for number in numbers_in(values) if number != called]


_HISTORY = "History-Info"
_DIVERSIONS = ("Diversion", _HISTORY)
_remove = KSR.hdr.remove
_ASSERTIONS = ("P-Asserted-Identity", "Remote-Party-ID", "P-Preferred-Identity")


def remove_credentials(request: Request, realm: str) -> None:
    """Take the credentials for our realm out of the request; others stay as they are.

    Where there is one such field alone, it is the one that was accepted: to find that out again
    would take 12 µs.
    """
    www, proxy = request.authorization, request.proxy_authorization
    if _MAX_FIELDS in (len(www), len(proxy)):
        remove_all_credentials(realm)  # there may be more of them
        return
    alone = len(www) + len(proxy) == 1
    for name, values in ((AUTHORIZATION, www), (PROXY_AUTHORIZATION, proxy)):
        for index, field in enumerate(values):
            if alone or is_for(realm, field):
                KSR.textops.remove_hf_idx(name, index)


def set_word(word: Word | None) -> None:
    """Tell the route block on whose word the request goes on; raises Unavailable."""
    if word and _set("$avp(sbcauth_word)", word) != 1:
        raise half_told()


def set_identity(number: str, realm: str) -> None:
    """Tell the route block how the sender is known to servers; raises Unavailable."""
    if number and _set("$avp(sbcauth_identity)", f"sip:{escaped(number)}@{realm}") != 1:
        raise half_told()


def set_local_user(local_user: str) -> None:
    """Tell the route block whose word it is, where From does not say it; raises Unavailable."""
    if local_user and _set("$avp(sbcauth_local_user)", escaped(local_user)) != 1:
        raise half_told()


def admit(
    username: str, local_user: str, ip_group: str, realm: str, word: str = Word.DIGEST
) -> None:
    """Tell the route block who the sender is; raises Unavailable.

    `local_user` is as it stands in a URI.
    """
    if (
        _set("$avp(sbcauth_word)", word) != 1
        or _set("$avp(sbcauth_username)", username) != 1
        or _set("$avp(sbcauth_local_user)", local_user) != 1
        or _set("$avp(sbcauth_ip_group)", ip_group) != 1
        or _set("$avp(sbcauth_realm)", realm) != 1
    ):
        raise half_told()


def escaped(user: str) -> str:
    """Return the user part of a URI for `user` (RFC 3261, 25.1), as Kamailio can read it.

    `1001%40other` must not become another user's address of record. Letters of UTF-8 stay as they
    are: Kamailio's registrar refuses them escaped.
    """
    if user.isascii():
        return quote(user, safe=_USER_UNRESERVED)
    return "".join(
        letter if "\x80" <= letter < "\ud800" or letter > "\udfff" else quote(to_bytes(letter), "")
        for letter in user
    )


def is_text(local_user: str) -> bool:
    """Tell whether an escaped user part is text: in UTF-8, and without a NUL, escaped or not.

    Kamailio's functions take no NUL.
    """
    return not _NO_TEXT.search(local_user)


_NO_TEXT = re.compile("\0|%(?:00|[89A-Fa-f])")


def set_origin(ip_group: str, realm: str) -> None:
    """Tell the route block which IP Group the request is from; raises Unavailable."""
    if _set("$avp(sbcauth_ip_group)", ip_group) != 1 or _set("$avp(sbcauth_realm)", realm) != 1:
        raise half_told()


def set_route(route: Route) -> None:
    """Tell the route block where the request may go; raises Unavailable."""
    if route.out_of_reach and _set("$avp(sbcauth_out_of_reach)", "1") != 1:
        raise half_told()
    if route.apart:
        KSR.pv.unset("$avp(sbcauth_realm)")
        for realm in reversed(route.realms_of(text("rd"))):  # the last one is the first
            if _set("$avp(sbcauth_realm)", realm) != 1:
                raise half_told()
    if not route.route_to:
        return
    avps = [("route_to", route.route_to), ("peer", route.peer)]
    avps += (("next_hop", uri) for uri in reversed(route.next_hops))  # the last one is the first
    for name, value in avps:
        if value and _set(f"$avp(sbcauth_{name})", value) != 1:
            raise half_told()


_set = KSR.pv.sets


def half_told() -> Unavailable:
    """Return the error: the route block must not go on with half of what it is told."""
    return Unavailable("shared memory is full")


def log(decision: Decision, request: Request) -> None:
    """Count an outcome, and write it where the log has it; a repeat has been counted before."""
    kind, reason, log = type(decision), decision.reason, outcomes.log
    if isinstance(decision, Accept) and decision.is_repeat:
        return
    key = outcome_key("" if isinstance(decision, Drop) else decision.ip_group, reason)
    if _count(TABLE, key) == 1:
        enlist(key)
    if kind is Accept and not (log.writes_all or decision.is_first):  # type: ignore[union-attr]
        return  # a phone that registers again, as nearly all do
    if reason not in log.never:
        if log.wants(decision):
            log.write(outcome(request, decision))
    elif reason is _CHALLENGED and (
        (isinstance(decision, Challenge) and decision.detail) or outcomes.has_room(reason)
    ):
        _log_challenge(decision, request)


_CHALLENGED = Reason.CHALLENGED


def _log_challenge(decision: Decision, request: Request) -> None:
    """Write a challenge of credentials for another realm, and keep one that the log leaves out."""
    entry = outcome(request, decision)
    if isinstance(decision, Challenge) and decision.detail:
        outcomes.log.write(entry)
    else:
        outcomes.log.keep(entry)


def log_bug() -> None:
    """Write the trace of the exception at hand, which is a bug."""
    trace = traceback.format_exc().strip().replace("\n", " | ")
    sbcauth_log.err(f"sbcauth: a bug, please report it: {word(trace, 2000)}\n")


def definition(name: str) -> str:
    """Return what kamailio.cfg defines `name` as, or nothing."""
    return str(KSR.kx.get_def(name) or "").strip('"')


def fields(name: str, at_most: int = _MAX_FIELDS) -> tuple[str, ...]:
    """Return the values of all header fields of this name."""
    found = []
    for index in range(at_most):
        try:
            value = _field(name, index)
        except UnicodeDecodeError:
            value = _decode(f"$(hdr({name})[{index}]{{s.encode.hexa}})")
        if value is None:
            break
        found.append(value)
    return tuple(found)


def all_fields(name: str) -> tuple[str, ...] | None:
    """Return the values of all header fields of this name; None where they are too many."""
    found = fields(name, _MOST_FIELDS)
    return found if len(found) < _MOST_FIELDS else None


def first(name: str) -> str:
    """Return the value of the first header field of this name, empty where there is none."""
    return next(iter(fields(name, 1)), "")


def text(name: str) -> str:
    """Return a pseudo-variable as text, empty where it is not set."""
    try:
        return KSR.pv.get(f"${name}") or ""
    except UnicodeDecodeError:
        return _decode(f"$({name}{{s.encode.hexa}})")


def _decode(pseudo_variable: str) -> str:
    return bytes.fromhex(KSR.pv.get(pseudo_variable) or "").decode("utf-8", "surrogateescape")


def body() -> bytes:
    """Return the body, byte for byte.

    One that is too long to be encoded at once comes in two pieces that overlap, since
    Kamailio's `s.substr` stops at a NUL.
    """
    get = KSR.pv.get
    if int(get("$(rb{s.len})") or 0) <= _LONG_BODY:
        return b64decode(get("$(rb{s.encode.base64})") or "")
    start = b64decode(get("$(rb{s.striptail,20000}{s.encode.base64})"))
    end = b64decode(get("$(rb{s.strip,20000}{s.encode.base64})"))
    return start + end[-20000:]


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number


def is_unreadable(field: str) -> bool:
    """Tell whether a header field's value is no credentials at all."""
    try:
        parse_credentials(field)
    except BadCredentials:
        return True
    return False


def is_for(realm: str, field: str, *, doubtful: bool = False) -> bool:
    """Tell whether a header field's value has credentials for this realm.

    `doubtful` is what is said of what cannot be read, and is a digest or names the realm.
    """
    try:
        return parse_credentials(field).realm == realm
    except BadCredentials:
        return doubtful and (scheme(field) == "digest" or realm in field)
