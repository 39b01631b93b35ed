"""`server_auth_mode: radius`: what is asked, and what comes of a verdict."""

from collections.abc import Callable
from typing import Any

import pytest
from conversation import NOW, REALM, URI, Phone, UserInfo, phones, rule, serve, trunk, user

from sbcauth.digest.nonces import TAG
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.decision import Accept, Ask, Challenge, Decision, Reason, Reject
from sbcauth.policy.external_server import Answer, Verdict
from sbcauth.policy.ip_groups import IPGroup, ServerAuthMode
from sbcauth.policy.request import Request
from sbcauth.policy.reservations import SHARE_OF_IP_GROUP, SHARE_OF_SOURCE, places
from sbcauth.policy.server import AuthServer
from sbcauth.policy.shared_state import LocalState, Table
from sbcauth.radius.attributes import RadiusAttributes, attributes_in
from sbcauth.radius.settings import RadiusServer, RadiusSettings

ACCEPT, REJECT = Verdict(Answer.ACCEPT), Verdict(Answer.REJECT)
SERVERS = (RadiusServer("192.0.2.9", 1812, "s"),)


def by_radius(make: Any = phones, **settings: Any) -> IPGroup:
    """Return an IP Group whose users a RADIUS server knows."""
    radius = RadiusSettings(SERVERS)
    group = {"server_auth_mode": ServerAuthMode.RADIUS, "external_server": radius, **settings}
    return make(**group)  # type: ignore[no-any-return]


class Asked:
    """Stands before a server, and has a verdict for whatever is asked."""

    def __init__(self, server: AuthServer, verdict: Verdict) -> None:
        self.server = server
        self.verdict = verdict
        self.questions: list[Ask] = []

    def decide(self, request: Request, now: int) -> Decision:
        decision = self.server.decide(request, now)
        if not isinstance(decision, Ask):
            return decision
        self.questions.append(decision)
        return self.server.decide(request, now, self.verdict)


def asking(verdict: Verdict, *groups: IPGroup, users: UserInfo | None = None) -> Asked:
    """Return a server whose users are known to RADIUS only, and which has one verdict."""
    return Asked(serve(*(groups or [by_radius()]), users=users or UserInfo()), verdict)


def phone(server: Any, **who: str) -> Phone:
    return Phone(server, **who)


def test_right_nonce_is_asked_about_and_nothing_is_decided() -> None:
    server = serve(by_radius(), users=UserInfo())
    caller = phone(server)
    field = caller.field(caller.challenge())
    decisions = [caller.send("REGISTER", field) for _ in range(2)]
    for decision in decisions:
        assert isinstance(decision, Ask)
        assert (decision.ip_group, decision.username) == ("Phones", "1001")
        assert decision.realm == "example.com"
        assert dict(attributes_in(decision.attributes))[1] == b"1001"
    assert decisions[0] == decisions[1]


@pytest.mark.parametrize("kind", RadiusAttributes)
def test_question_is_in_the_attributes_of_the_ip_group(kind: RadiusAttributes) -> None:
    caller = phone(
        serve(by_radius(external_server=RadiusSettings(SERVERS, kind)), users=UserInfo())
    )
    decision = caller.register()
    assert isinstance(decision, Ask)
    numbers = {number for number, _ in attributes_in(decision.attributes)}
    assert (103 in numbers) == (kind is RadiusAttributes.RFC5090)
    assert (206 in numbers) == (kind is RadiusAttributes.DRAFT_STERMAN)


def test_accept_lets_in_a_user_whom_user_info_does_not_know() -> None:
    server = asking(ACCEPT)
    assert phone(server).register() == Accept("Phones", "1001", "1001", REALM, is_first=True)


def test_reject_counts_and_the_third_is_refused_and_locks_out() -> None:
    server = asking(REJECT)
    caller = phone(server)
    decisions = [caller.register() for _ in range(3)]
    assert [type(decision) for decision in decisions] == [Challenge, Challenge, Reject]
    assert {decision.reason for decision in decisions} == {Reason.WRONG_CREDENTIALS}
    server.verdict = ACCEPT
    assert caller.register().reason is Reason.LOCKED_OUT
    assert len(server.questions) == 3


