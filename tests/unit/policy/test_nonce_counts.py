"""Nonce counts: each one once, whatever order they arrive in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.digest.credentials import Credentials
from sbcauth.digest.nonces import NonceKey, NonceSigner
from sbcauth.exceptions import Unavailable
from sbcauth.policy.nonce_counts import NonceCounts, key_of
from sbcauth.policy.shared_state import LocalState, Table


def counted(nonce: str, count: int) -> str:
    nc = f"{count:08x}"
    return key_of(Credentials("1001", "r", nonce, "sip:r", "", "MD5", "auth", nc, "c"))


@pytest.fixture
def counts() -> NonceCounts:
    return NonceCounts(LocalState())


def test_count_is_accepted_once(counts: NonceCounts) -> None:
    assert not counts.was_used(counted("nonce", 1))
    assert counts.use(counted("nonce", 1))
    assert counts.was_used(counted("nonce", 1))
    assert not counts.use(counted("nonce", 1))
    assert not counts.use(counted("nonce", 1))


def test_counts_of_different_nonces_are_apart(counts: NonceCounts) -> None:
    signer = NonceSigner((NonceKey(0, b"k" * 32),), ("Phones",), 300)
    for _ in range(100):
        assert counts.use(counted(signer.mint("0" * 14, 1_700_000_000), 5))


def test_asking_uses_nothing_up(counts: NonceCounts) -> None:
    assert not counts.was_used(counted("nonce", 1))
    assert not counts.was_used(counted("nonce", 1))
    assert counts.use(counted("nonce", 1))


@given(st.lists(st.integers(0, 40) | st.integers(0, 0xFFFFFFFF), max_size=80))
def test_counts_are_those_of_a_set(sequence: list[int]) -> None:
    counts = NonceCounts(LocalState())
    used: set[int] = set()
    for count in sequence:
        assert counts.was_used(counted("nonce", count)) is (count in used)
        assert counts.use(counted("nonce", count)) is (count not in used)
        used.add(count)


@given(st.integers(0, 0xFFFFFFFF))
def test_count_is_one_whatever_its_spelling(count: int) -> None:
    short = Credentials("1001", "r", "n" * 62, "sip:r", "", "MD5", "auth", f"{count:x}", "c")
    upper = short._replace(nc=f"{count:08X}")
    garbled = short._replace(qop="auth,auth-int", nc=f"{count:x}")
    assert key_of(short) == key_of(upper) == counted("n" * 62, count)
    assert key_of(garbled) == counted("n" * 62, 1)


@pytest.mark.parametrize(("uses", "accepted"), [(0, False), (1, True), (2, False)])
def test_only_the_first_use_is_accepted(uses: int, accepted: bool) -> None:
    assert NonceCounts(Counting(uses)).use("key") is accepted


def test_count_that_shared_memory_does_not_take_is_no_use() -> None:
    with pytest.raises(Unavailable, match="shared memory is full"):
        NonceCounts(Counting(-1)).use("key")


class Counting(LocalState):
    """Shared memory that answers each count with `uses`; Kamailio says -1 where it is full."""

    def __init__(self, uses: int) -> None:
        super().__init__()
        self._uses = uses

    def increment(self, table: Table, key: str) -> int:
        return self._uses
