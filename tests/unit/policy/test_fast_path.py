"""The fast path: all that it decides is decided the same by the long way.

Every conversation of the tests is held by both (see `decide_both_ways`); here are long random
ones, and what the fast path must leave alone.
"""

from collections import Counter
from random import Random
from typing import Any

import pytest
from conversation import NOW, Phone, UserInfo, by_fast_path, phones, rule, serve, trunk, user
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.digest.credentials import layout_of
from sbcauth.digest.response import Algorithm, ha2_without_body
from sbcauth.policy.decision import Accept, Challenge, Reason, Reject
from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    AuthQop,
    ChallengeMethod,
    IPGroup,
    ServerAuthMode,
)
from sbcauth.policy.request import Request
from sbcauth.policy.shared_state import LocalState

STEPS = 3000
USERS = (
    user("1001"),
    user("1002", local_user="reception"),
    user("1003", enabled=False),
    user("1004", "new", old_password="secret", old_until=NOW + 10**6),
)
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"auth_challenge_method": ChallengeMethod.AUTO, "auth_algorithms": tuple(Algorithm)},
    {"auth_qop": AuthQop.BOTH, "methods": frozenset({"REGISTER"}), "setup_invite": True},
    {"auth_qop": AuthQop.NONE},
    {"reject_invalid_nonce": True, "auth_nonce_duration": 30},
    {"username_as_server": "1001", "password_as_server": "shared"},
)


@pytest.mark.parametrize("settings", SETTINGS)
def test_random_conversations_are_decided_alike(settings: dict[str, Any]) -> None:
    random = Random(8760)  # noqa: S311 - the same each time
    server = serve(phones(**settings), users=UserInfo(*USERS))
    everybody = [
        Phone(server, username, address=address, local_user=local_user)
        for username, local_user in (
            *(("1001", ""), ("1002", "reception"), ("1003", ""), ("1004", ""), ("nobody", "")),
            ("1001", "%31001"),
        )
        for address in ("192.0.2.7", "192.0.2.8", "2001:db8::1")
    ]
    now, outcomes = NOW, Counter[type]()
    challenges = {}
    for _ in range(STEPS):
        now += random.choice((0, 0, 0, 1, 20, 400)) if random.random() < 0.3 else 0
        phone = random.choice(everybody)
        method = random.choice(("REGISTER", "REGISTER", "INVITE", "MESSAGE", "OPTIONS", "BYE"))
        in_dialog = random.random() < 0.1
        if phone not in challenges or random.random() < 0.3:
            decision = phone.send(method, now=now, in_dialog=in_dialog)
            if isinstance(decision, Challenge):
                challenges[phone] = random.choice(phone.challenges(method, now=now))
            continue
        decision = phone.answer(
            challenges[random.choice(list(challenges)) if random.random() < 0.1 else phone],
            method,
            now=now,
            in_dialog=in_dialog,
            password="wrong" if random.random() < 0.1 else None,
            nc=random.choice((1, 1, 2, 3, 20)),
        )
        outcomes[type(decision)] += 1
    assert outcomes[Accept] > 20, outcomes
    assert outcomes[Challenge] > 50, outcomes


def accepted_fast(phone: Phone, **changes: Any) -> bool:
    """Tell whether a right answer is accepted by the fast path, once the phone is known."""
    assert isinstance(phone.register(), Accept)
    field = phone.field(phone.challenge())
    return isinstance(by_fast_path(phone.server, request(phone, field, **changes), NOW), Accept)


def request(phone: Phone, *fields: str, **changes: Any) -> Request:
    values = tuple(field.partition(": ")[2] for field in fields)
    whole = Request(
        *("REGISTER", "sip:example.com", phone.address, 5060, "udp", phone.local_user),
        *("example.com", phone.local_user, False, "f81d4fae", values),
    )
    return whole._replace(**changes)


def test_known_phone_takes_the_fast_path() -> None:
    assert accepted_fast(Phone(serve()))


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_what_cannot_be_challenged_takes_the_long_way(method: str) -> None:
    phone = Phone(serve(phones(methods=frozenset({method, "REGISTER"}))))
    assert by_fast_path(phone.server, request(phone, method=method), NOW) is None


def test_unknown_phone_takes_the_long_way_once() -> None:
    phone = Phone(serve())
    assert by_fast_path(phone.server, request(phone, phone.field(phone.challenge())), NOW) is None


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("nc=00000001", "nc=1"),
        ("algorithm=MD5", "algorithm=SHA-256"),
        ('uri="', 'uri="\\\\'),
        ("cnonce=", "opaque=é, cnonce="),
        ("cnonce=", 'opaque="é", cnonce='),
        ("cnonce=", f"opaque={'o' * 5000}, cnonce="),
        ("cnonce=", f'opaque="{"o" * 5000}", cnonce='),
        ("cnonce=", 'opaque="o, cnonce='),
    ],
)
def test_unusual_credentials_take_the_long_way(written: str, instead: str) -> None:
    phone = Phone(serve())
    assert isinstance(phone.register(), Accept)
    field = phone.field(phone.challenge())
    assert written in field
    odd = field.replace(written, instead)
    assert by_fast_path(phone.server, request(phone, odd), NOW) is None
    assert isinstance(by_fast_path(phone.server, request(phone, field), NOW), Accept)


