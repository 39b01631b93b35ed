"""What a service is asked by HTTP, and what its replies are worth."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.digest.credentials import Credentials
from sbcauth.exceptions import BadCredentials
from sbcauth.http.messages import (
    ID,
    LONGEST_QUESTION,
    SIGNATURE,
    TIMESTAMP,
    UntrustedReply,
    question,
    signed,
    verdict,
)
from sbcauth.policy.external_server import Answer
from sbcauth.policy.request import Request

SECRET = "shared sécret"
CREDENTIALS = Credentials(
    *("1001", "example.com", "a nonce", "sip:example.com", "0" * 32),
    *("MD5", "auth", "00000001", "a cnonce"),
)


def request(**values: Any) -> Request:
    given = {"method": "REGISTER", "to_user": "1001", **values}
    base = Request(
        *("REGISTER", "sip:example.com", "192.0.2.7", 5060, "udp"),
        *("1001", "example.com", "1001", False, "call"),
    )
    return base._replace(**given)


def sign(question_id: str, timestamp: str, body: bytes, secret: str = SECRET) -> str:
    """Return a signature as Standard Webhooks has it, made without our code."""
    content = f"{question_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret.encode(), content, "sha256")).decode()


def reply(
    said: Any, asked: bytes | None = None, *, secret: str = SECRET, question_id: str = "7"
) -> Answer:
    """Return the answer in a reply to a question with the id 7 of the time 1000."""
    asked = asked or question(request(), CREDENTIALS)
    sent = signed(SECRET, "7", 1000, asked)
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    headers = {SIGNATURE: sign(question_id, "1000", body, secret)}
    return verdict(SECRET, sent, headers, body, asked).answer


def response(ha1: str, body_hash: str = "", **changes: str) -> Credentials:
    """Return credentials whose response was computed with this H(A1), without our code."""
    c = CREDENTIALS._replace(**changes)

    def h(text: str) -> str:
        return hashlib.new(c.algorithm.replace("-", ""), text.encode()).hexdigest()

    a2 = f"REGISTER:{c.uri}" + (f":{body_hash}" if body_hash else "")
    middle = f"{c.nc}:{c.cnonce}:{c.qop}:" if c.qop else ""
    return c._replace(response=h(f"{ha1}:{c.nonce}:{middle}{h(a2)}"))


def test_question_has_what_the_phone_sent_and_from_where() -> None:
    assert json.loads(question(request(), CREDENTIALS)) == {
        "username": "1001",
        "realm": "example.com",
        "nonce": "a nonce",
        "uri": "sip:example.com",
        "response": "0" * 32,
        "algorithm": "MD5",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "a cnonce",
        "method": "REGISTER",
        "address_of_record": "sip:1001@example.com",
        "source": "192.0.2.7",
    }


def test_question_about_auth_int_has_the_hash_of_the_body() -> None:
    asked = json.loads(question(request(body=b"sdp"), CREDENTIALS._replace(qop="auth-int")))
    assert asked["body_hash"] == hashlib.md5(b"sdp", usedforsecurity=False).hexdigest()


def test_what_is_not_utf_8_cannot_be_asked() -> None:
    with pytest.raises(BadCredentials, match="UTF-8"):
        question(request(), CREDENTIALS._replace(username="\udcff"))


def test_what_does_not_fit_into_the_pipe_cannot_be_asked() -> None:
    with pytest.raises(BadCredentials, match=str(LONGEST_QUESTION)):
        question(request(), CREDENTIALS._replace(uri="x" * LONGEST_QUESTION))


def test_question_is_signed_as_standard_webhooks_has_it() -> None:
    fields = signed(SECRET, "id", 1000, b"body")
    assert fields == {ID: "id", TIMESTAMP: "1000", SIGNATURE: sign("id", "1000", b"body")}


@pytest.mark.parametrize("word", [Answer.ACCEPT, Answer.REJECT])
def test_verdict_is_taken_as_it_is_said(word: Answer) -> None:
    assert reply({"verdict": word.value}) is word


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"verdict": "none"},
        {"verdict": "ACCEPT"},
        {"verdict": True},
        {"verdict": ["accept"]},
        {"verdict": "maybe", "ha1": "0" * 32},
        {"ha1": None},
        {"ha1": 5},
        ["accept"],
        "accept",
        None,
        b"",
        b"accept",
        b"\xff",
    ],
)
def test_reply_that_says_neither_is_not_trusted(said: Any) -> None:
    with pytest.raises(UntrustedReply):
        reply(said)


@pytest.mark.parametrize("how", [{"secret": "another"}, {"question_id": "8"}])
def test_reply_of_another_secret_or_to_another_question_is_not_trusted(how: Any) -> None:
    with pytest.raises(UntrustedReply, match="not signed"):
        reply({"verdict": "accept"}, **how)


@pytest.mark.parametrize("headers", [{}, {SIGNATURE: ""}, {SIGNATURE: "v1,"}, {SIGNATURE: "é"}])
def test_reply_without_a_signature_is_not_trusted(headers: dict[str, str]) -> None:
    asked = question(request(), CREDENTIALS)
    sent = signed(SECRET, "7", 1000, asked)
    with pytest.raises(UntrustedReply, match="not signed"):
        verdict(SECRET, sent, headers, b'{"verdict": "accept"}', asked)


def test_one_right_signature_of_several_is_enough() -> None:
    asked, body = question(request(), CREDENTIALS), b'{"verdict": "accept"}'
    headers = {SIGNATURE: f"v1,AAAA {sign('7', '1000', body)}"}
    sent = signed(SECRET, "7", 1000, asked)
    assert verdict(SECRET, sent, headers, body, asked).answer is Answer.ACCEPT


@pytest.mark.parametrize(
    ("algorithm", "qop"), [("MD5", "auth"), ("MD5", ""), ("SHA-256", "auth"), ("MD5", "auth-int")]
)
def test_ha1_is_measured_against_the_response(algorithm: str, qop: str) -> None:
    ha1 = hashlib.new(algorithm.replace("-", ""), b"1001:example.com:secret").hexdigest()
    sdp = request(body=b"sdp")
    of_body = hashlib.new(algorithm.replace("-", ""), b"sdp").hexdigest()
    right = response(ha1, of_body if qop == "auth-int" else "", algorithm=algorithm, qop=qop)
    asked = question(sdp, right)
    assert reply({"ha1": ha1}, asked) is Answer.ACCEPT
    assert reply({"ha1": ha1.upper()}, asked) is Answer.ACCEPT
    assert reply({"ha1": ha1.replace(ha1[0], "x", 1)}, asked) is Answer.REJECT
    assert reply({"ha1": ""}, asked) is Answer.REJECT


@given(body=st.binary())
def test_any_body_is_judged_or_not_trusted(body: bytes) -> None:
    try:
        assert reply(body) in (Answer.ACCEPT, Answer.REJECT)
    except UntrustedReply:
        return
