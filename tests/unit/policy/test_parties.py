"""Requests within a dialog: the party that sends one is who the dialog says, whatever From is."""

from typing import Any

import pytest
from conversation import NOW, Phone, UserInfo, accepted, phones, read, rule, serve, trunk, user

from sbcauth.policy.decision import Decision, Drop, Pass, Reason, Reject
from sbcauth.policy.ip_groups import AuthenticationMode, IPGroup, UnclassifiedRequests
from sbcauth.policy.request import Party, Request
from sbcauth.policy.server import AuthServer
from sbcauth.policy.words import Word

ALICE = Party("Phones", "1001")
MOVED = ALICE._replace(must_answer=True)
DID = "+15550001"
"""What the called phone's From is: the To of the call."""


def server_of(*groups: IPGroup, **how: Any) -> AuthServer:
    users = UserInfo(user(), user("1002"))
    return serve(*(groups or (phones(),)), trunk(), users=users, **how)


class Caller(Phone):
    """A phone whose requests are within a dialog."""

    def send(
        self, method: str = "INVITE", *fields: str, now: int = NOW, **changes: Any
    ) -> Decision:
        party = changes.pop("party", ALICE)
        request = Request(
            method, "sip:x", self.address, 5060, "udp", DID, "carrier.example", "x", True, "c"
        )
        given = tuple(field.partition(": ")[2] for field in fields)
        changes.setdefault("authorization", given)
        return self.server.decide(request._replace(party=party, **changes), now)


def test_listed_method_is_challenged_and_the_account_of_the_party_answers() -> None:
    phone = Caller(server_of())
    decision = phone.answer(phone.challenge("INVITE"), "INVITE")
    assert accepted(decision)
    assert decision.local_user == "1001"  # type: ignore[union-attr]


def test_account_with_a_percent_sign_is_not_unescaped_once_more() -> None:
    server = serve(users=UserInfo(user("100%31")))
    phone, party = Caller(server, "100%31"), Party("Phones", "100%31")
    challenge = phone.challenge("INVITE", party=party)
    assert accepted(phone.answer(challenge, "INVITE", party=party))


def test_another_account_does_not_answer_for_the_party() -> None:
    phone = Caller(server_of(), "1002")
    decision = phone.answer(phone.challenge("INVITE"), "INVITE")
    assert isinstance(decision, Reject)
    assert decision.reason is Reason.IDENTITY_MISMATCH


def test_unlisted_method_passes() -> None:
    assert Caller(server_of()).send("BYE") == Pass(
        Reason.WITHIN_DIALOG, "Phones", "1001", word=Word.DIALOG
    )


def test_unlisted_method_from_elsewhere_is_challenged() -> None:
    phone = Caller(server_of())
    assert accepted(phone.answer(phone.challenge("INFO", party=MOVED), "INFO", party=MOVED))


def test_from_and_source_need_not_fit_the_classification() -> None:
    groups = phones(classification=(rule("10.0.0.0/8", from_host="example.com"),))
    phone = Caller(server_of(groups))
    assert phone.send("BYE").reason is Reason.WITHIN_DIALOG
    assert accepted(phone.answer(phone.challenge("INVITE"), "INVITE"))


def test_server_answers_with_the_pair_of_its_ip_group() -> None:
    phone = Caller(server_of(), "trunk", "trunk-secret", "198.51.100.1")
    party = Party("Trunk")
    assert accepted(phone.answer(phone.challenge("INVITE", party=party), "INVITE", party=party))


def test_party_of_an_ip_group_that_is_no_more_is_unknown() -> None:
    decision = Caller(server_of()).send("BYE", party=Party("Gone", "1001"))
    assert decision.reason is Reason.UNKNOWN_DIALOG


@pytest.mark.parametrize(
    "settings",
    [
        {"shadow": True},
        {"authentication_mode": AuthenticationMode.USER_AUTHENTICATES},
        {"authentication_mode": AuthenticationMode.SBC_AS_CLIENT},
    ],
)
def test_who_is_not_asked_here_may_move_within_its_ip_group(settings: dict[str, Any]) -> None:
    group = phones(classification=(rule("192.0.2.0/24"),), **settings)
    server = server_of(group)
    assert isinstance(Caller(server).send("INFO", party=MOVED), Pass)
    away = Caller(server, address="203.0.113.1")
    assert away.send("INFO", party=MOVED).reason is Reason.UNKNOWN_DIALOG
    assert away.send("INFO").reason is Reason.WITHIN_DIALOG


def test_shadow_says_what_would_be() -> None:
    decision = Caller(server_of(phones(shadow=True))).send("INVITE")
    assert decision == Pass(Reason.CHALLENGED, "Phones", "", "challenge", word=Word.DIALOG)


@pytest.mark.parametrize("how", list(UnclassifiedRequests))
@pytest.mark.parametrize("address", ["10.1.1.1", "192.0.2.7"])
def test_unknown_dialog_is_481_and_nothing_to_the_unclassified_where_they_get_nothing(
    how: UnclassifiedRequests, address: str
) -> None:
    server = server_of(phones(classification=(rule("192.0.2.0/24"),)), unclassified_requests=how)
    request = Request("BYE", "sip:x", address, 5060, "udp", "a", "b", "c", True, "d")
    decision = server.unknown_dialog(request)
    if how is UnclassifiedRequests.DROP and address == "10.1.1.1":
        assert decision == Drop(Reason.UNCLASSIFIED)
    else:
        assert isinstance(decision, Reject)
        assert decision.status == 481


def test_challenge_within_a_dialog_is_read_like_any_other() -> None:
    assert read(Caller(server_of()).send("INVITE"))[0].realm == "example.com"
