"""`server_auth_mode: http` on the wire: a real service judges what phones answer."""

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import sip
from http_service import SECRET, Service
from kamailio import Server, free_port, wait_for
from phone import MakePhone

PORTS = [free_port(), free_port()]
CONFIG = f"""
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    auth_algorithms: [SHA-256, MD5]
    auth_qop: both
    classification: [{{address: 127.0.0.0/16}}]
    server_auth_mode: http
    http:
      urls: ["http://127.0.0.1:{PORTS[0]}/judge", "http://127.0.0.1:{PORTS[1]}/judge"]
      secret: {SECRET}
      timeout: 5s
      tries: 1
      dead_time: 0
  - name: Here
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{{address: 127.50.0.0/16}}]
"""
USERS = {"Here/1002": "secret"}


@pytest.fixture
def service() -> Iterator[Service]:
    with Service({"1001": "secret", "guessed": "secret"}, port=PORTS[0]) as service:
        yield service


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("gives_ha1", [False, True])
def test_phone_registers_by_the_word_of_a_service(
    service: Service, phone: MakePhone, transport: str, gives_ha1: bool
) -> None:
    service.gives_ha1 = gives_ha1
    caller = phone("1001", "secret", transport=transport)
    challenge = caller.request("REGISTER")
    for offered in challenge.challenges:
        assert caller.request("REGISTER", answering=offered).status == 200
    assert [asked["algorithm"] for asked in service.asked] == ["SHA-256", "MD5"]
    assert service.asked[0]["address_of_record"] == "sip:1001@example.com"


def test_body_counts_for_auth_int(service: Service, phone: MakePhone) -> None:
    caller = phone("1001", "secret")
    challenge = caller.request("INVITE", "sip:nobody@example.com", body=b"v=0\r\n")
    answer = caller.request(
        "INVITE", "sip:nobody@example.com", answering=challenge, qop="auth-int", body=b"v=0\r\n"
    )
    assert answer.status == 404
    assert "body_hash" in service.asked[0]


@pytest.mark.parametrize("gives_ha1", [False, True])
def test_third_wrong_password_is_forbidden(
    service: Service, phone: MakePhone, gives_ha1: bool
) -> None:
    service.gives_ha1 = gives_ha1
    caller = phone("guessed", "wrong", address=f"127.0.1.{1 + gives_ha1}")
    answer = caller.request("REGISTER")
    for expected in (401, 401, 403):
        answer = caller.request("REGISTER", answering=answer)
        assert answer.status == expected


def test_second_service_is_asked_where_the_first_is_down(phone: MakePhone) -> None:
    with Service({"1001": "secret"}, port=PORTS[1]) as second:
        assert phone("1001", "secret").register().status == 200
        assert len(second.asked) == 1


def test_nobody_passes_where_no_service_answers(server: Server, phone: MakePhone) -> None:
    caller = phone("1001", "secret")
    answer = caller.register()
    assert answer.status == 503
    assert answer.header("retry-after")
    with Service({"1001": "secret"}, port=PORTS[0]):
        assert caller.register().status == 200


def test_reply_that_is_not_signed_lets_nobody_in(service: Service, phone: MakePhone) -> None:
    service.secret = "another"
    assert phone("1001", "secret").register().status == 503


def test_others_are_served_while_a_service_is_slow(
    service: Service, server: Server, phone: MakePhone
) -> None:
    service.delay = 3.0
    waiting = [
        phone("1001", "secret", address=f"127.0.2.{number}", expires=0) for number in range(1, 21)
    ]
    challenges = [each.request("REGISTER") for each in waiting]
    for each, challenge in zip(waiting, challenges, strict=True):
        each.send(each.build("REGISTER", answering=challenge))
    began = time.monotonic()
    assert phone("1002", "secret", address="127.50.0.1").register().status == 200
    assert time.monotonic() - began < 2.5
    for each in waiting:
        assert each.response(each.last_branch).status == 200


def test_status_names_the_services(service: Service, server: Server, phone: MakePhone) -> None:
    assert phone("1001", "secret", expires=0).register().status == 200
    shown = server.administer("status")
    assert f"external server {service.url}: answers" in shown


def test_guesses_side_by_side_have_no_more_attempts_than_others(
    service: Service, phone: MakePhone
) -> None:
    service.delay = 1.0
    attacker = phone("guessed", "secret", address="127.0.3.1", expires=0)
    challenge = attacker.request("REGISTER")
    for number in range(60):
        password = None if number == 40 else f"guess {number}"
        attacker.send(
            attacker.build("REGISTER", answering=challenge, password=password, nc=number + 1)
        )
    statuses: list[int] = []
    with suppress(TimeoutError):
        while len(statuses) < 60:
            statuses.append(sip.parse_response(attacker.receive(5)).status)
    assert set(statuses) <= {100, 401, 403, 503}
    assert len(service.asked) <= 3


def test_caller_who_gives_up_while_it_waits_is_not_put_through(
    service: Service, phone: MakePhone
) -> None:
    callee = phone("1002", "secret", address="127.50.0.1")
    assert callee.register().status == 200
    caller = phone("1001", "secret", address="127.0.3.2")
    challenge = caller.request("INVITE", "sip:1002@example.com")
    service.delay = 1.5
    caller.send(caller.build("INVITE", "sip:1002@example.com", answering=challenge))
    assert wait_for(lambda: service.asked, 10)
    invite = caller.last_sent.decode()
    kept = ("Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length")
    lines = [invite.split("\r\n")[0], *(x for x in invite.split("\r\n") if x.startswith(kept))]
    caller.send("\r\n".join([*lines, "", ""]).replace("INVITE", "CANCEL").encode())
    statuses = {caller.response().status, caller.response().status}
    assert statuses == {200, 487}
    assert callee.hears_nothing(2)
