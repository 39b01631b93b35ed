"""Who has been in a call has its seals for a day: what he can make of them from elsewhere."""

import re
from collections.abc import Iterator

import pytest
from dialogs import Call
from kamailio import Server, wait_for
from memory import entries, rpc, shared
from phone import Endpoint, MakeEndpoint, MakePhone

CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{address: 127.0.0.0/16}]
"""
USERS = {"1001": "secret of 1001", "1002": "secret of 1002"}
ELSEWHERE = "127.0.3.3"
MOST_BYES = 10


@pytest.fixture
def call(phone: MakePhone) -> Iterator[Call]:
    caller, callee = phone("1001", "secret of 1001"), phone("1002", "secret of 1002")
    assert callee.register().status == 200
    yield Call.between(caller, callee, "sip:1002@example.com")
    callee.expires = 0
    callee.register()


def again(raw: bytes, number: int) -> bytes:
    """Return a request as another one: with a branch and a CSeq of its own."""
    raw = re.sub(rb"branch=[^;\r]+", b"branch=z9hG4bK-again-%d" % number, raw, count=1)
    return re.sub(rb"CSeq: \d+", b"CSeq: %d" % (1000 + number), raw, count=1)


def test_invites_that_are_challenged_leave_no_memory(
    server: Server, call: Call, endpoint: MakeEndpoint
) -> None:
    stranger: Endpoint = endpoint(ELSEWHERE)
    invite = call.caller.build("INVITE")
    stranger.send(again(invite, 0))
    assert stranger.response().status == 401
    before, kept = shared(server), entries(server)["cseq"]
    created = rpc(server).call("tm.stats")["created"]
    for number in range(1, 301):
        stranger.send(again(invite, number))
        assert stranger.response().status == 401
    assert rpc(server).call("tm.stats")["created"] == created
    assert entries(server)["cseq"] == kept
    assert shared(server) - before < 64


def test_ack_to_a_challenge_that_has_no_transaction_ends_here(
    call: Call, endpoint: MakeEndpoint
) -> None:
    stranger = endpoint(ELSEWHERE)
    invite, ack = call.caller.build("INVITE"), call.caller.build("ACK")
    stranger.send(again(invite, 1))
    assert stranger.response().status == 401
    stranger.send(again(ack, 1))
    assert call.callee.phone.hears_nothing()


def test_byes_by_seals_alone_are_few(server: Server, call: Call, endpoint: MakeEndpoint) -> None:
    stranger = endpoint(ELSEWHERE)
    bye = call.caller.build("BYE")
    created = rpc(server).call("tm.stats")["created"]
    for number in range(200):
        stranger.send(again(bye, number))
    assert wait_for(lambda: "status=481" in server.log())
    assert wait_for(lambda: stranger.response().status == 481)
    assert rpc(server).call("tm.stats")["created"] - created <= 2 * MOST_BYES


def test_late_2xx_reaches_no_other_connection(
    server: Server, phone: MakePhone, endpoint: MakeEndpoint
) -> None:
    caller = phone("1001", "secret of 1001", transport="tcp")
    callee = phone("1002", "secret of 1002")
    assert callee.register().status == 200
    call = Call.between(caller, callee, "sip:1002@example.com")
    victim = endpoint(ELSEWHERE, transport="tcp")
    victim.send(b"\r\n\r\n")
    routes = "".join(f"Record-Route: {each}\r\n" for each in call.callee.routes)
    for number in range(1, 64):
        connection = f"{number:x}"[::-1]  # as Kamailio names one to itself
        callee.send(
            (
                "SIP/2.0 200 OK\r\n"
                f"Via: SIP/2.0/TCP 127.0.0.1:{server.port};branch=z9hG4bK-no.{number}"
                f";i={connection}\r\n"
                f"Via: SIP/2.0/TCP {caller.host};rport={caller.port};received={caller.address}"
                ";branch=z9hG4bK-none\r\n"
                f"{routes}From: {call.caller.local}\r\nTo: {call.caller.remote}\r\n"
                f"Call-ID: {call.caller.call_id}\r\nCSeq: 900 INVITE\r\n"
                f"Contact: {callee.contact}\r\nContent-Length: 0\r\n\r\n"
            ).encode()
        )
    assert caller.response().status == 200
    assert victim.hears_nothing()
