"""Nonces in a cluster: whose they are, and what a node makes of another's."""

from hashlib import blake2s

import pytest

from sbcauth.digest.authorities import ENGINE, Authorities, ClusterSigner, NonceAuthority
from sbcauth.digest.nonces import CLOCK_DRIFT, PLACE, NonceKey, NonceState, SourceTags

NOW = 1_700_000_000
PHONE = "192.0.2.7"
KEYS = (NonceKey(1, b"n" * 32), NonceKey(0, b"o" * 32))
POLICY = ("Phones", "example.com", "MD5", "auth")


class Engine:
    """An engine as the nodes see it."""

    def __init__(self, epoch: str = "first") -> None:
        self.epoch, self.is_there = epoch, True


class Node:
    """A node of a cluster, as far as nonces go."""

    def __init__(
        self,
        number: int,
        engine: Engine,
        which: NonceAuthority = NonceAuthority.AUTO,
        keys: tuple[NonceKey, ...] = KEYS,
        not_before: int = 0,
    ) -> None:
        self.authorities = Authorities(
            keys, number, lambda: engine.epoch, lambda: engine.is_there, which
        )
        self.signer = ClusterSigner(self.authorities, POLICY, 300, not_before)
        self.tags = SourceTags(self.authorities.tagged).of(PHONE)

    def mint(self, *, of_engine: bool = False) -> str:
        tag = self.tags[0]
        return self.signer.mint(f"{ENGINE}{tag[PLACE]}" if of_engine else tag, NOW)

    def judge(self, nonce: str, now: int = NOW) -> NonceState:
        return self.signer.judge(nonce, now)


@pytest.fixture
def engine() -> Engine:
    return Engine()


def test_node_is_the_authority_of_its_own_nonces(engine: Engine) -> None:
    one, two = Node(1, engine), Node(2, engine)
    nonce = one.mint()
    assert len(nonce) == 62
    assert one.judge(nonce) is NonceState.FRESH
    assert two.judge(nonce) is NonceState.ELSEWHERE
    assert two.judge(nonce) is NonceState.ELSEWHERE  # by what was remembered


def test_nonce_of_the_engine_is_shared(engine: Engine) -> None:
    one, two = Node(1, engine), Node(2, engine, not_before=NOW + 1)
    nonce = one.mint(of_engine=True)
    assert nonce.startswith(ENGINE)
    assert len(nonce) == 62
    assert [each.judge(nonce) for each in (one, two)] == [NonceState.SHARED] * 2
    assert one.judge(nonce, NOW + 301) is NonceState.STALE


def test_source_has_one_tag_on_all_nodes(engine: Engine) -> None:
    one, two = Node(1, engine), Node(2, engine)
    places = {nonce[PLACE] for nonce in (one.mint(), two.mint(), two.mint(of_engine=True))}
    assert len(places) == 1
    assert one.mint(of_engine=True)[:14] in one.tags
    assert one.mint(of_engine=True)[:14] in two.tags


def test_nonces_of_an_engine_that_has_begun_anew_are_judged_no_more(engine: Engine) -> None:
    one, late = Node(1, engine), Node(2, engine)
    nonce = one.mint(of_engine=True)
    engine.epoch = "second"
    assert one.judge(nonce) is NonceState.ELSEWHERE
    assert late.judge(nonce) is NonceState.FOREIGN  # it never knew the epoch before
    assert one.judge(one.mint(of_engine=True)) is NonceState.SHARED


def test_without_the_engine_a_node_is_the_authority(engine: Engine) -> None:
    one = Node(1, engine)
    nonce = one.mint(of_engine=True)
    engine.is_there = False
    assert one.judge(nonce) is NonceState.ELSEWHERE
    assert one.judge(one.mint(of_engine=True)) is NonceState.FRESH


def test_before_any_epoch_is_known_a_node_is_the_authority() -> None:
    one = Node(1, Engine(epoch=""))
    assert one.judge(one.mint(of_engine=True)) is NonceState.FRESH
    assert one.judge(Node(2, Engine()).mint(of_engine=True)) is NonceState.FOREIGN


