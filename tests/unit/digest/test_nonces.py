"""Nonces: fresh for whom they were made, foreign after any change."""

import os
from hashlib import blake2s

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.digest.nonces import (
    CLOCK_DRIFT,
    TAG,
    NonceKey,
    NonceSigner,
    NonceState,
    SourceTags,
    _drawn,
)

NOW = 1_700_000_000
PHONE, STRANGER = "192.0.2.7", "203.0.113.9"
OLD, NEW = NonceKey(0, b"o" * 32), NonceKey(1, b"n" * 32)
POLICY = ("Phones", "example.com", "MD5", "auth")


def signer(*keys: NonceKey, policy: tuple[str, ...] = POLICY, **settings: int) -> NonceSigner:
    settings.setdefault("lifetime", 300)
    return NonceSigner(keys or (OLD,), policy, **settings)


def minted(
    by: NonceSigner, source: str = PHONE, now: int = NOW, keys: tuple[NonceKey, ...] = (OLD,)
) -> str:
    """Return a new nonce for a challenge to `source`."""
    return by.mint(SourceTags(keys).of(source)[0], now)


def state(nonce: str, of: NonceSigner, now: int = NOW) -> NonceState:
    return of.judge(nonce, now)


def test_nonce_is_short_and_made_of_digits() -> None:
    for _ in range(50):
        nonce = minted(signer())
        assert len(nonce) == 62
        assert set(nonce) <= set("0123456789abcdef")


def test_no_two_nonces_are_the_same() -> None:
    one = signer()
    assert len({minted(one) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0, NonceState.FRESH),
        (300, NonceState.FRESH),
        (301, NonceState.STALE),
        (10_000_000, NonceState.STALE),
        (-CLOCK_DRIFT, NonceState.FRESH),
        (-CLOCK_DRIFT - 1, NonceState.STALE),
    ],
)
def test_nonce_is_fresh_for_its_lifetime(age: int, expected: NonceState) -> None:
    one = signer(lifetime=300)
    nonce = minted(one)
    assert one.judge(nonce, NOW + age) is expected


def test_nonce_from_before_a_restart_is_stale() -> None:
    nonce = minted(signer())
    assert state(nonce, signer(not_before=NOW)) is NonceState.FRESH
    assert state(nonce, signer(not_before=NOW + 1), NOW + 1) is NonceState.STALE


def test_clock_that_is_set_back_after_the_start_does_not_make_every_nonce_stale() -> None:
    """Else nobody could get in until the clock has reached the time of the start again."""
    before_the_restart = minted(signer())
    one, other = (signer(not_before=NOW) for _ in range(2))
    back = NOW - 3600
    nonce = minted(one, PHONE, back)
    assert state(nonce, one, back) is NonceState.FRESH
    assert state(nonce, other, back + 1) is NonceState.FRESH
    assert state(before_the_restart, one, back) is NonceState.STALE
    assert state(minted(signer(), PHONE, back - CLOCK_DRIFT - 1), one, back) is NonceState.STALE


def test_nonce_tells_whom_it_was_issued_to_and_stays_valid_elsewhere() -> None:
    one = signer()
    nonce = minted(one)
    tags = SourceTags((NEW, OLD))
    assert nonce[TAG] in tags.of(PHONE)
    assert nonce[TAG] not in tags.of(STRANGER)
    assert nonce[TAG] not in SourceTags((NEW,)).of(PHONE)
    assert one.judge(nonce, NOW) is NonceState.FRESH


@given(place=st.integers(0, 61), character=st.characters())
def test_nonce_with_any_character_changed_is_foreign(place: int, character: str) -> None:
    one = signer()
    nonce = minted(one)
    forged = nonce[:place] + character + nonce[place + 1 :]
    assert (one.judge(forged, NOW) is NonceState.FOREIGN) is (forged != nonce)


