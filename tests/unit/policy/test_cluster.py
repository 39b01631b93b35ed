"""AuthServer.decide on several nodes that share an engine."""

from typing import Any

import pytest
from conversation import NOW, Phone, UserInfo, accepted, is_stale, phones, read, serve, user

from sbcauth.digest.authorities import ENGINE, Authorities, NonceAuthority
from sbcauth.digest.nonces import NonceKey
from sbcauth.exceptions import EngineAway, LockedOut
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.attempts import Attempts
from sbcauth.policy.claimants import Claimant, Scope
from sbcauth.policy.cluster import Cluster
from sbcauth.policy.decision import Decision, Reason, Reject
from sbcauth.policy.nonce_counts import NonceCounts
from sbcauth.policy.reservations import Reservations
from sbcauth.policy.server import AuthServer
from sbcauth.policy.shared_state import LocalState

KEYS = (NonceKey(0, b"k" * 32),)


class Engine(LocalState):
    """What all nodes share; it has an epoch, and may be away."""

    epoch, is_there = "first", True
    locks_out: Scope | None = None
    """The limit by which some node locks out whoever is right, just before it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.confirmed: list[tuple[AttemptLimit, str]] = []


class SharedAttempts(Attempts):
    """Attempts that are counted in the engine, in this very process."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.engine = engine
        self.counts = NonceCounts(engine)

    def check(self) -> None:
        if not self.engine.is_there:
            raise EngineAway("the engine does not answer")

    def confirm(self, claimant: Claimant, limit: AttemptLimit, now: int, shared: str = "") -> None:
        super().confirm(claimant, limit, now, shared)
        self.engine.confirmed.append((limit, shared))
        if self.is_stranger(claimant, now):
            self.check()
        if self.engine.locks_out:
            raise LockedOut(self.engine.locks_out)

    def claim(self, nonce_count: str) -> bool:
        self.check()
        return self.counts.use(nonce_count)

    def fail(
        self, claimant: Claimant, *about: Any, is_old: bool = False, shared: str = ""
    ) -> bool | None:
        if self.is_stranger(claimant, NOW):
            self.check()
        if shared and self.counts.was_used(shared):
            return None
        return super().fail(claimant, *about, is_old=is_old)


def node(
    number: int,
    engine: Engine,
    which: NonceAuthority = NonceAuthority.AUTO,
    users: UserInfo | None = None,
    **settings: Any,
) -> AuthServer:
    """Return a node; `settings` are those of its IP Group."""
    authorities = Authorities(KEYS, number, lambda: engine.epoch, lambda: engine.is_there, which)
    attempts = SharedAttempts(engine)
    cluster = Cluster(authorities, attempts, Reservations(engine, attempts))
    keys = authorities.own
    return serve(phones(**settings), users=users, shared=LocalState(), keys=keys, cluster=cluster)


@pytest.fixture
def engine() -> Engine:
    return Engine()


def refused(decision: Decision) -> Reason:
    assert isinstance(decision, Reject), decision
    return decision.reason


def test_phone_stays_at_its_node_without_the_engine(engine: Engine) -> None:
    phone = Phone(node(1, engine))
    challenge = phone.challenge()
    assert challenge.nonce.startswith("01")
    assert accepted(phone.answer(challenge))
    assert accepted(phone.answer(challenge, nc=2))
    assert is_stale(phone.answer(challenge, nc=2))


def test_phone_that_comes_over_answers_one_challenge_more_and_then_goes_everywhere(
    engine: Engine,
) -> None:
    at = [Phone(node(number, engine)) for number in (1, 2, 3)]
    again = at[1].answer(at[0].challenge())
    assert again.reason is Reason.NONCE_ELSEWHERE
    assert is_stale(again)
    (challenge,) = read(again)
    assert challenge.nonce.startswith(ENGINE)
    assert accepted(at[2].answer(challenge))
    assert accepted(at[0].answer(challenge, nc=2))
    assert accepted(at[1].answer(challenge, nc=3))
    for phone in at:
        assert phone.answer(challenge, nc=2).reason is Reason.REPLAYED


def test_phone_that_comes_over_is_let_in_where_invalid_nonces_are_not(engine: Engine) -> None:
    one, two = (Phone(node(number, engine, reject_invalid_nonce=True)) for number in (1, 2))
    assert is_stale(two.answer(one.challenge()))


def test_expired_nonce_of_the_engine_is_followed_by_another(engine: Engine) -> None:
    phone = Phone(node(1, engine, NonceAuthority.ENGINE))
    again = phone.answer(phone.challenge(), now=NOW + 301)
    assert again.reason is Reason.STALE_NONCE
    assert read(again)[0].nonce.startswith(ENGINE)


