"""The systemd unit: systemd takes it, finds little to expose, and what it sets is obeyed."""

import re
import subprocess
from pathlib import Path

import pytest
from kamailio import SBCAUTH, Server
from repository import REPOSITORY

UNIT = REPOSITORY / "contrib" / "systemd" / "sbcauth.service"
CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    classification: [{address: 127.0.0.0/8}]
"""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit with this checkout's paths: systemd looks whether the program is there."""
    text = UNIT.read_text().replace("/opt/sbcauth/.venv/bin/sbcauth", str(SBCAUTH))
    text = text.replace("/opt/sbcauth", str(REPOSITORY)).replace("User=sbcauth", "User=daemon")
    copy = tmp_path / "sbcauth.service"
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
