"""A trunk without an address of its own calls, is called within the call, and hangs up."""

import pytest
from kamailio import Server
from phone import Dialog, MakePhone, Phone, Request

CONFIG = """
realm: example.com
unclassified_requests: drop
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    classification: [{address: 127.0.0.0/16}]
  - name: Carrier
    type: server
    authentication_mode: sbc-as-server
    authentication_method_list: [setup-invite]
    username_as_server: carrier
    password_as_server: secret of the carrier
    classification: [{digest_username: carrier}]
    reaches: [Phones]
"""
USERS = {"1001": "secret"}


@pytest.fixture
def carrier(phone: MakePhone) -> Phone:
    """A peer at an address that nobody configured."""
    return phone("carrier", "secret of the carrier", local_user="0301234", address="127.66.0.1")


@pytest.fixture
def callee(phone: MakePhone) -> Phone:
    called = phone()
    assert called.register().status == 200
    return called


def call(carrier: Phone, callee: Phone) -> tuple[Dialog, Request]:
    challenge = carrier.request("INVITE", "sip:1001@example.com")
    assert challenge.status == 401
    carrier.send(carrier.build("INVITE", "sip:1001@example.com", answering=challenge))
    invite = callee.incoming("INVITE")
    assert not invite.header("authorization")
    callee.reply(invite, 200)
    answer = carrier.response(carrier.last_branch)
    assert answer.status == 200
    dialog = Dialog.opened_by(carrier, answer)
    dialog.acknowledge()
    assert callee.incoming("ACK")
    return dialog, invite


def test_whole_call_of_a_trunk_that_is_known_by_its_name(
    server: Server, carrier: Phone, callee: Phone
) -> None:
    dialog, _ = call(carrier, callee)
    assert server.outcomes(carrier.call_id)[-1]["ip_group"] == "Carrier"
    dialog.send("INVITE")
    again = callee.incoming("INVITE")
    callee.reply(again, 200)
    assert carrier.response().status == 200
    dialog.acknowledge()
    assert callee.incoming("ACK")
    dialog.send("BYE")
    callee.reply(callee.incoming("BYE"), 200)
    assert carrier.response().status == 200


def test_callee_hangs_up_and_the_trunk_hears_it_where_it_called_from(
    carrier: Phone, callee: Phone
) -> None:
    _, invite = call(carrier, callee)
    theirs = Dialog.joined_by(callee, invite)
    theirs.send("BYE")
    carrier.reply(carrier.incoming("BYE"), 200)
    assert callee.response().status == 200


def test_stranger_learns_no_name_and_nothing_else_is_answered(
    phone: MakePhone, server: Server
) -> None:
    answers = []
    for name in ("carrier", "nobody"):
        guess = phone(name, "wrong", address="127.66.0.2")
        answers.append([guess.authenticate("INVITE", "sip:1001@example.com").status for _ in "123"])
    assert answers[0] == answers[1] == [401, 401, 403]
    scanner = phone(address="127.66.0.3")
    for method in ("REGISTER", "OPTIONS", "MESSAGE"):
        scanner.send(scanner.build(method))
    assert scanner.hears_nothing()
