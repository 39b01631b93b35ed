"""The README is followed by the letter: its commands run, and its configuration loads."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from kamailio import SBCAUTH, wait_for
from repository import REPOSITORY

from sbcauth.config.load import load

README = (REPOSITORY / "README.md").read_text()
SHIPPED = ("sbcauth.yaml", "scripts/sample.sh", "scripts/setup.sh", "Makefile")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder that looks like a fresh clone in which `make setup` was run."""
    for name in SHIPPED:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(REPOSITORY / ".venv")
    return tmp_path


def console_commands() -> list[str]:
    """Return what the README has people type with the command line."""
    typed = re.findall(r"^\$ (sbcauth .*)$", README, re.MULTILINE)
    assert len(typed) >= 4
    return typed


def test_make_run_prints_a_command_that_registers_the_sample_user(checkout: Path) -> None:
    # What `make run` does once everything is installed.
    with (checkout / "log").open("w") as log:
        server = subprocess.Popen(
            ["scripts/sample.sh"], cwd=checkout, stdout=log, stderr=log, start_new_session=True
        )
    try:
        assert wait_for(lambda: "sipsak" in (checkout / "log").read_text(), 60)
        printed = (checkout / "log").read_text()
        (command,) = re.findall(r"^ +(sipsak .*)$", printed, re.MULTILINE)
        assert f"\n{command}\n" in README
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0


def test_make_run_says_what_is_in_the_way(checkout: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 5060))
        done = subprocess.run(["scripts/sample.sh"], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"udp:127.0.0.1:5060 is used by process {os.getpid()} (" in done.stderr
    assert done.stderr.endswith("sbcauth doctor looks further\n")
    assert "runs on" not in done.stdout + done.stderr


def test_commands_of_the_readme_run(checkout: Path) -> None:
    for command in console_commands():
        arguments = shlex.split(command)[1:]
        if arguments[:2] in (["user", "add"], ["user", "set-password"]):
            arguments.append("--password-stdin")
        done = subprocess.run(
            [SBCAUTH, *arguments],
            cwd=checkout,
            input="a-long-password\n",
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_configuration_of_the_readme_loads(tmp_path: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert blocks
    for text in blocks:
        (tmp_path / "sbcauth.yaml").write_text(text)
        (tmp_path / "carrier.secret").write_text("secret-of-the-carrier\n")
        config = load(tmp_path / "sbcauth.yaml", os.environ)
        assert not config.warnings


def test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPOSITORY / name).exists(), name
