"""Modes meet in one call: a phone proves itself to us, and we prove ourselves to its carrier."""

from collections.abc import Callable, Iterator

import pytest
from challenging_peer import Peer
from kamailio import Server, free_port
from phone import Dialog, MakePhone, Phone

PORT = free_port()
CONFIG = f"""
realm: sbc.example
auth_challenge_method: 407
auth_algorithms: [SHA-256]
ip_groups:
  - name: Phones
    type: user
    classification: [{{address: 127.0.0.1}}]
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, BYE]
    route_to: Carrier
  - name: Carrier
    type: server
    proxy_set: ["sip:127.0.0.9:{PORT}"]
    authentication_mode: sbc-as-client
    username_as_client: trunk
    password_as_client: secret-of-the-trunk
"""
USERS = {"1001": "secret-of-1001"}
CALLEE = "sip:+15551234@sbc.example"


@pytest.fixture
def carrier(server: Server) -> Iterator[Callable[..., Peer]]:
    """Make the carrier's server, in a realm of its own."""
    peers = []

    def make(**how: object) -> Peer:
        peers.append(Peer(server, "127.0.0.9", PORT, realm="carrier.example", **how))
        return peers[-1]

    yield make
    for peer in peers:
        peer.close()
        assert peer.complaints == []


@pytest.fixture
def alice(phone: MakePhone) -> Phone:
    return phone("1001", "secret-of-1001", realm="sbc.example")


def invited(alice: Phone) -> Dialog:
    """Call the carrier: challenged by us, then by the carrier, which the phone never sees."""
    answer = alice.authenticate("INVITE", CALLEE)
    assert answer.status == 200
    dialog = Dialog.opened_by(alice, answer)
    dialog.acknowledge()
    return dialog


def test_phone_hangs_up(alice: Phone, carrier: Callable[..., Peer]) -> None:
    peer = carrier(challenged_in_dialog={"INVITE", "BYE"}, stale=1)
    assert alice.authenticate("REGISTER").status == 200
    dialog = invited(alice)
    for method in ("INVITE", "BYE"):
        challenge = dialog.request(method)
        assert challenge.status == 407
        assert challenge.challenges[0].realm == "sbc.example"
        answer = dialog.request(method, answering=challenge)
        assert answer.status == 200
        if method == "INVITE":
            dialog.acknowledge()
            assert peer.waits_for_ack(peer.seen[-1][1])
    assert [method for method, _ in peer.seen] == ["INVITE"] * 5 + ["BYE"] * 2


def test_carrier_hangs_up(alice: Phone, carrier: Callable[..., Peer]) -> None:
    peer = carrier()
    invited(alice)
    assert peer.waits_for_ack(peer.seen[-1][1])
    hangup = Dialog.joined_by(peer, peer.requests[-1], peer.tag)
    hangup.send("BYE")
    alice.reply(alice.incoming("BYE"), 200)


def test_credentials_for_us_do_not_reach_the_carrier(
    alice: Phone, carrier: Callable[..., Peer]
) -> None:
    peer = carrier()
    invited(alice)
    assert len(peer.requests) == 2
    for request in peer.requests:
        assert 'realm="sbc.example"' not in request.header("authorization")
        assert 'realm="sbc.example"' not in request.header("proxy-authorization")


def test_phone_with_a_wrong_password_costs_the_carrier_nothing(
    server: Server, phone: MakePhone, carrier: Callable[..., Peer]
) -> None:
    peer = carrier()
    guesser = phone("1002", "wrong", realm="sbc.example")
    assert guesser.authenticate("INVITE", CALLEE).status == 407
    assert peer.seen == []


def test_refusal_of_the_carrier_reaches_the_phone(
    alice: Phone, carrier: Callable[..., Peer]
) -> None:
    peer = carrier(never_content=True)
    answer = alice.authenticate("INVITE", CALLEE)
    assert answer.status == 407
    assert answer.challenges[0].realm == "carrier.example"
    assert len(peer.seen) == 2
