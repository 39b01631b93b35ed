"""Calls from end to end: between registered phones, from and to a trunk, and what ends them."""

from collections.abc import Iterator
from typing import Any

import pytest
import sip
from kamailio import Server, StartServer, free_port, wait_for
from phone import Dialog, MakeEndpoint, MakePhone, Phone

TRUNK = ("127.30.0.1", free_port())
FIRST, SECOND = ("127.30.0.2", free_port()), ("127.30.0.3", free_port())
CONFIG = f"""
realm: example.com
auth_challenge_method: auto
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
    route_to: Trunk
    classification: [{{address: 127.0.0.0/16}}]
  - name: Trunk
    type: server
    authentication_mode: sbc-as-server
    authentication_method_list: [setup-invite]
    username_as_server: carrier
    password_as_server: carrier secret
    proxy_set: ["sip:{TRUNK[0]}:{TRUNK[1]}"]
  - name: Pair
    type: server
    proxy_set: ["sip:{FIRST[0]}:{FIRST[1]}", "sip:{SECOND[0]}:{SECOND[1]}"]
  - name: PhonesOfThePair
    type: user
    route_to: Pair
    classification: [{{address: 127.31.0.0/16}}]
"""
USERS = {"1001": "secret of 1001", "1002": "secret of 1002"}
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\n"
    b"t=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
)
CALLEE = "sip:1002@example.com"


@pytest.fixture(params=[("udp", "udp"), ("tcp", "tcp"), ("udp", "tcp"), ("tcp", "udp")])
def pair(phone: MakePhone, request: pytest.FixtureRequest) -> Iterator[tuple[Phone, Phone]]:
    """Two registered phones, over every pair of transports."""
    caller = phone("1001", "secret of 1001", transport=request.param[0])
    callee = phone("1002", "secret of 1002", transport=request.param[1])
    assert caller.register().status == callee.register().status == 200
    yield caller, callee
    for each in (caller, callee):
        each.expires = 0
        each.register()


def invite(caller: Phone, **how: Any) -> None:
    """Send an INVITE that answers its challenge."""
    challenge = caller.request("INVITE", CALLEE, **how)
    assert challenge.status == 407
    caller.send(caller.build("INVITE", CALLEE, answering=challenge, **how))


def provisional(caller: Phone, status: int) -> None:
    """Wait for a provisional response."""
    while caller.response(caller.last_branch, provisional=True).status != status:
        pass


def answered(caller: Phone, callee: Phone) -> tuple[Dialog, Dialog]:
    """Ring, and pick up; returns both sides of the call."""
    kind = ["Content-Type: application/sdp"]
    invite(caller, body=SDP, headers=kind)
    incoming = callee.incoming("INVITE")
    assert incoming.body == SDP
    assert incoming.header("proxy-authorization") == ""
    callee.reply(incoming, 180, "Ringing")
    provisional(caller, 180)
    callee.reply(incoming, 200)
    answer = caller.response(caller.last_branch)
    assert answer.status == 200
    sides = Dialog.opened_by(caller, answer), Dialog.joined_by(callee, incoming)
    sides[0].acknowledge()
    assert callee.incoming("ACK").header("cseq") == f"{caller.cseq} ACK"
    return sides


def test_call_between_two_registered_phones_until_the_caller_hangs_up(
    pair: tuple[Phone, Phone],
) -> None:
    caller, callee = pair
    ours, _ = answered(caller, callee)
    ours.send("BYE")
    callee.reply(callee.incoming("BYE"), 200)
    assert caller.response().status == 200


def test_call_between_two_registered_phones_until_the_callee_hangs_up(
    pair: tuple[Phone, Phone],
) -> None:
    caller, callee = pair
    _, theirs = answered(caller, callee)
    theirs.send("BYE")
    caller.reply(caller.incoming("BYE"), 200)
    assert callee.response().status == 200


