"""SPEC 3 step 8 and SPEC 4: three attempts, then 403, counted over all worker processes."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Any

import pytest
import sip
from kamailio import Server
from phone import MakePhone, Phone
from sip import Response

WORKERS = 8
LOCKOUT = 4
CONFIG = f"""
realm: example.com
lockout_duration: {LOCKOUT}
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{{address: 127.0.0.0/16}}]
  - name: Five
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    max_auth_attempts: 5
    classification: [{{address: 127.5.0.0/16}}]
  - name: One
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    max_auth_attempts: 1
    classification: [{{address: 127.6.0.0/16}}]
  - name: Few
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    lockout_duration: 600
    max_failures_per_source: 4
    max_failures_per_user: 6
    trusted_sources: 127.7.9.0/24
    classification: [{{address: 127.7.0.0/16}}]
"""
USERS = {
    "1001": "secret",
    "1002": "other secret",
    "disabled": "secret",
    "Five/1001": "secret",
    "One/1001": "secret",
    "Few/1001": "secret",
    "Few/1002": "secret",
    "Few/1003": "secret",
}
_hosts = count(1)


@pytest.fixture
def phone(phone: MakePhone) -> MakePhone:
    """Make phones of which none stays registered: a user has many of them here."""
    return partial(phone, expires=0)


@pytest.fixture
def source() -> str:
    """A source address that no other test uses."""
    return f"127.0.1.{next(_hosts)}"


@pytest.fixture(scope="module", autouse=True)
def disabled_user(server: Server) -> None:
    server.administer("user", "disable", "disabled", "--ip-group", "Phones")


def guess(phone: Phone, times: int, **how: Any) -> list[int]:
    """Answer `times` challenges with a wrong password; returns the statuses."""
    reply = phone.request("REGISTER")
    statuses = []
    for number in range(times):
        reply = phone.request("REGISTER", answering=reply, password=f"guess {number}", **how)
        statuses.append(reply.status)
        if reply.status != 401:
            break
    return statuses


def test_third_wrong_password_is_forbidden_and_locks_out_the_right_one_too(
    phone: MakePhone, source: str, server: Server
) -> None:
    desk = phone("1001", "secret", address=source)
    challenge = desk.request("REGISTER")
    assert guess(desk, 3) == [401, 401, 403]
    assert desk.request("REGISTER", answering=challenge).status == 403
    assert server.reasons(desk.call_id)[2:] == ["wrong-credentials"] * 3 + ["locked-out"]


def test_lockout_ends(phone: MakePhone, source: str) -> None:
    desk = phone("1001", "secret", address=source)
    assert guess(desk, 3)[-1] == 403
    locked_out_at = time.monotonic()
    assert desk.register().status == 403
    time.sleep(max(0.0, locked_out_at + LOCKOUT + 0.2 - time.monotonic()))
    assert desk.register().status == 200
    assert guess(desk, 3) == [401, 401, 403]


@pytest.mark.parametrize("round_", range(4))
def test_every_worker_counts(phone: MakePhone, source: str, round_: int) -> None:
    """Each attempt comes from a socket of its own, so that different workers get them."""
    phones = [phone("1001", "secret", address=source) for _ in range(24)]
    with ThreadPoolExecutor(24) as pool:
        statuses = sorted(pool.map(lambda each: guess(each, 1)[0], phones))
    assert statuses == [401] * 2 + [403] * 22


@pytest.mark.parametrize(("group_host", "attempts"), [("127.5.0.1", 5), ("127.6.0.1", 1)])
def test_ip_group_has_its_own_number_of_attempts(
    phone: MakePhone, group_host: str, attempts: int
) -> None:
    statuses = guess(phone("1001", "secret", address=group_host), 8)
    assert statuses == [401] * (attempts - 1) + [403]


def test_other_users_and_other_sources_are_not_affected(phone: MakePhone, source: str) -> None:
    assert guess(phone("1001", "secret", address=source), 3)[-1] == 403
    assert phone("1002", "other secret", address=source).register().status == 200
    assert phone("1001", "secret", address="127.0.9.1").register().status == 200
    assert phone("1001", "secret", address=source).register().status == 403


def test_right_password_clears_the_attempts(phone: MakePhone, source: str) -> None:
    desk = phone("1001", "secret", address=source)
    for _ in range(3):
        assert guess(desk, 2) == [401, 401]
        assert desk.register().status == 200


def test_attempts_at_calls_and_registrations_are_counted_together(
    phone: MakePhone, source: str
) -> None:
    desk = phone("1001", "secret", address=source)
    assert guess(desk, 2) == [401, 401]
    assert desk.authenticate("INVITE", "sip:1002@example.com", password="x").status == 403


def test_the_same_authorization_again_is_no_other_attempt(phone: MakePhone, source: str) -> None:
    desk = phone("1001", "secret", address=source)
    (challenge,) = desk.request("REGISTER").challenges
    field = sip.answer(challenge, "REGISTER", desk.registrar, "1001", "wrong")
    statuses = [desk.request("REGISTER", headers=[field]).status for _ in range(6)]
    assert statuses == [401] * 6
    assert desk.register().status == 200


def test_retransmissions_of_a_wrong_answer_are_not_counted(
    phone: MakePhone, source: str, server: Server
) -> None:
    desk = phone("1001", "secret", address=source)
    challenge = desk.request("REGISTER")
    wrong = desk.request("REGISTER", answering=challenge, password="wrong")
    assert wrong.status == 401
    again = [desk.resend() for _ in range(5)]
    assert [reply.status for reply in again] == [401] * 5
    assert {reply.header("to") for reply in again} == {wrong.header("to")}  # RFC 3261, 8.2.7
    accepted = desk.request("REGISTER", answering=wrong)
    assert accepted.status == 200
    assert [desk.resend() for _ in range(5)] == [accepted] * 5
    reasons = ["challenged", *["wrong-credentials"] * 6, "accepted"]
    assert server.reasons(desk.call_id) == reasons


def test_retransmissions_of_the_last_attempt_are_refused_likewise(
    phone: MakePhone, source: str
) -> None:
    desk = phone("1001", "secret", address=source)
    assert guess(desk, 3) == [401, 401, 403]
    assert [desk.resend().status for _ in range(5)] == [403] * 5


def test_retransmissions_of_a_refused_invite_are_refused_likewise(
    phone: MakePhone, source: str, server: Server
) -> None:
    desk = phone("1001", "secret", address=source)
    challenge = desk.request("INVITE", "sip:1002@example.com")
    desk.send(desk.build("INVITE", "sip:1002@example.com", answering=challenge, password="wrong"))
    replies = [desk.response(desk.last_branch)]
    for _ in range(3):
        replies.append(desk.resend())
    assert [reply.status for reply in replies] == [401] * 4
    assert len({reply.header("to") for reply in replies}) == 1
    desk.acknowledge(replies[0])
    assert desk.hears_nothing()
    assert server.reasons(desk.call_id) == ["challenged", *["wrong-credentials"] * 4]
    assert desk.register().status == 200


@pytest.mark.parametrize("password", [None, "wrong"])
def test_cancel_of_a_refused_invite_is_answered(
    phone: MakePhone, source: str, password: str | None
) -> None:
    desk = phone("1001", "secret", address=source)
    invite = desk.build("INVITE", "sip:1002@example.com")
    if password:
        challenge = desk.request("INVITE", "sip:1002@example.com")
        invite = desk.build(
            "INVITE", "sip:1002@example.com", answering=challenge, password=password
        )
    desk.send(invite)
    assert desk.response(desk.last_branch).status == 401
    cancel = re.sub(rb"(\r\nCSeq: \d+) INVITE", rb"\1 CANCEL", invite)
    desk.send(re.sub(rb"^INVITE", b"CANCEL", cancel))
    assert desk.response(desk.last_branch).status == 481


def test_missing_credentials_are_never_counted(phone: MakePhone, source: str) -> None:
    desk = phone("1001", "secret", address=source)
    assert [desk.request("REGISTER").status for _ in range(10)] == [401] * 10
    assert desk.register().status == 200


def test_failure_with_a_strangers_nonce_is_not_held_against_the_source(
    phone: MakePhone, source: str
) -> None:
    """Who forges a source address never sees the nonces that are sent there."""
    attacker, victim = phone("1001", "x", address="127.0.9.2"), phone(address=source)
    for _ in range(6):
        challenge = attacker.request("REGISTER")
        forged = phone("1001", "x", address=source)
        assert forged.request("REGISTER", answering=challenge).status in (401, 403)
    assert victim.register().status == 200


def test_unknown_and_disabled_users_look_like_a_wrong_password(
    phone: MakePhone, source: str, server: Server
) -> None:
    def play(username: str, password: str) -> tuple[Phone, list[WireImage]]:
        each = phone(username, password, address=source)
        first = each.request("REGISTER")
        replies = [first]
        for number in range(3):
            how = {} if password == "secret" else {"password": f"guess {number}"}
            replies.append(each.request("REGISTER", answering=replies[-1], **how))
        return each, [wire_image(reply, each) for reply in replies]

    wrong, wrong_image = play("1001", "wrong")
    unknown, unknown_image = play("9999", "wrong")
    disabled, disabled_image = play("disabled", "secret")
    assert wrong_image == unknown_image == disabled_image
    assert [image[0] for image in wrong_image] == [401, 401, 401, 403]
    assert server.reasons(wrong.call_id)[1:] == ["wrong-credentials"] * 3
    assert server.reasons(unknown.call_id)[1:] == ["unknown-user"] * 3
    assert server.reasons(disabled.call_id)[1:] == ["disabled-user"] * 3


WireImage = tuple[int, str, list[tuple[str, str]], bytes]


def wire_image(reply: Response, phone: Phone) -> WireImage:
    """Return what anybody sees of a reply, without what is new or the phone's own each time."""
    headers = []
    for name, value in reply.headers:
        value = re.sub(r'nonce="[^"]*"', "nonce", value)
        value = re.sub(r"tag=[^;]+", "tag", value)
        if name not in ("via", "call-id"):
            headers.append((name, value.replace(phone.local_user, "USER")))
    return reply.status, reply.phrase, headers, reply.body


