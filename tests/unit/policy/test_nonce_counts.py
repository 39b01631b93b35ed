"""Nonce counts: each one once, whatever order they arrive in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.digest.nonces import NonceKey, NonceSigner
from sbcauth.policy.nonce_counts import NonceCounts
from sbcauth.policy.shared_state import LocalState


@pytest.fixture
def counts() -> NonceCounts:
    return NonceCounts(LocalState())


def test_count_is_accepted_once(counts: NonceCounts) -> None:
    assert not counts.was_used("nonce", 1)
    assert counts.use("nonce", 1)
    assert counts.was_used("nonce", 1)
    assert not counts.use("nonce", 1)
    assert not counts.use("nonce", 1)


def test_counts_of_different_nonces_are_apart(counts: NonceCounts) -> None:
    signer = NonceSigner((NonceKey(0, b"k" * 32),), ("Phones",), 300)
    for _ in range(100):
        assert counts.use(signer.mint("0" * 14, 1_700_000_000), 5)


def test_asking_uses_nothing_up(counts: NonceCounts) -> None:
    assert not counts.was_used("nonce", 1)
    assert not counts.was_used("nonce", 1)
    assert counts.use("nonce", 1)


@given(st.lists(st.integers(0, 40) | st.integers(0, 0xFFFFFFFF), max_size=80))
def test_counts_are_those_of_a_set(sequence: list[int]) -> None:
    counts = NonceCounts(LocalState())
    used: set[int] = set()
    for count in sequence:
        assert counts.was_used("nonce", count) is (count in used)
        assert counts.use("nonce", count) is (count not in used)
        used.add(count)
