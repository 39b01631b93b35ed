"""Why a user gets in or not, out of the log: the last outcomes, and what can be done."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from types import MappingProxyType
from typing import NamedTuple

from sbcauth.monitoring.channels import IDENTIFIER
from sbcauth.monitoring.log_line import word
from sbcauth.policy.decision import Reason

_REASONS: dict[str, Reason] = {reason: reason for reason in Reason}


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

    @property
    def address(self) -> str:
        """Return the address that the request came from."""
        return self.source.partition("/")[0].rpartition(":")[0].strip("[]")

    def meaning(self) -> str:
        """Return what the reason means, in words; empty where a newer version has written it."""
        known = _REASONS.get(self.reason)
        return known.meaning if known else ""


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


class Search(NamedTuple):
    """Which outcomes are wanted: those that fit in everything that is given.

    `user` is a user name or the user of From; `source` an address or a prefix.
    """

    user: str | None = None
    ip_group: str | None = None
    source: str | None = None
    reason: str | None = None

    def fits(self, outcome: Outcome) -> bool:
        """Tell whether an outcome is one of them."""
        return (
            (self.user is None or outcome.is_about(word(self.user)))
            and (self.ip_group is None or outcome.ip_group == word(self.ip_group))
            and (self.reason is None or outcome.reason == self.reason)
            and (self.source is None or _is_within(outcome.address, self.source))
        )


def _is_within(address: str, source: str) -> bool:
    try:
        return ip_address(address) in ip_network(source, strict=False)
    except ValueError:
        return address == source


def outcomes(lines: Iterable[str], search: Search) -> Iterator[Outcome]:
    """Yield the outcomes in a log that fit."""
    name = word(search.user) if search.user else ""
    for line in lines:
        found = parse(line) if name in line else None
        if found and search.fits(found):
            yield found


class Facts(NamedTuple):
    """What is so now, whatever the log says of before.

    `not_registered` is that the server knows of no contact of the user that is asked about;
    `users` has for a user name the IP Groups in which User Info has it, and whether it is enabled
    there; `servers` the IP Group of type server that a name is `username_as_server` of;
    `locked_out` are the user names that are; `addresses` the address of record of a user name;
    `likely` has for a name that User Info has not the one that was probably meant.
    """

    users: Mapping[str, Mapping[str, bool]] = MappingProxyType({})
    servers: Mapping[str, str] = MappingProxyType({})
    locked_out: frozenset[str] = frozenset()
    addresses: Mapping[str, str] = MappingProxyType({})
    likely: Mapping[str, str] = MappingProxyType({})
    not_registered: bool = False


_NO_FACTS = Facts()
_UNANSWERED = 3
"""Challenges in a row, after which a phone is said not to answer them."""


def advice(
    latest: Sequence[Outcome], user: str = "", facts: Facts = _NO_FACTS, *, known: bool = False
) -> list[str]:
    """Return what to do about these outcomes, the newest last, for what still holds.

    There is one line for each trouble, that of the newest first; what was before the last success
    of `user` is over. `known` is that `facts` are complete.
    """
    if latest and facts.not_registered:
        last = latest[-1]
        if (last.reason, last.method) == (Reason.ACCEPTED, "REGISTER") and not last.shadow:
            return [_LET_IN]
    found: dict[str, None] = {}
    unanswered = 0
    for each in reversed(latest):
        if each.reason == Reason.ACCEPTED and user and not each.shadow:
            break
        if each.reason == Reason.CHALLENGED and not each.detail:
            unanswered += 1
            if unanswered == _UNANSWERED and not found and user:
                found[_NEVER_ANSWERS] = None
            continue
        unanswered = 0
        if (not known or _still_holds(each, facts)) and (said := _advice(each, user, facts)):
            found[said] = None
    return list(found)


def _still_holds(outcome: Outcome, facts: Facts) -> bool:
    groups = facts.users.get(outcome.username, {})
    match outcome.reason:
        case Reason.UNKNOWN_USER:
            return outcome.ip_group not in groups
        case Reason.DISABLED_USER:
            return not groups.get(outcome.ip_group, False)
        case Reason.LOCKED_OUT | Reason.USER_LOCKED_OUT | Reason.SOURCE_LOCKED_OUT:
            return bool(facts.locked_out)
    return True


def _advice(outcome: Outcome, user: str, facts: Facts) -> str:
    name = outcome.username if outcome.username not in ("", "-") else user or outcome.from_user
    if outcome.reason == Reason.CHALLENGED:
        return f"Set the phone's realm, or its domain: {outcome.detail.strip(chr(34))}."
    if outcome.reason == Reason.UNCLASSIFIED:
        return _of_unclassified(outcome, user or name, facts)
    if outcome.reason in (Reason.UNKNOWN_USER, Reason.WRONG_CREDENTIALS):
        server = facts.servers.get(name)
        if server and server != outcome.ip_group:
            return (
                f"{name} is username_as_server of the IP Group {server}, but the request came "
                f"from {outcome.address}, which is of {outcome.ip_group}: add that address to the "
                f"proxy_set or classification of {server}."
            )
        if server:
            return (
                f"The server has another password than password_as_server of the IP Group {server}."
            )
    if outcome.reason == Reason.UNKNOWN_USER and (groups := facts.users.get(name)):
        others = ", ".join(groups)
        return (
            f"User Info has {name} in {others}, the request was of {outcome.ip_group}, by its "
            f"address {outcome.address}: `sbcauth user move {name} {outcome.ip_group}`, or correct "
            "the classification."
        )
    if outcome.reason == Reason.UNKNOWN_USER and (meant := facts.likely.get(name)):
        return (
            f"The phone's user name is {name}, User Info has {meant}: spell it so in the phone, "
            "where it asks for the user name of the authentication."
        )
    if outcome.reason == Reason.IDENTITY_MISMATCH:
        theirs = facts.addresses.get(name)
        speaks = f", who may speak for {theirs} alone" if theirs else ""
        return (
            f"The request is from sip:{outcome.from_user}@…, with the credentials of {name}"
            f"{speaks}: set the phone's address and its user name to the same account."
        )
    known = _REASONS.get(outcome.reason)
    return (known.advice.format(user=name) if known else "") + _what_was_seen(outcome)


def _what_was_seen(outcome: Outcome) -> str:
    """Return what a phone did with its challenges, where that is the trouble."""
    if outcome.reason not in _OF_WHAT_IS_OFFERED or not outcome.detail:
        return ""
    return f" It {outcome.detail.strip(chr(34))}."


def _of_unclassified(outcome: Outcome, user: str, facts: Facts) -> str:
    server = facts.servers.get(user)
    whose = (
        f"that of {server}, if it is this server's new address" if server else "the one it is of"
    )
    return (
        f"No IP Group takes requests from {outcome.address}: add it to the proxy_set or "
        f"classification of an IP Group, {whose}, then `sbcauth reload`."
    )


_LET_IN = (
    "The last REGISTER was let in, but no contact is registered. Where the phone has not signed "
    "off, the route block of kamailio.cfg has refused the request or not kept it: with Debian's "
    "own, name your domain by `alias` (docs/existing-deployment.md)."
)
_OF_WHAT_IS_OFFERED = (
    Reason.ALGORITHM_NOT_OFFERED,
    Reason.QOP_NOT_OFFERED,
    Reason.MIXED_CHALLENGES,
    Reason.RESPONSE_LENGTH,
)
_NEVER_ANSWERS = (
    "It never answers the challenges: the phone has no password, or takes them for another realm "
    "or an algorithm that it cannot do (auth_algorithms)."
)