def test_accept_forgives_what_was_wrong_before() -> None:
    server = asking(REJECT)
    caller = phone(server)
    for verdict in (REJECT, REJECT, ACCEPT, REJECT, REJECT):
        server.verdict = verdict
        decision = caller.register()
    assert isinstance(decision, Challenge)


def test_no_verdict_is_503_and_counts_for_nothing() -> None:
    server = asking(Verdict(Answer.NONE, "192.0.2.9:1812: no answer"))
    caller = phone(server)
    for _ in range(5):
        decision = caller.register()
        assert isinstance(decision, Reject)
        assert (decision.status, decision.reason) == (503, Reason.UNAVAILABLE)
        assert (decision.retry_after, decision.detail) == (5, "192.0.2.9:1812: no answer")


class Recorder:
    """Stands before a server, and keeps what came."""

    def __init__(self, server: AuthServer) -> None:
        self.server = server
        self.requests: list[Request] = []

    def decide(self, request: Request, now: int) -> Decision:
        self.requests.append(request)
        return self.server.decide(request, now)


def asked(server: AuthServer, count: int, *, same_nonce: bool = False) -> list[Request]:
    """Have a phone guess `count` times before any verdict; return the requests asked about."""
    caller = phone(server)
    challenges = [caller.challenge() for _ in range(1 if same_nonce else count)]
    waiting = []
    for number in range(count):
        challenge = challenges[number % len(challenges)]
        field = caller.field(challenge, password=f"guess {number}", nc=number + 1)
        recorder = Recorder(server)
        decision = phone(recorder).send("REGISTER", field)
        if isinstance(decision, Ask):
            waiting += recorder.requests
        else:
            assert isinstance(decision, Reject)
            assert (decision.status, decision.retry_after) == (503, 1)
            assert decision.reason is Reason.UNAVAILABLE
    return waiting


@pytest.mark.parametrize("same_nonce", [True, False])
def test_no_more_is_asked_at_a_time_than_there_are_attempts(same_nonce: bool) -> None:
    server = serve(by_radius(), users=UserInfo())
    waiting = asked(server, 900, same_nonce=same_nonce)
    assert len(waiting) == 3
    decisions = [server.decide(request, NOW, REJECT) for request in waiting]
    assert [type(decision) for decision in decisions] == [Challenge, Challenge, Reject]
    assert phone(server).register().reason is Reason.LOCKED_OUT
    assert isinstance(phone(server, address="192.0.2.8").register(), Ask)


def test_yes_gives_back_what_was_reserved_and_no_answer_does_too() -> None:
    shared = LocalState()
    server = serve(by_radius(), users=UserInfo(), shared=shared)
    for verdict in (ACCEPT, Verdict(Answer.NONE, "silence")):
        for request in asked(server, 5):
            server.decide(request, NOW, verdict)
        assert len(asked(server, 5)) == 3
        server = serve(by_radius(), users=UserInfo())
    assert not [key for (table, key) in shared._values if "waiting" in key]


def test_what_has_failed_counts_with_what_waits() -> None:
    server = serve(by_radius(), users=UserInfo())
    for request in asked(server, 5)[:2]:
        server.decide(request, NOW, REJECT)
    assert len(asked(server, 5)) == 0, "one still waits"


def test_question_that_is_not_asked_gives_its_attempt_back() -> None:
    shared = LocalState()
    server = serve(by_radius(), users=UserInfo(), shared=shared)
    for _ in range(10):
        decision = phone(server).register()
        assert isinstance(decision, Ask)
        server.give_back(decision, NOW)
    assert not shared._values


def test_reservation_that_is_lost_ends_by_itself() -> None:
    server = serve(by_radius(), users=UserInfo())
    assert len(asked(server, 4)) == 3
    later = NOW + 90
    caller = phone(server)
    decision = caller.send("REGISTER", caller.field(caller.challenge(now=later)), now=later)
    assert isinstance(decision, Ask)


