"""SPEC 4: whom limits are held against, while verdicts are awaited too, and what is no guess."""

import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

import pytest
import sip
from freeradius import FreeRadius
from kamailio import Server, free_port, wait_for
from phone import MakePhone, Phone
from sip import Response

from sbcauth.monitoring.rpc import Rpc
from sbcauth.policy.claimants import digest

WORKERS = 4
RADIUS, SECRET = free_port(), "a shared secret"
CONFIG = f"""
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{{address: 127.0.0.0/16}}, {{address: "::1"}}]
  - name: Both
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    auth_algorithms: [SHA-256, MD5]
    classification: [{{address: 127.2.0.0/16}}]
  - name: Others
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{{address: 127.3.0.0/16}}]
  - name: Elsewhere
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{{address: 127.4.0.0/16}}]
    server_auth_mode: radius
    radius: {{servers: [{{address: 127.0.0.1, port: {RADIUS}, secret: {SECRET}}}], timeout: 3s}}
"""
SIX = free_port()
LISTEN = [f"udp:[::1]:{SIX}"]
USERS = {
    **{f"10{number:02}": "secret" for number in range(1, 12)},
    "Both/1001": "secret",
    "Others/1001": "secret",
}
_hosts = count(1)
FULL = 20_000


@pytest.fixture
def source() -> str:
    """A source address that no other test uses."""
    return f"127.0.1.{next(_hosts)}"


