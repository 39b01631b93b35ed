"""The small print of a REGISTER, and on whose word what nobody proves goes on."""

import re
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import pytest
from conversation import NOW, Phone, UserInfo, phones, serve, trunk, user
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.policy.decision import Accept, Challenge, Pass, Reason, Reject, Reply
from sbcauth.policy.emergency import MOST_OF_A_SOURCE
from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    Emergency,
    UnlistedWithoutWord,
    UserSecurityMode,
)
from sbcauth.policy.registration import fault
from sbcauth.policy.registrations import Binding
from sbcauth.policy.request import phone_behind
from sbcauth.policy.words import Word


def never(_: str) -> bool:
    return False


@pytest.mark.parametrize(
    "contact",
    [
        "<sip:1001@192.0.2.7>",
        "sip:1001@192.0.2.7:5062;transport=tcp",
        '"A, B" <sip:a%2Cb@[2001:db8::7]:5061;ob>;expires=60;q=0.5',
        "*",
        '<sip:192.0.2.7>;reg-id=1;+sip.instance="<urn:uuid:1>"',
        '<sip:x@phone.example>;+sip.instance="<reg-id=0>"',
    ],
)
def test_contact_as_phones_write_it_is_kept(contact: str) -> None:
    assert fault("1001", [contact], ["path"], never) is None


@pytest.mark.parametrize(
    ("contacts", "detail"),
    [
        (["*, <sip:a@b>"], "Contact has * beside others"),
        (["<sip:a@b>", "*"], "Contact has * beside others"),
        (["<sip:a@b:5060transport=udp>"], "a Contact is no SIP URI"),
        (["<mailto:a@b>"], "a Contact is no SIP URI"),
        (["<sip:a@b:0>"], "the port of a Contact is none"),
        (["<sip:a@b>;reg-id=0"], "a reg-id is no number above 0"),
        (["<sip:a@b>;reg-id=" + "9" * 5000], "a reg-id is no number above 0"),
        (["<sip:a@b>;q=2"], "a q is no number from 0 to 1"),
        (["<sip:a@b>"] * 8, "too many Contact header fields"),
    ],
)
def test_contact_that_cannot_be_kept_is_400(contacts: Sequence[str], detail: str) -> None:
    refusal = fault("1001", contacts, [], never)
    assert refusal
    assert (refusal.status, refusal.detail) == (400, detail)


def test_to_without_a_user_a_contact_of_ours_and_unknown_extensions_are_refused() -> None:
    for refusal, status in (
        (fault("", ["<sip:a@b>"], [], never), 400),
        (fault("1001", ["<sip:a@b>"], [], lambda uri: uri == "sip:a@b"), 400),
        (fault("1001", [], ["path, foo", "b\r\nar"], never), 420),
    ):
        assert refusal
        assert refusal.status == status
    unknown = fault("1001", [], ["foo, b\r\nar"], never)
    assert unknown
    assert unknown.headers == ("Unsupported: foo",)


def test_call_id_that_the_registrar_would_cut_is_refused() -> None:
    assert fault("1001", ["<sip:a@b>"], [], never, call_id="a" * 255) is None
    refusal = fault("1001", ["<sip:a@b>"], [], never, call_id="a" * 254 + "ä")
    assert refusal
    assert (refusal.status, refusal.detail) == (400, "Call-ID is too long")


@given(st.text(max_size=60) | st.text(alphabet='<sip:a@b;>,"*0=reg-id ', max_size=60))
def test_any_contact_is_kept_or_refused_for_a_reason(text: str) -> None:
    refusal = fault("1001", [text], [], never)
    if refusal:
        assert (refusal.status, refusal.reason) == (400, Reason.BAD_REGISTRATION)
        assert refusal.detail
    elif re.search('[^,\\s"<>*]', text):
        assert re.search("sips?:", text, re.IGNORECASE)


class Registered:
    """A registrar that has one user at one place."""

    def __init__(self, user: str, binding: Binding, owner: str = "") -> None:
        self._user, self._binding, self._owner = user, binding, owner

    def of(self, user: str, realm: str) -> Sequence[Binding]:
        return (self._binding,) if user == self._user else ()

    def owner_of(self, address: str, port: int, transport: str) -> tuple[str, str]:
        return (self._owner, "Phones") if self._owner else ("", "")


HERE = Binding("192.0.2.7", 5060, "udp")
BY_TCP = Binding("192.0.2.7", 5060, "tcp", connection=7)