def test_caller_gives_up_while_it_rings(pair: tuple[Phone, Phone], server: Server) -> None:
    caller, callee = pair
    invite(caller)
    ringing = callee.incoming("INVITE")
    callee.reply(ringing, 180, "Ringing")
    provisional(caller, 180)
    caller.send(sip.cancel(caller.last_sent))
    cancelled = callee.incoming("CANCEL")
    callee.reply(cancelled, 200)
    callee.reply(ringing, 487, "Request Terminated")
    replies = [caller.response(caller.last_branch) for _ in range(2)]
    assert sorted(reply.status for reply in replies) == [200, 487]
    caller.acknowledge(max(replies, key=lambda reply: reply.status))
    callee.incoming("ACK")
    assert "locked-out" not in server.reasons(caller.call_id)


def test_callee_is_busy(pair: tuple[Phone, Phone]) -> None:
    caller, callee = pair
    invite(caller)
    callee.reply(callee.incoming("INVITE"), 486, "Busy Here")
    busy = caller.response(caller.last_branch)
    assert busy.status == 486
    caller.acknowledge(busy)
    assert callee.incoming("ACK").header("cseq") == f"{caller.cseq} ACK"


def test_message_reaches_the_other_phone(pair: tuple[Phone, Phone]) -> None:
    caller, callee = pair
    challenge = caller.request("MESSAGE", CALLEE)
    kind = ["Content-Type: text/plain"]
    caller.send(
        caller.build("MESSAGE", CALLEE, answering=challenge, body=b"h\xe9llo", headers=kind)
    )
    message = callee.incoming("MESSAGE")
    assert message.body == b"h\xe9llo"
    callee.reply(message, 202, "Accepted")
    assert caller.response(caller.last_branch).status == 202


def test_retransmitted_invite_is_relayed_once(phone: MakePhone) -> None:
    caller, callee = phone("1001", "secret of 1001"), phone("1002", "secret of 1002")
    assert callee.register().status == 200
    invite(caller)
    for _ in range(3):
        caller.send(caller.last_sent)
    ringing = callee.incoming("INVITE")
    callee.reply(ringing, 486, "Busy Here")
    caller.acknowledge(caller.response(caller.last_branch))
    assert callee.incoming("ACK")
    with pytest.raises(TimeoutError):
        callee.incoming("INVITE", patience=0.3)
    callee.expires = 0
    assert callee.register().status == 200


def test_call_to_somebody_who_is_not_registered_goes_to_the_trunk(
    phone: MakePhone, endpoint: MakeEndpoint
) -> None:
    caller, trunk = phone("1001", "secret of 1001"), endpoint(TRUNK[0], port=TRUNK[1])
    invite(caller)
    incoming = trunk.incoming("INVITE")
    assert incoming.uri == CALLEE
    trunk.reply(incoming, 200)
    ours = Dialog.opened_by(caller, caller.response(caller.last_branch))
    ours.acknowledge()
    trunk.incoming("ACK")
    ours.send("BYE")
    trunk.reply(trunk.incoming("BYE"), 200)
    assert caller.response().status == 200


def test_call_from_the_trunk_reaches_the_phone(phone: MakePhone, server: Server) -> None:
    callee = phone("1002", "secret of 1002")
    assert callee.register().status == 200
    trunk = phone("carrier", "carrier secret", address=TRUNK[0], local_user="+49301234")
    challenge = trunk.request("INVITE", CALLEE)
    assert challenge.status == 407
    trunk.send(trunk.build("INVITE", CALLEE, answering=challenge))
    incoming = callee.incoming("INVITE")
    assert "+49301234" in incoming.header("from")
    callee.reply(incoming, 200)
    ours = Dialog.opened_by(trunk, trunk.response(trunk.last_branch))
    ours.acknowledge()
    callee.incoming("ACK")
    theirs = Dialog.joined_by(callee, incoming)
    theirs.send("BYE")
    trunk.reply(trunk.incoming("BYE"), 200)
    assert callee.response().status == 200
    assert server.reasons(trunk.call_id) == ["challenged", "accepted", "within-dialog"]
    callee.expires = 0
    assert callee.register().status == 200


def test_trunk_with_a_wrong_password_reaches_nobody(phone: MakePhone) -> None:
    trunk = phone("carrier", "wrong", address=TRUNK[0])
    assert trunk.authenticate("INVITE", CALLEE).status == 407