@pytest.fixture(scope="module", autouse=True)
def radius(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    """A FreeRADIUS that holds its rejects back for a second, as it comes."""
    folder = tmp_path_factory.mktemp("radius") / "main"
    users = {"1001": "secret", "1002": "secret"}
    with FreeRadius(folder, users, port=RADIUS, secret=SECRET, reject_delay=1) as radius:
        yield radius


def guess(phone: Phone, times: int = 1, of: Phone | None = None, **how: Any) -> list[int]:
    """Answer `times` challenges, those of another phone where one is named; return the statuses."""
    statuses = []
    for number in range(times):
        challenge = (of or phone).request("REGISTER")
        wrong = {"password": f"guess {number}", **how}
        statuses.append(phone.request("REGISTER", answering=challenge, **wrong).status)
    return statuses


def heard(phone: Phone, patience: float) -> list[Response]:
    """Return the answers that come until none has for `patience` seconds."""
    answers = []
    with suppress(TimeoutError):
        while True:
            answers.append(sip.parse_response(phone.receive(patience)))
    return answers


# While a verdict is awaited


@pytest.mark.parametrize("right", [0, 400])
def test_900_guesses_side_by_side_have_no_more_attempts_than_others(
    phone: MakePhone, radius: FreeRadius, right: int
) -> None:
    attacker = phone("1001", "secret", address=f"127.4.0.{right // 100 + 1}", expires=0)
    before = len(radius.verdicts("1001"))
    challenge = attacker.request("REGISTER")
    guesses = [
        attacker.build(
            "REGISTER",
            answering=challenge,
            password=None if number == right else f"guess {number}",
            nc=number + 1,
        )
        for number in range(900)
    ]
    answers: list[sip.Response] = []

    def are_answered(number: int) -> bool:
        answers.extend(heard(attacker, 0.001))
        return len(answers) >= number - 3  # those wait

    for number, each in enumerate(guesses, 1):
        attacker.send(each)
        answers += heard(attacker, 0.001 if answers else 0.3)  # the first one is asked about
        if number % 25 == 0:  # no more are on their way than a buffer holds
            assert wait_for(partial(are_answered, number))
    answers += heard(attacker, 5)
    statuses = [answer.status for answer in answers if answer.status >= 200]
    assert set(statuses) <= {200, 401, 403, 503}
    assert statuses.count(503) + statuses.count(403) > 850
    assert statuses.count(401) == 2
    assert (200 in statuses) == (right == 0), (
        "it is among the first three, or it is not asked about"
    )
    assert {each.header("retry-after") for each in answers if each.status == 503} == {"1"}
    assert radius.verdicts("1001")[before:].count("incorrect") == 3


def test_other_phones_are_served_while_one_source_guesses_at_everybody(
    phone: MakePhone, radius: FreeRadius
) -> None:
    attacker = phone("1001", "secret", address="127.4.0.20", expires=0)
    challenge = attacker.request("REGISTER")
    answers = []
    for number in range(1100):
        name = f"u{number}"
        attacker.send(attacker.build("REGISTER", answering=challenge, username=name, nc=number + 1))
        if number % 25 == 24:
            answers += heard(attacker, 0.01)
        if number % 200 == 199:
            other = phone("1002", "secret", address="127.4.0.21", expires=0)
            assert other.register().status == 200
    statuses = [answer.status for answer in answers]
    assert statuses.count(503) > 500
    assert {200} & set(statuses) == set()


def test_right_password_is_let_in_again_and_again(phone: MakePhone) -> None:
    """What a yes gives back is there for the next."""
    known = phone("1002", "secret", address="127.4.0.22", expires=0)
    assert [known.register().status for _ in range(8)] == [200] * 8


# Nonces of another source


def test_two_addresses_that_swap_their_nonces_have_six_guesses(
    phone: MakePhone, source: str, server: Server
) -> None:
    other = source.replace("127.0.1.", "127.0.2.")
    here, there = (phone("1001", "secret", address=each, expires=0) for each in (source, other))
    statuses = []
    for _ in range(4):
        for who, of in ((here, there), (there, here), (here, here), (there, there)):
            statuses += guess(who, of=of)
    assert statuses.count(401) == 4
    reasons = server.reasons(here.call_id) + server.reasons(there.call_id)
    judged = [each for each in reasons if each in ("wrong-credentials", "nonce-of-another")]
    assert len(judged) == 6
    assert guess(here, of=there, password="secret") == [403]


def test_locked_out_address_does_not_get_in_with_a_nonce_of_another(
    phone: MakePhone, source: str
) -> None:
    other = source.replace("127.0.1.", "127.0.2.")
    here, there = (phone("1001", "secret", address=each, expires=0) for each in (source, other))
    assert guess(here, 3) == [401, 401, 403]
    assert guess(here, of=there, password="secret") == [403]
    assert guess(there, password="secret") == [200]


# The phone beside


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_neighbour_behind_the_same_address_does_not_lock_out_the_phone(
    phone: MakePhone, source: str, server: Server, transport: str
) -> None:
    registered = phone("1003", "secret", address=source, transport=transport)
    neighbour = phone("1003", "secret", address=source, transport=transport)
    assert registered.register().status == 200
    assert guess(neighbour, 4) == [401, 401, 403, 403]
    assert neighbour.register().status == 403
    assert registered.register().status == 200
    assert registered.register().status == 200
    assert neighbour.register().status == 403, "the phone's success forgives him nothing"
    assert server.reasons(neighbour.call_id)[-1] == "locked-out"
    assert guess(registered, 3) == [401, 401, 403], "and it has three itself"
    assert registered.register().status == 403


def test_neighbour_in_the_same_ipv6_network_does_not_either(phone: MakePhone) -> None:
    registered, neighbour = (phone("1007", "secret", address="::1", home=SIX) for _ in range(2))
    assert registered.register().status == 200
    assert guess(neighbour, 4) == [401, 401, 403, 403]
    assert registered.register().status == 200
    assert neighbour.register().status == 403


def test_reconnected_phone_is_not_taken_for_the_connection_before(
    phone: MakePhone, source: str
) -> None:
    registered = phone("1004", "secret", address=source, transport="tcp")
    assert registered.register().status == 200
    neighbour = phone("1004", "secret", address=source)  # the same, but by UDP
    assert guess(neighbour, 3)[-1] == 403
    again = phone("1004", "secret", address=source, transport="tcp")
    assert again.register().status == 403, "a flow that nobody is registered from is of its pair"


# An IP Group of its own


def test_strangers_of_one_ip_group_do_not_have_others_refused(
    phone: MakePhone, server: Server
) -> None:
    assert guess(phone("1001", "secret", address="127.0.3.1"))[-1] == 401
    now = int(time.time())
    rpc = Rpc(server.folder / "run" / "rpc.sock")
    for window in (now // 60, now // 60 + 1):
        key = digest("all", f"Phones 60 {window}")
        rpc.call("htable.seti", "sbcauth_attempts", key, FULL)
    assert guess(phone("1005", "secret", address="127.0.3.2"), password="secret") == [503]
    assert guess(phone("1001", "secret", address="127.3.0.1"), password="secret") == [200]
    for window in (now // 60, now // 60 + 1):
        rpc.call("htable.delete", "sbcauth_attempts", digest("all", f"Phones 60 {window}"))


# No guess


@pytest.mark.parametrize("length", [0, 31, 64])
def test_response_of_another_length_is_refused_and_not_counted(
    phone: MakePhone, source: str, server: Server, length: int
) -> None:
    broken = phone("1006", "secret", address=source, expires=0)
    for _ in range(5):
        raw = broken.build("REGISTER", answering=broken.request("REGISTER"))
        before, _, rest = raw.partition(b'response="')
        broken.send(before + b'response="' + b"0" * length + b'"' + rest.partition(b'"')[2])
        assert broken.response(broken.last_branch).status == 403
    assert server.reasons(broken.call_id)[-1] == "response-length"
    assert broken.register().status == 200


def test_phone_that_mixes_its_challenges_is_refused_and_not_counted(
    phone: MakePhone, server: Server
) -> None:
    mixing = phone("1001", "secret", address="127.2.0.1", expires=0)
    for _ in range(5):
        sha, md5 = mixing.request("REGISTER").challenges
        mixed = md5._replace(nonce=sha.nonce)
        assert mixing.request("REGISTER", answering=mixed).status == 403
    assert server.reasons(mixing.call_id)[-1] == "mixed-challenges"
    assert mixing.register().status == 200


# Work


def test_credentials_full_of_escapes_are_refused(
    phone: MakePhone, source: str, server: Server
) -> None:
    hostile = phone("1001", "secret", address=source, transport="tcp")
    nasty = 'Authorization: Digest username="' + "\\a" * 2020 + '"'
    reply = hostile.request("REGISTER", headers=[nasty] * 8)
    assert reply.status == 400
    assert server.outcomes(hostile.call_id)[-1]["reason"] == "malformed-credentials"
