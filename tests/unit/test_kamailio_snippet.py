"""What goes into an existing kamailio.cfg is what our own has."""

import re
from pathlib import Path

import pytest

from sbcauth.installation import kamailio_cfg
from sbcauth.kamailio_snippet import snippet
from sbcauth.shared_state import Table

OURS = kamailio_cfg().read_text()
EXAMPLE = Path(__file__).resolve().parents[2] / "kemi" / "examples" / "kamailio.cfg"
RADIUS = snippet(Path("/c.yaml"), Path("/s.py"), radius_route="ON")


def parameters(text: str, module: str) -> set[str]:
    """Return the parameters of a module that are ours."""
    return set(re.findall(rf'^modparam\("{module}", "[a-z]+", "[^"]*sbcauth_.*?"\)', text, re.M))


@pytest.mark.parametrize("text", [RADIUS, EXAMPLE.read_text()], ids=["snippet", "example"])
def test_tables_are_those_of_our_own_kamailio_cfg(text: str) -> None:
    tables = parameters(OURS, "htable")
    assert parameters(text, "htable") == tables
    names = {found[1] for table in tables if (found := re.search("(sbcauth_[a-z_]+)=>", table))}
    assert {table.value for table in Table} < names


def test_radius_process_is_that_of_our_own_kamailio_cfg() -> None:
    ours = {line for line in parameters(OURS, "rtimer") if "sbcauth_radius" in line}
    assert parameters(RADIUS, "rtimer") == ours != set()


def test_nothing_of_radius_is_printed_unless_asked_for() -> None:
    text = snippet(Path("/c.yaml"), Path("/s.py"))
    assert "rtimer" not in text
    assert "RADIUS" not in text
    assert '#!define SBCAUTH_CONFIG "/c.yaml"' in text
    assert 'modparam("app_python3", "load", "/s.py")' in text