def test_known_phone_that_names_another_algorithm_is_decided_as_ever() -> None:
    phone = Phone(serve())
    assert isinstance(phone.register(), Accept)
    field = phone.field(phone.challenge())
    other = field.replace("algorithm=MD5", "algorithm=SHA-256")
    decision = phone.send("REGISTER", other)
    assert isinstance(decision, Reject)
    assert decision.reason is Reason.ALGORITHM_NOT_OFFERED


def test_phone_whose_nonce_is_of_before_another_algorithm_is_challenged() -> None:
    shared, users = LocalState(), UserInfo(user())
    before = Phone(serve(phones(), shared=shared, users=users))
    assert isinstance(before.register(), Accept)
    field = before.field(before.challenge())
    sha_256 = phones(auth_algorithms=(Algorithm.SHA_256,))
    after = Phone(serve(sha_256, shared=shared, users=users))
    decision = after.send("REGISTER", field)
    assert isinstance(decision, Challenge)
    assert decision.reason is Reason.FOREIGN_NONCE


_EDITS = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.integers(0, 12),
        st.sampled_from(
            ('"', '""', ",", "=", " ", "\\", "\0", "a", "1", "MD5", "SHA-256", "é", "")
        ),
    ),
    max_size=3,
)


@given(_EDITS)
def test_credentials_of_a_known_phone_are_read_alike(edits: list[tuple[int, int, str]]) -> None:
    phone = Phone(serve())
    assert isinstance(phone.register(), Accept)
    name, _, value = phone.field(phone.challenge()).partition(": ")
    for place, deleted, inserted in edits:
        value = value[:place] + inserted + value[place + deleted :]
    phone.send("REGISTER", f"{name}: {value}")  # which compares the two ways


def test_ways_of_writing_are_remembered_within_bounds() -> None:
    layout_of.cache_clear()
    ha2_without_body.cache_clear()
    phone = Phone(serve())
    assert isinstance(phone.register(), Accept)
    known = layout_of.cache_info().currsize
    phone.send("REGISTER", f"Authorization: Digest {'a' * 5000}=1")
    assert layout_of.cache_info().currsize == known, "the long ones are not remembered"
    for number in range(1500):
        phone.send("REGISTER", f"Authorization: Digest a{number}=1")
        phone.answer(phone.challenge(), uri=f"sip:{number}")
    for remembered in (layout_of, ha2_without_body):
        assert remembered.cache_info().currsize == 1000


OTHERS = ('Digest realm="other"',)


def test_credentials_in_two_header_fields_take_the_long_way_where_they_may_be_relayed() -> None:
    phone = Phone(serve())
    assert isinstance(phone.register(), Accept)
    field = phone.field(phone.challenge("INVITE"), "INVITE")
    invite = request(phone, field, method="INVITE")
    assert by_fast_path(phone.server, invite._replace(proxy_authorization=OTHERS), NOW) is None
    assert isinstance(by_fast_path(phone.server, invite, NOW), Accept)


def test_registration_is_judged_by_the_first_credentials_of_the_only_algorithm() -> None:
    assert accepted_fast(Phone(serve()), proxy_authorization=OTHERS)


def test_another_address_of_record_takes_the_long_way() -> None:
    assert not accepted_fast(Phone(serve()), to_user="1002")


def test_qop_without_a_nonce_count_takes_the_long_way() -> None:
    phone = Phone(serve())
    assert isinstance(phone.register(), Accept)
    challenge = phone.challenge()
    field = phone.field(challenge).replace("nc=00000001, ", "").replace(", nc=00000001", "")
    assert "nc=" not in field
    assert by_fast_path(phone.server, request(phone, field), NOW) is None


@pytest.mark.parametrize(
    "group",
    [
        phones(authentication_mode=AuthenticationMode.USER_AUTHENTICATES),
        phones(server_auth_mode=ServerAuthMode.RADIUS),
        phones(check_digest_uri=True),
        phones(auth_qop=AuthQop.AUTH_INT),
        phones(classification=(rule("0.0.0.0/0", port=5060),)),
        trunk(classification=(rule("0.0.0.0/0"),)),
    ],
    ids=("mode", "radius", "strict uri", "auth-int", "port", "server"),
)
def test_what_is_decided_by_more_has_no_fast_path(group: IPGroup) -> None:
    assert serve(group).fast_path("192.0.2.7") is None


def test_sources_without_an_ip_group_have_no_fast_path() -> None:
    assert serve(phones(classification=())).fast_path("192.0.2.7") is None


@pytest.mark.parametrize("address", ["2001:db8::1", "[2001:DB8:0:0::1]", "::ffff:192.0.2.7"])
def test_ipv6_has_a_fast_path_by_the_prefix_that_counts_as_one_source(address: str) -> None:
    server = serve()
    phone = Phone(server, address=address)
    assert accepted_fast(phone)
    if "db8" in address.lower():
        phone.address = "2001:db8::2"  # a privacy extension changes it each day (RFC 8981)
    field = phone.field(phone.challenge())
    assert isinstance(by_fast_path(server, request(phone, field), NOW), Accept)