def test_source_of_strangers_waits_within_its_limit_and_others_are_asked() -> None:
    server = serve(by_radius(), users=UserInfo())
    decisions = [phone(server, username=f"u{number}").register() for number in range(40)]
    assert sum(isinstance(decision, Ask) for decision in decisions) == 30
    assert isinstance(phone(server, address="192.0.2.8").register(), Ask)


def test_source_has_a_share_of_the_places_whatever_its_limit() -> None:
    limit = AttemptLimit(max_failures_per_source=0, max_failures_per_user=0)
    server = serve(by_radius(attempt_limit=limit), users=UserInfo())
    decisions = [phone(server, username=f"u{number}").register() for number in range(120)]
    assert sum(isinstance(decision, Ask) for decision in decisions) == SHARE_OF_SOURCE
    assert isinstance(phone(server, address="192.0.2.8").register(), Ask)


def test_ip_group_has_a_share_of_the_places() -> None:
    limit = AttemptLimit(max_failures_per_source=0, max_failures_per_user=0)
    other = by_radius(name="Others", attempt_limit=limit, classification=(rule("203.0.113.0/24"),))
    server = serve(by_radius(attempt_limit=limit), other, users=UserInfo())
    decisions = [
        phone(server, username=f"u{number}", address=f"192.0.2.{number % 200}").register()
        for number in range(SHARE_OF_IP_GROUP + 20)
    ]
    assert sum(isinstance(decision, Ask) for decision in decisions) == SHARE_OF_IP_GROUP
    assert isinstance(phone(server, address="203.0.113.8").register(), Ask)


def test_what_is_refused_for_want_of_a_place_leaves_nothing() -> None:
    shared = LocalState()
    server = serve(by_radius(), users=UserInfo(), shared=shared)
    assert len(asked(server, 3)) == 3
    before = dict(shared._values)
    assert not asked(server, 50)
    assert shared._values == before


def test_same_credentials_that_wait_twice_are_accepted_once() -> None:
    server = serve(by_radius(), users=UserInfo())
    caller = phone(server)
    request = Request(
        *("REGISTER", URI, "192.0.2.7", 5060, "udp", "1001", REALM, "1001", False, "id"),
        authorization=(caller.field(caller.challenge()).partition(": ")[2],),
    )
    assert isinstance(server.decide(request, NOW), Ask)
    assert isinstance(server.decide(request, NOW), Ask)
    assert isinstance(server.decide(request, NOW, ACCEPT), Accept)
    assert server.decide(request, NOW, ACCEPT).reason is Reason.REPLAYED
    assert server.decide(request, NOW).reason is Reason.REPLAYED


def test_stale_and_foreign_nonces_are_not_asked_about() -> None:
    server = asking(ACCEPT)
    caller = phone(server)
    old = caller.challenge(now=NOW - 1000)
    assert caller.answer(old).reason is Reason.STALE_NONCE
    assert caller.answer(old._replace(nonce="foreign")).reason is Reason.FOREIGN_NONCE
    assert not server.questions


@pytest.mark.parametrize(
    ("username", "local_user", "right"),
    [
        ("1001", "1001", True),
        ("1001", "1002", False),
        ("1001@example.com", "1001", True),
        ("1001@example.net", "1001", False),
        ("1001@example.net", "1001%40example.net", True),
    ],
)
def test_user_speaks_for_the_address_of_record_of_that_name(
    username: str, local_user: str, right: bool
) -> None:
    decision = phone(asking(ACCEPT), username=username, local_user=local_user).register()
    assert isinstance(decision, Accept) == right
    assert right or decision.reason is Reason.IDENTITY_MISMATCH


def test_user_info_may_have_another_address_of_record_for_a_user() -> None:
    users = UserInfo(user("alice", local_user="1001"))
    assert isinstance(
        phone(asking(ACCEPT, users=users), username="alice", local_user="1001").register(), Accept
    )
    assert phone(asking(ACCEPT, users=users), username="alice").register().reason is (
        Reason.IDENTITY_MISMATCH
    )


