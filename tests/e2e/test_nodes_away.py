"""Nodes that die, are frozen, and come back: phones get in at the others, and are called there."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from secrets import token_hex
from typing import Any

import pytest
from dialogs import Call
from kamailio import wait_for
from log_of_kamailio import check_log
from nodes import Cluster, Node
from phone import MakePhone, Phone
from translator import Translator

CONFIG = """
realm: example.com
auth_challenge_method: auto
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{address: 127.0.0.0/8}]
"""
USERS = {str(number): f"secret of {number}" for number in range(1001, 1008)}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), CONFIG, users=USERS) as cluster:
        yield cluster
        for node in cluster.nodes:
            check_log(node)


@pytest.fixture
def phone() -> Iterator[MakePhone]:
    with ExitStack() as stack:

        def make(node: Node, user: str, transport: str = "udp", **how: Any) -> Phone:
            return stack.enter_context(
                Phone(node, user, USERS[user], transport=transport, expires=600, **how)
            )

        yield make


def hang_up(call: Call) -> None:
    """End a call, once by each side's own request."""
    call.callee.says("BYE")
    call.caller.hears("BYE")
    assert call.callee.phone.response(call.callee.branch).status == 200


def test_phone_behind_an_address_translator_is_reached_by_its_node(
    cluster: Cluster, phone: MakePhone
) -> None:
    home, other = cluster[0], cluster[1]
    with Translator(("127.0.0.1", home.port)) as router:
        callee = phone(home, "1001", home=router.inside)
        caller = phone(other, "1002")
        assert callee.register().status == 200
        assert caller.register().status == 200
        assert other.knows("1001", callee.host)
        call = Call.between(caller, callee, "sip:1001@example.com")
        for side, far in (call.sides(), call.sides()[::-1]):
            challenge = side.asks("INVITE")
            assert challenge.status == 407
            side.says("ACK", cseq=side.cseq, branch=side.branch)
            side.says("INVITE", answering=challenge)
            far.hears("INVITE")
            assert side.phone.response(side.branch).status == 200
            side.says("ACK", cseq=side.cseq)
            assert far.phone.incoming("ACK")
        call.caller.says("BYE")
        call.callee.hears("BYE")
        assert caller.response(call.caller.branch).status == 200
        assert router.kept_out == []


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_phones_of_a_node_that_dies_are_called_at_another(
    cluster: Cluster, phone: MakePhone, transport: str
) -> None:
    dead, second, third = cluster.nodes
    user = {"udp": "1003", "tcp": "1004"}[transport]
    before = phone(dead, user, transport)
    assert before.register().status == 200
    assert second.knows(user, before.host)
    dead.kill()
    try:
        after = phone(second, user, transport)
        assert after.register().status == 200
        assert third.knows(user, after.host)
        caller = phone(third, "1002")
        assert caller.register().status == 200
        hang_up(Call.between(caller, after, f"sip:{user}@example.com"))
    finally:
        dead.start()
    assert dead.knows(user, after.host)
    caller = phone(dead, "1002")
    assert caller.register().status == 200
    hang_up(Call.between(caller, after, f"sip:{user}@example.com"))


def test_call_whose_node_dies_is_ended_and_placed_anew(cluster: Cluster, phone: MakePhone) -> None:
    """The phone registers at another node; the call's own way was by the one that is dead."""
    dead, second, third = cluster.nodes
    before, caller = phone(dead, "1007"), phone(second, "1002")
    assert before.register().status == 200
    assert caller.register().status == 200
    assert second.knows("1007", before.host)
    call = Call.between(caller, before, "sip:1007@example.com")
    caller.patience = 30  # Kamailio waits for five seconds, and the machine may be busy
    dead.kill()
    try:
        after = phone(third, "1007")
        assert after.register().status == 200
        assert second.knows("1007", after.host)
        call.caller.says("BYE")
        assert caller.response(call.caller.branch).status == 408
        assert after.hears_nothing()
        caller.call_id = f"{token_hex(8)}@again"
        hang_up(Call.between(caller, after, "sip:1007@example.com"))
    finally:
        dead.start()


def test_node_that_was_frozen_is_told_what_it_has_missed(
    cluster: Cluster, phone: MakePhone
) -> None:
    first, second, third = cluster.nodes
    os.killpg(third.pid, signal.SIGSTOP)
    try:
        callee = phone(first, "1005")
        assert callee.register().status == 200
        assert second.knows("1005", callee.host)
        assert wait_for(lambda: not first.sees(third), 30)
    finally:
        os.killpg(third.pid, signal.SIGCONT)
    assert wait_for(lambda: first.sees(third), 30)
    assert third.knows("1005", callee.host)


def test_registrations_are_those_of_the_others_after_a_start(
    cluster: Cluster, phone: MakePhone
) -> None:
    first, second, _ = cluster.nodes
    callee = phone(second, "1006")
    assert callee.register().status == 200
    assert first.knows("1006", callee.host)
    first.stop()
    first.registrations_file.unlink()
    first.start()
    assert first.knows("1006", callee.host)