def test_administrator_chooses_the_authority(engine: Engine) -> None:
    assert Node(1, engine, NonceAuthority.ENGINE).mint().startswith(ENGINE)
    assert Node(1, engine, NonceAuthority.NODE).mint(of_engine=True).startswith("01")


def test_each_key_of_the_cluster_verifies(engine: Engine) -> None:
    before = Node(1, engine, keys=KEYS[1:])
    after = Node(2, engine)
    assert after.judge(before.mint()) is NonceState.ELSEWHERE
    assert after.judge(before.mint(of_engine=True)) is NonceState.SHARED


@pytest.mark.parametrize("authority", ["00", "03", "7f", "80", "81", "ff", "x1", "é1"])
def test_whatever_else_is_foreign(engine: Engine, authority: str) -> None:
    one = Node(1, engine)
    nonce = Node(2, engine).mint()
    assert one.judge(authority + nonce[2:]) is NonceState.FOREIGN
    assert one.judge(authority) is NonceState.FOREIGN
    assert one.judge(f"0209{nonce[4:]}") is NonceState.FOREIGN


def test_another_cluster_has_other_nonces(engine: Engine) -> None:
    stranger = Node(2, engine, keys=(NonceKey(1, b"x" * 32),))
    one = Node(1, engine)
    for nonce in (stranger.mint(), stranger.mint(of_engine=True)):
        assert one.judge(nonce) is NonceState.FOREIGN


def test_keys_are_derived_as_ever_and_each_for_one_purpose() -> None:
    """Nodes of two versions know each other's; none is worth anything without the secret."""
    secret = b"k" * 32
    authorities = Authorities([NonceKey(7, secret)], 0x0C, lambda: "", lambda: True)
    (own,) = authorities.own
    assert own.secret == blake2s(b"12 ", key=secret, person=b"cluster").digest()
    assert own.tag_secret == blake2s(key=secret, person=b"tags").digest()
    (of_engine,) = authorities.of_engine("e1")
    assert of_engine.secret == blake2s(b"128 e1", key=secret, person=b"cluster").digest()
    assert of_engine.tag_secret == own.tag_secret


@pytest.mark.parametrize(
    ("name", "node"),
    [("0c07", 12), ("0107", 1), ("7f07", 127), ("0007", None), ("8007", None), ("0c08", None)],
)
def test_other_nodes_are_those_that_there_can_be(name: str, node: int | None) -> None:
    key = NonceKey(7, b"k" * 32)
    found = Authorities([key], 1, lambda: "", lambda: True).of_node(name)
    assert (found and found.authority) == node


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (300, NonceState.SHARED),
        (301, NonceState.STALE),
        (-CLOCK_DRIFT, NonceState.SHARED),
        (-CLOCK_DRIFT - 1, NonceState.STALE),
    ],
)
def test_nonce_of_the_engine_is_fresh_for_its_lifetime(age: int, expected: NonceState) -> None:
    now = 1_700_000_000
    keys = [NonceKey(7, b"k" * 32)]
    authorities = Authorities(keys, 1, lambda: "e1", lambda: True, NonceAuthority.ENGINE)
    signer = ClusterSigner(authorities, ("Phones",), 300)
    (tag, *_) = SourceTags(authorities.tagged).of("192.0.2.7")
    assert signer.judge(signer.mint(tag, now), now + age) is expected


def test_own_nonce_from_before_a_restart_is_stale() -> None:
    now = 1_700_000_000
    authorities = Authorities([NonceKey(7, b"k" * 32)], 1, lambda: "", lambda: False)
    before, after = (ClusterSigner(authorities, ("Phones",), 300, at) for at in (0, now + 1))
    (tag, *_) = SourceTags(authorities.tagged).of("192.0.2.7")
    nonce = before.mint(tag, now)
    assert before.judge(nonce, now + 1) is NonceState.FRESH
    assert after.judge(nonce, now + 1) is NonceState.STALE
