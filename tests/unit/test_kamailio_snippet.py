"""What goes into an existing kamailio.cfg is what our own has."""

import re
from pathlib import Path

import pytest
from repository import REPOSITORY

from sbcauth.cluster.engine_settings import EnginePlace, EngineSettings
from sbcauth.cluster.settings import ClusterSettings, NodeAddress
from sbcauth.digest.nonces import CLOCK_DRIFT, LONGEST_DURATION
from sbcauth.installation import kamailio_cfg
from sbcauth.kamailio_snippet import snippet
from sbcauth.monitoring.doctor.server import left_open
from sbcauth.policy.shared_state import Table

OURS = kamailio_cfg().read_text()
EXAMPLE = REPOSITORY / "kemi" / "examples" / "kamailio.cfg"
CLUSTER = ClusterSettings(
    node=2,
    address=NodeAddress("10.0.0.12", 5090),
    peers=(NodeAddress("10.0.0.11", 5090),),
    engine=EngineSettings(engine=EnginePlace((("10.0.0.5", 6379),))),
)
WHOLE = snippet(
    Path("/c.yaml"),
    Path("/s.py"),
    radius_route="ON",
    metrics="127.0.0.1:9464",
    cluster=CLUSTER,
    postgresql=True,
)


def parameters(text: str, module: str) -> set[str]:
    """Return the parameters of a module that are ours."""
    return set(re.findall(rf'^modparam\("{module}", "[a-z]+", "[^"]*sbcauth_.*?"\)', text, re.M))


@pytest.mark.parametrize(
    "text", [OURS, WHOLE, EXAMPLE.read_text()], ids=["ours", "snippet", "example"]
)
def test_tables_are_those_of_the_one_list(text: str) -> None:
    assert parameters(text, "htable") == {table.parameter for table in Table}


@pytest.mark.parametrize(
    "file",
    [
        *(REPOSITORY / "sbcauth").rglob("*.py"),
        *(REPOSITORY / "kemi").rglob("*.py"),
    ],
    ids=lambda file: str(file.relative_to(REPOSITORY)),
)
def test_no_module_but_the_list_names_a_table(file: Path) -> None:
    if file.name == "shared_state.py":
        return
    named = re.findall(r"[\"'](sbcauth_[a-z_]+)[\"']", file.read_text())
    assert not {*named} & {table.value for table in Table}


def test_used_nonce_counts_are_kept_for_longer_than_nonces_live() -> None:
    assert Table.NONCE_COUNTS.lifetime > LONGEST_DURATION + CLOCK_DRIFT
    assert not Table.NONCE_COUNTS.renews


def test_processes_are_those_of_our_own_kamailio_cfg() -> None:
    assert parameters(WHOLE, "rtimer") == parameters(OURS, "rtimer")
    assert len(parameters(OURS, "rtimer")) == 10


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


def test_a_node_has_what_our_own_kamailio_cfg_gives_it() -> None:
    assert "server_id=2\nlisten=udp:10.0.0.12:5090\n" in WHOLE
    assert 'modparam("dmq", "notification_address", "sip:10.0.0.11:5090")' in WHOLE
    assert WHOLE.count('loadmodule "rtimer.so"') == 1
    theirs = body(WHOLE, "route[SBCAUTH_FROM_NODE]")
    for line in body(OURS, "route[FROM_NODE]").replace("CLUSTER_ADDRESS", "").splitlines():
        if "python_exec" in line or "dmq_handle" in line or "sht(" in line:
            assert line in theirs
    assert "dmq" not in snippet(Path("/c.yaml"), Path("/s.py"), dialogs=True)


def test_nothing_of_radius_or_metrics_is_printed_unless_asked_for() -> None:
    text = snippet(Path("/c.yaml"), Path("/s.py"))
    assert "rtimer" not in text
    assert "RADIUS" not in text
    assert "METRICS" not in text
    assert "copy_users" not in text
    assert '#!define SBCAUTH_CONFIG "/c.yaml"' in text
    assert 'modparam("app_python3", "load", "/s.py")' in text


def test_our_own_kamailio_cfg_leaves_nothing_open() -> None:
    assert list(left_open(OURS)) == []


def test_doctor_says_what_is_left_open() -> None:
    found = " ".join(left_open(WHOLE))
    assert "gruu_enabled" in found
    assert "SBCAUTH_REGISTRAR" in found
    assert "sbcauth_word" not in found
    assert "route[SBCAUTH_CANCEL] and never calls it" in found
    called = WHOLE.replace("route[SBCAUTH_SEAL] {", "route[ONE] { route(SBCAUTH_CANCEL); }")
    assert "SBCAUTH_CANCEL" not in " ".join(left_open(called))
    assert list(left_open("request_route {}")) == []
