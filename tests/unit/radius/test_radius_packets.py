"""Replies of a RADIUS server: only one that was signed with our secret, twice, is a verdict."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from radius_peer import ACCEPT, CHALLENGE, REJECT, REQUEST, SECRET, signed

from sbcauth.policy.external_server import Answer, Verdict
from sbcauth.radius.packets import AccessRequest, UntrustedReply

ATTRIBUTES = b"\x01\x061001\xcf\x08\x02\x06ahN5\xcf\x07\x06\x05MD5"


@pytest.fixture
def asked() -> AccessRequest:
    return AccessRequest(ATTRIBUTES, SECRET)


def test_request_is_signed_before_all_else(asked: AccessRequest) -> None:
    packet = asked.datagram
    assert packet[0] == REQUEST
    assert int.from_bytes(packet[2:4], "big") == len(packet)
    assert packet[20:22] == b"\x50\x12"
    assert packet[38:] == ATTRIBUTES
    unsigned = packet[:22] + bytes(16) + packet[38:]
    assert packet[22:38] == hmac.new(SECRET.encode(), unsigned, "md5").digest()


def test_no_two_requests_are_alike() -> None:
    packets = {AccessRequest(ATTRIBUTES, SECRET).datagram[4:20] for _ in range(20)}
    assert len(packets) == 20


@pytest.mark.parametrize(("code", "answer"), [(ACCEPT, Answer.ACCEPT), (REJECT, Answer.REJECT)])
@pytest.mark.parametrize("more", [b"", b"\x12\x07hello", b"\x1a\x0c" + bytes(10)])
def test_signed_reply_is_a_verdict(
    asked: AccessRequest, code: int, answer: Answer, more: bytes
) -> None:
    assert asked.verdict(signed(asked.datagram, code, more)) == Verdict(answer)
    assert asked.verdict(signed(asked.datagram, code, more) + b"padding") == Verdict(answer)


def test_reply_without_message_authenticator_is_not_trusted(asked: AccessRequest) -> None:
    with pytest.raises(UntrustedReply, match="without Message-Authenticator"):
        asked.verdict(signed(asked.datagram, ACCEPT, ma=False))


@pytest.mark.parametrize("ma", [True, False])
def test_reply_with_another_secret_is_not_trusted(asked: AccessRequest, ma: bool) -> None:
    with pytest.raises(UntrustedReply, match="not signed with our shared secret"):
        asked.verdict(signed(asked.datagram, ACCEPT, secret="other", ma=ma))


def test_reply_to_another_request_is_not_trusted(asked: AccessRequest) -> None:
    other = AccessRequest(ATTRIBUTES, SECRET)
    with pytest.raises(UntrustedReply):
        asked.verdict(signed(other.datagram, ACCEPT))


def test_reject_that_was_made_an_accept_is_not_trusted(asked: AccessRequest) -> None:
    reject = signed(asked.datagram, REJECT)
    with pytest.raises(UntrustedReply):
        asked.verdict(bytes((ACCEPT,)) + reject[1:])


def test_proxy_state_that_was_not_sent_is_the_mark_of_blastradius(asked: AccessRequest) -> None:
    with pytest.raises(UntrustedReply):
        asked.verdict(signed(asked.datagram, ACCEPT, b"\x21\x05abc"))


def test_message_authenticator_of_no_length_is_none(asked: AccessRequest) -> None:
    with pytest.raises(UntrustedReply):
        asked.verdict(signed(asked.datagram, ACCEPT, b"\x50\x02", ma=False))


@pytest.mark.parametrize("code", [CHALLENGE, 0, 52, 255])
def test_reply_of_another_code_is_no_verdict(asked: AccessRequest, code: int) -> None:
    verdict = asked.verdict(signed(asked.datagram, code))
    assert verdict == Verdict(Answer.NONE, f"a reply of code {code} is no verdict")


@given(datagram=st.binary(max_size=100), at=st.integers(0, 60), cut=st.integers(0, 60))
def test_no_datagram_does_any_harm(datagram: bytes, at: int, cut: int) -> None:
    asked = AccessRequest(ATTRIBUTES, SECRET)
    genuine = signed(asked.datagram, ACCEPT, b"\x12\x07hello")
    for forged in (datagram, genuine[:at] + datagram, genuine[:cut], datagram + genuine[cut:]):
        try:
            verdict = asked.verdict(forged)
        except UntrustedReply:
            continue
        assert forged.startswith(genuine)
        assert verdict == Verdict(Answer.ACCEPT)
