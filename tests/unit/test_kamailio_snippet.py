"""What goes into an existing kamailio.cfg is what our own has."""

import re
from pathlib import Path

import pytest
from repository import REPOSITORY

from sbcauth.config.schema import LONGEST_NONCE_DURATION as LONGEST_DURATION
from sbcauth.digest.nonces import CLOCK_DRIFT
from sbcauth.installation import kamailio_cfg
from sbcauth.kamailio_snippet import snippet
from sbcauth.monitoring.doctor import left_open
from sbcauth.policy.shared_state import Table

OURS = kamailio_cfg().read_text()
EXAMPLE = REPOSITORY / "kemi" / "examples" / "kamailio.cfg"
WHOLE = snippet(Path("/c.yaml"), Path("/s.py"), radius_route="ON", metrics="127.0.0.1:9464")


def parameters(text: str, module: str) -> set[str]:
    """Return the parameters of a module that are ours."""
    return set(re.findall(rf'^modparam\("{module}", "[a-z]+", "[^"]*sbcauth_.*?"\)', text, re.M))


@pytest.mark.parametrize("text", [WHOLE, EXAMPLE.read_text()], ids=["snippet", "example"])
def test_tables_are_those_of_our_own_kamailio_cfg(text: str) -> None:
    tables = parameters(OURS, "htable")
    assert parameters(text, "htable") == tables
    names = {found[1] for table in tables if (found := re.search("(sbcauth_[a-z_]+)=>", table))}
    assert {table.value for table in Table} < names


def test_used_nonce_counts_are_kept_for_longer_than_nonces_live() -> None:
    (lifetime,) = re.findall(r"sbcauth_nonce_counts=>.*autoexpire=(\d+);updateexpire=0;", OURS)
    assert int(lifetime) > LONGEST_DURATION + CLOCK_DRIFT


def test_processes_are_those_of_our_own_kamailio_cfg() -> None:
    assert parameters(WHOLE, "rtimer") == parameters(OURS, "rtimer")
    assert len(parameters(OURS, "rtimer")) == 4


def body(text: str, route: str) -> str:
    """Return what stands in a route, but for comments and what our own does with connections."""
    found = re.search(rf"^{re.escape(route)} {{\n(.*?)^}}", text, re.MULTILINE | re.DOTALL)
    assert found, route
    plain = re.sub(r"  #.*", "", found[1])
    return re.sub(r"\t+if \(proto != UDP\) {\n\t+route\(KEEP_CONNECTION\);\n\t+}\n", "", plain)


def test_dialogs_are_sealed_as_in_our_own_kamailio_cfg() -> None:
    text = snippet(Path("/c.yaml"), Path("/s.py"), dialogs=True)
    for theirs, ours in (
        ("branch_route[SBCAUTH_SEALED]", "branch_route[SEALED]"),
        ("onreply_route[SBCAUTH_ANSWER]", "route[ANSWER]"),
        ("reply_route", "reply_route"),
    ):
        assert body(text, theirs) == body(OURS, ours)
    assert "dialog" not in snippet(Path("/c.yaml"), Path("/s.py")).partition("route[")[2]


def test_nothing_of_radius_or_metrics_is_printed_unless_asked_for() -> None:
    text = snippet(Path("/c.yaml"), Path("/s.py"))
    assert "rtimer" not in text
    assert "RADIUS" not in text
    assert "METRICS" not in text
    assert '#!define SBCAUTH_CONFIG "/c.yaml"' in text
    assert 'modparam("app_python3", "load", "/s.py")' in text


def test_our_own_kamailio_cfg_leaves_nothing_open() -> None:
    assert list(left_open(OURS)) == []


def test_doctor_says_what_is_left_open() -> None:
    found = " ".join(left_open(WHOLE))
    assert "gruu_enabled" in found
    assert "SBCAUTH_REGISTRAR" in found
    assert "sbcauth_word" not in found
    assert list(left_open("request_route {}")) == []
