"""The systemd units: systemd takes them, finds little exposed, and what they set is obeyed."""

import re
import subprocess
from pathlib import Path

import pytest
from kamailio import SBCAUTH, Server
from repository import REPOSITORY

UNITS = REPOSITORY / "contrib" / "systemd"
CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    classification: [{address: 127.0.0.0/8}]
"""


@pytest.fixture(params=["sbcauth.service", "sbcauth-console.service"])
def unit(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a unit with this checkout's paths: systemd looks whether the program is there."""
    text = (
        (UNITS / request.param).read_text().replace("/opt/sbcauth/.venv/bin/sbcauth", str(SBCAUTH))
    )
    text = text.replace("/opt/sbcauth", str(REPOSITORY)).replace("User=sbcauth", "User=daemon")
    copy: Path = tmp_path / request.param
    copy.write_text(text.replace("Group=sbcauth", "Group=daemon"))
    return copy


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_systemd_takes_the_unit(unit: Path) -> None:
    done = analyze("verify", "--man=no", unit)
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if unit.name in line] == []


def test_little_is_exposed(unit: Path) -> None:
    done = analyze("security", "--offline=yes", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) < 2.5


def test_console_gives_way_to_the_server_and_is_bounded() -> None:
    text = (UNITS / "sbcauth-console.service").read_text()
    found = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    assert int(found["Nice"]) > 0
    assert int(found["CPUWeight"]) < 100  # what every service has (systemd.resource-control(5))
    assert found["MemoryMax"]
    assert found["CapabilityBoundingSet"] == ""


def test_journal_drops_no_outcomes_in_a_flood() -> None:
    text = (UNITS / "sbcauth.service").read_text()
    assert re.search(r"^LogRateLimitIntervalSec=0$", text, re.MULTILINE)


def test_socket_is_in_the_runtime_directory_that_systemd_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / "runtime"
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime))
    folder = tmp_path / "server"
    folder.mkdir()
    with Server(folder, CONFIG) as server:
        assert (runtime / "rpc.sock").is_socket()
        assert not (folder / "run").exists()
        assert "workers" in server.administer("status", "--socket", str(runtime / "rpc.sock"))
