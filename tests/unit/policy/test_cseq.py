"""CSeq numbers on both sides of a request that is sent again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.policy.cseq import HIGHEST, CSeqSpace, CSeqSpaces, is_number
from sbcauth.policy.shared_state import LocalState


def spaces() -> CSeqSpaces:
    return CSeqSpaces(LocalState())


def send(them: CSeqSpaces, own: int, *, invite: bool = False, again: bool = False) -> int:
    return them.send("key", own, invite=invite, again=again, lifetime=60)


def test_nothing_changes_before_a_request_is_sent_again() -> None:
    them = spaces()
    assert [send(them, own) for own in (1, 2, 7)] == [1, 2, 7]


def test_request_sent_again_gets_the_next_number_and_all_later_ones_follow() -> None:
    them = spaces()
    assert send(them, 1, invite=True) == 1
    assert send(them, 1, invite=True, again=True) == 2
    assert send(them, 2) == 3
    assert send(them, 3, again=False) == 4
    assert send(them, 3, again=True) == 5
    assert send(them, 9) == 11


def test_ack_has_the_number_of_its_invite() -> None:
    them = spaces()
    send(them, 1, invite=True, again=True)
    send(them, 2, again=False)
    send(them, 2, again=True)
    assert them.of_invite("key", 1) == 2
    assert them.invite_of("key", 2) == 1


def test_last_two_invites_are_known() -> None:
    them = spaces()
    for own in (1, 2, 3):
        send(them, own, invite=True, again=True)
    assert [them.invite_of("key", sent) for sent in (2, 3, 4)] == [2, 2, 3]
    assert them.of_invite("key", 3) == 4


def test_unknown_dialog_is_left_alone() -> None:
    them = spaces()
    assert them.of_invite("key", 5) == 5
    assert them.invite_of("key", 5) == 5


def test_dialog_goes_on_where_the_request_that_opened_it_left_off() -> None:
    them = spaces()
    them.learn("key", 1, 3, invite=True, lifetime=60)
    them.learn("key", 1, 1, invite=True, lifetime=60)  # a later reply to the same
    assert them.of_invite("key", 1) == 3
    assert send(them, 2) == 4


def test_dialog_that_ended_is_forgotten() -> None:
    them = spaces()
    them.learn("key", 1, 3, invite=True, lifetime=60)
    them.forget("key")
    assert send(them, 2) == 2


def test_number_never_grows_beyond_what_a_peer_takes() -> None:
    assert CSeqSpace(HIGHEST, HIGHEST).next(HIGHEST, again=True) == HIGHEST


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_peer_sees_a_row_that_only_rises(requests: list[tuple[bool, bool]]) -> None:
    them, seen = spaces(), [0]
    for own, (invite, challenged) in enumerate(requests, start=1):
        seen.append(send(them, own, invite=invite))
        if challenged:
            seen.append(send(them, own, invite=invite, again=True))
        if invite:
            assert them.of_invite("key", own) == seen[-1]
            assert them.invite_of("key", seen[-1]) == own
    assert seen == sorted(set(seen))


@given(
    st.builds(
        CSeqSpace,
        st.integers(1, HIGHEST),
        st.integers(1, HIGHEST),
        st.lists(st.tuples(st.integers(1, HIGHEST), st.integers(1, HIGHEST)), max_size=2).map(
            tuple
        ),
    )
)
def test_space_is_kept_in_a_text_of_one_length(space: CSeqSpace) -> None:
    assert CSeqSpace.parse(str(space)) == space
    assert len(str(space)) == 65


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("1", True), ("4294967295", True), ("", False), ("²", False), ("٣", False), ("9" * 11, False)],
)
def test_number_from_the_network_is_of_ascii_digits(text: str, is_one: bool) -> None:
    assert is_number(text) is is_one
