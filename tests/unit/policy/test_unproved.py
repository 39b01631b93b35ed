"""Requests that nobody asks for credentials: on whose word they go on, and who sends them."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import pytest
from conversation import METHODS, NOW, Phone, UserInfo, phones, rule, serve, trunk, user

from sbcauth.exceptions import Unavailable
from sbcauth.policy.decision import Challenge, Drop, Pass, Reason, Reject, Reply, outcome_key
from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    Emergency,
    FromScreening,
    IPGroup,
    UnclassifiedRequests,
)
from sbcauth.policy.registrations import Binding
from sbcauth.policy.request import Request
from sbcauth.policy.shared_state import LocalState
from sbcauth.policy.words import Word

HERE = Binding("192.0.2.7", 5060, "udp")
REGISTERED = Pass(Reason.REGISTERED_SENDER, "Phones", word=Word.REGISTERED)
NOT_REGISTERED = Reject(403, "Forbidden", Reason.NOT_REGISTERED, "Phones")
NOBODY: dict[str, Any] = {"from_user": "anonymous", "from_host": "anonymous.invalid"}


class Registrar:
    """A registrar that has 1001 here, and nobody else."""

    def of(self, user: str, realm: str) -> Sequence[Binding]:
        return (HERE,) if (user, realm) == ("1001", "example.com") else ()

    def owner_of(self, address: str, port: int, transport: str) -> tuple[str, str]:
        at_home = (address, port, transport) == HERE[:3]
        return ("1001@example.com", "Phones") if at_home else ("", "")


def phone(*groups: IPGroup, **where: str) -> Phone:
    return Phone(serve(*groups, registrations=Registrar()), **where)


# Who hides his name


@pytest.mark.parametrize(
    ("preferred", "decision"),
    [
        ("<sip:1001@example.com>", REGISTERED),
        ("<sip:1002@example.com>", NOT_REGISTERED),
        ("", REGISTERED._replace(local_user="1001")),
    ],
)
def test_anonymous_sender_is_whom_he_prefers_to_be_or_who_is_registered_there(
    preferred: str, decision: Pass | Reject
) -> None:
    assert phone().send("INFO", preferred_identity=preferred, **NOBODY) == decision


def test_anonymous_sender_is_nobody_where_nobody_is_registered() -> None:
    assert phone(address="192.0.2.8").send("INFO", **NOBODY) == NOT_REGISTERED
    assert Phone(serve()).send("INFO", **NOBODY) == NOT_REGISTERED


@pytest.mark.parametrize(
    ("changes", "ip_group"),
    [
        ({}, "Phones"),
        ({"source_port": 5062}, ""),
        ({"source_port": 5062, "preferred_identity": "<sip:x@example.com>"}, "Phones"),
        ({"source_port": 5062, "request_uri": "sip:x@example.com"}, "Phones"),
        ({"source_port": 5062, "from_user": "1001", "from_host": "other.example"}, ""),
    ],
)
def test_anonymous_sender_is_classified_by_his_flow_or_by_the_hosts_he_names(
    changes: dict[str, Any], ip_group: str
) -> None:
    named = phones(classification=(rule("0.0.0.0/0", from_host="example.com"),))
    request: dict[str, Any] = {"request_uri": "sip:x@other.example", **NOBODY, **changes}
    decision = phone(named).send("INVITE", **request)
    if ip_group:
        assert isinstance(decision, Challenge)
        assert decision.ip_group == ip_group
    else:
        assert decision == Reject(403, "Forbidden", Reason.UNCLASSIFIED)


# On whose word


def test_unlisted_method_of_a_peer_goes_on_as_the_peers() -> None:
    carrier = Phone(serve(trunk()), address="198.51.100.1")
    assert carrier.send("INFO") == Pass(Reason.METHOD_NOT_LISTED, "Trunk", word=Word.PEER)


def test_who_comes_by_an_edge_proxy_is_not_known_by_its_flow() -> None:
    behind = phones(edge_proxies=(ip_network("192.0.2.7/32"),))
    assert phone().send("INFO") == REGISTERED
    assert phone(behind).send("INFO") == NOT_REGISTERED
    told = ("SIP/2.0/UDP edge", "SIP/2.0/UDP 192.0.2.7:5060")
    assert phone(behind).send("INFO", vias=told) == NOT_REGISTERED


@pytest.mark.parametrize(
    ("event", "answered"),
    [("keep-alive", True), (" Keep-Alive ;id=1", True), ("presence", False), ("", False)],
)
def test_notify_that_keeps_alive_is_answered_and_goes_nowhere(event: str, answered: bool) -> None:
    decision = phone(phones(methods=METHODS | {"NOTIFY"})).send("NOTIFY", event=event)
    assert (decision == Reply(Reason.KEEP_ALIVE, "Phones")) is answered
    assert answered or isinstance(decision, Challenge)


def test_options_of_a_peer_along_a_route_may_be_for_a_phone() -> None:
    carrier = Phone(serve(trunk()), address="198.51.100.1")
    assert carrier.send("OPTIONS") == Reply(Reason.KEEP_ALIVE, "Trunk")
    assert isinstance(carrier.send("OPTIONS", has_route=True), Pass)


def test_nobody_registers_while_user_info_does_not_answer() -> None:
    class Silent(UserInfo):
        def has_local_user(self, ip_group: str, local_user: str) -> bool:
            raise Unavailable("database is locked")

    unasked = phones(authentication_mode=AuthenticationMode.USER_AUTHENTICATES)
    decision = Phone(serve(unasked, users=Silent())).send("REGISTER")
    assert isinstance(decision, Reject)
    assert (decision.status, decision.reason) == (503, Reason.UNAVAILABLE)
    assert decision.detail == "database is locked"


# Who shows credentials unasked


def test_credentials_that_nobody_asked_for_are_judged_all_the_same() -> None:
    stranger = Phone(serve())
    challenge = stranger.challenge("INVITE")
    assert stranger.answer(challenge, "INFO").reason is Reason.ACCEPTED
    wrong = stranger.answer(stranger.challenge("INVITE"), "INFO", password="wrong")
    assert wrong.reason is Reason.WRONG_CREDENTIALS


def test_credentials_that_nobody_can_read_are_refused_and_those_for_others_are_not_ours() -> None:
    stranger = Phone(serve())
    unreadable = stranger.send("INFO", "Authorization: Digest username")
    assert isinstance(unreadable, Reject)
    assert (unreadable.status, unreadable.reason) == (400, Reason.MALFORMED_CREDENTIALS)
    challenge = stranger.challenge("INVITE")
    field = stranger.field(challenge, "INFO").replace('realm="example.com"', 'realm="x"')
    assert stranger.send("INFO", field) == NOT_REGISTERED


# Emergency calls

HELP = phones(emergency=Emergency(frozenset({"112"}), "Trunk"))
CALL: dict[str, Any] = {"request_uri": "sip:112@example.com"}


@pytest.mark.parametrize(
    ("method", "changes"),
    [("MESSAGE", {}), ("INVITE", {"in_dialog": True}), ("INVITE", {"request_uri": "sip:1120@x"})],
)
def test_only_the_first_invite_to_the_number_is_an_emergency_call(
    method: str, changes: dict[str, Any]
) -> None:
    assert Phone(serve(HELP)).send("INVITE", **CALL).reason is Reason.EMERGENCY
    decision = Phone(serve(HELP)).send(method, **{**CALL, **changes})
    assert isinstance(decision, Challenge)


def test_emergency_call_is_as_any_other_where_nobody_can_count() -> None:
    class Full(LocalState):
        def update(self, *_: Any) -> Any:
            raise Unavailable("out of shared memory")

    assert isinstance(Phone(serve(HELP, shared=Full())).send("INVITE", **CALL), Challenge)


# What cannot be read, and whose nonce it is


@pytest.mark.parametrize("how", list(UnclassifiedRequests))
def test_request_that_cannot_be_read_is_400_but_for_strangers_who_get_nothing(
    how: UnclassifiedRequests,
) -> None:
    here = phones(classification=(rule("192.0.2.0/24"),))
    server = serve(here, unclassified_requests=how)
    request = Request("INVITE", "", "192.0.2.7", 5060, "udp", "", "", "", False, "c")
    bad = Reject(400, "", Reason.BAD_REQUEST, "Phones")
    assert server.bad_request(request, 400) == bad
    stranger = server.bad_request(request._replace(source_address="10.1.1.1"), 483)
    if how is UnclassifiedRequests.DROP:
        assert stranger == Drop(Reason.UNCLASSIFIED)
    else:
        assert stranger == Reject(483, "", Reason.BAD_REQUEST)


def test_nonce_is_known_as_ours_however_old_and_whatever_ip_group_it_was_for() -> None:
    server = serve(phones(), trunk())
    ours = [
        Phone(server).challenge().nonce,
        Phone(server, address="198.51.100.1").challenge("INVITE").nonce,
    ]
    assert all(server.has_minted(nonce, NOW + 100_000) for nonce in ours)
    assert not server.has_minted("dcd98b7102dd2f0e8b11d0f600bfb0c093", NOW)
    assert not server.has_minted(ours[0][:-1] + ("0" if ours[0][-1] != "0" else "1"), NOW)


def test_outcomes_are_counted_by_reason_and_ip_group() -> None:
    assert outcome_key("Phones", Reason.ACCEPTED) == "accepted Phones"
    assert outcome_key("", Reason.UNCLASSIFIED) == "unclassified -"


@pytest.mark.parametrize(
    ("number", "decision"),
    [
        ("+49301234567", REGISTERED._replace(local_user="1001")),
        ("+49401234567", NOT_REGISTERED),
    ],
)
def test_unlisted_method_goes_on_from_where_the_account_of_the_number_is_registered(
    number: str, decision: Pass | Reject
) -> None:
    users = UserInfo(user())
    users.identities = {"1001": ("+4930*",)}
    screened = phones(from_screening=FromScreening.IDENTITIES)
    server = serve(screened, users=users, registrations=Registrar())
    assert Phone(server).send("INFO", from_user=number) == decision
