"""Telling, step by step, why a request is decided as it is. Nothing is sent or counted.

The decision is the server's own; this only finds the step at which it fell, and says of each
step before it what let the request go on.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from sbcauth.config.load import Config
from sbcauth.http.settings import HttpSettings
from sbcauth.monitoring.sip_message import parse_request
from sbcauth.nonce_keys import load_or_make_up, of_server
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.decision import (
    Accept,
    Ask,
    Challenge,
    Decision,
    Drop,
    Pass,
    Reject,
    Reply,
)
from sbcauth.policy.ip_groups import IPGroup
from sbcauth.policy.request import Request
from sbcauth.policy.shared_state import LocalState
from sbcauth.radius.settings import RadiusSettings
from sbcauth.service import Service


class Explanation(NamedTuple):
    """The steps of a decision, the reason for which it fell, and what is done, in one line."""

    request: Request
    steps: tuple["Step", ...]
    reason: str
    answer: str


def explain(config: Config, text: str, source: str | None, now: float) -> Explanation:
    """Return how the raw request in `text` is decided at `now` (seconds since 1970).

    `source` is the address that it came from, if not the one in its Via. Raises NotARequest.
    """
    request = parse_request(text)
    if source:
        request = request._replace(source_address=source)
    keys = of_server(load_or_make_up(config.nonce_key_file), config.file)
    with closing(Service(config, LocalState(), keys, started_at=0)) as service:
        decision = service.decide(request, now)
        way = tuple(steps(service.ip_groups, request, decision))
    return Explanation(request, way, decision.reason, answer(decision))


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


def steps(ip_groups: IPGroups, request: Request, decision: Decision) -> Iterator[Step]:
    """Yield the steps that `request` took until `decision` fell."""
    last = decision.reason.step
    group = ip_groups.classify(request) if last > 1 else None
    for number, name in enumerate(_STEP_NAMES[: last - 1], start=1):
        yield Step(number, name, _went_on(number, group, request))
    meaning = decision.reason.meaning
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