def test_nonce_has_one_spelling_only() -> None:
    one = signer()
    nonce = minted(one)
    for other in (nonce.upper(), f"{nonce}=", f" {nonce}", f"{nonce}\n", f"{nonce}0", nonce[:-1]):
        assert state(other, one) is NonceState.FOREIGN


@given(st.one_of(st.text(max_size=60), st.text("0123456789abcdefAé \n", min_size=62, max_size=62)))
def test_any_text_is_a_foreign_nonce(text: str) -> None:
    assert signer().judge(text, NOW) is NonceState.FOREIGN


def test_huge_nonce_is_foreign() -> None:
    assert state("A" * 1_000_000, signer()) is NonceState.FOREIGN


@pytest.mark.parametrize(
    "policy",
    [
        ("Trunk", "example.com", "MD5", "auth"),
        ("Phones", "example.org", "MD5", "auth"),
        ("Phones", "example.com", "SHA-256", "auth"),
        ("Phones", "example.com", "MD5", "auth", "auth-int"),
        ("Phones", "example.com", "MD5"),
    ],
)
def test_nonce_is_foreign_under_any_other_policy(policy: tuple[str, ...]) -> None:
    assert state(minted(signer()), signer(policy=policy)) is NonceState.FOREIGN


def test_nonce_is_foreign_under_another_lifetime() -> None:
    assert state(minted(signer(lifetime=30)), signer()) is NonceState.FOREIGN


def test_nonce_of_another_node_with_the_same_keys_is_fresh() -> None:
    nonce = minted(signer(NEW, OLD), keys=(NEW, OLD))
    assert state(nonce, signer(NEW, OLD)) is NonceState.FRESH


def test_newest_key_signs_and_all_verify() -> None:
    before, between, after = signer(OLD), signer(NEW, OLD), signer(NEW)
    old, new = minted(before), minted(between, keys=(NEW, OLD))
    assert state(old, between) is NonceState.FRESH
    assert state(new, after) is NonceState.FRESH
    assert state(old, after) is NonceState.FOREIGN
    assert state(new, before) is NonceState.FOREIGN


def test_key_with_the_same_number_and_another_secret_is_foreign() -> None:
    assert state(minted(signer(OLD)), signer(NonceKey(0, b"x" * 32))) is NonceState.FOREIGN


def test_secret_is_in_no_repr() -> None:
    assert "o" * 8 not in repr(OLD)
    assert "secret" not in repr(OLD)


def test_processes_draw_randomness_of_their_own() -> None:
    one = signer()
    minted(one)
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, minted(one).encode())
        os._exit(0)
    os.wait()
    assert os.read(reader, 100).decode() != minted(one)
    os.close(reader)
    os.close(writer)


def test_nonce_is_made_as_ever_so_that_nodes_of_two_versions_know_each_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tag and MAC need the secret; what is hashed for one purpose is of no use for another."""
    monkeypatch.setattr("os.urandom", lambda size: bytes(range(6)) * (size // 6))
    _drawn.clear()
    nonce = minted(signer())
    _drawn.clear()
    assert nonce == "0000e67cdeea8c6553f100000102030405221bbf6b2633d837636231641bb3"


def test_tag_of_a_source_is_nothing_that_strangers_can_compute() -> None:
    of_ours, of_others = (SourceTags((NonceKey(0, secret),)) for secret in (b"o" * 32, b"x" * 32))
    assert of_ours.of(PHONE) != of_others.of(PHONE)
    (tag,) = of_ours.of(PHONE)
    keyless = blake2s(PHONE.encode(), digest_size=5, person=b"source").hexdigest()
    assert not tag.endswith(keyless)


def test_tags_have_a_secret_of_their_own_where_there_is_one() -> None:
    (plain,) = SourceTags((NonceKey(0, b"o" * 32),)).of(PHONE)
    (own,) = SourceTags((NonceKey(0, b"o" * 32, tag_secret=b"t" * 32),)).of(PHONE)
    (same,) = SourceTags((NonceKey(0, b"x" * 32, tag_secret=b"t" * 32),)).of(PHONE)
    assert own == same != plain
