"""Requests and phones: who is refused, registered or locked out, and how one is decided."""

from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlencode

from sbcauth.console.api.asked import (
    InIPGroup,
    LockoutsQuery,
    RefusalsQuery,
    RegisteredQuery,
    RequestToExplain,
)
from sbcauth.console.api.call import Call
from sbcauth.console.api.users import Lockout, shown_lockouts
from sbcauth.console.problems import ROOT
from sbcauth.exceptions import UserInfoError
from sbcauth.monitoring.explain import Step
from sbcauth.monitoring.explain import explain as decide_and_tell
from sbcauth.monitoring.latest import last_outcomes
from sbcauth.monitoring.lockouts import Wanted, clear
from sbcauth.monitoring.lockouts import lockouts as locked_out
from sbcauth.monitoring.refusals import MOST_READ, Refusals, is_refusal, with_advice
from sbcauth.monitoring.registered import Wanted as OfRegistered
from sbcauth.monitoring.registered import drop, page_of_registered
from sbcauth.monitoring.registrations import Place, ShownRegistration, shown_registration
from sbcauth.monitoring.why import Search


class Registered(NamedTuple):
    """Some of the registrations that fit; `next` is the address of the others, null for none."""

    registered: list[ShownRegistration]
    next: str | None


class Dropped(NamedTuple):
    """The addresses that were registered, and are no longer."""

    dropped: list[str]


class Lockouts(NamedTuple):
    """Who is locked out."""

    lockouts: list[Lockout]


class Lifted(NamedTuple):
    """The lockouts that were lifted; none where nobody was locked out who fits."""

    lifted: list[Lockout]


class Explained(NamedTuple):
    """The steps by which a request is decided, the reason, and what is done, in one line."""

    steps: list[Step]
    reason: str
    answer: str


def refusals(call: Call[RefusalsQuery, None]) -> Refusals:
    """List the last refusals, of strangers too, the newest last, and what to do."""
    console, asked = call.console, call.query
    config, server = console.config(), console.server()
    search = Search(asked.user, asked.ip_group, asked.source, asked.reason)
    found = last_outcomes(config, server, search, MOST_READ)
    if asked.reason is None:
        found = [each for each in found if is_refusal(each)]
    with console.alone():
        return with_advice(config, server, found[-asked.limit :], call.now, asked.user)


def registered(call: Call[RegisteredQuery, None]) -> Registered:
    """List who is registered, from where, and until when, a page at a time.

    A page may have fewer than `limit` where few fit, and none: go on while there is a `next`.
    """
    console, asked = call.console, call.query
    wanted = OfRegistered(asked.user, asked.ip_group, asked.source)
    after = Place(asked.after_user, asked.after_realm, asked.after_contact)
    with console.alone():
        found, last = page_of_registered(
            *(console.config(), console.server(), call.now),
            *(wanted, after if after.user else None, asked.limit),
        )
    shown = [shown_registration(each) for each in found]
    if last is None:
        return Registered(shown, None)
    place = {f"after_{name}": value for name, value in last._asdict().items()}
    values = {**asked.model_dump(exclude_defaults=True), **place}
    return Registered(shown, f"{ROOT}/registered?{urlencode(values)}")


def drop_registered(call: Call[InIPGroup, None]) -> Dropped:
    """Forget where a user is registered, until the phone registers again."""
    console, name = call.console, call.username
    with console.alone():
        found = drop(console.config(), console.server(), name, call.query.ip_group)
    if found:
        call.log("user-drop", user=name, ip_group=call.query.ip_group or "")
    return Dropped([f"sip:{user}@{realm}" for user, realm in found])


def lockouts(call: Call[LockoutsQuery, None]) -> Lockouts:
    """List who is locked out."""
    found = locked_out(call.console.server(), call.now, _wanted(call.query))
    return Lockouts(shown_lockouts(found, call.now))


def lift_lockouts(call: Call[LockoutsQuery, None]) -> Lifted:
    """Let those in again who are locked out and fit; say whom by one value at least."""
    wanted = _wanted(call.query)
    if wanted == Wanted():
        raise UserInfoError("say whose lockout is to be lifted: username, ip_group, source")
    server = call.console.server()
    found = locked_out(server, call.now, wanted)
    clear(server, found, call.console.cluster())
    for each in found:
        call.log(
            "lockout-clear", user=each.username, ip_group=each.ip_group, locked_out_at=each.source
        )
    return Lifted(shown_lockouts(found, call.now))


def _wanted(asked: LockoutsQuery) -> Wanted:
    return Wanted(asked.ip_group, asked.source, asked.username)


def explain(call: Call[None, RequestToExplain]) -> Explained:
    """Tell the steps by which a request is decided; nothing is sent or counted."""
    source = call.body.source
    try:
        source = str(ip_address(source)) if source else None
    except ValueError:
        raise UserInfoError("source is no IP address") from None
    with call.console.alone():
        found = decide_and_tell(call.console.config(), call.body.request, source, call.now)
    return Explained(list(found.steps), found.reason, found.answer)