def test_unknown_users_are_locked_out_like_others(phone: MakePhone, source: str) -> None:
    desk = phone("nobody", "x", address=source)
    assert guess(desk, 3) == [401, 401, 403]
    assert desk.register().status == 403


# SPEC 4: limits of strangers


def test_source_that_tries_many_users_is_locked_out_and_a_trusted_phone_is_not(
    phone: MakePhone, server: Server
) -> None:
    known = phone("1001", "secret", address="127.7.0.1")
    assert known.register().status == 200
    statuses = [
        phone(f"name{number}", "guess", address="127.7.0.1").register().status
        for number in range(4)
    ]
    assert statuses == [401, 401, 401, 403]
    stranger = phone("1002", "secret", address="127.7.0.1")
    assert stranger.register().status == 403
    assert server.reasons(stranger.call_id)[-1] == "source-locked-out"
    assert [known.register().status for _ in range(WORKERS)] == [200] * WORKERS
    (listed,) = json.loads(server.administer("lockout", "list", "--ip-group", "Few", "--json"))
    assert (listed["what"], listed["source"], listed["username"]) == ("source", "127.7.0.1", "*")
    server.administer("lockout", "clear", "--source", "127.7.0.1")
    assert stranger.register().status == 200


def test_user_tried_from_many_sources_is_locked_out_but_where_it_is_known(
    phone: MakePhone, server: Server
) -> None:
    known = phone("1003", "secret", address="127.7.1.1")
    assert known.register().status == 200
    statuses = [
        phone("1003", "guess", address=f"127.7.2.{number}").register().status
        for number in range(1, 7)
    ]
    assert statuses == [401] * 5 + [403]
    elsewhere = phone("1003", "secret", address="127.7.1.2")
    assert elsewhere.register().status == 403
    assert server.reasons(elsewhere.call_id)[-1] == "user-locked-out"
    assert [known.register().status for _ in range(WORKERS)] == [200] * WORKERS
    server.administer("lockout", "clear", "1003")
    assert elsewhere.register().status == 200


