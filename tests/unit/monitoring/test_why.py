"""`sbcauth why`: the last outcomes of a user, out of a log, and what to do about them."""

from typing import Any

import pytest

from sbcauth.monitoring.log_line import outcome as log_line
from sbcauth.monitoring.why import Facts, Outcome, Search, advice, outcomes, parse
from sbcauth.policy.decision import Challenge, Pass, Reason, Reject
from sbcauth.policy.request import Request

NEED_NO_ADVICE = {
    Reason.NEVER_CHALLENGED,
    Reason.PASS_THROUGH,
    Reason.METHOD_NOT_LISTED,
    Reason.WITHIN_DIALOG,
    Reason.REGISTERED_SENDER,
    Reason.EMERGENCY,
    Reason.KEEP_ALIVE,
    Reason.ACCEPTED,
    Reason.CHALLENGED,
    Reason.ASKED,
}


def request(from_user: str = "1001") -> Request:
    return Request(
        method="REGISTER",
        request_uri="sip:example.com",
        source_address="192.0.2.7",
        source_port=5060,
        transport="udp",
        from_user=from_user,
        from_host="example.com",
        to_user=from_user,
        in_dialog=False,
        call_id="f81d4fae",
        authorization=(),
        proxy_authorization=(),
        body=b"",
    )


def line(reason: Reason, username: str = "1001", from_user: str = "1001") -> str:
    decision = Reject(403, "Forbidden", reason, "My Phones", username, detail="it is so")
    return log_line(request(from_user), decision).line


def only(text: str) -> Outcome:
    found = parse(text)
    assert found
    return found


def test_line_of_the_log_is_read_back() -> None:
    assert only(line(Reason.LOCKED_OUT)) == Outcome(
        time="",
        decision="reject",
        status="403",
        reason="locked-out",
        ip_group='"My Phones"',
        method="REGISTER",
        source="192.0.2.7:5060/udp",
        username="1001",
        from_user="1001",
        shadow=False,
        detail='"it is so"',
    )


def test_shadow_tells_what_would_have_been() -> None:
    passed = Pass(Reason.UNKNOWN_USER, "Phones", "1001", shadow="challenge")
    found = only(log_line(request(), passed).line)
    assert (found.decision, found.shadow, found.reason) == ("challenge", True, "unknown-user")


@pytest.mark.parametrize(
    ("before", "time"),
    [
        ("", ""),
        ("2026-03-02T09:14:07+0100 ", "2026-03-02T09:14:07+0100"),
        (
            "2026-03-02T09:14:07.123456+01:00 sbc sbcauth-outcomes[7]: ",
            "2026-03-02T09:14:07.123456+01:00",
        ),
        ("2026-03-02T08:14:07Z sbc sbcauth-outcomes[7]: ", "2026-03-02T08:14:07Z"),
        ("Mar  2 09:14:07 sbc sbcauth-outcomes[7]: ", "Mar  2 09:14:07"),
    ],
)
def test_before_it_stand_time_host_and_our_name(before: str, time: str) -> None:
    assert only(before + line(Reason.LOCKED_OUT)).time == time


@pytest.mark.parametrize(
    "before",
    [
        " ",
        "sbcauth: ",
        " 5(123) NOTICE: <script>: ",
        "Mar  2 09:14:07 sbc kamailio[7]: ",
        "Mar  2 09:14:07 sbc kamailio[7]: ERROR: bad message [sbc sbcauth-outcomes[7]: ",
        "Mar  2 09:14:07 sbc another-sbcauth-outcomes[7]: ",
        "2026-03-02T09:14:07+0100 sbc kamailio[7]: 2026-03-02T09:14:07+0100 ",
        "forged\n",
    ],
)
def test_line_that_quotes_one_is_none(before: str) -> None:
    assert parse(before + line(Reason.LOCKED_OUT)) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "client=answered ip_group=Carrier method=INVITE",
        "INFO: <core> [main.c:1]: all is well",
        "decision=",
    ],
)
def test_other_lines_are_none(text: str) -> None:
    assert parse(text) is None


def test_first_value_of_a_key_counts() -> None:
    assert only(f"{line(Reason.LOCKED_OUT)} reason=accepted").reason == "locked-out"


def test_user_is_found_by_digest_user_name_or_from_and_nobody_else() -> None:
    lines = [
        line(Reason.WRONG_CREDENTIALS, "1001", "1001"),
        line(Reason.CHALLENGED, "", "1001"),
        line(Reason.IDENTITY_MISMATCH, "1001", "1002"),
        line(Reason.WRONG_CREDENTIALS, "10012", "1002"),
    ]
    assert [each.reason for each in outcomes(lines, Search("1001"))] == [
        "wrong-credentials",
        "challenged",
        "identity-mismatch",
    ]


@pytest.mark.parametrize("name", ["no body", 'quo"te', "jürgen", "a" * 100, "back\\slash", "a=b"])
def test_user_of_any_name_is_found(name: str) -> None:
    assert len(list(outcomes([line(Reason.LOCKED_OUT, name)], Search(name)))) == 1
    assert list(outcomes([line(Reason.LOCKED_OUT, f"{name[:50]}2")], Search(name))) == []


def test_ip_group_narrows_it() -> None:
    lines = [line(Reason.LOCKED_OUT)]
    assert list(outcomes(lines, Search("1001", "My Phones")))
    assert not list(outcomes(lines, Search("1001", "Phones")))


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_that_keeps_somebody_out_has_advice(reason: Reason) -> None:
    told = advice([only(line(reason))._replace(detail="")], "1001")
    assert bool(told) != (reason in NEED_NO_ADVICE)
    assert "{" not in "".join(told)


