"""What a RADIUS server is asked, attribute by attribute: draft-sterman-aaa-sip-01 and RFC 5090."""

from hashlib import md5, sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.digest.credentials import Credentials
from sbcauth.exceptions import BadCredentials
from sbcauth.policy.request import Request
from sbcauth.radius.attributes import RadiusAttributes, access_request, attributes_in
from sbcauth.radius.settings import RadiusServer, RadiusSettings

STERMAN, RFC5090 = RadiusAttributes
CREDENTIALS = Credentials(
    username="1001",
    realm="example.com",
    nonce="ahN5",
    uri="sip:example.com",
    response="6629fae49393a05397450978507c4ef1",
    qop="auth",
    nc="00000001",
    cnonce="0a4f113b",
)
REQUEST = Request(
    *("REGISTER", "sip:example.com", "192.0.2.7", 5060, "udp"),
    from_user="boss",
    from_host="example.com",
    to_user="1001",
    in_dialog=False,
    call_id="f81d4fae",
    body=b"v=0\r\n",
)


def question(kind: RadiusAttributes, **changes: Any) -> list[tuple[int, bytes]]:
    return [*attributes_in(access_request(kind, REQUEST, CREDENTIALS._replace(**changes)))]


def test_draft_sterman_byte_by_byte() -> None:
    assert access_request(STERMAN, REQUEST, CREDENTIALS) == (
        b"\x01\x061001"
        b"\x20\x09sbcauth"
        b"\xce\x226629fae49393a05397450978507c4ef1"
        b"\xcf\x0f\x01\x0dexample.com"
        b"\xcf\x08\x02\x06ahN5"
        b"\xcf\x0c\x03\x0aREGISTER"
        b"\xcf\x13\x04\x11sip:example.com"
        b"\xcf\x08\x05\x06auth"
        b"\xcf\x07\x06\x05MD5"
        b"\xcf\x0c\x08\x0a0a4f113b"
        b"\xcf\x0c\x09\x0a00000001"
        b"\xcf\x08\x0a\x061001"
    )


def test_rfc_5090_byte_by_byte() -> None:
    assert access_request(RFC5090, REQUEST, CREDENTIALS) == (
        b"\x01\x061001"
        b"\x20\x09sbcauth"
        b"\x67\x226629fae49393a05397450978507c4ef1"
        b"\x68\x0dexample.com"
        b"\x69\x06ahN5"
        b"\x6c\x0aREGISTER"
        b"\x6d\x11sip:example.com"
        b"\x6e\x06auth"
        b"\x6f\x05MD5"
        b"\x71\x0a0a4f113b"
        b"\x72\x0a00000001"
        b"\x73\x061001"
        b"\x79\x16sip:1001@example.com"
    )


def test_body_is_hashed_with_the_algorithm_for_auth_int_only() -> None:
    hashed = md5(REQUEST.body, usedforsecurity=False).hexdigest().encode()
    assert (207, b"\x07\x22" + hashed) in question(STERMAN, qop="auth-int")
    assert (112, hashed) in question(RFC5090, qop="AUTH-INT")
    longer = sha256(REQUEST.body).hexdigest().encode()
    assert (112, longer) in question(RFC5090, qop="auth-int", algorithm="SHA-256")
    assert not [value for number, value in question(RFC5090) if number == 112]


def test_what_was_left_out_is_left_out() -> None:
    plain = {"qop": "", "nc": "", "cnonce": ""}
    numbers = {number for number, _ in question(RFC5090, **plain)}
    assert not numbers & {110, 112, 113, 114, 116}
    pieces = [value[0] for number, value in question(STERMAN, **plain) if number == 207]
    assert pieces == [1, 2, 3, 4, 6, 10]


def test_opaque_and_address_of_record_are_rfc_5090_s_alone() -> None:
    assert (116, b"op") in question(RFC5090, opaque="op")
    assert all(b"op" not in value for _, value in question(STERMAN, opaque="op"))
    invite = REQUEST._replace(method="INVITE")
    asked = [*attributes_in(access_request(RFC5090, invite, CREDENTIALS))]
    assert (121, b"sip:boss@example.com") in asked
    nobody = REQUEST._replace(to_user="")
    asked = [*attributes_in(access_request(RFC5090, nobody, CREDENTIALS))]
    assert 121 not in dict(asked)


def test_spelling_is_handed_on_byte_for_byte() -> None:
    asked = question(STERMAN, username='b"\udcff\\ö', qop="auth,auth-int")
    assert (1, b'b"\xff\\\xc3\xb6') in asked
    assert (207, b"\x05\x0fauth,auth-int") in asked


@pytest.mark.parametrize("kind", RadiusAttributes)
@pytest.mark.parametrize("name", ["username", "nonce", "uri", "cnonce", "response"])
def test_longest_value_is_251_bytes(kind: RadiusAttributes, name: str) -> None:
    assert b"a" * 251 in access_request(kind, REQUEST, CREDENTIALS._replace(**{name: "a" * 251}))
    with pytest.raises(BadCredentials, match=f"^{name} is longer than 251 bytes"):
        question(kind, **{name: "ä" * 126})


@pytest.mark.parametrize("name", ["username", "uri", "response", "nc", "cnonce"])
def test_empty_value_cannot_be_sent(name: str) -> None:
    with pytest.raises(BadCredentials, match=f"^{name} is empty"):
        question(STERMAN, **{name: ""})


@given(
    kind=st.sampled_from(RadiusAttributes),
    texts=st.lists(st.text(), min_size=8, max_size=8),
    body=st.binary(),
)
def test_any_credentials_fit_into_a_packet_or_are_refused(
    kind: RadiusAttributes, texts: list[str], body: bytes
) -> None:
    """A RADIUS packet has 4096 bytes, of which 38 are header and Message-Authenticator."""
    username, realm, nonce, uri, qop, nc, cnonce, opaque = texts
    credentials = Credentials(
        *(username, realm, nonce, uri, "0", "MD5", qop, nc, cnonce, opaque),
    )
    try:
        wire = access_request(kind, REQUEST._replace(body=body), credentials)
    except BadCredentials:
        return
    asked = [*attributes_in(wire)]
    assert len(wire) == sum(len(value) + 2 for _, value in asked) <= 4096 - 38
    assert (1, username.encode()) in asked


def test_longest_question_of_all_fits_into_a_packet() -> None:
    long = dict.fromkeys(("username", "realm", "nonce", "uri", "cnonce", "opaque"), "x" * 251)
    for kind in RadiusAttributes:
        credentials = CREDENTIALS._replace(**{**long, "realm": "r" * 240}, response="f" * 251)
        request = REQUEST._replace(method="M" * 251)
        assert len(access_request(kind, request, credentials)) <= 4096 - 38


def test_secret_has_no_repr_and_a_server_is_called_by_its_address() -> None:
    settings = RadiusSettings((RadiusServer("2001:db8::9", 1812, "hidden"),), tries=3, timeout=0.5)
    assert "hidden" not in repr(settings)
    assert str(settings.servers[0]) == "[2001:db8::9]:1812"
    assert str(RadiusServer("192.0.2.9", 1645, "hidden")) == "192.0.2.9:1645"
    assert settings.patience == 1.5
