"""How often one address of record is accepted."""

from conversation import NOW, Phone, UserInfo, accepted, phones, serve, trunk, user

from sbcauth.policy import pace
from sbcauth.policy.decision import Reason, Reject
from sbcauth.policy.pace import MOST_ACCEPTED, Pace


def test_address_of_record_is_accepted_so_often_and_others_go_on() -> None:
    counts = Pace()
    too_fast = [counts.is_too_fast("Phones", "1001", NOW) for _ in range(MOST_ACCEPTED + 2)]
    assert too_fast == [False] * MOST_ACCEPTED + [True] * 2
    others = [counts.is_too_fast("Phones", f"{number}", NOW) for number in range(2000, 2500)]
    assert others.count(False) > 480
    assert not counts.is_too_fast("Others", "1001", NOW)
    assert not counts.is_too_fast("Phones", "1001", NOW + 610)


def test_who_is_too_fast_gets_503_until_it_is_over() -> None:
    server = serve(phones(), users=UserInfo(user(), user("1002")))
    counts = server._pace
    for _ in range(MOST_ACCEPTED):
        counts.is_too_fast("Phones", "1001", NOW)
    shared = server._attempts._shared
    phone = Phone(server)
    field = phone.field(phone.challenge())
    before = dict(shared._values)  # type: ignore[attr-defined]
    decision = phone.send("REGISTER", field)
    assert isinstance(decision, Reject)
    assert (decision.status, decision.reason) == (503, Reason.UNAVAILABLE)
    assert decision.retry_after == 60
    assert shared._values == before  # type: ignore[attr-defined]
    assert accepted(Phone(server, "1002").register())
    later = NOW + pace._STRETCH
    assert accepted(phone.send("REGISTER", phone.field(phone.challenge(now=later)), now=later))


def test_trunk_is_as_fast_as_it_likes() -> None:
    server = serve(trunk())
    for _ in range(MOST_ACCEPTED):
        server._pace.is_too_fast("Trunk", "1001", NOW)
    carrier = Phone(server, "trunk", "trunk-secret", "198.51.100.1", local_user="1001")
    assert accepted(carrier.answer(carrier.challenge("INVITE"), "INVITE"))
