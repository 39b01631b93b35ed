"""The answer to a peer's challenge: vectors of the RFCs, and who is chosen to answer."""

from dataclasses import replace

import pytest

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.credentials import parse_credentials
from sbcauth.digest.ha1s import HA1s
from sbcauth.digest.response import ha1, response_is_right
from sbcauth.policy.accounts import User
from sbcauth.policy.as_client import (
    ClientAccount,
    PeerChallenge,
    account_for,
    answer,
    parse_challenge,
    strongest,
)
from sbcauth.policy.ip_groups import IPGroup, IPGroupType

PHONES = IPGroup(name="Phones", type=IPGroupType.USER, realm="sbc.example")
PEER = IPGroup(
    name="Carrier",
    type=IPGroupType.SERVER,
    realm="peer.example",
    username_as_client="trunk",
    password_as_client="secret",
)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_example_of_rfc_7616(algorithm: str, response: str) -> None:
    # RFC 7616, 3.9.1: both algorithms, one nonce
    challenge = parse_challenge(
        'Digest realm="http-auth@example.org", qop="auth", '
        f'algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    assert challenge
    key = ha1(challenge.algorithm, "Mufasa", challenge.realm, "Circle of Life")
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    value = answer(challenge, ClientAccount("Mufasa", key), "GET", "/dir/index.html", cnonce)
    credentials = parse_credentials(value)
    assert credentials.response == response
    assert (credentials.nc, credentials.qop) == ("00000001", "auth")
    assert credentials.opaque == challenge.opaque


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("qop", ["", "auth", "auth-int"])
def test_answer_is_right_for_our_own_server(algorithm: Algorithm, qop: str) -> None:
    challenge = PeerChallenge("r", "n", algorithm, qop=qop)
    key = ha1(algorithm, "u", "r", "p")
    value = answer(challenge, ClientAccount("u", key), "INVITE", "sip:x", "c", b"body\xff")
    assert response_is_right(key, "INVITE", parse_credentials(value), b"body\xff")


@pytest.mark.parametrize("qop", ["", "auth"])
def test_session_variant_binds_h_a1_to_nonce_and_cnonce(qop: str) -> None:
    challenge = PeerChallenge("r", "n", Algorithm.SHA_256, session=True, qop=qop)
    key = ha1("SHA-256", "u", "r", "p")
    value = answer(challenge, ClientAccount("u", key), "INVITE", "sip:x", "c")
    assert "algorithm=SHA-256-sess" in value
    assert 'cnonce="c"' in value
    bound = Algorithm.SHA_256.hash(f"{key}:n:c".encode())
    credentials = parse_credentials(value.replace("-sess", ""))
    assert response_is_right(bound, "INVITE", credentials)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('Digest realm="r", nonce="n"', PeerChallenge("r", "n")),
        (
            'digest REALM="r" , nonce="n",algorithm="md5-SESS"',
            PeerChallenge("r", "n", session=True),
        ),
        ('Digest realm="r", nonce="n", qop="auth"', PeerChallenge("r", "n", qop="auth")),
        (
            'Digest realm="r", nonce="n", qop="auth, AUTH-INT"',
            PeerChallenge("r", "n", qop="auth-int"),
        ),
        (
            'Digest realm="r", nonce="n", qop="new,auth"',
            PeerChallenge("r", "n", qop="auth"),
        ),
        ('Digest realm="r", nonce="n", stale=TRUE', PeerChallenge("r", "n", stale=True)),
        ('Digest realm="r", nonce="n", stale=false', PeerChallenge("r", "n")),
        ('Digest realm="r\\"s", nonce="n", opaque=""', PeerChallenge('r"s', "n")),
        ('Digest realm="", nonce="n"', PeerChallenge("", "n")),
        ('Digest realm="r", nonce="n", qop="new"', None),
        ('Digest realm="r", nonce="n", algorithm=SHA-1', None),
        ('Digest realm="r", nonce=""', None),
        ('Digest nonce="n"', None),
        ('Digest realm="r", nonce="n", realm="s"', None),
        ('Digest realm="r" nonce', None),
        ("NTLM", None),
        ("", None),
        (f'Digest realm="r", nonce="{"n" * 5000}"', None),
    ],
)
def test_challenges_are_read_or_left_to_the_sender(text: str, read: PeerChallenge | None) -> None:
    assert parse_challenge(text) == read


def nobody(ip_group: str, local_user: str, realm: str) -> None:
    return None


def alice_at_the_peer(ip_group: str, local_user: str, realm: str) -> User | None:
    if (ip_group, local_user, realm) != ("Phones", "alice", "peer.example"):
        return None
    return User("Phones", "alice", "alice-there", "peer.example", True, HA1s({"MD5": "1" * 32}))


def test_sender_s_own_row_comes_first() -> None:
    challenge = PeerChallenge("peer.example", "n")
    account = account_for(challenge, "alice", PHONES, PEER, alice_at_the_peer)
    assert account == ClientAccount("alice-there", "1" * 32)


@pytest.mark.parametrize(
    "challenge",
    [
        PeerChallenge("another.example", "n"),
        PeerChallenge("peer.example", "n", Algorithm.SHA_256),
    ],
    ids=["another realm", "no H(A1) for the algorithm"],
)
def test_pair_of_the_peer_s_ip_group_comes_next(challenge: PeerChallenge) -> None:
    account = account_for(challenge, "alice", PHONES, PEER, alice_at_the_peer)
    key = ha1(challenge.algorithm, "trunk", challenge.realm, "secret")
    assert account == ClientAccount("trunk", key)


def test_pair_of_the_sender_s_ip_group_comes_last() -> None:
    challenge = PeerChallenge("peer.example", "n")
    account = account_for(challenge, "alice", PEER, PHONES, nobody)
    assert account
    assert account.username == "trunk"


def test_nobody_answers_where_nothing_is_configured() -> None:
    assert account_for(PeerChallenge("r", "n"), "alice", PHONES, PHONES, nobody) is None


def test_account_shows_no_secret() -> None:
    assert "1" * 32 not in repr(ClientAccount("alice", "1" * 32))


def test_strongest_that_somebody_can_answer_is_chosen() -> None:
    challenges = [PeerChallenge("r", "n", algorithm) for algorithm in Algorithm]
    account = ClientAccount("u", "h")

    def knows_two(challenge: PeerChallenge) -> ClientAccount | None:
        return None if challenge.algorithm is Algorithm.SHA_512_256 else account

    assert strongest(challenges, knows_two) == (challenges[1], account)
    assert strongest(challenges, lambda _: None) is None
    assert strongest([], knows_two) is None


def test_first_of_equals_is_chosen() -> None:
    challenges = [PeerChallenge("a", "n"), PeerChallenge("b", "n")]
    chosen = strongest(challenges, lambda _: ClientAccount("u", "h"))
    assert chosen
    assert chosen[0].realm == "a"


@pytest.mark.parametrize(
    ("realms", "answered"),
    [(None, True), (("carrier.example",), True), (("other.example",), False)],
)
def test_pair_answers_in_its_client_realms_alone(
    realms: tuple[str, ...] | None, answered: bool
) -> None:
    peer = replace(PEER, client_realms=realms)
    challenge = PeerChallenge("carrier.example", "nonce")
    found = account_for(challenge, "1001", PHONES, peer, nobody)
    assert bool(found) is answered


def test_realm_that_we_challenge_with_is_answered_to_nobody() -> None:
    challenge = PeerChallenge("Sbc.example", "n")
    for find in (nobody, alice_at_the_peer):
        assert account_for(challenge, "alice", PHONES, PEER, find, {"sbc.example"}) is None
