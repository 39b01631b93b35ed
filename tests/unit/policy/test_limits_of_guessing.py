"""Whom a guess is held against, and what is no guess."""

import time
from typing import Any

import pytest
from conversation import NOW, REALM, Phone, UserInfo, accepted, phones, serve, user

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.credentials import MOST_CREDENTIALS
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.decision import Accept, Challenge, Decision, Reason, Reject
from sbcauth.policy.request import Request
from sbcauth.policy.server import AuthServer

HERE, ELSEWHERE = "192.0.2.7", "203.0.113.9"


def judged(decision: Decision) -> bool:
    """Tell whether a password was measured: whoever is locked out learns nothing of it."""
    return decision.reason in (
        *(Reason.WRONG_CREDENTIALS, Reason.NONCE_OF_ANOTHER, Reason.OLD_PASSWORD),
        *(Reason.UNKNOWN_USER, Reason.ACCEPTED),
    )


# Nonces of another source


@pytest.mark.parametrize("order", ["own first", "others first", "in turn"])
def test_two_addresses_that_swap_their_nonces_have_six_guesses(order: str) -> None:
    server = serve()
    both = [Phone(server, address=address) for address in (HERE, ELSEWHERE)]
    pairs = [(who, of) for who in both for of in both]
    pairs.sort(
        key=lambda pair: {"own first": pair[0] is not pair[1]}.get(order, pair[0] is pair[1])
    )
    turns = [pair for _ in range(6) for pair in pairs]
    if order != "in turn":
        turns = [pair for pair in pairs for _ in range(6)]
    decisions = [
        who.answer(of.challenge(), password=f"guess {number}")
        for number, (who, of) in enumerate(turns)
    ]
    assert sum(map(judged, decisions)) == 6
    last = both[0].answer(both[1].challenge())
    assert last.reason is Reason.LOCKED_OUT


def test_locked_out_address_does_not_get_in_with_a_nonce_of_another() -> None:
    server = serve()
    here, elsewhere = Phone(server, address=HERE), Phone(server, address=ELSEWHERE)
    here.fail(3)
    decision = here.answer(elsewhere.challenge())
    assert (decision.reason, decision[0]) == (Reason.LOCKED_OUT, 403)
    assert accepted(elsewhere.register()), "whose nonce it was is locked out of nothing"


def test_phone_that_changes_its_address_takes_its_nonce_along() -> None:
    server = serve()
    challenge = Phone(server, address=HERE).challenge()
    assert accepted(Phone(server, address=ELSEWHERE).answer(challenge))


def test_forged_address_is_not_locked_out() -> None:
    server = serve()
    attacker = Phone(server, address=ELSEWHERE)
    forged = Phone(server, address=HERE)
    for number in range(9):
        forged.answer(attacker.challenge(), password=f"guess {number}")
    assert accepted(forged.register())
    assert attacker.register().reason is Reason.LOCKED_OUT


# The flow from which a user is registered


class Flows:
    """Stands before a server whose users are registered at these flows."""

    def __init__(self, server: AuthServer, **ports: int) -> None:
        self.server = server
        self.ports = ports
        self.asked = 0

    def decide(self, request: Request, now: int, *_: Any) -> Decision:
        outer = self

        class Registered(Request):
            def comes_from_where_registered(self, local_user: str, realm: str) -> bool:
                outer.asked += 1
                return realm == REALM and outer.ports.get(f"u{local_user}") == self.source_port

        return self.server.decide(Registered(*request), now)


def at(port: int, flows: Flows, username: str = "1001", times: int = 1, **how: Any) -> Decision:
    """Answer as a user from a port, `times`; returns the last decision."""
    phone = Phone(flows, username)  # type: ignore[arg-type]
    for number in range(times):
        challenge = phone.challenge()
        field = phone.field(challenge, **{"password": f"guess {number}", **how})
        decision = phone.send("REGISTER", field, source_port=port)
    return decision


RIGHT: dict[str, Any] = {"password": "secret"}


def test_neighbour_does_not_lock_out_the_phone_beside_him() -> None:
    flows = Flows(serve(), u1001=5070)
    assert at(6666, flows, times=3).reason is Reason.WRONG_CREDENTIALS
    assert at(6666, flows, **RIGHT).reason is Reason.LOCKED_OUT
    assert accepted(at(5070, flows, **RIGHT))
    assert at(6666, flows, **RIGHT).reason is Reason.LOCKED_OUT, "it forgives him nothing"


def test_success_of_the_phone_gives_its_neighbour_no_attempt_back() -> None:
    flows = Flows(serve(), u1001=5070)
    at(6666, flows, times=2)
    assert accepted(at(5070, flows, **RIGHT))
    assert isinstance(at(6666, flows), Reject)


def test_each_phone_behind_one_address_has_a_flow_of_its_own() -> None:
    flows = Flows(serve(users=UserInfo(user(), user("1002"))), u1001=5070, u1002=5080)
    for username, port in (("1001", 5070), ("1002", 5080)):
        assert isinstance(at(6666, flows, username, times=3), Reject)
        assert accepted(at(port, flows, username, **RIGHT))


def test_flow_from_which_several_are_registered_is_counted_with_its_pair() -> None:
    flows = Flows(serve(users=UserInfo(user(), user("1002"))), u1001=5070, u1002=5070)
    at(5070, flows)
    assert isinstance(at(5070, flows, "1002", times=3), Reject)
    assert at(6666, flows, "1002", **RIGHT).reason is Reason.LOCKED_OUT


