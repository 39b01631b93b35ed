"""Dialogs whose parties are at different nodes: which node reaches whom, and who vouches for it."""

from collections.abc import Sequence

import pytest
from conversation import NOW, phones, trunk

from sbcauth.dialog_keys import SivCipher
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.ip_groups import ProxyAddress
from sbcauth.policy.passages import Claims, Dialogs, Passage
from sbcauth.policy.places import Place
from sbcauth.policy.seals import Mark, OpenToken, Seals, Side, Token
from sbcauth.policy.targets import NAME

FIRST, SECOND, THIRD = "a1a1a1", "b2b2b2", "c3c3c3"
GROUPS = IPGroups(
    [phones(), trunk("Trunk", proxy_set=(ProxyAddress("sip:198.51.100.1", "198.51.100.1"),))]
)
CALL = "f81d4fae@example.com"
HOME = Place("udp", "192.0.2.7", 5060)
CARRIER = Place("tls", "2001:db8::1", 5061)
NODE = Place("udp", "10.0.0.12", 5090, SECOND)


def seals_of(node: str, *others: str) -> Seals:
    return Seals([SivCipher(b"k" * 32)], GROUPS.by_name, node, others)


AT_FIRST = seals_of(FIRST, SECOND, THIRD)
AT_SECOND = seals_of(SECOND, FIRST, THIRD)


def opened(seals: Seals, text: str) -> OpenToken:
    found = seals.open_token(text, CALL, NOW)
    assert found
    return found


def nowhere(_: Side) -> Sequence[Place]:
    return ()


@pytest.mark.parametrize("place", [HOME, CARRIER])
def test_each_node_knows_which_one_reaches_a_party(place: Place) -> None:
    caller, callee = Side("Phones", "1001", place), Side("Phones", "1002", HOME)
    callee = callee._replace(place=HOME._replace(node=SECOND))
    sealed = AT_FIRST.seal_token(Token(NOW, "a", caller, callee), CALL)
    here, there = opened(AT_FIRST, sealed), opened(AT_SECOND, sealed)
    assert (here.caller.place.node, here.callee.place.node) == ("", SECOND)
    assert (there.caller.place.node, there.callee.place.node) == (FIRST, "")
    assert there.caller.place == place._replace(node=FIRST)


def test_a_node_that_is_no_more_reaches_nobody() -> None:
    caller = Side("Phones", "1001", HOME)
    sealed = AT_FIRST.seal_token(Token(NOW, "a", caller, caller), CALL)
    assert opened(seals_of(SECOND), sealed).caller.place == HOME


def test_a_server_without_nodes_opens_what_a_node_has_sealed() -> None:
    sealed = AT_FIRST.seal_mark(Mark(HOME, True, "inner"), CALL, "tag", "sip:x@y")
    alone = Seals([SivCipher(b"k" * 32)], GROUPS.by_name)
    assert alone.open_mark(sealed, CALL, "tag", "sip:x@y") == Mark(HOME, True, "inner")
    there = AT_SECOND.open_mark(sealed, CALL, "tag", "sip:x@y")
    assert there == Mark(HOME._replace(node=FIRST), True, "inner")


ALICE = Side("Phones", "1001", HOME._replace(node=SECOND))
BOB = Side("Phones", "1002", HOME._replace(port=5062))


def judged(
    caller: Side, callee: Side, source: Place, tags: tuple[str, str] = ("a", "b")
) -> Passage:
    dialogs = Dialogs(AT_FIRST, GROUPS)
    sealed = AT_FIRST.seal_token(Token(NOW, "a", caller, callee), CALL)
    route = f"<sip:sbc.example;lr;{NAME}={sealed}>"
    passage = dialogs.judge(
        Claims("BYE", route, CALL, *tags, "sip:gw@192.0.2.9", source), nowhere, NOW
    )
    assert passage
    return passage


def test_what_a_node_hands_on_has_been_judged() -> None:
    assert judged(ALICE, BOB, NODE).is_at_home
    assert not judged(ALICE, BOB, NODE._replace(node="")).is_at_home


@pytest.mark.parametrize(("caller", "callee"), [(ALICE, BOB), (BOB, ALICE)])
def test_with_equal_tags_the_party_that_is_here_is_called(caller: Side, callee: Side) -> None:
    assert judged(caller, callee, NODE, ("a", "a")).other == BOB


def test_a_request_goes_by_the_node_that_reaches_the_other() -> None:
    dialogs = Dialogs(AT_FIRST, GROUPS)
    passage = judged(BOB, ALICE, BOB.place)
    assert dialogs.node(passage, nowhere) == SECOND
    moved = passage._replace(registered=True)
    assert dialogs.node(moved, lambda _: (HOME._replace(node=THIRD),)) == THIRD
    assert dialogs.node(moved, lambda _: (HOME,)) == ""


def test_a_server_is_spoken_to_by_the_node_that_its_call_came_to() -> None:
    server = Side("Trunk", "", Place("udp", "198.51.100.1", 5060, THIRD))
    passage = judged(BOB, server, BOB.place)
    assert Dialogs(AT_FIRST, GROUPS).node(passage, nowhere) == THIRD


def test_a_late_answer_passes_between_the_nodes_of_its_parties_alone() -> None:
    dialogs = Dialogs(AT_FIRST, GROUPS)
    token = opened(AT_FIRST, AT_FIRST.seal_token(Token(NOW, "a", ALICE, BOB), CALL))
    third = NODE._replace(node=THIRD)
    assert dialogs.is_answer_between(token, "a", BOB.place, NODE, nowhere)
    assert not dialogs.is_answer_between(token, "a", BOB.place, third, nowhere)
    assert dialogs.is_answer_between(
        token, "a", BOB.place, third, lambda _: (HOME._replace(node=THIRD), BOB.place)
    )
