"""How often one address of record is accepted."""

from itertools import count

import pytest
from conversation import NOW, Phone, UserInfo, accepted, phones, serve, trunk, user

from sbcauth.exceptions import Unavailable
from sbcauth.policy import pace
from sbcauth.policy.decision import Reason, Reject
from sbcauth.policy.pace import MOST_ACCEPTED, SAMPLE, Pace
from sbcauth.policy.shared_state import LocalState

SAMPLED = next(f"{n}" for n in count() if not hash(f"{n}") % SAMPLE)
OTHER = next(f"{n}" for n in count() if hash(f"{n}") % SAMPLE)


def is_stopped(counts: Pace, name: str, nonce_count: str = SAMPLED, now: int = NOW) -> bool:
    try:
        counts.check("Phones", name, nonce_count, now)
    except Unavailable:
        return True
    return False


def test_address_of_record_is_accepted_so_often_and_others_go_on() -> None:
    counts = Pace()
    stopped = [is_stopped(counts, "1001") for _ in range(MOST_ACCEPTED // SAMPLE + 2)]
    assert stopped == [False] * (MOST_ACCEPTED // SAMPLE) + [True] * 2
    assert is_stopped(counts, "1001", OTHER), "what is not counted is stopped, too"
    others = [is_stopped(counts, f"{number}") for number in range(2000, 2500)]
    assert others.count(False) > 480
    assert not is_stopped(counts, "1001", now=NOW + 610)
    assert not counts.stopped


def test_what_is_not_sampled_is_not_counted() -> None:
    counts = Pace()
    assert not any(is_stopped(counts, "1001", OTHER) for _ in range(MOST_ACCEPTED + 2))


def test_one_request_in_so_many_is_sampled() -> None:
    sampled = sum(not hash(f"{number:028x}") % SAMPLE for number in range(100_000))
    assert sampled == pytest.approx(100_000 / SAMPLE, rel=0.1)


def test_who_is_too_fast_gets_503_until_it_is_over() -> None:
    shared = LocalState()
    server = serve(phones(), users=UserInfo(user(), user("1002")), shared=shared)
    while not is_stopped(server._identification._pace, "1001"):
        pass
    phone = Phone(server)
    field = phone.field(phone.challenge())
    before = dict(shared._values)
    decision = phone.send("REGISTER", field)
    assert isinstance(decision, Reject)
    assert (decision.status, decision.reason) == (503, Reason.UNAVAILABLE)
    assert decision.retry_after == 60
    assert shared._values == before
    assert accepted(Phone(server, "1002").register())
    later = NOW + pace._STRETCH
    assert accepted(phone.send("REGISTER", phone.field(phone.challenge(now=later)), now=later))


def test_trunk_is_as_fast_as_it_likes() -> None:
    server = serve(trunk())
    server._identification._pace.stopped.update(range(1 << 16))  # all places there are
    carrier = Phone(server, "trunk", "trunk-secret", "198.51.100.1", local_user="1001")
    assert accepted(carrier.answer(carrier.challenge("INVITE"), "INVITE"))
