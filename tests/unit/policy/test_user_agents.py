"""Which algorithms and qop are offered, by who asks; and that nobody asks for less."""

from typing import Any

import pytest
from conversation import Phone, accepted, phones, serve

from sbcauth.digest.algorithms import Algorithm
from sbcauth.policy.decision import Reason, Reject
from sbcauth.policy.gate import Gate
from sbcauth.policy.ip_groups import AtLeast, AuthQop, UserAgentRule
from sbcauth.policy.user_agents import KNOWN

MD5, SHA = Algorithm.MD5, Algorithm.SHA_256
NO_FLOOR = AtLeast(MD5, AuthQop.NONE)


def at_work(*rules: UserAgentRule, **settings: Any) -> Phone:
    """Return a phone at a server that offers SHA-256 and MD5, and has these rules."""
    return Phone(
        serve(phones(**{"auth_algorithms": (SHA, MD5), "user_agents": rules or KNOWN} | settings))
    )


def offered(phone: Phone, user_agent: str) -> list[tuple[str, tuple[str, ...]]]:
    challenges = phone.challenges(user_agent=user_agent)
    return [(challenge.algorithm, tuple(challenge.qop)) for challenge in challenges]


BOTH = [("SHA-256", ("auth",)), ("MD5", ("auth",))]


@pytest.mark.parametrize(
    "user_agent",
    [
        *("kamailio (5.6.3 (x86_64/linux))", "kamailio (6.1.0 (x86_64/linux))", "JsSIP 3.13.8"),
        *("jssip 3.10.0", "SIP.js/0.21.2", "pyVoIP 1.6.8", "Python/3.11.2 aiosip/0.1.0"),
    ],
)
def test_program_that_reads_one_challenge_gets_the_one_that_it_can_answer(user_agent: str) -> None:
    assert offered(at_work(), user_agent) == [("MD5", ("auth",))]


@pytest.mark.parametrize(
    "user_agent", ["", "Yealink T46", "kamailio (6.2.0 (x86_64/linux))", "x JsSIP 3.1"]
)
def test_others_get_what_the_ip_group_offers(user_agent: str) -> None:
    assert offered(at_work(), user_agent) == BOTH


def test_qop_is_left_out_where_at_least_lets_it() -> None:
    phone = at_work(at_least=NO_FLOOR)
    assert offered(phone, "pyVoIP 1.6.8") == [("MD5", ())]
    assert offered(phone, "JsSIP 3.13.8") == [("MD5", ("auth",))]


def test_nothing_is_offered_that_is_weaker_than_at_least() -> None:
    weak = UserAgentRule("*", (MD5, SHA), AuthQop.NONE)
    assert offered(at_work(weak, auth_algorithms=(SHA,)), "any") == [("SHA-256", ("auth",))]
    strict = {"at_least": AtLeast(MD5, AuthQop.AUTH), "auth_algorithms": (SHA,)}
    assert offered(at_work(weak, **strict), "any") == [("MD5", ("auth",)), ("SHA-256", ("auth",))]
    body = {"auth_qop": AuthQop.AUTH_INT, "auth_algorithms": (SHA,)}
    assert offered(at_work(UserAgentRule("*", qop=AuthQop.BOTH), **body), "any") == [
        ("SHA-256", ("auth-int",))
    ]


def test_first_rule_that_fits_holds() -> None:
    phone = at_work(UserAgentRule("Door*", (SHA,)), UserAgentRule("*", (MD5, SHA)))
    assert offered(phone, "door 2") == [("SHA-256", ("auth",))]
    assert offered(phone, "other") == [*BOTH[::-1]]


@pytest.mark.parametrize("later", ["pyVoIP 1.6.8", "", "Yealink"])
def test_answer_is_judged_by_its_nonce_whatever_the_user_agent_is_then(later: str) -> None:
    phone = at_work(at_least=NO_FLOOR)
    challenge = phone.challenge(user_agent="pyVoIP 1.6.8")
    assert accepted(phone.answer(challenge, qop="", user_agent=later))


def test_nonce_that_was_offered_with_qop_is_good_for_no_answer_without() -> None:
    phone = at_work(at_least=NO_FLOOR)
    for user_agent in ("Yealink", "JsSIP 3.13.8"):
        challenge = phone.challenges(user_agent=user_agent)[-1]
        decision = phone.answer(challenge, qop="", user_agent="pyVoIP 1.6.8")
        assert isinstance(decision, Reject)
        assert (decision.status, decision.reason) == (403, Reason.QOP_NOT_OFFERED)


def test_nonce_of_one_algorithm_is_good_for_no_other() -> None:
    phone = at_work(UserAgentRule("old*", (MD5,)), at_least=NO_FLOOR, auth_algorithms=(SHA,))
    sha = phone.challenge(user_agent="new")
    field = phone.field(sha).replace("SHA-256", "MD5")
    decision = phone.send("REGISTER", field, user_agent="old 1")
    assert isinstance(decision, Reject)
    assert decision.reason is Reason.MIXED_CHALLENGES
    assert "answers MD5 auth; offered: SHA-256, qop auth; User-Agent: old 1" in decision.detail
    assert accepted(phone.answer(phone.challenge(user_agent="old 1")))


def test_stale_or_wrong_answer_is_challenged_as_the_rule_says() -> None:
    phone = at_work(at_least=NO_FLOOR)
    challenge = phone.challenge(user_agent="pyVoIP 1.6.8")
    again = phone.answer(challenge, qop="", password="wrong", user_agent="pyVoIP 1.6.8")
    assert [header.count("qop") for header in getattr(again, "headers", ())] == [0]
    assert [header.count("MD5") for header in getattr(again, "headers", ())] == [1]


def test_wrong_answers_lock_out_whatever_the_user_agent_says() -> None:
    phone = at_work(at_least=NO_FLOOR)
    decisions = []
    for user_agent in ("pyVoIP 1.6.8", "JsSIP 3.1", "pyVoIP 1.2"):
        challenge = phone.challenge(user_agent=user_agent)
        decisions.append(phone.answer(challenge, password="wrong", qop=None))
    assert getattr(decisions[-1], "status", 0) == 403


def test_server_of_one_pair_is_measured_by_each_algorithm_that_a_rule_offers() -> None:
    phone = at_work(
        *(UserAgentRule("old*", (MD5,)),),
        at_least=NO_FLOOR,
        auth_algorithms=(SHA,),
        username_as_server="1009",
        password_as_server="secret",
    )
    other = Phone(phone.server, "1009")
    assert accepted(other.answer(other.challenge(user_agent="old 1")))


def test_no_user_agent_is_read_where_no_rule_changes_anything() -> None:
    gates: dict[str, Gate] = serve(phones(user_agents=KNOWN))._gates
    assert gates["Phones"].other_offers == ()
    assert gates["Phones"].only_algorithm == "MD5"


def test_random_user_agents_take_a_bounded_memory() -> None:
    phone = at_work()
    gate = phone.server._gates["Phones"]
    for number in range(2500):
        gate.offers.to(f"agent {number} {'x' * 1000}")
    assert len(gate.offers._known_user_agents) <= 1000
