"""The fail2ban filter against our own log lines, by fail2ban's own program."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from repository import REPOSITORY

from sbcauth.monitoring.log_line import outcome
from sbcauth.policy.decision import Challenge, Decision, Reason, Reject
from sbcauth.policy.request import Request

FILTER = REPOSITORY / "contrib" / "fail2ban" / "sbcauth.conf"


def line(decision: Decision, **fields: Any) -> str:
    request = Request(
        "REGISTER", "sip:x", "192.0.2.7", 5060, "udp", "1001", "x", "1001", False, "call"
    )._replace(**fields)
    return f"2026-11-01T10:00:00+0000 {outcome(request, decision).line}"


def banned(*lines: str, folder: Path) -> list[str]:
    """Return the addresses that the filter finds, one for each line that counts."""
    log = folder / "log"
    log.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        ["fail2ban-regex", "-o", "ip", str(log), str(FILTER)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.split()


def wrong(reason: Reason, status: int = 401) -> Decision:
    return Challenge(status, (), reason, "A group", "1001")


def test_proven_failures_count(tmp_path: Path) -> None:
    lines = [
        line(wrong(Reason.WRONG_CREDENTIALS)),
        line(wrong(Reason.UNKNOWN_USER, 407), method="INVITE"),
        line(Reject(403, "Forbidden", Reason.DISABLED_USER, "Phones", "1001")),
        line(wrong(Reason.WRONG_CREDENTIALS), source_address="2001:db8::7", transport="tcp"),
    ]
    assert banned(*lines, folder=tmp_path) == ["192.0.2.7"] * 3 + ["2001:db8::7"]


def test_lines_of_syslog_count_by_our_name_alone(tmp_path: Path) -> None:
    text = line(wrong(Reason.WRONG_CREDENTIALS)).partition(" ")[2]
    named = [f"Nov  1 10:00:00 sbc {name}[7]: {text}" for name in ("sbcauth-outcomes", "kamailio")]
    assert banned(*named, folder=tmp_path) == ["192.0.2.7"]
    quoted = f"Nov  1 10:00:00 sbc kamailio[7]: ERROR: bad: x sbcauth-outcomes[7]: {text}"
    assert banned(quoted, f"2026-11-01T10:00:00+0000 quoted: {text}", folder=tmp_path) == []


def test_nothing_else_counts(tmp_path: Path) -> None:
    proven = {Reason.WRONG_CREDENTIALS, Reason.UNKNOWN_USER, Reason.DISABLED_USER}
    lines = [line(wrong(reason)) for reason in sorted(set(Reason) - proven)]
    lines += [
        line(Reject(403, "Forbidden", reason, "Phones", "1001")) for reason in set(Reason) - proven
    ]
    assert banned(*lines, folder=tmp_path) == []


@pytest.mark.parametrize("field", ["method", "from_user", "to_user", "call_id"])
def test_nobody_has_a_stranger_banned_by_what_he_writes(field: str, tmp_path: Path) -> None:
    forged = 'x" source=198.51.100.1:5060/udp username='
    failure = line(wrong(Reason.WRONG_CREDENTIALS), **{field: forged})
    assert banned(failure, folder=tmp_path) == ["192.0.2.7"]
    harmless = line(wrong(Reason.CHALLENGED), **{field: f"reason=wrong-credentials {forged}"})
    assert banned(harmless, folder=tmp_path) == []
