"""How questions get from SIP workers to the RADIUS process, and verdicts out of it."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from radius_peer import ACCEPT, SECRET, Peer

from sbcauth.exceptions import Unavailable
from sbcauth.external_process import Question, Ticket, Waiting, decode
from sbcauth.policy.external_server import Answer, Verdict
from sbcauth.radius.settings import RadiusServer, RadiusSettings

TICKET = Ticket(57, 0xFFFFFFFE, 1_700_000_000.25)
QUESTION = Question(TICKET, "Phones", b"\x01\x061001")


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


def settings(peer: Peer) -> RadiusSettings:
    return RadiusSettings((RadiusServer("127.0.0.1", peer.port, SECRET),))


@given(
    tickets=st.lists(
        st.builds(
            Ticket,
            st.integers(0, 2**32 - 1),
            st.integers(0, 2**32 - 1),
            st.floats(allow_nan=False, allow_infinity=False),
        )
    ),
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    attributes=st.binary(max_size=4000),
    cut=st.integers(0, 10_000),
)
def test_questions_come_out_as_they_went_in_however_they_are_cut(
    tickets: list[Ticket], name: str, attributes: bytes, cut: int
) -> None:
    questions = [Question(ticket, name, attributes) for ticket in tickets]
    wire = b"".join(question.encode() for question in questions)
    first, rest = decode(wire[:cut])
    second, rest = decode(rest + wire[cut:])
    assert first + second == questions
    assert rest == b""


def test_longest_question_is_written_as_a_whole() -> None:
    """See test_radius_attributes: no attributes are longer, and no name of an IP Group is."""
    longest = Question(TICKET, "\U0001f4de" * 62, b"x" * 3600)
    assert len(longest.encode()) <= 4096  # PIPE_BUF


def test_verdict_comes_back_with_its_ticket(peer: Peer) -> None:
    waiting = Waiting(time.time)
    waiting.put(QUESTION)
    asked: list[str] = []

    def settings_of(ip_group: str) -> RadiusSettings:
        asked.append(ip_group)
        return settings(peer)

    pid = os.fork()
    if pid == 0:  # the server answers while the process waits
        while not peer.questions:
            time.sleep(0.005)
        peer.answer(ACCEPT)
        os._exit(0)
    assert waiting.process.next_verdict(settings_of) == (TICKET, Verdict(Answer.ACCEPT))
    os.waitpid(pid, 0)
    assert asked == ["Phones"]


def test_ip_group_that_is_no_longer_radius_s_gets_no_verdict() -> None:
    waiting = Waiting(time.time)
    waiting.put(QUESTION)
    found = waiting.process.next_verdict(lambda _: None)
    assert found == (TICKET, Verdict(Answer.NONE, "no server to ask"))


def test_break_is_taken_before_kamailio_would_end_the_loop() -> None:
    waiting = Waiting(time.time)
    for _ in range(120):
        waiting.put(QUESTION)
    rounds = []
    for _ in range(3):
        count = 0
        while waiting.process.next_verdict(lambda _: None):
            count += 1
        rounds.append(count)
    assert rounds == [50, 50, 20]


def test_full_pipe_is_told_and_loses_nothing_that_was_taken() -> None:
    waiting = Waiting(time.time)
    taken = 0
    while has_room_for(waiting, QUESTION._replace(attributes=b"x" * 3000)):
        taken += 1
    assert taken > 10
    found = 0
    while found < taken:
        found += waiting.process.next_verdict(lambda _: None) is not None
    waiting.put(QUESTION)


def has_room_for(waiting: Waiting, question: Question) -> bool:
    try:
        waiting.put(question)
    except Unavailable as full:
        assert "than there is room for" in str(full)  # noqa: PT017
        return False
    return True


def test_process_that_was_never_seen_or_not_of_late_is_missed() -> None:
    waiting = Waiting(time.time)
    with pytest.raises(Unavailable, match="there is no process that asks"):
        waiting.check(1_700_000_000.0)
    waiting.show_life(1_700_000_000.0)
    waiting.check(1_700_000_009.0)
    with pytest.raises(Unavailable, match="there is no process that asks"):
        waiting.check(1_700_000_011.0)


def test_sign_of_life_is_never_seen_half_written() -> None:
    waiting = Waiting(time.time)
    waiting.show_life(1_700_000_000.0)
    pid = os.fork()
    if pid == 0:
        while True:
            waiting.show_life(1_700_000_000.0)
    try:
        for _ in range(300_000):
            waiting.check(1_700_000_001.0)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_sign_of_life_is_seen_in_other_processes() -> None:
    waiting = Waiting(time.time)
    pid = os.fork()
    if pid == 0:
        waiting.show_life(1_700_000_000.0)
        os._exit(0)
    os.waitpid(pid, 0)
    waiting.check(1_700_000_001.0)
