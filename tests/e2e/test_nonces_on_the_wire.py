"""SPEC 3 step 7 and SPEC 5: replays, nonce counts, stale and foreign nonces, over all workers."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import sip
from kamailio import Server, StartServer
from phone import MakePhone, Phone
from sip import Challenge

WORKERS = 4
NONCE_DURATION = 30
CONFIG = f"""
realm: example.com
max_auth_attempts: 3
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    auth_nonce_duration: {NONCE_DURATION}
    classification: [{{address: 127.0.0.0/16}}]
    username_as_server: "1001"
    password_as_server: secret
  - name: NoQop
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    auth_qop: none
    classification: [{{address: 127.2.0.0/16}}]
    username_as_server: "1001"
    password_as_server: secret
  - name: Strict
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    reject_invalid_nonce: true
    classification: [{{address: 127.3.0.0/16}}]
    username_as_server: "1001"
    password_as_server: secret
"""


@pytest.fixture
def phone(phone: MakePhone) -> MakePhone:
    """Make phones of which none stays registered: a user has many of them here."""
    return partial(phone, expires=0)


@pytest.fixture(scope="module")
def old_challenge(server: Server) -> tuple[Challenge, float]:
    """A challenge, and when it was given; the last test comes back to it when it is stale."""
    with Phone(server) as phone:
        return phone.request("REGISTER").challenges[0], time.monotonic()


@pytest.mark.usefixtures("old_challenge")
def test_one_nonce_serves_while_its_count_rises(phone: MakePhone) -> None:
    desk = phone()
    challenge = desk.request("REGISTER")
    for count in (1, 2, 3, 10, 11):
        assert desk.request("REGISTER", answering=challenge, nc=count).status == 200


def test_counts_that_overtook_each_other_are_accepted_once_each(phone: MakePhone) -> None:
    desk = phone()
    challenge = desk.request("REGISTER")
    for count in (5, 3, 4, 1):
        assert desk.request("REGISTER", answering=challenge, nc=count).status == 200
    for count in (5, 3, 4, 1):
        replayed = desk.request("REGISTER", answering=challenge, nc=count)
        assert (replayed.status, replayed.challenges[0].stale) == (401, True)


@pytest.mark.parametrize("other_address", ["127.0.0.1", "127.0.0.2"])
def test_replayed_credentials_are_never_accepted_from_any_socket(
    phone: MakePhone, server: Server, other_address: str
) -> None:
    victim, thief = phone(), phone(address=other_address)
    (challenge,) = victim.request("REGISTER").challenges
    field = sip.answer(challenge, "REGISTER", victim.registrar, "1001", "secret")
    assert victim.request("REGISTER", headers=[field]).status == 200
    for _ in range(5):
        reply = thief.request("REGISTER", headers=[field])
        assert (reply.status, reply.challenges[0].stale) == (401, True)
    assert server.reasons(thief.call_id) == ["replayed"] * 5
    assert victim.register().status == 200


def test_replays_are_not_counted_as_attempts(phone: MakePhone) -> None:
    desk = phone(address="127.0.0.3")
    challenge = desk.request("REGISTER")
    assert desk.request("REGISTER", answering=challenge).status == 200
    replies = [desk.request("REGISTER", answering=challenge) for _ in range(6)]
    assert [reply.status for reply in replies] == [401] * 6
    assert desk.request("REGISTER", answering=replies[-1]).status == 200


def test_only_one_of_many_at_the_same_time_gets_in(phone: MakePhone) -> None:
    first = phone(address="127.0.0.4")
    (challenge,) = first.request("REGISTER").challenges
    field = sip.answer(challenge, "REGISTER", first.registrar, "1001", "secret")
    phones = [phone(address="127.0.0.4") for _ in range(24)]
    with ThreadPoolExecutor(24) as pool:
        replies = pool.map(lambda each: each.request("REGISTER", headers=[field]), phones)
        statuses = sorted(reply.status for reply in replies)
    assert statuses == [200] + [401] * 23


def test_nonce_stays_valid_when_the_phone_changes_its_address(phone: MakePhone) -> None:
    challenge = phone(address="127.0.0.5").request("REGISTER")
    assert phone(address="127.0.0.6").request("REGISTER", answering=challenge).status == 200


def test_without_qop_a_nonce_is_good_for_one_use(phone: MakePhone) -> None:
    desk = phone(address="127.2.0.1")
    challenge = desk.request("REGISTER")
    assert desk.request("REGISTER", answering=challenge).status == 200
    again = desk.request("REGISTER", answering=challenge)
    assert (again.status, again.challenges[0].stale) == (401, True)
    assert desk.request("REGISTER", answering=again).status == 200


@pytest.mark.parametrize(
    "nonce", ["a1b2c3", "x" * 44, "0" * 44, "é" * 44, "=" * 44, "x" * 200, " ", 'a\\"b']
)
def test_foreign_nonce_is_challenged_again_and_never_counted(
    phone: MakePhone, server: Server, nonce: str
) -> None:
    desk = phone(address="127.0.0.7")
    (challenge,) = desk.request("REGISTER").challenges
    for _ in range(4):
        reply = desk.request("REGISTER", answering=challenge._replace(nonce=nonce))
        assert (reply.status, reply.challenges[0].stale) == (401, False)
    assert server.reasons(desk.call_id) == ["challenged"] + ["foreign-nonce"] * 4
    assert desk.request("REGISTER", answering=reply).status == 200


def test_forged_nonce_is_foreign(phone: MakePhone, server: Server) -> None:
    desk = phone(address="127.0.0.8")
    (challenge,) = desk.request("REGISTER").challenges
    for place in (0, 7, 20, 43):
        letter = "A" if challenge.nonce[place] != "A" else "Q"
        forged = challenge.nonce[:place] + letter + challenge.nonce[place + 1 :]
        reply = desk.request("REGISTER", answering=challenge._replace(nonce=forged))
        assert reply.status == 401
    assert server.reasons(desk.call_id) == ["challenged"] + ["foreign-nonce"] * 4


def test_nonce_of_another_ip_group_is_foreign(phone: MakePhone, server: Server) -> None:
    (challenge,) = phone(address="127.2.0.2").request("REGISTER").challenges
    other = phone(address="127.0.0.9")
    assert other.request("REGISTER", answering=challenge._replace(qop=("auth",))).status == 401
    assert server.reasons(other.call_id) == ["foreign-nonce"]


def test_wrong_response_does_not_use_up_the_nonce_count(phone: MakePhone) -> None:
    victim, attacker = phone(address="127.0.0.10"), phone(address="127.0.0.11")
    challenge = victim.request("REGISTER")
    assert attacker.request("REGISTER", answering=challenge, password="guess").status == 401
    assert victim.request("REGISTER", answering=challenge).status == 200


def test_reject_invalid_nonce_forbids_what_is_challenged_elsewhere(
    phone: MakePhone, server: Server
) -> None:
    desk = phone(address="127.3.0.1")
    (challenge,) = desk.request("REGISTER").challenges
    assert desk.request("REGISTER", answering=challenge._replace(nonce="foreign")).status == 403
    assert desk.request("REGISTER", answering=challenge).status == 200
    assert desk.request("REGISTER", answering=challenge).status == 403
    assert desk.register().status == 200
    assert server.reasons(desk.call_id)[1:4] == ["foreign-nonce", "accepted", "replayed"]


def test_nonce_from_before_a_restart_is_stale_and_its_key_is_kept(
    start_server: StartServer,
) -> None:
    server = start_server(CONFIG)
    with Phone(server) as phone:
        challenge = phone.request("REGISTER")
        assert phone.request("REGISTER", answering=challenge).status == 200
        server.stop()
        time.sleep(1.0)  # nonces tell the time in seconds
        server.start()
        for _ in range(4):
            stale = phone.request("REGISTER", answering=challenge, nc=2)
            assert (stale.status, stale.challenges[0].stale) == (401, True)
        assert phone.request("REGISTER", answering=stale).status == 200
        assert server.reasons(phone.call_id)[-5:] == ["stale-nonce"] * 4 + ["accepted"]


def test_nonce_past_its_duration_is_challenged_again_as_stale(
    phone: MakePhone, server: Server, old_challenge: tuple[Challenge, float]
) -> None:
    challenge, given_at = old_challenge
    desk = phone(address="127.0.0.12")
    time.sleep(max(0.0, given_at + NONCE_DURATION + 1.5 - time.monotonic()))
    for _ in range(4):
        stale = desk.request("REGISTER", answering=challenge)
        assert (stale.status, stale.challenges[0].stale) == (401, True)
    assert desk.request("REGISTER", answering=stale).status == 200
    assert server.reasons(desk.call_id) == ["stale-nonce"] * 4 + ["accepted"]


def test_nonce_of_another_key_is_foreign_and_never_counted(
    phone: MakePhone, server: Server, start_server: StartServer
) -> None:
    """Another server has another key, though all else is the same."""
    desk = phone(address="127.0.0.13")
    with Phone(start_server(CONFIG), address="127.0.0.13") as elsewhere:
        (challenge,) = elsewhere.request("REGISTER").challenges
    for _ in range(4):
        reply = desk.request("REGISTER", answering=challenge)
        assert (reply.status, reply.challenges[0].stale) == (401, False)
    assert server.reasons(desk.call_id) == ["foreign-nonce"] * 4
    assert desk.request("REGISTER", answering=reply).status == 200


def test_server_with_a_copy_of_the_keys_accepts_no_nonce_of_the_other(
    phone: MakePhone, server: Server, start_server: StartServer
) -> None:
    """What one has accepted, the other does not know: it would accept it once more."""
    other = start_server(CONFIG)
    other.stop()
    for name in ("sbcauth.keys", "sbcauth.dialog"):
        shutil.copy(server.folder / name, other.folder / name)
    other.start()
    desk = phone(address="127.0.0.14")
    challenge = desk.request("REGISTER")
    assert desk.request("REGISTER", answering=challenge).status == 200
    other.add_user("1001", "secret")
    with Phone(other, address="127.0.0.14") as elsewhere:
        assert elsewhere.request("REGISTER", answering=challenge).status == 401
        assert other.reasons(elsewhere.call_id) == ["foreign-nonce"]


def test_credentials_accepted_over_one_transport_are_refused_over_another(phone: MakePhone) -> None:
    over_udp, over_tcp = phone(), phone(transport="tcp")
    (challenge,) = over_udp.request("REGISTER").challenges
    field = sip.answer(challenge, "REGISTER", over_udp.registrar, "1001", "secret")
    assert over_udp.request("REGISTER", headers=[field]).status == 200
    reply = over_tcp.request("REGISTER", headers=[field])
    assert (reply.status, reply.challenges[0].stale) == (401, True)