def test_flow_answers_a_nonce_of_another_at_the_costs_of_whom_it_was_issued_to() -> None:
    server = serve()
    flows = Flows(server, u1001=5070)
    collector = Phone(server, address="203.0.113.5")
    phone = Phone(flows)  # type: ignore[arg-type]
    for _ in range(3):
        field = phone.field(collector.challenge(), password="guess")
        last = phone.send("REGISTER", field, source_port=5070)
        assert last.reason is Reason.NONCE_OF_ANOTHER
    assert isinstance(last, Reject)
    assert collector.register().reason is Reason.LOCKED_OUT
    assert accepted(at(5070, flows, **RIGHT))


def test_neighbour_who_sprays_does_not_either() -> None:
    few = AttemptLimit(max_failures_per_source=4)
    flows = Flows(serve(phones(attempt_limit=few)), u1001=5070)
    for number in range(4):
        at(6666, flows, f"x{number}")
    assert at(6666, flows, **RIGHT).reason is Reason.SOURCE_LOCKED_OUT
    assert accepted(at(5070, flows, **RIGHT))


def test_phone_itself_has_no_more_guesses_than_others_and_locks_out_only_itself() -> None:
    flows = Flows(serve(), u1001=5070)
    assert isinstance(at(5070, flows, times=3), Reject)
    assert at(5070, flows, **RIGHT).reason is Reason.LOCKED_OUT
    assert at(5070, flows, **RIGHT).reason is Reason.LOCKED_OUT, "not by the short way either"
    assert accepted(at(6666, flows, **RIGHT))


def test_who_is_registered_does_not_guess_at_others_without_limit() -> None:
    users = UserInfo(user(), *(user(f"20{number:02}") for number in range(40)))
    flows = Flows(serve(users=users), u1001=5070)
    phone = Phone(flows, local_user="1001")  # type: ignore[arg-type]
    for number in range(40):
        phone.username = f"20{number:02}"
        field = phone.field(phone.challenge(), password="guess")
        last = phone.send("REGISTER", field, source_port=5070)
    assert last.reason is Reason.SOURCE_LOCKED_OUT


def test_registrar_is_asked_only_where_something_is_held_against_the_pair() -> None:
    flows = Flows(serve(), u1001=5070)
    for _ in range(3):
        assert accepted(at(5070, flows, **RIGHT))
    assert flows.asked == 0


# What is no guess

TWO = (Algorithm.MD5, Algorithm.SHA_256)


@pytest.mark.parametrize("response", ["", "0", "0" * 31, "0" * 33, "0" * 64])
def test_response_of_another_length_is_no_guess(response: str) -> None:
    phone = Phone(serve())
    for _ in range(5):
        field = phone.field(phone.challenge())
        before, _, after = field.partition('response="')
        broken = f'{before}response="{response}"{after.partition(chr(34))[2]}'
        decision = phone.send("REGISTER", broken)
        assert isinstance(decision, Reject)
        assert (decision.status, decision.reason) == (403, Reason.RESPONSE_LENGTH)
    assert accepted(phone.register())


def test_phone_that_mixes_two_challenges_is_told_apart_and_not_counted() -> None:
    phone = Phone(serve(phones(auth_algorithms=TWO)))
    for _ in range(5):
        md5, sha = phone.challenges()
        for challenge in (
            md5._replace(nonce=sha.nonce),
            sha._replace(nonce=md5.nonce),
        ):
            decision = phone.answer(challenge)
            assert isinstance(decision, Reject)
            assert (decision.status, decision.reason) == (403, Reason.MIXED_CHALLENGES)
    md5, _ = phone.challenges()
    assert accepted(phone.answer(md5))


def test_nonce_of_nobody_is_still_foreign() -> None:
    phone = Phone(serve(phones(auth_algorithms=TWO)))
    md5, _ = phone.challenges()
    assert phone.answer(md5._replace(nonce="0" * 62)).reason is Reason.FOREIGN_NONCE


# Work


def test_many_long_credentials_full_of_escapes_are_little_work() -> None:
    phone = Phone(serve())
    nasty = 'Authorization: Digest username="' + "\\a" * 2020 + '"'
    best = 1.0
    for _ in range(5):
        began = time.perf_counter()
        decision = phone.send("REGISTER", *[nasty] * 8)
        best = min(best, time.perf_counter() - began)
    assert isinstance(decision, Reject)
    assert decision.status == 400
    assert best < 0.001, "it took 4.6 ms"


def test_only_so_much_of_all_credentials_is_looked_at() -> None:
    phone = Phone(serve())
    right = phone.field(phone.challenge())
    other = 'Authorization: Digest realm="x", username="' + "a" * 4000 + '"'
    assert isinstance(phone.send("REGISTER", *[other] * 3, right), Reject)
    assert MOST_CREDENTIALS == 8192
    assert isinstance(phone.send("REGISTER", right, *[other] * 3), Accept)


def test_challenge_is_all_that_strangers_learn_of_a_guess_too_many() -> None:
    decision = Phone(serve(users=UserInfo())).register(now=NOW)
    assert isinstance(decision, Challenge)


# Where too many guess


def test_registered_phone_gets_in_while_so_many_guess_that_nobody_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sbcauth.policy.attempts.MOST_FAILURES", 5)
    flows = Flows(serve(), u1001=5070)
    for number in range(5):
        at(6666, flows, f"x{number}")
    refusal = at(6666, flows, **RIGHT)
    assert isinstance(refusal, Reject)
    assert (refusal.status, refusal.reason) == (503, Reason.UNAVAILABLE)
    assert refusal.detail.startswith("5 wrong answers within ")
    assert accepted(at(5070, flows, **RIGHT))
