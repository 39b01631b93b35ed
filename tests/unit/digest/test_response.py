"""Digest: the RFCs' own vectors, and a digest that never saw our code."""

import hashlib

import pytest
import sip
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.credentials import Credentials, parse_credentials
from sbcauth.digest.response import expected_response, ha1, ha2, response_is_right

NONCE = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
SDP = (
    b"v=0\r\no=bob 2890844526 2890844526 IN IP4 media.biloxi.com\r\ns=-\r\n"
    b"c=IN IP4 media.biloxi.com\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    b"m=video 51372 RTP/AVP 31\r\na=rtpmap:31 H261/90000\r\nm=video 53000 RTP/AVP 32\r\n"
    b"a=rtpmap:32 MPV/90000\r\n"
)
RFC_7616 = (
    'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", '
    'algorithm={}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
    'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="{}", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
BOB = (
    'Digest username="bob", realm="biloxi.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
    'uri="sip:bob@biloxi.com", {}, opaque="5ccc069c403ebaf9f0171e9517f40e41"'
)

# -- vectors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "password", "method", "body"),
    [
        pytest.param(
            RFC_7616.format("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            "Circle of Life",
            "GET",
            b"",
            id="RFC 7616, 3.9.1: MD5",
        ),
        pytest.param(
            RFC_7616.format(
                "SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
            ),
            "Circle of Life",
            "GET",
            b"",
            id="RFC 7616, 3.9.1: SHA-256",
        ),
        pytest.param(
            "Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, "
            'realm="api@example.org", uri="/doe.json", algorithm=SHA-512-256, '
            'nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", nc=00000001, '
            'cnonce="NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v", qop=auth, '
            'response="3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5", '
            'opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", userhash=false',
            "Secret, or not?",
            "GET",
            b"",
            id="RFC 7616, 3.9.2 with erratum 4897: SHA-512-256",
        ),
        pytest.param(
            'Digest username="Mufasa", realm="testrealm@host.com", uri="/dir/index.html", '
            f'nonce="{NONCE}", qop=auth, nc=00000001, cnonce="0a4f113b", '
            'response="6629fae49393a05397450978507c4ef1"',
            "Circle Of Life",
            "GET",
            b"",
            id="RFC 2617, 3.5",
        ),
        pytest.param(
            'Digest username="Mufasa", realm="testrealm@host.com", uri="/dir/index.html", '
            f'nonce="{NONCE}", response="1949323746fe6a43ef61f9606e7febea"',
            "CircleOfLife",
            "GET",
            b"",
            id="RFC 2069, 2.4 with erratum 749",
        ),
        pytest.param(
            BOB.format('response="bf57e4e0d0bffc0fbaedce64d59add5e"'),
            "zanzibar",
            "INVITE",
            SDP,
            id="draft-smith-sipping-auth-examples-01, 3.1: no qop",
        ),
        pytest.param(
            BOB.format(
                'response="89eb0059246c02b2f6ee02c7961d5ea3", qop=auth, nc=00000001, '
                'cnonce="0a4f113b"'
            ),
            "zanzibar",
            "INVITE",
            SDP,
            id="draft-smith-sipping-auth-examples-01, 3.3: auth",
        ),
        pytest.param(
            BOB.format(
                'response="bdbeebb2da6adb6bca02599c2239e192", qop=auth-int, nc=00000001, '
                'cnonce="0a4f113b"'
            ),
            "zanzibar",
            "INVITE",
            SDP,
            id="draft-smith-sipping-auth-examples-01, 3.5: auth-int",
        ),
    ],
)
def test_response_of_the_rfcs_is_right(field: str, password: str, method: str, body: bytes) -> None:
    credentials = parse_credentials(field)
    h_a1 = ha1(credentials.algorithm, credentials.username, credentials.realm, password)
    assert response_is_right(h_a1, method, credentials, body)
    assert not response_is_right(h_a1, "OPTIONS", credentials, body)
    assert not response_is_right(h_a1[::-1], method, credentials, body)


def test_sha_512_256_is_fips_180_4s_and_not_a_shortened_sha_512() -> None:
    hashed = Algorithm.SHA_512_256.hash("Jäsøn Doe:api@example.org".encode())
    assert hashed == "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"


def test_algorithms_are_ordered_by_strength() -> None:
    assert [algorithm.strength for algorithm in Algorithm] == [0, 1, 2]


_TEXT = st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@given(
    algorithm=st.sampled_from(list(Algorithm)),
    qop=st.sampled_from(["", "auth", "auth-int"]),
    texts=st.lists(_TEXT, min_size=6, max_size=6),
    body=st.binary(max_size=40),
)
def test_our_response_is_that_of_a_phone_that_never_saw_our_code(
    algorithm: Algorithm, qop: str, texts: list[str], body: bytes
) -> None:
    username, realm, password, uri, nonce, cnonce = texts
    response = sip.digest(
        algorithm,
        username,
        realm,
        password,
        "INVITE",
        uri,
        nonce,
        qop=qop,
        cnonce=cnonce,
        body=body,
    )
    nc = "00000001" if qop else ""
    credentials = Credentials(
        username, realm, nonce, uri, response, algorithm, qop, nc, cnonce if qop else ""
    )
    h_a1 = ha1(algorithm, username, realm, password)
    h_a2 = ha2(credentials, "INVITE", body)
    assert expected_response(h_a1, h_a2, credentials) == response
    assert parse_credentials(str(credentials)) == credentials


def test_request_without_a_body_has_an_empty_one_to_auth_int() -> None:
    field = 'Digest username="u", realm="r", nonce="n", uri="sip:r", qop=auth-int, nc=00000001'
    credentials = parse_credentials(f'{field}, cnonce="c", response="{"0" * 32}"')
    assert ha2(credentials, "REGISTER") == ha2(credentials, "REGISTER", b"")
    assert ha2(credentials, "REGISTER") != ha2(credentials, "REGISTER", b"XXXX")
    h_a1 = ha1("MD5", "u", "r", "p")
    right = expected_response(h_a1, ha2(credentials, "REGISTER"), credentials)
    assert response_is_right(h_a1, "REGISTER", credentials._replace(response=right))


def test_response_is_over_the_bytes_that_were_sent_whatever_they_are() -> None:
    def md5(data: bytes) -> str:
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    h_a2 = md5(b"REGISTER:sip:r").encode()
    response = md5(b"%s:n:00000001:c\xff:auth:%s" % (b"0" * 32, h_a2))
    field = f'Digest username="u", realm="r", nonce="n", uri="sip:r", response="{response}"'
    credentials = parse_credentials(f'{field}, qop=auth, nc=00000001, cnonce="c\udcff"')
    assert response_is_right("0" * 32, "REGISTER", credentials)
    assert not response_is_right("0" * 32, "REGISTER", credentials._replace(cnonce="c"))