def test_wrong_answers_are_counted_over_all_nodes(engine: Engine) -> None:
    at = [Phone(node(number, engine)) for number in (1, 2, 3)]
    for phone in at[:2]:
        assert read(phone.fail())
    assert refused(at[2].fail()) is Reason.WRONG_CREDENTIALS
    assert all(refused(phone.register()) is Reason.LOCKED_OUT for phone in at)


def test_wrong_answer_to_a_count_that_the_engine_knows_is_not_counted(engine: Engine) -> None:
    phone = Phone(node(1, engine, NonceAuthority.ENGINE))
    challenge = phone.challenge()
    assert accepted(phone.answer(challenge))
    for _ in range(5):
        assert phone.answer(challenge, password="wrong").reason is Reason.REPLAYED


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        (Scope.PAIR, Reason.LOCKED_OUT),
        (Scope.SOURCE, Reason.SOURCE_LOCKED_OUT),
        (Scope.USER, Reason.USER_LOCKED_OUT),
    ],
)
def test_right_answer_is_refused_where_another_node_has_locked_out_meanwhile(
    engine: Engine, scope: Scope, reason: Reason
) -> None:
    phone = Phone(node(1, engine))
    engine.locks_out = scope
    assert refused(phone.register()) is reason


def test_nodes_agree_by_the_limits_of_the_ip_group_and_the_count_that_the_engine_knows(
    engine: Engine,
) -> None:
    limit = AttemptLimit(max_auth_attempts=7)
    for which in (NonceAuthority.AUTO, NonceAuthority.ENGINE):
        assert accepted(Phone(node(1, engine, which, attempt_limit=limit)).register())
    (own, its), (engines, count) = engine.confirmed
    assert own == engines == limit
    assert its == ""
    assert count.endswith("00000001")


def test_nodes_are_not_asked_about_an_answer_that_was_used(engine: Engine) -> None:
    server = node(1, engine)
    phone = Phone(server)
    challenge = phone.challenge()
    assert accepted(phone.answer(challenge))
    server._gates["Phones"].phones.clear()
    engine.locks_out = Scope.PAIR
    assert phone.answer(challenge).reason is Reason.REPLAYED


def test_without_the_engine_a_stranger_cannot_tell_right_from_wrong(engine: Engine) -> None:
    phone = Phone(node(1, engine))
    challenge = phone.challenge()
    engine.is_there = False
    for password in ("secret", "wrong", "secret", "wrong"):
        assert refused(phone.answer(challenge, password=password)) is Reason.UNAVAILABLE
    engine.is_there = True
    assert accepted(phone.answer(challenge))


def test_without_the_engine_a_known_phone_is_served(engine: Engine) -> None:
    phone = Phone(node(1, engine))
    assert accepted(phone.register())
    engine.is_there = False
    assert accepted(phone.register())


@pytest.mark.parametrize("notices", ["at once", "when it asks"])
def test_without_the_engine_a_known_phone_gets_a_nonce_of_the_node(
    engine: Engine, notices: str
) -> None:
    server = node(1, engine, NonceAuthority.ENGINE)
    phone = Phone(server)
    assert accepted(phone.register())
    challenge = phone.challenge()
    if notices == "at once":
        engine.is_there = False
        again = phone.answer(challenge)
    else:
        claim = server._identification._attempts.claim

        def no_claim(nonce_count: str) -> bool:
            engine.is_there = False
            return claim(nonce_count)

        server._identification._attempts.claim = no_claim  # type: ignore[method-assign]
        again = phone.answer(challenge)
    assert again.reason is Reason.NONCE_ELSEWHERE
    assert is_stale(again)
    (own,) = read(again)
    assert own.nonce.startswith("01")
    assert accepted(phone.answer(own))


def test_stranger_whose_claim_the_engine_does_not_take_is_refused(engine: Engine) -> None:
    server = node(1, engine, NonceAuthority.ENGINE)

    def no_claim(nonce_count: str) -> bool:
        raise EngineAway("the engine does not answer")

    server._identification._attempts.claim = no_claim  # type: ignore[method-assign]
    assert refused(Phone(server).register()) is Reason.UNAVAILABLE


def test_one_server_has_no_engine_to_claim_from() -> None:
    with pytest.raises(EngineAway):
        Attempts(LocalState()).claim("1")


def test_password_before_is_lenient_over_nodes(engine: Engine) -> None:
    users = UserInfo(user(password="new", old_password="old"))
    at = [Phone(node(number, engine, users=users), password="old") for number in (1, 2, 3)]
    for phone in at:
        phone.register()
    assert refused(at[0].register()) is Reason.LOCKED_OUT
    assert accepted(at[1].register(password="new"))