@pytest.mark.parametrize(
    ("binding", "owner", "changes", "passes"),
    [
        (HERE, "", {}, True),
        (HERE, "", {"source_port": 5062}, False),
        (HERE, "", {"transport": "tcp", "connection": 7}, False),
        (HERE, "", {"from_user": "1002"}, False),
        (HERE._replace(by_path=True), "", {}, False),
        (BY_TCP, "", {"transport": "tcp", "connection": 7}, True),
        (BY_TCP, "", {"transport": "tcp", "connection": 8}, False),
        (BY_TCP, "1001@example.com", {"transport": "tcp", "connection": 8}, True),
        (BY_TCP, "1002@example.com", {"transport": "tcp", "connection": 8}, False),
        (BY_TCP, "1001@example.com", {}, False),
    ],
)
def test_unlisted_method_goes_on_from_where_its_sender_is_registered(
    binding: Binding, owner: str, changes: dict[str, Any], passes: bool
) -> None:
    phone = Phone(serve(registrations=Registered("1001", binding, owner)))
    decision = phone.send("INFO", **changes)
    refused = Reject(403, "Forbidden", Reason.NOT_REGISTERED, "Phones")
    passed = Pass(Reason.REGISTERED_SENDER, "Phones", word=Word.REGISTERED)
    assert decision == (passed if passes else refused)


def test_security_mode_and_challenge_say_otherwise() -> None:
    any_registered = UserSecurityMode.ACCEPT_REGISTERED_USERS
    server = serve(
        phones(user_security_mode=any_registered), registrations=Registered("1001", HERE)
    )
    assert Phone(server, address="192.0.2.9").send("INFO").reason is Reason.REGISTERED_SENDER
    anybody = serve(phones(user_security_mode=UserSecurityMode.ACCEPT_ALL))
    passed = Pass(Reason.METHOD_NOT_LISTED, "Phones", word=Word.CONFIGURED)
    assert Phone(anybody).send("INFO") == passed
    assert isinstance(Phone(anybody).send("OPTIONS"), Reply)
    asked = serve(phones(unlisted_without_word=UnlistedWithoutWord.CHALLENGE))
    decision = Phone(asked).send("INFO")
    assert isinstance(decision, Challenge)
    assert decision.reason is Reason.NOT_REGISTERED


def test_nobody_registers_a_user_unproved() -> None:
    unasked = phones(
        "Unasked",
        authentication_mode=AuthenticationMode.USER_AUTHENTICATES,
        classification=(),
        edge_proxies=(ip_network("192.0.2.9/32"),),
    )
    server = serve(phones(), unasked, trunk(route_to=None), users=UserInfo(user()))
    thief = Phone(server, address="192.0.2.9")
    for name in ("1001", "%31001"):
        decision = thief.send("REGISTER", to_user=name)
        assert decision.reason is Reason.REGISTRATION_UNPROVED
    assert thief.send("REGISTER", to_user="2001").reason is Reason.PASS_THROUGH
    peer = Phone(server, "trunk", "trunk-secret", "198.51.100.1")
    assert peer.send("REGISTER").reason is Reason.REGISTRATION_UNPROVED


def test_anonymous_caller_is_who_the_password_says() -> None:
    phone = Phone(serve())
    challenge = phone.challenge("INVITE")
    decision = phone.answer(challenge, "INVITE", from_user="anonymous")
    assert isinstance(decision, Accept)
    assert decision.local_user == "1001"


def test_emergency_calls_need_no_password_until_they_are_too_many() -> None:
    group = phones(emergency=Emergency(frozenset({"112", "urn:service:sos"}), "Trunk"))
    phone = Phone(serve(group))
    for uri in ("sip:112@example.com", "tel:112", "urn:service:sos.fire", "sip:%31%312@x"):
        assert phone.send("INVITE", request_uri=uri).reason is Reason.EMERGENCY
    for _ in range(MOST_OF_A_SOURCE):
        last = phone.send("INVITE", request_uri="sip:112@example.com", now=NOW)
    assert isinstance(last, Challenge)
    assert isinstance(phone.send("INVITE", request_uri="sip:113@x"), Challenge)


@pytest.mark.parametrize(
    ("vias", "told"),
    [
        (("SIP/2.0/UDP edge;branch=1",), ("", 0, "")),
        (("SIP/2.0/UDP edge, SIP/2.0/TCP 192.0.2.7:5062",), ("192.0.2.7", 5062, "tcp")),
        (
            ("SIP/2.0/UDP edge", "SIP/2.0/UDP 10.0.0.1;received=192.0.2.7;rport=4444"),
            ("192.0.2.7", 4444, "udp"),
        ),
        (("SIP/2.0/UDP edge", "SIP/2.0/UDP phone.example"), ("", 0, "")),
    ],
)
def test_edge_proxy_tells_where_the_phone_is(
    vias: tuple[str, ...], told: tuple[str, int, str]
) -> None:
    assert phone_behind(vias) == told