def test_trusted_source_may_fail_on(phone: MakePhone) -> None:
    assert guess(phone("1001", "secret", address="127.7.9.1"), 12) == [401] * 12
    assert phone("1001", "secret", address="127.7.9.1").register().status == 200


def test_lockout_is_longer_the_second_time(phone: MakePhone, source: str) -> None:
    locked = phone("1001", "secret", address=source)
    assert guess(locked, 3)[-1] == 403
    time.sleep(LOCKOUT + 0.5)
    assert guess(locked, 3)[-1] == 403
    time.sleep(LOCKOUT + 0.1)
    assert locked.register().status == 403
    time.sleep(LOCKOUT)
    assert locked.register().status == 200


@pytest.fixture
def left_behind(phone: MakePhone, source: str, server: Server) -> Phone:
    """A phone whose user's password has been changed."""
    name = f"left{source.rpartition('.')[2]}"
    server.add_user(name, "before")
    left_behind = phone(name, "before", address=source)
    assert left_behind.register().status == 200
    server.administer("user", "set-password", name, "--password-stdin", stdin="after\n")
    time.sleep(0.5)
    return left_behind


def test_phone_with_the_password_before_is_refused_as_any_other(
    left_behind: Phone, server: Server
) -> None:
    assert [left_behind.register().status for _ in range(6)] == [401, 401] + [403] * 4
    reasons = [each for each in server.reasons(left_behind.call_id)[2:] if each != "challenged"]
    assert reasons == ["old-password"] * 3 + ["locked-out"] * 3


def test_phone_with_the_password_before_gets_in_when_it_has_the_new_one(
    left_behind: Phone, phone: MakePhone, source: str
) -> None:
    assert [left_behind.register().status for _ in range(3)][-1] == 403
    assert phone(left_behind.username, "after", address=source).register().status == 200
    assert left_behind.register().status == 401


def test_password_before_buys_no_guess_more(
    left_behind: Phone, phone: MakePhone, source: str
) -> None:
    assert [left_behind.register().status for _ in range(3)][-1] == 403
    assert phone(left_behind.username, "neither", address=source).register().status == 403
    assert phone(left_behind.username, "after", address=source).register().status == 403
