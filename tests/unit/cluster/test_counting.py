"""Counting over nodes: several nodes in one process, and a real engine."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from time import monotonic
from typing import Any

import pytest
from conversation import (
    NOW,
    PASSWORD,
    Phone,
    UserInfo,
    accepted,
    is_stale,
    phones,
    read,
    serve,
    user,
)
from engine import Engine

from sbcauth.cluster import scripts
from sbcauth.cluster.engine_settings import EnginePlace, EngineSettings
from sbcauth.cluster.follower import Identity
from sbcauth.cluster.link import Link
from sbcauth.cluster.member import Member
from sbcauth.digest.authorities import ENGINE, NonceAuthority
from sbcauth.digest.nonces import NonceKey
from sbcauth.exceptions import EngineAway, Unavailable
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.claimants import Claimant
from sbcauth.policy.decision import Decision, Reason, Reject
from sbcauth.policy.shared_state import LocalState, Table

KEYS = (NonceKey(0, b"k" * 32),)
BOB = Claimant("Phones", "192.0.2.7", "bob", "tag of 192.0.2.7")
LIMIT = AttemptLimit()


nodes: list["Node"] = []


@pytest.fixture(autouse=True)
def close_nodes() -> Iterator[None]:
    yield
    while nodes:
        nodes.pop().close()


class Node:
    """A node of a cluster; `server` decides."""

    def __init__(
        self,
        number: int,
        engine: Engine,
        *,
        users: UserInfo | None = None,
        server: str = "",
        settings: dict[str, Any] | None = None,
        **group: Any,
    ) -> None:
        place = EnginePlace(((engine.address, engine.port),))
        how: dict[str, Any] = {"engine_timeout": 1.0, **(settings or {})}
        self.settings = EngineSettings(engine=place, **how)
        self.shared = LocalState()
        identity = Identity(number, server or f"server {number}", {"version": "1"})
        self.member = Member(self.settings, identity, self.shared)
        self.said: list[str] = []
        self.follower = self.member.follower(lambda: NOW, self.said.append, self.forget_all)
        self.follower.start()
        nodes.append(self)
        self.cluster = self.member.cluster(KEYS)
        self.attempts, self.reservations = self.cluster.attempts, self.cluster.reservations
        own = self.cluster.authorities.own
        self.server = serve(
            phones(**group), users=users, shared=self.shared, keys=own, cluster=self.cluster
        )

    def forget_all(self) -> None:
        self.shared = LocalState()

    def close(self) -> None:
        self.follower.close()
        self.member.engine.close()

    def hear(self) -> None:
        """Follow the news until there are none."""
        while self.follower.follow(block=50) and self.heard_something():
            pass

    def heard_something(self) -> bool:
        last, self.last = getattr(self, "last", ""), self.follower._last
        return last != self.last

    def phone(self, password: str = PASSWORD, address: str = "192.0.2.7") -> Phone:
        return Phone(self.server, password=password, address=address)


@pytest.fixture(scope="module")
def one_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture
def engine(one_engine: Engine) -> Engine:
    one_engine.command("FLUSHALL")
    return one_engine


def refused(decision: Decision) -> Reason:
    assert isinstance(decision, Reject), decision
    return decision.reason


def three(engine: Engine, **how: Any) -> list[Node]:
    return [Node(number, engine, **how) for number in (1, 2, 3)]


def test_wrong_answers_are_counted_over_nodes_at_once(engine: Engine) -> None:
    one, two, three_ = three(engine)
    assert read(one.phone().fail())
    assert read(two.phone().fail())
    assert refused(three_.phone().fail()) is Reason.WRONG_CREDENTIALS
    assert refused(one.phone().register()) is Reason.LOCKED_OUT  # as the engine says
    two.hear()
    assert refused(two.phone().register()) is Reason.LOCKED_OUT  # as its own copy says


def test_the_same_wrong_answer_at_two_nodes_is_one_attempt(engine: Engine) -> None:
    one, two = three(engine)[:2]
    for _ in range(5):
        assert one.attempts.fail(BOB, "same", LIMIT, NOW) is False
        assert two.attempts.fail(BOB, "same", LIMIT, NOW) is False


def test_success_clears_the_count_of_all_nodes(engine: Engine) -> None:
    one, two, _ = three(engine)
    for _ in range(4):
        assert read(one.phone().fail(2))
        two.hear()
        assert accepted(two.phone().register())
        one.hear()


def test_engine_nonce_is_accepted_once_over_nodes(engine: Engine) -> None:
    nodes = three(engine)
    challenge = read(nodes[1].phone().answer(nodes[0].phone().challenge()))[0]
    assert challenge.nonce.startswith(ENGINE)
    answers = [node.phone().answer(challenge) for node in nodes]
    assert [accepted(each) for each in answers] == [True, False, False]
    assert all(is_stale(each) for each in answers[1:])
    assert accepted(nodes[2].phone().answer(challenge, nc=2))


def test_trust_is_known_at_other_nodes_and_after_a_start(engine: Engine) -> None:
    one, two, _ = three(engine)
    assert accepted(one.phone().register())
    two.hear()
    late = Node(4, engine)
    for node in (two, late):
        assert node.shared.get(Table.TRUSTED, next(iter(_keys(one, Table.TRUSTED))))


def test_lockout_is_known_after_a_start_and_lasts_as_long(engine: Engine) -> None:
    one = Node(1, engine)
    one.phone().fail(3)
    late = Node(2, engine)
    assert refused(late.phone().register()) is Reason.LOCKED_OUT
    (lockout,) = _keys(late, Table.LOCKOUTS).values()
    assert int(str(lockout).split()[0]) - NOW in (59, 60)


def test_lockouts_get_longer_over_nodes(engine: Engine) -> None:
    one, two, _ = three(engine)
    limit = replace(LIMIT, lockout_duration=1, max_lockout_duration=900)
    for guess in range(3):
        one.attempts.fail(BOB, f"{guess}", limit, NOW)
    engine.command("PEXPIRE", f"{scripts.PREFIX}lock:{BOB.key}", 900)  # its second is over
    for guess in range(3, 6):
        last = two.attempts.fail(BOB, f"{guess}", limit, NOW)
    assert last
    (lockout,) = _keys(two, Table.LOCKOUTS).values()
    assert str(lockout).split()[1] == "2"


def test_source_and_user_are_locked_out_over_nodes(engine: Engine) -> None:
    limit = AttemptLimit(max_failures_per_source=4, max_failures_per_user=100)
    nodes = three(engine, attempt_limit=limit)
    for number in range(4):
        phone = nodes[number % 3].phone()
        phone.username = f"200{number}"
        phone.fail()
    assert refused(nodes[0].phone().register()) is Reason.SOURCE_LOCKED_OUT
    for node in nodes:
        node.hear()
        assert refused(node.phone().register()) is Reason.SOURCE_LOCKED_OUT


def test_forgotten_lockout_lets_in_everywhere(engine: Engine) -> None:
    one, two, _ = three(engine)
    one.phone().fail(3)
    two.hear()
    key = next(iter(_keys(two, Table.LOCKOUTS)))
    link, place = Link(one.settings), one.member._board.place
    assert place
    link.run(place.address, monotonic() + 5, scripts.FORGET, 0, key)
    link.close()
    for node in (one, two):
        node.hear()
        assert accepted(node.phone().register())


def test_password_before_is_lenient_until_any_node_finds_a_wrong_answer(engine: Engine) -> None:
    users = UserInfo(user(password="new", old_password="old"))
    one, two, three_ = three(engine, users=users)
    for node in (one, two, three_):
        node.phone("old").register()
    for node in (one, two):
        node.hear()
    assert refused(one.phone("old").register()) is Reason.LOCKED_OUT
    assert refused(two.phone("wrong").register()) is Reason.LOCKED_OUT  # hardens
    assert refused(three_.phone("new").register()) is Reason.LOCKED_OUT  # though it has not heard
    assert refused(one.phone("new").register()) is Reason.LOCKED_OUT


def test_password_before_lets_the_new_one_in_and_all_nodes_know(engine: Engine) -> None:
    users = UserInfo(user(password="new", old_password="old"))
    one, two, three_ = three(engine, users=users)
    for node in (one, two, three_):
        node.phone("old").register()
    two.hear()
    assert accepted(two.phone("new").register())
    one.hear()
    assert accepted(one.phone("new").register())


def test_without_the_engine_strangers_are_refused_and_known_pairs_counted_here(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Engine(tmp_path_factory.mktemp("own")) as own:
        one = Node(1, own)
        assert accepted(one.phone().register())
        own.kill()
        assert refused(one.phone(address="192.0.2.8").register()) is Reason.UNAVAILABLE
        assert refused(one.phone("wrong", "192.0.2.8").register()) is Reason.UNAVAILABLE
        assert accepted(one.phone().register())
        assert refused(one.phone().fail()) is Reason.WRONG_CREDENTIALS  # its share: one
        assert refused(one.phone().register()) is Reason.LOCKED_OUT
        assert not one.follower.follow()
        assert "away" in one.said[-1]
        own.start()
        assert one.follower.follow(block=50)
        assert "answers" in one.said[-1]
        assert accepted(one.phone(address="192.0.2.8").register())


def test_emptied_engine_begins_another_epoch_at_once(engine: Engine) -> None:
    one = Node(1, engine, settings={"nonces": NonceAuthority.ENGINE})
    challenge = one.phone().challenge()
    assert accepted(one.phone().answer(challenge))
    engine.command("FLUSHALL")
    again = one.phone().answer(challenge)
    assert again.reason is Reason.NONCE_ELSEWHERE
    assert is_stale(again)
    assert accepted(one.phone().answer(read(again)[0]))
    engine.command("FLUSHALL")
    assert read(one.phone(address="192.0.2.8").fail())  # counted in the new epoch


def test_restarted_engine_takes_no_nonce_of_before(tmp_path: Any) -> None:
    """Even where it has kept its data: it may have lost the last second of them."""
    with Engine(tmp_path, ["appendonly yes", "appendfsync no"]) as own:
        one = Node(1, own, settings={"nonces": NonceAuthority.ENGINE})
        challenge = one.phone().challenge()
        assert accepted(one.phone().answer(challenge))
        own.kill()
        own.start()
        one.follower.follow(block=0)
        one.follower.follow(block=50)
        assert one.phone().answer(challenge).reason is Reason.NONCE_ELSEWHERE
        assert accepted(one.phone().register())


def test_frozen_engine_is_waited_for_once(tmp_path: Any) -> None:
    with Engine(tmp_path) as own:
        one = Node(1, own, settings={"engine_timeout": 0.2})
        own.freeze()
        with pytest.raises(EngineAway, match="Timeout"):
            one.attempts.fail(BOB, "1", LIMIT, NOW)
        with pytest.raises(EngineAway, match="does not answer"):
            one.attempts.fail(BOB, "2", LIMIT, NOW)
        own.thaw()


def test_second_server_with_the_same_number_is_refused(engine: Engine) -> None:
    Node(1, engine)
    again = Node(1, engine, server="another machine")
    assert "already" in again.said[-1]
    assert refused(again.phone().register()) is Reason.UNAVAILABLE
    assert accepted(Node(1, engine).phone().register())  # the same, after a restart


def test_attempts_are_reserved_over_nodes(engine: Engine) -> None:
    keys = ("all", "share", "source", "user", "pair")
    one, two, three_ = three(engine)
    for node in (one, two, three_):
        node.reservations.reserve(keys, BOB, LIMIT, NOW)
    with pytest.raises(Unavailable):
        one.reservations.reserve(keys, BOB, LIMIT, NOW)
    two.reservations.give_back(keys, NOW)
    one.reservations.reserve(keys, BOB, LIMIT, NOW)


def test_whoever_finds_no_place_gives_back_none_of_the_others(engine: Engine) -> None:
    keys = ("all", "share", "source", "user", "pair")
    one, two, _ = three(engine)
    for _ in range(3):
        one.reservations.reserve(keys, BOB, LIMIT, NOW)
    for node in (one, two, one, two):
        with pytest.raises(Unavailable):
            node.reservations.reserve(keys, BOB, LIMIT, NOW)


def test_trusted_source_has_no_limit_and_needs_no_engine(tmp_path: Any) -> None:
    limit = AttemptLimit(trusted_sources=(ip_network("192.0.2.0/24"),))
    with Engine(tmp_path) as own:
        one = Node(1, own, attempt_limit=limit)
        own.kill()
        assert all(read(one.phone().fail()) for _ in range(5))
        assert accepted(one.phone().register())


def _keys(node: Node, table: Table) -> dict[str, object]:
    return {key: value for (which, key), value in node.shared._values.items() if which is table}
