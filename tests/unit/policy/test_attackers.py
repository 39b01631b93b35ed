"""What nobody can do without a password: get in, lock others out, guess on, learn who exists."""

from typing import Any

import pytest
from conversation import Phone, UserInfo, accepted, is_stale, phones, serve, user

from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.decision import Challenge, Reason, Reject
from sbcauth.policy.ip_groups import AuthQop
from sbcauth.policy.shared_state import LocalState, Table, Value


def forbidden(reason: Reason) -> Reject:
    return Reject(403, "Forbidden", reason, "Phones", "1001")


def test_eavesdropper_cannot_use_a_request_again_in_any_other_spelling() -> None:
    for offered in AuthQop:
        phone = Phone(serve(phones(auth_qop=offered, attempt_limit=AttemptLimit(100))))
        field = phone.field(phone.challenge())
        assert accepted(phone.send("REGISTER", field))
        for other in [
            field,
            field.replace("00000001", "1"),
            field.replace("00000001", "00000002"),
            field.replace("00000001", '"2"'),
            field.replace("nc=00000001, ", ""),
            field.replace("qop=auth,", 'qop="auth,auth-int",'),
            field.replace("qop=auth,", 'qop="auth,auth-int",').replace("00000001", "2"),
            field.replace("qop=auth,", "qop=undefined,").replace("00000001", "2"),
            field.replace("qop=auth,", "qop=AUTH,").replace("00000001", "2"),
            field.replace("qop=auth,", ""),
            field.replace("qop=auth", "x=y"),
            f"{field}, qop=auth, nc=00000002",
            f'{field}, qop="auth,auth-int", nc=00000002',
            f"{field}, nc=00000002",
            f'{field}, qop=undefined, nc=00000002, cnonce=""',
            field.replace('nonce="', 'nonce="\\', 1),
            field.replace("response=", "RESPONSE="),
        ]:
            assert not accepted(phone.send("REGISTER", other)), other


def test_stranger_who_forges_an_address_cannot_lock_out_its_owner(phone: Phone) -> None:
    """The nonce was sent to the stranger, so the failures are the stranger's."""
    stranger = Phone(phone.server, address="203.0.113.9")
    for _ in range(10):
        challenge = stranger.challenge()
        phone.answer(challenge, password="wrong")
    assert accepted(phone.register())


def test_stranger_is_locked_out_under_any_address_that_he_forges(phone: Phone) -> None:
    stranger = Phone(phone.server, address="203.0.113.9")
    decisions = [
        Phone(phone.server, address=f"192.0.2.{number}").answer(
            stranger.challenge(), password="wrong"
        )
        for number in range(1, 5)
    ]
    assert decisions[-1] == forbidden(Reason.LOCKED_OUT)


def test_phone_whose_address_changes_keeps_its_nonce(phone: Phone) -> None:
    challenge = phone.challenge()
    moved = Phone(phone.server, address="192.0.2.99")
    assert accepted(moved.answer(challenge))


def test_ipv6_addresses_of_one_network_are_one_source() -> None:
    server = serve()
    for last in range(1, 4):
        Phone(server, address=f"2001:db8::{last}").fail()
    assert Phone(server, address="2001:db8::4").register() == forbidden(Reason.LOCKED_OUT)
    assert accepted(Phone(server, address="2001:db8:0:1::4").register())


def test_guess_tried_on_a_made_up_user_first_is_still_counted(phone: Phone) -> None:
    challenge = phone.challenge()
    decisions = []
    for number in range(3):
        field = phone.field(challenge, password=f"guess {number}")
        made_up = field.replace('username="1001"', f'username="x{number}"')
        phone.send("REGISTER", made_up)
        decisions.append(phone.send("REGISTER", field))
    assert decisions[-1] == forbidden(Reason.WRONG_CREDENTIALS)


def test_locked_out_name_cannot_be_spelled_in_another_way(phone: Phone) -> None:
    phone.fail(3)
    field = phone.field(phone.challenge())
    for spelling in ('"\\1\\0\\0\\1"', "1001", '"10\\01"', "\"\", username*=UTF-8''%31001"):
        other = field.replace('"1001"', spelling, 1)
        decision = phone.send("REGISTER", other)
        assert decision == forbidden(Reason.LOCKED_OUT)


@pytest.mark.parametrize("claimed", ["1001", "1002"])
def test_nonce_count_that_is_refused_tells_nothing_of_the_password(claimed: str) -> None:
    """Such a request is not counted, so it must not tell a right guess from a wrong one."""
    server = serve(users=UserInfo(user(), user("1002")))
    accomplice = Phone(server, "1002")
    challenge = accomplice.challenge()
    assert accepted(accomplice.answer(challenge))
    phone = Phone(server)
    right = phone.answer(challenge, to_user=claimed)
    wrong = phone.answer(challenge, to_user=claimed, password="wrong")
    assert isinstance(right, Challenge)
    assert isinstance(wrong, Challenge)
    assert (right.status, right.reason, is_stale(right)) == (
        wrong.status,
        wrong.reason,
        is_stale(wrong),
    )


def test_nothing_from_the_network_is_in_a_challenge() -> None:
    phone = Phone(serve(), username="x\r\nX-Evil: 1")
    decision = phone.fail()
    assert isinstance(decision, Challenge)
    for header in decision.headers:
        assert "Evil" not in header
        assert header.isprintable()


def test_bytes_that_are_no_text_are_an_unknown_user() -> None:
    decision = Phone(serve(), username="\udcff\0'; DROP TABLE user_info").register()
    assert isinstance(decision, Challenge)
    assert decision.reason is Reason.UNKNOWN_USER


def test_flood_of_requests_without_credentials_keeps_nothing_in_memory() -> None:
    class Watched(LocalState):
        def set(self, table: Table, key: str, value: Value, lifetime: int) -> None:
            raise AssertionError(table)

        def update(self, table: Table, key: str, lifetime: int, change: Any) -> Any:
            raise AssertionError(table)

    phone = Phone(serve(shared=Watched()))
    for nonce in ("", "x", "A" * 44):
        phone.answer(phone.challenge()._replace(nonce=nonce))