def test_next_server_of_the_proxy_set_is_tried_when_the_first_refuses(
    phone: MakePhone, endpoint: MakeEndpoint
) -> None:
    caller = phone(address="127.31.0.1")
    first, second = endpoint(FIRST[0], port=FIRST[1]), endpoint(SECOND[0], port=SECOND[1])
    caller.send(caller.build("INVITE", CALLEE))
    first.reply(first.incoming("INVITE"), 503, "Service Unavailable")
    second.reply(second.incoming("INVITE"), 486, "Busy Here")
    reply = caller.response(caller.last_branch)
    assert reply.status == 486
    caller.acknowledge(reply)


def test_next_server_of_the_proxy_set_is_tried_when_the_first_is_silent(
    phone: MakePhone, endpoint: MakeEndpoint
) -> None:
    caller = phone(address="127.31.0.2")
    second = endpoint(SECOND[0], port=SECOND[1])
    caller.send(caller.build("MESSAGE", CALLEE))
    message = second.incoming("MESSAGE")
    second.reply(message, 200)
    assert caller.response(caller.last_branch).status == 200


def test_within_no_dialog_there_is_nothing_to_hang_up(phone: MakePhone) -> None:
    caller = phone("1001", "secret of 1001")
    assert caller.request("BYE", CALLEE, to_tag="none").status == 481


def test_nobody_relays_through_the_server_by_a_route_of_its_own(
    phone: MakePhone, endpoint: MakeEndpoint, server: Server
) -> None:
    """A Route that a phone brings along does not lead past authentication and routing."""
    caller, victim = phone(address="127.31.0.3"), endpoint("127.32.0.1")
    route = [f"Route: <sip:127.0.0.1:{server.port};lr>", f"Route: <sip:{victim.host};lr>"]
    first = endpoint(FIRST[0], port=FIRST[1])
    caller.send(caller.build("MESSAGE", f"sip:x@{victim.host}", headers=route))
    first.reply(first.incoming("MESSAGE"), 404, "Not Found")
    assert caller.response(caller.last_branch).status == 404
    assert victim.hears_nothing(0.2)


@pytest.mark.parametrize("method", ["INVITE", "BYE", "REFER", "ACK"])
@pytest.mark.parametrize("signature", ["", ";sig=0123456789abcdef01234567", ";sig="])
def test_nobody_relays_by_making_up_a_dialog(
    phone: MakePhone, endpoint: MakeEndpoint, server: Server, method: str, signature: str
) -> None:
    """A To tag and a Route do not lead past authentication, though nobody asks for it there."""
    caller, victim = phone(address="127.31.0.4"), endpoint("127.32.0.1")
    route = f"Route: <sip:127.0.0.1:{server.port};lr{signature}>"
    caller.send(caller.build(method, f"sip:x@{victim.host}", to_tag="made-up", headers=[route]))
    if method != "ACK":
        assert caller.response(caller.last_branch).status == 481
    assert victim.hears_nothing(0.1)


def test_signature_of_one_call_is_worth_nothing_in_another(
    phone: MakePhone, endpoint: MakeEndpoint, server: Server
) -> None:
    caller, trunk = phone("1001", "secret of 1001"), endpoint(TRUNK[0], port=TRUNK[1])
    invite(caller)
    trunk.reply(trunk.incoming("INVITE"), 486, "Busy Here")
    reply = caller.response(caller.last_branch)
    caller.acknowledge(reply)
    route = f"Route: {reply.header('record-route')}"
    thief = phone("1001", "secret of 1001")
    assert thief.request("BYE", f"sip:{trunk.host}", to_tag="x", headers=[route]).status == 481


def test_call_outlives_a_restart(start_server: StartServer) -> None:
    server = start_server(CONFIG.replace(str(TRUNK[1]), str(free_port())))
    server.add_user("1001", "secret of 1001")
    server.add_user("1002", "secret of 1002")
    with (
        Phone(server, "1001", "secret of 1001") as caller,
        Phone(server, "1002", "secret of 1002") as callee,
    ):
        assert callee.register().status == 200
        ours, _ = answered(caller, callee)
        server.stop()
        server.start()
        ours.send("BYE")
        callee.reply(callee.incoming("BYE"), 200)
        assert caller.response().status == 200


def test_log_has_no_error_of_a_call(server: Server) -> None:
    assert wait_for(lambda: "ERROR" not in server.log(), 0.1), server.log()
