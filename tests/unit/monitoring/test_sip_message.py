"""Raw requests as people paste them into `explain`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.monitoring.sip_message import NotARequest, parse_request
from sbcauth.policy.request import Request

INVITE = """\
INVITE sip:2000@example.com SIP/2.0
Via: SIP/2.0/TCP 192.0.2.7:5070;branch=z9hG4bK1
Max-Forwards: 70
From: "Alice" <sip:alice@example.com>;tag=1
To: <sip:2000@example.com>
Call-ID: a84b4c76e66710
CSeq: 1 INVITE
Authorization: Digest username="alice", realm="example.com"
Proxy-Authorization: Digest username="a"
Proxy-Authorization: Digest username="b"
Content-Length: 5

v=0
"""


def changed(old: str, new: str) -> Request:
    assert old in INVITE
    return parse_request(INVITE.replace(old, new))


def test_request_is_read() -> None:
    assert parse_request(INVITE) == Request(
        method="INVITE",
        request_uri="sip:2000@example.com",
        source_address="192.0.2.7",
        source_port=5070,
        transport="tcp",
        from_user="alice",
        from_host="example.com",
        to_user="2000",
        in_dialog=False,
        call_id="a84b4c76e66710",
        authorization=('Digest username="alice", realm="example.com"',),
        proxy_authorization=('Digest username="a"', 'Digest username="b"'),
        body=b"v=0\r\n",
    )


def test_method_is_read_in_upper_case_as_kamailio_routes_it() -> None:
    assert changed("INVITE sip", "Invite sip").method == "INVITE"


@pytest.mark.parametrize("before", ["", "\n\n", "U 2026/01/01 00:00:00 192.0.2.7 -> x\n\n", "﻿"])
def test_what_stands_before_the_request_is_passed_over(before: str) -> None:
    assert parse_request(before + INVITE) == parse_request(INVITE)


def test_line_ends_of_the_wire_and_of_a_paste_are_one() -> None:
    """The hash for auth-int is over the bytes that were sent."""
    assert parse_request(INVITE.replace("\n", "\r\n")) == parse_request(INVITE)
    assert parse_request(INVITE).body == b"v=0\r\n"


@pytest.mark.parametrize(
    ("length", "body"),
    [("5", b"v=0\r\n"), ("3", b"v=0"), ("0", b""), ("9", b"v=0\r\n"), ("x", b"v=0\r\n")],
)
def test_body_is_as_long_as_content_length_says(length: str, body: bytes) -> None:
    assert changed("Content-Length: 5", f"l: {length}").body == body


def test_request_without_a_body_or_an_end_is_read() -> None:
    head = INVITE.partition("\n\n")[0]
    for text in (head, head + "\n", head + "\r\n\r\n"):
        assert parse_request(text)._replace(body=b"") == parse_request(INVITE)._replace(body=b"")


@pytest.mark.parametrize(
    ("old", "new", "field", "value"),
    [
        ("From:", "f:", "from_user", "alice"),
        ("To:", "t :", "to_user", "2000"),
        ("Call-ID:", "i:", "call_id", "a84b4c76e66710"),
        ("Via:", "v:", "source_port", 5070),
        ("Call-ID: a", "CALL-ID:a", "call_id", "a84b4c76e66710"),
        ('"Alice" <sip:alice@example.com>', "sip:bob@b.example", "from_user", "bob"),
        ('"Alice" <sip:alice@example.com>', "sip:bob@b.example", "from_host", "b.example"),
        ('"Alice"', '"<sip:eve@x> \\" "', "from_user", "alice"),
        ("sip:alice@", "sip:al%20ice;x=1:pw@", "from_user", "al%20ice;x=1"),
        ("sip:alice@", "SIPS:alice@", "from_user", "alice"),
        ("<sip:alice@example.com>", "<sip:example.com>", "from_user", ""),
        ("alice@example.com", "alice@[2001:db8::1]:5060", "from_host", "[2001:db8::1]"),
        ("To: <sip:2000@example.com>", "To: <sip:2000@example.com>;tag=2", "in_dialog", True),
        ("To: <sip:2000@example.com>", "To: <sip:2000@example.com> ; Tag = 2", "in_dialog", True),
        ("To: <sip:2000@example.com>", "To: <sip:2000@x;tag=2>", "in_dialog", False),
        ("192.0.2.7:5070", "192.0.2.7", "source_port", 5060),
        ("192.0.2.7:5070", "[2001:db8::7]:5070", "source_address", "2001:db8::7"),
        (";branch", ";received=198.51.100.9;branch", "source_address", "198.51.100.9"),
        (";branch", ";rport=6000;branch", "source_port", 6000),
        (";branch", ";rport;branch", "source_port", 5070),
        ("SIP/2.0/TCP", "SIP / 2.0 / TLS", "transport", "tls"),
        ("Via", "Route", "source_address", "127.0.0.1"),
        ('username="alice", ', 'username="alice",\n  ', "authorization", None),
    ],
)
def test_field_is_read_however_it_is_written(old: str, new: str, field: str, value: object) -> None:
    request = changed(old, new)
    expected = value if value is not None else parse_request(INVITE).authorization
    found = getattr(request, field)
    assert (found if value is not None else tuple(" ".join(f.split()) for f in found)) == expected


def test_only_the_topmost_via_tells_the_source() -> None:
    more = "Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK0\nMax-Forwards"
    assert changed("Max-Forwards", more).source_address == "192.0.2.7"


def test_bytes_that_are_no_utf_8_survive() -> None:
    request = parse_request(
        INVITE.replace("alice", b"al\xffice".decode("utf-8", "surrogateescape"))
    )
    assert request.from_user == "al\udcffice"


@pytest.mark.parametrize("text", ["", "SIP/2.0 200 OK\r\n\r\n", "GET / HTTP/1.1", "hello"])
def test_text_without_a_request_is_none(text: str) -> None:
    with pytest.raises(NotARequest, match="no request line"):
        parse_request(text)


PARTS = ["Via: SIP/2.0/UDP 1.2.3.4", "From: <sip:a@b>", "To:", "f:", ";tag=", "\n", "\r\n", '"']


@given(text=st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=12).map("".join))
def test_any_text_is_a_request_or_none(text: str) -> None:
    request = parse_request(f"REGISTER sip:b SIP/2.0\n{text}")
    assert request.method == "REGISTER"
    assert request.source_port >= 0
