"""Why a user gets in or not, out of the log: the last outcomes, and what can be done."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sbcauth.monitoring.channels import IDENTIFIER
from sbcauth.monitoring.explain import MEANINGS
from sbcauth.monitoring.log_line import word
from sbcauth.policy.decision import Reason


class Outcome(NamedTuple):
    """One line of the log; values are as they stand there.

    `time` is as the log has it, empty where it has none. `decision` is that of a shadow, too.
    """

    time: str
    decision: str
    status: str
    reason: str
    ip_group: str
    method: str
    source: str
    username: str
    from_user: str
    shadow: bool
    detail: str

    def is_about(self, user: str) -> bool:
        """Tell whether `user`, as a log line has it, sent the request."""
        return user in (self.username, self.from_user)

    def meaning(self) -> str:
        """Return what the reason means, in words; empty where a newer version has written it."""
        return MEANINGS[Reason(self.reason)] if self.reason in MEANINGS else ""


_TIME = (
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"  # ISO 8601
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"  # as syslog does it (RFC 3164, 4.1.2)
)
# From the first character on: a line that quotes one of ours is none.
_LINE = re.compile(
    rf"(?:({_TIME}) )?(?:\S+ {IDENTIFIER}\[\d+\]: )?(decision=\w+ .*)", re.ASCII | re.DOTALL
)
_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)')


def parse(line: str) -> Outcome | None:
    """Return the outcome that a line of a log tells; None where it is no such line.

    Before it stands nothing but the time, and in syslog and the journal the host and our name.
    """
    found = _LINE.match(line)
    if not found:
        return None
    values = dict(reversed(_PAIR.findall(found[2])))
    shadow = values.get("shadow", "")
    return Outcome(
        time=found[1] or "",
        decision=shadow or values["decision"],
        status=values.get("status", ""),
        reason=values.get("reason", ""),
        ip_group=values.get("ip_group", ""),
        method=values.get("method", ""),
        source=values.get("source", ""),
        username=values.get("username", ""),
        from_user=values.get("from", ""),
        shadow=bool(shadow),
        detail=values.get("detail", ""),
    )


def outcomes(lines: Iterable[str], user: str, ip_group: str | None = None) -> Iterator[Outcome]:
    """Yield the outcomes of requests that came under the name of `user`, or from its address."""
    name, group = word(user), word(ip_group) if ip_group else None
    for line in lines:
        found = parse(line) if name in line else None
        if found and found.is_about(name) and group in (None, found.ip_group):
            yield found


_UNANSWERED = 3
"""Challenges in a row, after which a phone is said not to answer them."""


def advice(latest: Sequence[Outcome], user: str) -> str:
    """Return what to do about these outcomes, the newest last; empty where there is nothing."""
    reasons = [each.reason for each in latest]
    if reasons[-_UNANSWERED:] == [Reason.CHALLENGED] * _UNANSWERED:
        return (
            "It never answers the challenges: the phone has no password, or takes them for "
            "another realm or an algorithm that it cannot do (auth_algorithms)."
        )
    answered = [reason for reason in reasons if reason != Reason.CHALLENGED]
    return _ADVICE.get(answered[-1], "").format(user=user) if answered else ""


_ADVICE: dict[str, str] = {
    Reason.WRONG_CREDENTIALS: "The phone has another password than User Info: correct it there, "
    "or give the user a new one with `sbcauth user set-password {user}`.",
    Reason.UNKNOWN_USER: "Correct the user name in the phone, or add it with `sbcauth user add "
    "{user}`; `sbcauth user show {user}` tells whether it is in another IP Group or realm.",
    Reason.DISABLED_USER: "`sbcauth user enable {user}` lets the user in again.",
    Reason.OLD_PASSWORD: "The phone still has the password before the last change: enter the "
    "new one, which gets in at once.",
    Reason.NONCE_OF_ANOTHER: "The answer is wrong, and to a challenge that another address got: "
    "somebody forges this source, or the phone's address changes between requests.",
    Reason.LOCKED_OUT: "See above what failed before; put it right, and `sbcauth lockout clear "
    "{user}` lets the user in at once.",
    Reason.SOURCE_LOCKED_OUT: "Others at this source guess, or have wrong passwords, too: "
    "`sbcauth lockout list` shows it; trusted_sources excepts an office or an address translator.",
    Reason.USER_LOCKED_OUT: "Somebody guesses this user's password from many addresses; whoever "
    "got in of late still does. `sbcauth lockout clear {user}` ends it.",
    Reason.ALGORITHM_NOT_OFFERED: "The phone answers with an algorithm that it was not offered: "
    "see auth_algorithms of the IP Group.",
    Reason.QOP_NOT_OFFERED: "The phone leaves the qop out, or takes another: see auth_qop of the "
    "IP Group.",
    Reason.MIXED_CHALLENGES: "The phone mixes the challenges that it got, the nonce of one with "
    "the algorithm of another. Offer it one alone: see auth_algorithms of the IP Group.",
    Reason.RESPONSE_LENGTH: "The phone computes by another algorithm than it names, or cuts the "
    "response: offer it another, see auth_algorithms of the IP Group.",
    Reason.DIGEST_URI_MISMATCH: "A device between the phone and here changes the Request-URI: "
    "set check_digest_uri: lenient for this IP Group.",
    Reason.IDENTITY_MISMATCH: "The user name may not speak for this address of record: `sbcauth "
    "user show {user}` shows for which it may.",
    Reason.UNCLASSIFIED: "No IP Group's classification takes requests from this source.",
    Reason.NOT_REGISTERED: "The phone sends from elsewhere than it registered from, or does not "
    "register: put the method on the IP Group's authentication_method_list, or set its "
    "unlisted_without_word: challenge.",
    Reason.REGISTRATION_UNPROVED: "Put REGISTER on the authentication_method_list of the IP Group, "
    "or have its requests go to another server (route_to).",
    Reason.BAD_REGISTRATION: "The detail says what is wrong with the phone's Contact or To.",
    Reason.UNKNOWN_EXTENSION: "Switch the extension that the detail names off in the phone.",
    Reason.BAD_REQUEST: "The device sends what is no SIP, or in circles: a trace shows it.",
    Reason.TOO_MANY_USERS: "max_registered_users of the IP Group says how many there may be.",
    Reason.NOT_KEPT: "The detail says why; the log of Kamailio may say more.",
    Reason.UNKNOWN_DIALOG: "The call or subscription is over, or its key was forgotten: the phone "
    "ends it by itself. If it goes on, a device on the way takes our Record-Route away.",
    Reason.STALE_NONCE: "Nothing, unless it goes on: a phone answers with the new nonce by itself.",
    Reason.REPLAYED: "Nothing, unless it goes on: a phone that does not count its nonce up "
    "needs an update.",
    Reason.FOREIGN_NONCE: "Nothing, unless it goes on: then the phone answers the challenge of "
    "another server.",
    Reason.MALFORMED_CREDENTIALS: "The phone's credentials cannot be read: the detail says why.",
    Reason.UNAVAILABLE: "The detail says what does not answer; `sbcauth doctor` looks further.",
    Reason.INTERNAL_ERROR: "A bug: please report it, with the trace that Kamailio's log has.",
}