def test_phone_that_never_answers_is_noticed() -> None:
    challenge = log_line(request(), Challenge(401, (), Reason.CHALLENGED, "Phones")).line
    assert advice([only(challenge)] * 2, "1001") == []
    assert "never answers" in advice([only(challenge)] * 3, "1001")[0]
    forbidden = only(challenge)._replace(reason="locked-out", username="1001")
    answers = [only(challenge), forbidden] * 3
    assert advice(answers, "1001", Facts(), known=True) == []
    accepted = only(challenge)._replace(reason="accepted")
    assert advice([only(challenge), accepted, only(challenge)], "1001") == []


def test_challenge_that_is_not_answered_yet_does_not_hide_what_failed_before() -> None:
    failed = only(line(Reason.OLD_PASSWORD))
    waiting = failed._replace(reason="challenged", detail="")
    assert advice([failed, waiting], "1001") == advice([failed], "1001")


def test_nothing_is_advised_about_nothing() -> None:
    assert advice([], "1001") == []


def test_reason_of_another_version_has_no_meaning_here() -> None:
    assert only(line(Reason.LOCKED_OUT))._replace(reason="newer").meaning() == ""
    assert only(line(Reason.LOCKED_OUT)).meaning() == Reason.LOCKED_OUT.meaning


FACTS = Facts(
    users={"1001": {"Phones": True}, "1003": {"Office": True}},
    servers={"carrier": "Carrier"},
    addresses={"1001": "sip:1001@example.com"},
)


def failed(reason: Reason, username: str = "1001", **values: Any) -> Outcome:
    return only(line(reason, username))._replace(detail="", ip_group="Phones", **values)


def test_user_of_another_ip_group_is_told_so() -> None:
    (told,) = advice([failed(Reason.UNKNOWN_USER, "1003")], "1003", FACTS, known=True)
    assert told.startswith("User Info has 1003 in Office, the request was of Phones, by its")
    assert "`sbcauth user move 1003 Phones`" in told


def test_name_of_a_server_is_no_user_to_be_added() -> None:
    (told,) = advice([failed(Reason.UNKNOWN_USER, "carrier")], "carrier", FACTS)
    assert told.startswith("carrier is username_as_server of the IP Group Carrier, but")
    own = failed(Reason.WRONG_CREDENTIALS, "carrier")._replace(ip_group="Carrier")
    (told,) = advice([own], "carrier", FACTS)
    assert "another password than password_as_server of the IP Group Carrier" in told


def test_stranger_is_told_with_the_address_that_no_ip_group_has() -> None:
    refused = failed(Reason.UNCLASSIFIED, "-", source="[2001:db8::7]:5060/udp")
    (told,) = advice([refused])
    assert told.startswith("No IP Group takes requests from 2001:db8::7: add it")


def test_both_realms_are_named() -> None:
    detail = '"the credentials are for the realm a.example, ours is b.example"'
    (told,) = advice([failed(Reason.CHALLENGED)._replace(detail=detail)], "1001")
    assert told.endswith("the credentials are for the realm a.example, ours is b.example.")


def test_each_trouble_that_still_holds_is_told_the_newest_first() -> None:
    latest = [
        failed(Reason.QOP_NOT_OFFERED),
        failed(Reason.ACCEPTED),
        failed(Reason.WRONG_CREDENTIALS),
        failed(Reason.DISABLED_USER),
        failed(Reason.LOCKED_OUT),
        failed(Reason.IDENTITY_MISMATCH, from_user="1005"),
        failed(Reason.WRONG_CREDENTIALS),
    ]
    first, second = advice(latest, "1001", FACTS, known=True)  # enabled again, not locked out
    assert first.startswith("The phone has another password")
    assert "sip:1005@…, with the credentials of 1001, who may speak for sip:1001@" in second
    assert len(advice(latest, "1001", FACTS)) == 4


@pytest.mark.parametrize(
    ("search", "fits"),
    [
        (Search(source="192.0.2.0/24"), True),
        (Search(source="198.51.100.1"), False),
        (Search(source="*"), False),
        (Search(reason="wrong-credentials"), True),
        (Search(reason="locked-out"), False),
        (Search(ip_group="Phones", user="1001"), True),
    ],
)
def test_outcomes_are_searched(search: Search, fits: bool) -> None:
    found = failed(Reason.WRONG_CREDENTIALS, source="192.0.2.7:5060/udp")
    assert search.fits(found) is fits


def test_registration_that_was_let_in_and_not_kept_is_told() -> None:
    let_in = failed(Reason.ACCEPTED, method="REGISTER")
    nobody = FACTS._replace(not_registered=True)
    (told,) = advice([let_in], "1001", nobody, known=True)
    assert "let in, but no contact is registered" in told
    assert advice([let_in], "1001", FACTS, known=True) == []
    assert advice([let_in._replace(method="INVITE")], "1001", nobody, known=True) == []


def test_what_a_phone_did_with_its_challenges_is_named() -> None:
    seen = "answers MD5 auth; offered: SHA-256, qop auth; User-Agent: Door 2"
    (said,) = advice([failed(Reason.MIXED_CHALLENGES)._replace(detail=f'"{seen}"')])
    assert "mixes the challenges" in said
    assert said.endswith(f"It {seen}.")


@pytest.mark.parametrize("typed", ["1001@example.com", '"1001 "', "+1001"])
def test_name_that_is_spelled_otherwise_in_user_info_is_told(typed: str) -> None:
    facts = Facts(likely={typed: "1001"})
    (said,) = advice([only(line(Reason.UNKNOWN_USER, typed.strip('"')))], "1001", facts)
    assert said.startswith("The phone's user name is ")
    assert "User Info has 1001" in said
