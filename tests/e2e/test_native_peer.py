"""A second Kamailio, with its own authentication module, is the peer that challenges."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kamailio import Server, StartServer, free_port
from native_kamailio import NativeKamailio
from phone import Dialog, Endpoint, Phone, Request

CONFIG = """
realm: sbc.example
ip_groups:
  - name: Phones
    type: user
    classification: [{{address: 127.0.0.1}}]
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite, MESSAGE]
    route_to: Carrier
  - name: Carrier
    type: server
    proxy_set: ["sip:{address}:{port}"]
    authentication_mode: sbc-as-client
    username_as_client: trunk
    password_as_client: secret-of-the-trunk
"""
CALLEE = "sip:callee@sbc.example"


@pytest.fixture
def carrier(tmp_path: Path) -> Iterator[NativeKamailio]:
    callee = ("127.0.0.12", free_port())
    with NativeKamailio(tmp_path, free_port(), "trunk", "secret-of-the-trunk", callee) as native:
        yield native


@pytest.fixture
def callee(carrier: NativeKamailio, alice: Phone) -> Iterator[Endpoint]:
    """Return whom the carrier calls, and who sends its requests there."""
    address, port = carrier.callee
    with Endpoint(alice.server, address, port=port, home=carrier.port) as endpoint:
        yield endpoint


@pytest.fixture
def alice(carrier: NativeKamailio, start_server: StartServer) -> Iterator[Phone]:
    server: Server = start_server(CONFIG.format(address=carrier.address, port=carrier.port))
    server.add_user("1001", "secret-of-1001")
    with Phone(server, "1001", "secret-of-1001", realm="sbc.example") as phone:
        yield phone


def test_whole_call_through_a_carrier_that_challenges_each_request(
    alice: Phone, callee: Endpoint
) -> None:
    challenge = alice.request("INVITE", CALLEE)
    alice.send(alice.build("INVITE", CALLEE, answering=challenge))
    invite = callee.incoming("INVITE")
    assert not invite.header("proxy-authorization")
    callee.reply(invite, 200)
    dialog = Dialog.opened_by(alice, alice.response(alice.last_branch))
    dialog.acknowledge()
    first = _number(callee.incoming("ACK"))
    assert first == _number(invite) == alice.cseq + 1

    dialog.send("INVITE")
    again = callee.incoming("INVITE")
    callee.reply(again, 200)
    assert alice.response().status == 200
    dialog.acknowledge()
    assert _number(callee.incoming("ACK")) == _number(again) > first

    dialog.send("BYE")
    callee.reply(bye := callee.incoming("BYE"), 200)
    assert alice.response().status == 200
    assert _number(bye) > _number(again)


def test_call_that_the_other_side_ends(alice: Phone, callee: Endpoint) -> None:
    challenge = alice.request("INVITE", CALLEE)
    alice.send(alice.build("INVITE", CALLEE, answering=challenge))
    invite = callee.incoming("INVITE")
    callee.reply(invite, 200)
    Dialog.opened_by(alice, alice.response(alice.last_branch)).acknowledge()
    callee.incoming("ACK")
    Dialog.joined_by(callee, invite).send("BYE")
    alice.reply(alice.incoming("BYE"), 200)
    assert callee.response().status == 200


def test_message(alice: Phone, callee: Endpoint) -> None:
    challenge = alice.request("MESSAGE", CALLEE)
    alice.send(alice.build("MESSAGE", CALLEE, answering=challenge, body=b"hello"))
    callee.reply(callee.incoming("MESSAGE"), 200)
    assert alice.response(alice.last_branch).status == 200


def _number(request: Request) -> int:
    return int(request.header("cseq").split()[0])
