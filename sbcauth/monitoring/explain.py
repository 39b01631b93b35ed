"""Telling, step by step, why a request is decided as it is. Nothing is sent or counted.

The decision is the server's own; this only finds the step at which it fell, and says of each
step before it what let the request go on.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sbcauth.http.settings import HttpSettings
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.decision import (
    Accept,
    Ask,
    Challenge,
    Decision,
    Drop,
    Pass,
    Reason,
    Reject,
    Reply,
)
from sbcauth.policy.ip_groups import IPGroup
from sbcauth.policy.request import Request
from sbcauth.radius.settings import RadiusSettings


class Step(NamedTuple):
    """One step of a decision: its name, and what came of it in words."""

    number: int
    name: str
    outcome: str
    final: bool = False


_STEP_NAMES = (
    "Never challenged",
    "Classification",
    "Authentication Mode",
    "Authentication Method List",
    "Credentials",
    "Lockout",
    "Validation",
    "Identification",
)

_FALLS_AT = {
    Reason.NEVER_CHALLENGED: 1,
    Reason.UNCLASSIFIED: 2,
    Reason.PASS_THROUGH: 3,
    Reason.METHOD_NOT_LISTED: 4,
    Reason.KEEP_ALIVE: 3,
    Reason.EMERGENCY: 3,
    Reason.REGISTERED_SENDER: 4,
    Reason.NOT_REGISTERED: 4,
    Reason.REGISTRATION_UNPROVED: 4,
    Reason.CHALLENGED: 5,
    Reason.MALFORMED_CREDENTIALS: 5,
    Reason.LOCKED_OUT: 6,
    Reason.SOURCE_LOCKED_OUT: 6,
    Reason.USER_LOCKED_OUT: 6,
    Reason.FOREIGN_NONCE: 7,
    Reason.STALE_NONCE: 7,
    Reason.ALGORITHM_NOT_OFFERED: 7,
    Reason.QOP_NOT_OFFERED: 7,
    Reason.MIXED_CHALLENGES: 7,
    Reason.RESPONSE_LENGTH: 7,
    Reason.DIGEST_URI_MISMATCH: 7,
}
"""The step at which each reason ends the way; all others do so at the last."""

MEANINGS = {
    Reason.NEVER_CHALLENGED: "ACK and CANCEL cannot be sent again with credentials, so they pass",
    Reason.PASS_THROUGH: "the IP Group is not in mode sbc-as-server, so the request passes",
    Reason.METHOD_NOT_LISTED: "the method is not on the IP Group's list, so the request passes",
    Reason.REGISTERED_SENDER: "the method is not listed, and the sender is registered from there",
    Reason.NOT_REGISTERED: "the method is not listed, and the sender is not registered from there",
    Reason.KEEP_ALIVE: "it asks whether we are there: answered here, and relayed to nobody",
    Reason.EMERGENCY: "an emergency call, which needs no credentials",
    Reason.REGISTRATION_UNPROVED: "nothing is registered unproved for addresses of User Info, by "
    "peer servers, or where REGISTER is not on the list",
    Reason.BAD_REGISTRATION: "the registration cannot be kept as it is",
    Reason.UNKNOWN_EXTENSION: "it requires an extension of SIP that we do not have",
    Reason.TOO_MANY_USERS: "the IP Group has as many registered users as it may",
    Reason.NOT_KEPT: "the registrar has refused a registration that was let in",
    Reason.BAD_REQUEST: "refused before anything was decided: it is malformed, or went too far",
    Reason.WITHIN_DIALOG: "the request goes from one party of its dialog to the other",
    Reason.ACCEPTED: "the response is right, and the sender speaks for itself",
    Reason.CHALLENGED: "no credentials for our realm: a challenge is sent",
    Reason.FOREIGN_NONCE: "the nonce is not one of ours, or of another policy: challenged again",
    Reason.STALE_NONCE: "the nonce is ours, but too old: challenged again with stale=true",
    Reason.REPLAYED: "the nonce count has been used: challenged again with stale=true",
    Reason.WRONG_CREDENTIALS: "the response is wrong: an attempt is counted",
    Reason.UNKNOWN_USER: "User Info has no such user: an attempt is counted",
    Reason.DISABLED_USER: "the user is disabled: an attempt is counted",
    Reason.NONCE_OF_ANOTHER: "the response is wrong, to a nonce of another source: counted there",
    Reason.OLD_PASSWORD: "right for the password before this one: an attempt is counted",
    Reason.LOCKED_OUT: "too many attempts have failed: refused until the lockout ends",
    Reason.SOURCE_LOCKED_OUT: "the source has failed too often, under whatever user names",
    Reason.USER_LOCKED_OUT: "too many have failed under the user name, wherever they are",
    Reason.ALGORITHM_NOT_OFFERED: "the algorithm was not offered",
    Reason.QOP_NOT_OFFERED: "the qop was not offered, or was left out although offered",
    Reason.MIXED_CHALLENGES: "the nonce is ours, but for another algorithm than the answer's",
    Reason.RESPONSE_LENGTH: "the response is longer or shorter than its algorithm makes them",
    Reason.DIGEST_URI_MISMATCH: "the digest uri is not the Request-URI (check_digest_uri: strict)",
    Reason.IDENTITY_MISMATCH: "the response is right, but for another's address of record",
    Reason.UNCLASSIFIED: "no IP Group takes requests from there, or a deny rule refuses them",
    Reason.UNKNOWN_DIALOG: "it belongs to no dialog that was let in, or comes from neither party",
    Reason.MALFORMED_CREDENTIALS: "the credentials cannot be read",
    Reason.ASKED: "the external server is asked, and its verdict makes a decision of its own",
    Reason.UNAVAILABLE: "a database or server that is needed does not answer",
    Reason.INTERNAL_ERROR: "a bug; the log has its trace",
}
"""What each reason means, in words."""


def steps(ip_groups: IPGroups, request: Request, decision: Decision) -> Iterator[Step]:
    """Yield the steps that `request` took until `decision` fell."""
    last = _FALLS_AT.get(decision.reason, len(_STEP_NAMES))
    group = ip_groups.classify(request) if last > 1 else None
    for number, name in enumerate(_STEP_NAMES[: last - 1], start=1):
        yield Step(number, name, _went_on(number, group, request))
    meaning = MEANINGS[decision.reason]
    if isinstance(decision, Reject | Challenge) and decision.detail:
        meaning = f"{meaning}: {decision.detail}"
    if isinstance(decision, Ask):
        meaning = f"{meaning}: {_question(group, decision)}"
    yield Step(last, _STEP_NAMES[last - 1], f"{meaning} ({decision.reason})", final=True)


def answer(decision: Decision) -> str:
    """Return what is done with the request, in one line."""
    match decision:
        case Pass(shadow=""):
            return "it goes on as it is"
        case Pass(shadow=shadow):
            return f"it goes on as it is: the IP Group is in shadow (else: {shadow})"
        case Accept(_, username, local_user):
            return f"it goes on, as {local_user} (user name {username})"
        case Challenge(status, headers):
            return f"{status} with {len(headers)} challenge{'s' * (len(headers) > 1)}"
        case Reject(status, phrase):
            return f"{status} {phrase}"
        case Reply():
            return "200 OK, and it goes nowhere"
        case Drop():
            return "no answer"
        case Ask():
            return "it waits for the verdict of the external server"


def _question(group: IPGroup | None, decision: Ask) -> str:
    """Return who would be asked about whom."""
    asked = group.external_server if group else None
    servers, kind = "nobody", ""
    if isinstance(asked, RadiusSettings):
        servers = ", then ".join(map(str, asked.servers))
        kind = f" in attributes of {asked.attributes}"
    if isinstance(asked, HttpSettings):
        servers = ", then ".join(asked.urls)
    return f"{servers}, about the user name {decision.username}{kind}"


def _went_on(number: int, group: IPGroup | None, request: Request) -> str:
    """Return what let the request go on from step `number`, before the last one."""
    if group is None and number == 2:
        return "no rule fits: the credentials may name a trunk that is known by digest_username"
    if group is None or number == 1:
        return f"{request.method} may be challenged"
    return {
        2: f"{request.source_address} is of the IP Group {group.name} (type {group.type})",
        3: f"{group.authentication_mode}",
        4: f"{request.method} is on the list",
        5: f"credentials for the realm {group.realm}",
        6: "not locked out",
        7: "nonce, algorithm and qop are as we offered them",
    }[number]
