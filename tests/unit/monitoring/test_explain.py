"""`explain`: every outcome has its step, its meaning and its answer in words."""

import pytest
from conversation import NOW, PASSWORD, REALM, UserInfo, deny, phones, rule, serve, user
from conversation import Phone as AnyPhone

from sbcauth.monitoring.explain import _STEP_NAMES, Step, answer, steps
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.decision import Accept, Challenge, Decision, Drop, Pass, Reason, Reject
from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    IPGroup,
    ServerAuthMode,
    UnclassifiedRequests,
)
from sbcauth.policy.reasons import LAST_STEP
from sbcauth.policy.request import Request
from sbcauth.radius.settings import RadiusServer, RadiusSettings

STEPS = [
    *("Never challenged", "Classification", "Authentication Mode", "Authentication Method List"),
    *("Credentials", "Lockout", "Validation", "Identification"),
]


class Recorder:
    """Stands before a server, and remembers the last request."""

    def __init__(self, *groups: IPGroup, **how: object) -> None:
        self.groups = IPGroups(groups or [phones()])
        self._server = serve(*groups, **how)  # type: ignore[arg-type]
        self.request: Request | None = None

    def decide(self, request: Request, now: int) -> Decision:
        self.request = request
        return self._server.decide(request, now)

    def explain(self, decision: Decision) -> list[Step]:
        assert self.request
        return list(steps(self.groups, self.request, decision))


def phone(recorder: Recorder, **how: str) -> AnyPhone:
    return AnyPhone(recorder, **how)  # type: ignore[arg-type]


def test_every_reason_has_its_meaning() -> None:
    assert all(reason.meaning for reason in Reason)
    assert len({reason.meaning for reason in Reason}) == len(Reason)
    assert {reason.step for reason in Reason} <= set(range(1, len(_STEP_NAMES) + 1))
    assert len(_STEP_NAMES) == LAST_STEP


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_ends_at_one_of_the_steps(reason: Reason) -> None:
    recorder = Recorder()
    phone(recorder).send()
    *before, last = recorder.explain(Reject(403, "Forbidden", reason, detail="in detail"))
    assert [step.name for step in (*before, last)] == STEPS[: last.number]
    assert [step.number for step in (*before, last)] == list(range(1, last.number + 1))
    assert last.outcome == f"{reason.meaning}: in detail ({reason})"
    assert last.final
    assert not any(step.final for step in before)


def test_phone_without_credentials_is_challenged_at_the_fifth_step() -> None:
    recorder = Recorder()
    decision = phone(recorder).send("REGISTER")
    assert [step.outcome for step in recorder.explain(decision)] == [
        "REGISTER may be challenged",
        "192.0.2.7 is of the IP Group Phones (type user)",
        "sbc-as-server",
        "REGISTER is on the list",
        f"{Reason.CHALLENGED.meaning} (challenged)",
    ]
    assert answer(decision) == "401 with 1 challenge"


def test_right_response_passes_every_step() -> None:
    recorder = Recorder()
    decision = phone(recorder).register()
    found = recorder.explain(decision)
    assert [step.name for step in found] == STEPS
    assert found[4].outcome == f"credentials for the realm {REALM}"
    assert answer(decision) == "it goes on, as 1001 (user name 1001)"


@pytest.mark.parametrize(
    ("groups", "method", "number", "answered"),
    [
        ([phones()], "ACK", 1, "it goes on as it is"),
        ([phones(classification=(rule("10.0.0.0/8"),))], "INVITE", 2, "403 Forbidden"),
        ([phones(classification=(deny("0.0.0.0/0"),))], "INVITE", 2, "403 Forbidden"),
        (
            [phones(authentication_mode=AuthenticationMode.USER_AUTHENTICATES)],
            *("INVITE", 3, "it goes on as it is"),
        ),
        ([phones()], "OPTIONS", 3, "200 OK, and it goes nowhere"),
        ([phones()], "INFO", 4, "403 Forbidden"),
    ],
)
def test_request_that_is_not_challenged_ends_early(
    groups: list[IPGroup], method: str, number: int, answered: str
) -> None:
    recorder = Recorder(*groups)
    decision = phone(recorder).send(method)
    found = recorder.explain(decision)
    assert (found[-1].number, answer(decision)) == (number, answered)


def test_request_that_is_dropped_gets_no_answer() -> None:
    nowhere = phones(classification=(rule("10.0.0.0/8"),))
    recorder = Recorder(nowhere, unclassified_requests=UnclassifiedRequests.DROP)
    assert answer(phone(recorder).send("INVITE")) == "no answer"


def test_wrong_disabled_and_unknown_are_told_apart() -> None:
    said = []
    for users, password in (
        (UserInfo(user()), "wrong"),
        (UserInfo(user(enabled=False)), PASSWORD),
        (UserInfo(), PASSWORD),
    ):
        recorder = Recorder(users=users)
        said.append(recorder.explain(phone(recorder, password=password).register())[-1])
    assert [step.number for step in said] == [8, 8, 8]
    assert [step.outcome.rpartition("(")[2] for step in said] == [
        *("wrong-credentials)", "disabled-user)", "unknown-user)"),
    ]


def test_old_nonce_ends_at_validation() -> None:
    recorder = Recorder()
    caller = phone(recorder)
    decision = caller.answer(caller.challenge(), now=NOW + 301)
    assert recorder.explain(decision)[-1].number == 7


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (Pass(Reason.PASS_THROUGH), "it goes on as it is"),
        (Accept("Phones", "alice", "2001", REALM), "it goes on, as 2001 (user name alice)"),
        (Challenge(407, ("a", "b"), Reason.CHALLENGED, "Phones"), "407 with 2 challenges"),
        (Reject(503, "Service Unavailable", Reason.UNAVAILABLE), "503 Service Unavailable"),
        (Drop(Reason.UNCLASSIFIED), "no answer"),
    ],
)
def test_every_decision_has_its_answer(decision: Decision, words: str) -> None:
    assert answer(decision) == words


def test_external_server_that_would_be_asked_is_named() -> None:
    servers = (
        RadiusServer("192.0.2.9", 1812, "hidden"),
        RadiusServer("192.0.2.10", 1645, "hidden"),
    )
    by_radius = phones(
        server_auth_mode=ServerAuthMode.RADIUS, external_server=RadiusSettings(servers)
    )
    recorder = Recorder(by_radius)
    decision = phone(recorder).register()
    last = recorder.explain(decision)[-1]
    assert (last.number, last.final) == (8, True)
    assert last.outcome == (
        f"{Reason.ASKED.meaning}: 192.0.2.9:1812, then 192.0.2.10:1645, about the user name 1001 "
        "in attributes of draft-sterman (asked)"
    )
    assert answer(decision) == "it waits for the verdict of the external server"
