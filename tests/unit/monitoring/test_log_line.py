"""Log lines: one line for each outcome, whatever the network sends."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.config.schema import LogDetail
from sbcauth.monitoring.log_line import MAX_VALUE, is_written, outcome, word
from sbcauth.policy.decision import Accept, Ask, Challenge, Decision, Drop, Pass, Reason, Reject
from sbcauth.policy.request import Request
from sbcauth.policy.words import Word

REQUEST = Request(
    "REGISTER",
    "sip:example.com",
    "192.0.2.7",
    5060,
    "udp",
    from_user="1001",
    from_host="example.com",
    to_user="1002",
    in_dialog=False,
    call_id="f81d4fae@192.0.2.7",
    authorization=('Digest response="0123456789abcdef"',),
)
END = (
    "method=REGISTER source=192.0.2.7:5060/udp username={} from=1001 to=1002 "
    "call_id=f81d4fae@192.0.2.7"
)


@pytest.mark.parametrize(
    ("decision", "line"),
    [
        (
            Pass(Reason.NEVER_CHALLENGED),
            "decision=pass reason=never-challenged ip_group=- " + END.format("-"),
        ),
        (
            Pass(Reason.PASS_THROUGH, "My Phones", word=Word.CONFIGURED),
            'decision=pass reason=pass-through word=configured ip_group="My Phones" '
            + END.format("-"),
        ),
        (
            Accept("Phones", "bob", "1001", "example.com"),
            "decision=accept reason=accepted word=digest ip_group=Phones " + END.format("bob"),
        ),
        (
            Challenge(401, ("WWW-Authenticate: Digest …",), Reason.STALE_NONCE, "Phones", "bob"),
            "decision=challenge status=401 reason=stale-nonce ip_group=Phones " + END.format("bob"),
        ),
        (
            Reject(403, "Forbidden", Reason.LOCKED_OUT, "Phones", "bob"),
            "decision=reject status=403 reason=locked-out ip_group=Phones " + END.format("bob"),
        ),
        (
            Reject(503, "x", Reason.UNAVAILABLE, "Phones", "bob", 5, "database is locked"),
            "decision=reject status=503 reason=unavailable ip_group=Phones "
            + END.format("bob")
            + ' detail="database is locked"',
        ),
        (
            Ask("Phones", "bob", "example.com", b"\x01\x05bob"),
            "decision=ask reason=asked ip_group=Phones " + END.format("bob"),
        ),
        (
            Drop(Reason.UNCLASSIFIED),
            "decision=drop reason=unclassified ip_group=- " + END.format("-"),
        ),
    ],
)
def test_each_decision_has_its_line(decision: Decision, line: str) -> None:
    assert outcome(REQUEST, decision).line == line


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1001", "1001"),
        ("", "-"),
        ("a b", '"a b"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("DOMAIN\\bob", '"DOMAIN\\\\bob"'),
        ("x\r\ndecision=accept", '"x\\r\\ndecision=accept"'),
        ("\0\x1b[31m", '"\\x00\\x1b[31m"'),
        ("Jäsøn", '"J\\xe4s\\xf8n"'),
        ("\udcff", '"\\udcff"'),
        ("a" * MAX_VALUE, "a" * MAX_VALUE),
        ("a" * (MAX_VALUE + 1), "a" * (MAX_VALUE - 1) + "~"),
    ],
)
def test_text_from_the_network_is_one_printable_word(text: str, written: str) -> None:
    assert word(text) == written


_LINE = re.compile(
    r'[a-z_]+=(?:[!#-\[\]-~]+|"(?:[^"\\]|\\.)*")(?: [a-z_]+=(?:[!#-\[\]-~]+|"(?:[^"\\]|\\.)*"))*'
)
_ANY_TEXT = st.text(st.characters()) | st.binary().map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)


@given(texts=st.lists(_ANY_TEXT, min_size=7, max_size=7))
def test_no_text_adds_a_line_or_a_key_or_makes_it_endless(texts: list[str]) -> None:
    method, from_user, to_user, call_id, group, username, detail = (text * 50 for text in texts)
    request = REQUEST._replace(method=method, from_user=from_user, to_user=to_user, call_id=call_id)
    reject = Reject(400, "x", Reason.MALFORMED_CREDENTIALS, group, username, detail=detail)
    record = outcome(request, reject)
    line = record.line
    assert _LINE.fullmatch(line)
    keys = re.findall(r"([a-z_]+)=", re.sub(r'"([^"\\]|\\.)*"', '""', line))
    wanted = ["decision", "status", "reason", "ip_group", "method", "source", "username"]
    wanted += ["from", "to", "call_id"] + ["detail"] * bool(detail)
    assert keys == wanted
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 7 * 10 * MAX_VALUE + 200
    assert all(value.isascii() and value.isprintable() for _, value in record.values)


def test_no_response_is_logged() -> None:
    decisions: list[Any] = [Pass(Reason.PASS_THROUGH), Reject(403, "x", Reason.LOCKED_OUT)]
    assert not any("0123456789abcdef" in outcome(REQUEST, decision).line for decision in decisions)


def written(decision: Decision) -> list[str]:
    """Return the levels of detail at which the log has a decision."""
    return [str(detail) for detail in LogDetail if is_written(decision, detail)]


def test_refusals_are_always_written() -> None:
    usual = {
        Reason.NEVER_CHALLENGED,
        Reason.PASS_THROUGH,
        Reason.METHOD_NOT_LISTED,
        Reason.WITHIN_DIALOG,
        Reason.REGISTERED_SENDER,
        Reason.KEEP_ALIVE,
        Reason.ACCEPTED,
        Reason.CHALLENGED,
        Reason.STALE_NONCE,
        Reason.NONCE_ELSEWHERE,
        Reason.ASKED,
    }
    for reason in Reason:
        always = written(Challenge(401, (), reason, "Phones")) == [*LogDetail]
        assert always is (reason not in usual), reason
    assert written(Drop(Reason.UNCLASSIFIED)) == [*LogDetail]


def test_first_acceptance_is_a_change_and_the_next_is_not() -> None:
    accepted = Accept("Phones", "bob", "1001", "example.com")
    assert written(accepted) == ["all"]
    assert written(accepted._replace(is_first=True)) == ["changes", "all"]
    in_shadow = Pass(Reason.ACCEPTED, "Phones", "bob", "accept", is_first=True)
    assert written(in_shadow) == ["changes", "all"]
