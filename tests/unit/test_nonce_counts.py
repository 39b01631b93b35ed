"""Nonce counts: each one once, whatever order they arrive in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.nonce_counts import _WINDOW, MAX_NONCE_COUNT, NonceCounts
from sbcauth.shared_state import LocalState, Table


@pytest.fixture
def counts() -> NonceCounts:
    return NonceCounts(LocalState())


def test_count_is_accepted_once(counts: NonceCounts) -> None:
    assert not counts.was_used("nonce", 1)
    assert counts.use("nonce", 1, 300)
    assert counts.was_used("nonce", 1)
    assert not counts.use("nonce", 1, 300)


def test_counts_of_different_nonces_are_apart(counts: NonceCounts) -> None:
    assert counts.use("one", 5, 300)
    assert counts.use("other", 5, 300)


def test_reordered_counts_are_accepted_once_each(counts: NonceCounts) -> None:
    assert all(counts.use("nonce", count, 300) for count in (3, 1, 2, 5, 4))
    assert not any(counts.use("nonce", count, 300) for count in (1, 2, 3, 4, 5))


def test_count_too_far_behind_is_refused_though_it_was_not_used(counts: NonceCounts) -> None:
    assert counts.use("nonce", 100, 300)
    assert counts.use("nonce", 100 - _WINDOW + 1, 300)
    assert not counts.use("nonce", 100 - _WINDOW, 300)


@pytest.mark.parametrize("count", [-1, 0, MAX_NONCE_COUNT + 1, 0xFFFFFFFF])
def test_count_that_cannot_be_remembered_is_refused(counts: NonceCounts, count: int) -> None:
    assert counts.was_used("nonce", count)
    assert not counts.use("nonce", count, 300)
    assert counts.use("nonce", MAX_NONCE_COUNT, 300)


@given(
    st.lists(
        st.one_of(
            st.integers(-2, 60),
            st.integers(MAX_NONCE_COUNT - 40, MAX_NONCE_COUNT + 2),
            st.integers(0, 0xFFFFFFFF),
        ),
        max_size=80,
    )
)
def test_counts_are_those_of_a_set_with_a_window(sequence: list[int]) -> None:
    shared = LocalState()
    counts = NonceCounts(shared)
    used: set[int] = set()
    for count in sequence:
        in_range = 0 < count <= MAX_NONCE_COUNT
        in_window = count > max(used, default=0) - _WINDOW
        unused = in_range and in_window and count not in used
        assert counts.was_used("nonce", count) is not unused
        assert counts.use("nonce", count, 300) is unused
        if unused:
            used.add(count)
        record = shared.get(Table.NONCE_COUNTS, "nonce")
        assert isinstance(record, int)
        assert 0 <= record < 1 << 31
