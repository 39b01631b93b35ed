"""Where header fields lead, and the marks in them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.policy.places import Place
from sbcauth.policy.targets import (
    Target,
    base,
    part,
    place_of,
    place_of_via,
    token_of_route,
    tokens,
    uris_of,
    with_inner,
)


@pytest.mark.parametrize(
    ("contact", "marked"),
    [
        ("<sip:a@h>", "<sip:a@h;sb=M>"),
        ("sip:a@h", "<sip:a@h;sb=M>"),
        ("sip:a@h;expires=5", "<sip:a@h;sb=M>;expires=5"),
        ("  <sip:a@h:5060;transport=tcp;ob>;q=1", "<sip:a@h:5060;transport=tcp;ob;sb=M>;q=1"),
        ('"A <b>; \\"c" <sip:a@h>', '"A <b>; \\"c" <sip:a@h;sb=M>'),
        ("A B <sip:a@h>", "A B <sip:a@h;sb=M>"),
        ("<SIPS:a@[::1]:5061>", "<SIPS:a@[::1]:5061;sb=M>"),
        ("<sip:a@h;sb=old;ob>", "<sip:a@h;ob;sb=M>"),
        ("<sip:a;sb=user@h>", "<sip:a;sb=user@h;sb=M>"),
        ("<sip:a@h?Subject=x>", "<sip:a@h;sb=M?Subject=x>"),
        ("<sip:a@h>\r\n ;q=0.5", "<sip:a@h;sb=M> ;q=0.5"),
        ("<sip:a@h>, <sip:b@h>", "<sip:a@h;sb=M>, <sip:b@h>"),
        ("sip:a@h, sip:b@h", "<sip:a@h;sb=M>, sip:b@h"),
        ("< sip:a@h >", "<sip:a@h;sb=M>"),
    ],
)
def test_contact_gets_a_mark(contact: str, marked: str) -> None:
    target = Target.parse(contact)
    assert target
    assert target.with_mark("M") == marked


@pytest.mark.parametrize(
    "contact", ["", "*", "<mailto:a@h>", "<tel:+1>", "<sip:a", '"<sip:a@h>', "a<b<c>", "<>", "<"]
)
def test_what_is_no_sip_contact_gets_none(contact: str) -> None:
    target = Target.parse(contact)
    assert target is None


@given(st.text())
def test_any_contact_is_parsed_or_left(contact: str) -> None:
    target = Target.parse(contact)
    if target:
        marked = Target.parse(target.with_mark("M"))
        assert marked
        assert part(marked.uri)[1] == "M"


@given(st.text(alphabet="a@;?=sb>:1"), st.text(alphabet="xyz019-_", min_size=1))
def test_mark_is_cut_off_as_it_was_put_on(rest: str, mark: str) -> None:
    uri = f"sip:{rest}"
    plain, _ = part(uri)
    assert part(with_inner(plain, mark))[1] in (mark, *re.findall("sb=([^;?>]*)", uri))


@pytest.mark.parametrize(
    ("uri", "plain", "mark"),
    [
        ("sip:a@h", "sip:a@h", ""),
        ("sip:a@h;sb=M", "sip:a@h", "M"),
        ("sip:a@h;sb=M;ob", "sip:a@h;ob", "M"),
        ("sip:a@h;sb=M?x=y", "sip:a@h?x=y", "M"),
        ("sip:h;sb=M", "sip:h", "M"),
        ("sip:a@h;sb=1;sb=2", "sip:a@h;sb=1", "2"),
        ("sip:a;sb=M@h", "sip:a;sb=M@h", ""),
        ("sip:a@h;sb=", "sip:a@h", ""),
    ],
)
def test_uri_without_its_mark(uri: str, plain: str, mark: str) -> None:
    assert part(uri) == (plain, mark)


def test_mark_that_was_there_before_comes_back() -> None:
    assert with_inner("sip:a@h", "") == "sip:a@h"
    assert with_inner("sip:a@h;ob", "old") == "sip:a@h;ob;sb=old"


@pytest.mark.parametrize("uri", ["sip:a@h", "sip:a@h;ob", "sip:a@h?x=y", "sip:a@h;sb=M?x;y"])
def test_mark_is_bound_to_what_no_parameter_changes(uri: str) -> None:
    assert base(uri) == "sip:a@h"


def test_token_is_of_the_first_route() -> None:
    assert token_of_route("<sip:h;lr;sb=T-1_;r2=on>, <sip:h;lr;sb=U>") == "T-1_"
    assert token_of_route("<sip:h;lr>, <sip:h;lr;sb=U>") == ""
    assert token_of_route("<sip:h;lr>;sb=U") == ""
    assert token_of_route("") == ""


def test_tokens_of_record_routes_are_each_named_once() -> None:
    fields = ("<sip:h;lr;sb=T;r2=on>,<sip:h;lr;sb=T>", "<sip:p;lr>", "<sip:h;lr;sb=U>")
    assert tokens(fields) == ["T", "U"]


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("sip:1.2.3.4", Place("udp", "1.2.3.4", 5060)),
        ("sip:a@1.2.3.4:5070", Place("udp", "1.2.3.4", 5070)),
        ("sip:a:b@1.2.3.4:5070;transport=TCP;lr", Place("tcp", "1.2.3.4", 5070)),
        ("sips:a@1.2.3.4", Place("tls", "1.2.3.4", 5061)),
        ("sips:a@1.2.3.4;transport=ws", Place("wss", "1.2.3.4", 5060)),
        ("sip:[2001:DB8::1]:5061;transport=tls", Place("tls", "2001:db8::1", 5061)),
        ("sip:a@1.2.3.4?x=;transport=tcp", Place("udp", "1.2.3.4", 5060)),
        ("sip:a@example.com", None),
        ("sip:a@1.2.3.4:0", None),
        ("sip:a@1.2.3.4:99999", None),
        ("sip:a@1.2.3.4.5", None),
        ("sip:a@1.2.3.4:5060evil", None),
        ("sip:a@b@1.2.3.4", None),
        ("sip:1.2.3.4;maddr=5.6.7.8", None),
        ("sip:1.2.3.4;lr; MADDR =5.6.7.8", None),
        ("sip:1.2.3.4:5070;x@example.com", None),
        ("sip:1.2.3.4?x=@example.com", None),
        ("tel:+1", None),
        ("", None),
    ],
)
def test_where_a_uri_leads(uri: str, place: Place | None) -> None:
    assert place_of(uri) == place


@given(st.text())
def test_any_uri_leads_somewhere_or_nowhere(uri: str) -> None:
    for each in (uri, f"sip:{uri}"):
        found = place_of(each)
        assert found is None or found.address in each or ":" in found.address


@pytest.mark.parametrize(
    ("fields", "number", "place"),
    [
        (("SIP/2.0/UDP 1.2.3.4:5070;branch=x",), 0, Place("udp", "1.2.3.4", 5070)),
        (("SIP/2.0/UDP us;branch=x", "SIP/2.0/TCP 1.2.3.4"), 1, Place("tcp", "1.2.3.4", 5060)),
        (
            ("SIP/2.0/UDP us, SIP / 2.0 / TLS host:9;received=5.6.7.8;rport=40000",),
            1,
            Place("tls", "5.6.7.8", 40000),
        ),
        (("SIP/2.0/TLS 1.2.3.4;rport;branch=x",), 0, Place("tls", "1.2.3.4", 5061)),
        (("SIP/2.0/UDP [::1]:5070;received=0:0:0:0:0:0:0:1",), 0, Place("udp", "::1", 5070)),
        (("SIP/2.0/UDP host;rport=5",), 0, None),
        (("SIP/2.0/UDP us",), 1, None),
        (("SIP/2.0/UDP 1.2.3.4;rport=5;maddr=5.6.7.8",), 0, None),
        (("SIP/2.0/UDP 1.2.3.4;received=1.2.3.4;Received=5.6.7.8",), 0, None),
        (('SIP/2.0/UDP 1.2.3.4;x=";received=5.6.7.8"',), 0, None),
        (("SIP/2.0/UDP us (,SIP/2.0/UDP 1.2.3.4,)",), 1, None),
        (("SIP/2.0/UDP 1.2.3.4;rport=",), 0, Place("udp", "1.2.3.4", 5060)),
        (("SIP/2.0/UDP 1.2.3.4;rport=5x",), 0, None),
        (("nonsense",), 0, None),
    ],
)
def test_where_an_answer_goes(fields: tuple[str, ...], number: int, place: Place | None) -> None:
    assert place_of_via(fields, number) == place


def test_uris_of_record_routes() -> None:
    fields = ("<sip:h;lr;sb=T>, < sip:p;lr >;x=y", '"a" <sip:q>')
    assert uris_of(fields) == ["sip:h;lr;sb=T", "sip:p;lr", "sip:q"]
    assert uris_of(("",)) == []


@given(st.lists(st.text()), st.integers(0, 3))
def test_any_via_is_parsed_or_left(fields: list[str], number: int) -> None:
    place_of_via(tuple(fields), number)