def test_address_of_record_that_user_info_has_for_somebody_else_is_not_given_away() -> None:
    users = UserInfo(user("alice", local_user="1001"))
    decision = phone(asking(ACCEPT, users=users), username="1001").register()
    assert decision.reason is Reason.UNKNOWN_USER


def test_number_of_an_account_is_not_an_external_server_s_to_give() -> None:
    users = UserInfo(user("pbx"))
    users.identities = {"pbx": ("+4930*",)}
    server = asking(ACCEPT, users=users)
    assert phone(server, username="+493012").register().reason is Reason.UNKNOWN_USER
    assert isinstance(phone(server, username="+493112").register(), Accept)


def test_name_that_another_group_has_is_still_an_external_server_s_user() -> None:
    others = phones(name="Others", classification=(rule("198.51.100.0/24"),))
    server = asking(ACCEPT, by_radius(), others, users=UserInfo(user(ip_group="Others")))
    assert isinstance(phone(server).register(), Accept)


def test_user_who_is_disabled_in_user_info_is_refused_whatever_radius_says() -> None:
    users = UserInfo(user(enabled=False))
    assert phone(asking(ACCEPT, users=users)).register().reason is Reason.DISABLED_USER


def test_user_info_that_does_not_answer_is_no_pass() -> None:
    users = UserInfo()
    users.broken = True
    assert phone(asking(ACCEPT, users=users)).register().reason is Reason.UNAVAILABLE


def test_peer_server_speaks_for_every_address_of_record() -> None:
    server = asking(ACCEPT, by_radius(trunk, username_as_server="", password_as_server=""))
    peer = phone(server, username="pbx", local_user="anybody", address="198.51.100.1")
    assert isinstance(peer.register(), Accept)


def test_right_password_of_user_info_is_worth_nothing_here() -> None:
    server = asking(REJECT, users=UserInfo(user()))
    assert phone(server).register().reason is Reason.WRONG_CREDENTIALS


def test_value_that_radius_cannot_carry_is_400() -> None:
    decision = phone(asking(ACCEPT)).register(uri="sip:" + "x" * 250)
    assert isinstance(decision, Reject)
    assert (decision.status, decision.reason) == (400, Reason.MALFORMED_CREDENTIALS)
    assert decision.detail == "uri is longer than 251 bytes, which RADIUS cannot carry"


def test_ip_group_without_servers_lets_nobody_in() -> None:
    decision = phone(asking(ACCEPT, by_radius(external_server=None))).register()
    assert isinstance(decision, Reject)
    assert (decision.status, decision.reason) == (503, Reason.UNAVAILABLE)


def test_verdict_on_an_ip_group_that_is_local_by_now_plays_no_part() -> None:
    """The configuration may change while a request waits."""
    server = serve()
    caller = phone(server)
    request = Request(
        *("REGISTER", URI, "192.0.2.7", 5060, "udp", "1001", REALM, "1001", False, "id"),
        authorization=(caller.field(caller.challenge(), password="x").partition(": ")[2],),
    )
    assert server.decide(request, NOW, ACCEPT).reason is Reason.WRONG_CREDENTIALS


class Meanwhile(LocalState):
    """Another process has its turn as soon as a place to wait in is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.places: tuple[str, ...] = ()
        self.turn: Callable[[], None] | None = None

    def update(self, table: Table, key: str, lifetime: int, change: Any) -> Any:
        if self.turn and key.startswith(self.places):
            turn, self.turn = self.turn, None
            turn()
        return super().update(table, key, lifetime, change)


def test_lockout_by_verdicts_that_come_while_a_place_is_reserved_is_seen() -> None:
    shared = Meanwhile()
    server = serve(by_radius(), users=UserInfo(), shared=shared)
    waiting = asked(server, 3)
    caller = phone(server)
    challenge = caller.challenge()
    shared.places = places("Phones", challenge.nonce[TAG], "1001")

    def verdicts() -> None:
        for request in waiting:
            server.decide(request, NOW, REJECT)

    shared.turn = verdicts
    assert caller.answer(challenge).reason is Reason.LOCKED_OUT
    waits = [key for (_, key) in shared._values if key.startswith(shared.places)]
    assert waits == [], "its places are given back"
