"""A second Kamailio's module `uac` is the client: it answers the first challenge, and knows MD5."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kamailio import Server, free_port, wait_for
from phone import Dialog, MakePhone, Phone
from uac_kamailio import UacKamailio

CONFIG = """
realm: example.com
auth_algorithms: [SHA-256, MD5]
auth_challenge_method: auto
user_agents: [{pattern: "PBX 1*", auth_algorithms: MD5}, known]
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    classification: [{address: 127.0.0.0/8}]
"""
USERS = {"1001": "secret", "1002": "secret"}


@pytest.fixture
def pbx(server: Server, tmp_path: Path) -> Iterator[UacKamailio]:
    """Return the client, which registers 1001."""
    with UacKamailio(tmp_path, free_port(), server, "1001", "secret", "example.com") as client:
        yield client


@pytest.fixture
def caller(server: Server, pbx: UacKamailio) -> Iterator[Phone]:
    """Return a phone of the PBX, which knows no password."""
    with Phone(server, "1001", "", home=pbx.port) as phone:
        yield phone


def test_uac_registers_though_it_reads_the_first_challenge_only(
    server: Server, pbx: UacKamailio
) -> None:
    def is_registered() -> bool:
        shown = server.sbcauth("registered", "--user", "1001").stdout
        return f"127.0.0.1:{pbx.port}" in shown

    assert wait_for(is_registered), pbx.log()


def test_uac_calls_where_a_rule_offers_it_one_challenge(caller: Phone, phone: MakePhone) -> None:
    callee = phone("1002", address="127.0.0.2")
    assert callee.register().status == 200
    caller.send(caller.build("INVITE", "sip:1002@example.com", headers=["User-Agent: PBX 1.2"]))
    invite = callee.incoming("INVITE")
    assert not invite.header("proxy-authorization")
    callee.reply(invite, 200)
    dialog = Dialog.opened_by(caller, caller.response(caller.last_branch))
    dialog.acknowledge()
    assert callee.incoming("ACK")
    dialog.send("BYE")
    callee.reply(callee.incoming("BYE"), 200)
    assert caller.response().status == 200


def test_uac_answers_nothing_where_no_rule_fits(caller: Phone) -> None:
    refused = caller.request("INVITE", "sip:1002@example.com", headers=["User-Agent: Another"])
    assert refused.status == 407
    assert [each.algorithm for each in refused.challenges] == ["SHA-256", "MD5"]
