"""Trunks that are known by the digest user name in their credentials alone."""

from typing import Any

import pytest
from conversation import Phone, deny, is_stale, phones, rule, serve, trunk

from sbcauth.policy.decision import Accept, Challenge, Decision, Drop, Reason, Reject
from sbcauth.policy.ip_groups import Emergency, UnclassifiedRequests
from sbcauth.policy.words import Word

STRANGER = "203.0.113.9"


def named(name: str, username: str, **settings: Any) -> Any:
    return trunk(
        name,
        **{
            "methods": frozenset({"INVITE", "MESSAGE"}),
            "proxy_set": (),
            "username_as_server": username,
            "password_as_server": f"secret of {username}",
            "digest_username": username,
        }
        | settings,
    )


def at_work(*more: Any, **settings: Any) -> Phone:
    """Return a carrier at an address that no rule names."""
    local = phones(classification=(rule("192.0.2.0/24"), deny("203.0.113.66")))
    server = serve(
        local, named("Carrier", "carrier", **settings), named("Other", "other", **settings), *more
    )
    return Phone(server, "carrier", "secret of carrier", address=STRANGER)


def call(phone: Phone, **how: Any) -> Decision:
    return phone.answer(phone.challenge("INVITE"), "INVITE", **how)


def test_trunk_is_known_by_its_credentials_from_any_address() -> None:
    phone = at_work()
    decision = call(phone)
    assert isinstance(decision, Accept)
    assert (decision.ip_group, decision.username) == ("Carrier", "carrier")
    assert decision.word is Word.PEER
    other = Phone(phone.server, "other", "secret of other", address="198.51.100.77")
    assert getattr(call(other), "ip_group", "") == "Other"


def test_one_trunk_is_not_let_in_by_the_password_of_another() -> None:
    phone = at_work()
    decision = call(Phone(phone.server, "other", "secret of carrier", address=STRANGER))
    assert isinstance(decision, Challenge)
    assert decision.reason is Reason.WRONG_CREDENTIALS


def test_name_that_is_nobodys_is_answered_as_a_wrong_password() -> None:
    phone = at_work()
    for last in (False, False, True):
        decisions = []
        for username in ("carrier", "nobody"):
            guess = Phone(phone.server, username, "wrong", address=STRANGER)
            decisions.append(call(guess))
        kinds = {type(decision) for decision in decisions}
        assert kinds == {Reject if last else Challenge}
        assert {getattr(each, "status", 0) for each in decisions} == {403 if last else 401}
        lengths = {tuple(map(len, getattr(each, "headers", ()))) for each in decisions}
        assert len(lengths) == 1
        assert {getattr(each, "ip_group", "") for each in decisions} == {"by-digest-username"}


def test_limit_of_a_source_is_one_for_all_names() -> None:
    phone = at_work()
    for number in range(30):
        call(Phone(phone.server, f"nobody{number}", "wrong", address=STRANGER))
    decision = call(phone)
    assert isinstance(decision, Reject)
    assert decision.reason is Reason.SOURCE_LOCKED_OUT


def test_methods_that_are_not_listed_stay_unclassified() -> None:
    phone = at_work()
    for method in ("REGISTER", "OPTIONS", "SUBSCRIBE", "BYE"):
        assert phone.send(method) == Reject(403, "Forbidden", Reason.UNCLASSIFIED)


def test_what_a_rule_denies_is_not_asked() -> None:
    phone = at_work()
    denied = Phone(phone.server, "carrier", "secret of carrier", address="203.0.113.66")
    assert getattr(denied.send("INVITE"), "reason", "") is Reason.UNCLASSIFIED


def test_listed_methods_are_challenged_where_the_unclassified_are_dropped() -> None:
    server = serve(named("Carrier", "carrier"), unclassified_requests=UnclassifiedRequests.DROP)
    phone = Phone(server, "carrier", "secret of carrier", address=STRANGER)
    assert isinstance(call(phone), Accept)
    assert isinstance(phone.send("OPTIONS"), Drop)


def test_stranger_makes_no_emergency_calls() -> None:
    phone = at_work(emergency=Emergency(frozenset({"112"}), "Other"))
    decision = phone.send("INVITE", request_uri="sip:112@example.com")
    assert isinstance(decision, Challenge)


def test_phone_of_a_rule_is_not_asked_for_a_trunk() -> None:
    phone = at_work()
    inside = Phone(phone.server, "carrier", "secret of carrier", address="192.0.2.9")
    decision = call(inside)
    assert getattr(decision, "ip_group", "") == "Phones"
    assert getattr(decision, "reason", "") is Reason.UNKNOWN_USER


def test_nonce_of_phones_is_none_of_trunks_and_is_not_used_twice() -> None:
    phone = at_work()
    inside = Phone(phone.server, "carrier", "secret of carrier", address="192.0.2.9")
    foreign = phone.answer(inside.challenge("INVITE"), "INVITE")
    assert getattr(foreign, "reason", "") is Reason.FOREIGN_NONCE
    challenge = phone.challenge("INVITE")
    assert isinstance(phone.answer(challenge, "INVITE"), Accept)
    again = phone.answer(challenge, "INVITE")
    assert getattr(again, "reason", "") is Reason.REPLAYED
    assert is_stale(again)


@pytest.mark.parametrize("field", ["Authorization: Digest username=", "Authorization: Basic x"])
def test_credentials_that_cannot_be_read_tell_nothing(field: str) -> None:
    decision = at_work().send("INVITE", field)
    assert getattr(decision, "ip_group", "") == "by-digest-username"


def test_nothing_is_different_where_no_trunk_is_known_by_name() -> None:
    phone = Phone(serve(trunk()), address=STRANGER)
    assert phone.send("INVITE") == Reject(403, "Forbidden", Reason.UNCLASSIFIED)
