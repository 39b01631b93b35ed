"""The RADIUS client's timers, and its memory of servers that do not answer; the clock is ours."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from radius_peer import ACCEPT, CHALLENGE, REJECT, SECRET, Peer

from sbcauth.policy.external_server import Answer, Verdict
from sbcauth.radius.client import RadiusClient
from sbcauth.radius.settings import RadiusServer, RadiusSettings

QUESTION = b"\x01\x061001"
YES, NO = Verdict(Answer.ACCEPT), Verdict(Answer.REJECT)
SILENT = "no answer (a server is silent too where it does not know our address or shared secret)"


class Clock:
    """Time goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Told:
    """What the client tells of the servers, in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[object, ...]] = []

    def answered(self, server: str, answer: Answer, seconds: float) -> None:
        self.lines.append((server, answer, seconds))

    def left_alone(self, server: str, seconds: float) -> None:
        self.lines.append((server, "left alone", seconds))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def client(clock: Clock, told: Told) -> Iterator[RadiusClient[str]]:
    client: RadiusClient[str] = RadiusClient(limit=50, clock=clock, record=told)
    yield client
    client.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@pytest.fixture
def other() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


def server(peer: Peer) -> RadiusServer:
    return RadiusServer(peer.address, peer.port, SECRET)


def settings(
    *peers: Peer, timeout: float = 1, tries: int = 2, dead_time: int = 30
) -> RadiusSettings:
    return RadiusSettings(
        tuple(map(server, peers)), timeout=timeout, tries=tries, dead_time=dead_time
    )


def no_answer(*details: str) -> Verdict:
    return Verdict(Answer.NONE, "; ".join(details))


def test_verdict_has_the_ticket_of_its_question(client: RadiusClient[str], peer: Peer) -> None:
    for ticket in ("first", "second", "third"):
        client.ask(ticket, QUESTION, settings(peer))
    assert len(client) == 3
    assert client.poll(0) == []
    assert len(peer.questions) == 3
    peer.answer(ACCEPT, 1)
    peer.answer(REJECT, 2)
    assert sorted(client.poll(0)) == [("second", YES), ("third", NO)]
    assert len(client) == 1


def test_what_is_asked_arrives(client: RadiusClient[str], peer: Peer) -> None:
    client.ask("t", QUESTION, settings(peer))
    assert peer.questions[0].endswith(QUESTION)


def test_answers_are_told_with_how_long_they_took(
    client: RadiusClient[str], peer: Peer, clock: Clock, told: Told
) -> None:
    address = f"127.0.0.1:{peer.port}"
    for code, answer in ((ACCEPT, Answer.ACCEPT), (REJECT, Answer.REJECT)):
        client.ask("t", QUESTION, settings(peer))
        clock.now += 0.25
        peer.answer(code)
        client.poll(0)
        assert told.lines.pop() == (address, answer, 0.25)
    assert told.lines == []


def test_silence_is_told_and_its_end(
    client: RadiusClient[str], peer: Peer, clock: Clock, told: Told
) -> None:
    address = f"127.0.0.1:{peer.port}"
    client.ask("lost", QUESTION, settings(peer, tries=1))
    clock.now += 1
    client.poll(0)
    assert told.lines == [(address, Answer.NONE, 1.0), (address, "left alone", 30)]
    clock.now += 30
    client.ask("brave", QUESTION, settings(peer, tries=1))
    peer.answer(ACCEPT)
    client.poll(0)
    assert told.lines[2:] == [(address, Answer.ACCEPT, 0.0), (address, "left alone", 0)]


def test_one_question_finds_out_for_as_long_as_its_tries_take(
    client: RadiusClient[str], peer: Peer, clock: Clock
) -> None:
    patient = settings(peer, tries=3, timeout=4)
    client.ask("lost", QUESTION, settings(peer, tries=1))
    clock.now += 1
    client.poll(0)
    clock.now += 30
    client.ask("brave", QUESTION, patient)
    clock.now += 11.9
    client.ask("careful", QUESTION, patient)
    assert len(client) == 1


def test_server_that_is_dead_does_not_keep_the_one_behind_it_from_being_asked(
    client: RadiusClient[str], peer: Peer, other: Peer, clock: Clock
) -> None:
    gone = RadiusServer("255.255.255.255", 1812, SECRET)
    servers = (gone, server(peer), server(other))
    client.ask("lost", QUESTION, settings(peer, tries=1))
    clock.now += 1
    client.poll(0)
    client.ask("t", QUESTION, RadiusSettings(servers))
    assert len(other.questions) == 1


def test_server_at_an_ipv6_address_is_asked(client: RadiusClient[str]) -> None:
    with Peer("::1") as peer:
        client.ask("t", QUESTION, settings(peer))
        peer.answer(ACCEPT)
        assert client.poll(0) == [("t", YES)]


def test_second_try_is_the_same_packet_from_the_same_port(
    client: RadiusClient[str], peer: Peer, clock: Clock
) -> None:
    client.ask("t", QUESTION, settings(peer))
    clock.now += 0.9
    assert client.poll(0) == []
    assert len(peer.questions) == 1
    clock.now += 0.1
    assert client.poll(0) == []
    first, second = peer.questions
    assert first == second
    peer.answer(ACCEPT, to=0)
    assert client.poll(0) == [("t", YES)]


def test_silence_is_told_after_the_last_try(
    client: RadiusClient[str], peer: Peer, clock: Clock
) -> None:
    client.ask("t", QUESTION, settings(peer, tries=3))
    for _ in range(2):
        clock.now += 1
        assert client.poll(0) == []
    clock.now += 1
    assert client.poll(0) == [("t", no_answer(f"127.0.0.1:{peer.port}: {SILENT}"))]
    assert len(peer.questions) == 3
    assert len(client) == 0


def test_next_server_is_asked_in_order_and_with_its_own_secret(
    client: RadiusClient[str], peer: Peer, other: Peer, clock: Clock
) -> None:
    client.ask("t", QUESTION, settings(peer, other, tries=1))
    assert not other.questions
    clock.now += 1
    assert client.poll(0) == []
    assert other.questions[0] != peer.questions[0]
    peer.answer(ACCEPT)  # too late: its line is closed
    assert client.poll(0) == []
    other.answer(REJECT)
    assert client.poll(0) == [("t", NO)]


def test_every_server_that_failed_is_named(
    client: RadiusClient[str], peer: Peer, other: Peer, clock: Clock
) -> None:
    client.ask("t", QUESTION, settings(peer, other, tries=1))
    for _ in range(2):
        clock.now += 1
        verdicts = client.poll(0)
    names = [f"127.0.0.1:{each.port}: {SILENT}" for each in (peer, other)]
    assert verdicts == [("t", no_answer(*names))]


def test_dead_server_is_left_alone_for_its_time(
    client: RadiusClient[str], peer: Peer, other: Peer, clock: Clock
) -> None:
    both = settings(peer, other, tries=1)
    client.ask("first", QUESTION, both)
    clock.now += 1
    client.poll(0)
    for _ in range(3):
        client.ask("later", QUESTION, both)
    assert (len(peer.questions), len(other.questions)) == (1, 4)
    clock.now += 29.9
    client.ask("last", QUESTION, both)
    assert len(peer.questions) == 1


def test_after_that_time_one_question_finds_out_and_others_pass_by(
    client: RadiusClient[str], peer: Peer, other: Peer, clock: Clock
) -> None:
    both = settings(peer, other, tries=1)
    client.ask("first", QUESTION, both)
    clock.now += 1
    client.poll(0)
    clock.now += 30
    for ticket in ("brave", "careful", "careful"):
        client.ask(ticket, QUESTION, both)
    assert (len(peer.questions), len(other.questions)) == (2, 3)
    peer.answer(ACCEPT)
    assert ("brave", YES) in client.poll(0)
    client.ask("next", QUESTION, both)
    assert len(peer.questions) == 3


def test_where_all_are_dead_it_is_told_at_once(
    client: RadiusClient[str], peer: Peer, clock: Clock
) -> None:
    client.ask("first", QUESTION, settings(peer, tries=1))
    clock.now += 1
    client.poll(0)
    client.ask("second", QUESTION, settings(peer))
    detail = f"127.0.0.1:{peer.port}: has not answered recently, not asked"
    assert client.poll(0) == [("second", no_answer(detail))]


def test_server_that_answered_another_question_meanwhile_is_not_dead(
    client: RadiusClient[str], peer: Peer, clock: Clock
) -> None:
    client.ask("lost", QUESTION, settings(peer, tries=1))
    clock.now += 0.5
    client.ask("quick", QUESTION, settings(peer, tries=1))
    peer.answer(ACCEPT)
    assert client.poll(0) == [("quick", YES)]
    clock.now += 0.5
    assert client.poll(0)[0][1].answer is Answer.NONE
    client.ask("next", QUESTION, settings(peer))
    assert len(peer.questions) == 3


def test_without_a_dead_time_nobody_is_left_alone(
    client: RadiusClient[str], peer: Peer, clock: Clock
) -> None:
    impatient = settings(peer, tries=1, dead_time=0)
    for asked in (1, 2):
        client.ask("t", QUESTION, impatient)
        client.ask("t", QUESTION, impatient)
        assert len(peer.questions) == 2 * asked
        clock.now += 1
        assert len(client.poll(0)) == 2


def test_nobody_is_asked_for_longer_than_a_phone_waits(
    client: RadiusClient[str], peer: Peer, other: Peer, clock: Clock
) -> None:
    client.ask("t", QUESTION, settings(peer, other, timeout=10, tries=5))
    asked = 0
    while not client.poll(0):
        clock.now += 10
        asked += 10
    assert asked == 30
    assert len(peer.questions) == 3
    assert not other.questions


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"ma": False}, "a reply without Message-Authenticator"),
        ({"secret": "other"}, "a reply not signed with our shared secret"),
    ],
)
def test_untrusted_reply_is_passed_over_and_remembered(
    client: RadiusClient[str], peer: Peer, clock: Clock, how: dict[str, Any], said: str
) -> None:
    client.ask("t", QUESTION, settings(peer, tries=1))
    peer.answer(ACCEPT, **how)
    peer.send(b"junk")
    peer.answer(ACCEPT, **how)
    assert client.poll(0) == []
    clock.now += 1
    assert client.poll(0) == [("t", no_answer(f"127.0.0.1:{peer.port}: {said}"))]


def test_true_reply_after_a_forged_one_counts(client: RadiusClient[str], peer: Peer) -> None:
    client.ask("t", QUESTION, settings(peer))
    peer.answer(ACCEPT, secret="guessed")
    peer.answer(REJECT)
    peer.answer(ACCEPT)
    assert client.poll(0) == [("t", NO)]


def test_reply_from_elsewhere_does_not_arrive(
    client: RadiusClient[str], peer: Peer, other: Peer, clock: Clock
) -> None:
    client.ask("t", QUESTION, settings(peer, tries=1))
    _ = peer.questions
    other._asked = [*peer._asked]
    other.answer(ACCEPT)
    assert client.poll(0) == []


def test_reply_that_is_no_verdict_ends_the_question(
    client: RadiusClient[str], peer: Peer, other: Peer
) -> None:
    client.ask("t", QUESTION, settings(peer, other))
    peer.answer(CHALLENGE)
    assert client.poll(0) == [("t", no_answer("a reply of code 11 is no verdict"))]


def test_port_on_which_nobody_listens_is_told_apart_and_may_come_to_life(
    client: RadiusClient[str], clock: Clock
) -> None:
    peer = Peer()
    peer._socket.close()
    client.ask("t", QUESTION, settings(peer, dead_time=0))
    assert client.poll(0) == []
    clock.now += 1
    client.poll(0)
    clock.now += 1
    detail = f"127.0.0.1:{peer.port}: {os.strerror(errno.ECONNREFUSED)}"
    assert client.poll(0) == [("t", no_answer(detail))]
    client.ask("t", QUESTION, settings(peer))
    assert client.poll(0) == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
        late.bind(("127.0.0.1", peer.port))
        clock.now += 1
        assert client.poll(0) == []
        assert late.recv(4096)


def test_no_more_than_the_limit_wait(client: RadiusClient[str], peer: Peer) -> None:
    for number in range(51):
        client.ask(str(number), QUESTION, settings(peer))
    assert client.poll(0) == [("50", no_answer("50 requests wait for RADIUS already"))]
    assert len(peer.questions) == 50


def test_socket_that_cannot_be_had_is_told(
    client: RadiusClient[str], peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", no_more)
    client.ask("t", QUESTION, settings(peer))
    assert client.poll(0) == [("t", no_answer(f"127.0.0.1:{peer.port}: Too many open files"))]
    assert len(client) == 0


def test_address_that_cannot_be_reached_is_told(client: RadiusClient[str]) -> None:
    before = files()
    broadcast = RadiusServer("255.255.255.255", 1812, SECRET)
    client.ask("t", QUESTION, RadiusSettings((broadcast,)))
    ((_, verdict),) = client.poll(0)
    assert verdict.detail.startswith("255.255.255.255:1812: ")
    assert files() == before


def test_lines_are_closed_whatever_comes_of_a_question(
    client: RadiusClient[str], peer: Peer, clock: Clock
) -> None:
    client.ask("t", QUESTION, settings(peer))
    peer.answer(ACCEPT)
    client.poll(0)
    before = files()
    for code in (ACCEPT, REJECT, CHALLENGE, None):
        client.ask("t", QUESTION, settings(peer, tries=1))
        if code:
            peer.answer(code)
        else:
            clock.now += 1
        assert client.poll(0)
    assert files() == before


def files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_whatever_else_is_watched_is_read_while_it_waits(client: RadiusClient[str]) -> None:
    reading, writing = os.pipe()
    heard: list[bytes] = []
    elsewhere = ("ticket", Verdict(Answer.ACCEPT))

    def hear() -> list[tuple[str, Verdict]]:
        heard.append(os.read(reading, 10))
        return [elsewhere]

    client.watch(reading, hear)
    os.write(writing, b"question")
    assert client.poll(0) == [elsewhere]
    assert heard == [b"question"]
    os.close(reading)
    os.close(writing)


def test_poll_returns_when_its_patience_ends_and_not_before() -> None:
    client: RadiusClient[str] = RadiusClient()
    began = time.monotonic()
    assert client.poll(0.05) == []
    assert time.monotonic() - began >= 0.05
    client.close()


def test_without_a_server_there_is_no_answer(client: RadiusClient[str]) -> None:
    client.ask("t", QUESTION, RadiusSettings(()))
    assert client.poll(0) == [("t", no_answer("no server to ask"))]
