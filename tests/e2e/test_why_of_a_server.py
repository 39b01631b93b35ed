"""`sbcauth why`: out of a running server's log, in a file or in a real journal."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kamailio import SBCAUTH, Server
from phone import MakePhone

CONFIG = """
realm: example.com
max_auth_attempts: 2
lockout_duration: 600
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/8}]
"""
USERS = {"1001": "secret", "1002": "secret"}
JOURNAL_REMOTE = "/lib/systemd/systemd-journal-remote"


def outcome(line: str) -> str:
    """Return what the journal has of an outcome."""
    message = line.partition(" ")[2]
    found = re.search(r"username=(\S+) from=(\S+)", line)
    assert found
    username, sender = found.groups()
    return (
        "_TRANSPORT=journal\nSYSLOG_IDENTIFIER=sbcauth-outcomes\n_PID=7\n"
        f"SBCAUTH_USERNAME={username}\nSBCAUTH_FROM={sender}\nMESSAGE={message}\n"
    )


def quoted(line: str) -> str:
    """Return what the journal has of Kamailio's standard error, with a line that it quotes."""
    message = line.partition(" ")[2].replace("wrong-credentials", "unknown-user")
    return f"_TRANSPORT=stdout\nSYSLOG_IDENTIFIER=sbcauth-outcomes\nMESSAGE={message}\n"


@pytest.fixture
def log(server: Server, phone: MakePhone, tmp_path: Path) -> Iterator[Path]:
    """Return the log of a server of which 1001 was locked out after it had got in."""
    right = phone("1001", "secret", expires=0)
    assert right.register().status == 200
    assert [right.register(password="wrong").status for _ in range(2)] == [401, 403]
    assert phone("1002", "secret", expires=0).register().status == 200
    file = tmp_path / "sbcauth.log"
    file.write_text(server.log())
    yield file
    server.administer("lockout", "clear", "--all")


def test_last_outcomes_are_told_with_their_reasons(server: Server, log: Path) -> None:
    said = server.administer("why", "1001", "--log", str(log)).splitlines()
    assert said[0].startswith("User Info: 1001 in Phones, enabled, for sip:1001@example.com (MD5, ")
    assert said[1].startswith("Locked out in Phones: 1001 from 127.0.0.1, for 5")
    header, *rows, hint = said[2:]
    assert header == "Time\tIP Group\tSource\tMethod\tOutcome\tWhy"
    assert [row.split("\t")[4] for row in rows][-2:] == ["challenge 401", "reject 403"]
    assert rows[-1].endswith("wrong-credentials: the response is wrong: an attempt is counted")
    assert "sbcauth user set-password 1001" in hint


def test_only_as_many_as_are_wanted_and_as_json(server: Server, log: Path) -> None:
    arguments = ("why", "1001", "--log", str(log), "--last", "2", "--json")
    found = json.loads(server.administer(*arguments))
    assert [each["reason"] for each in found["outcomes"]] == ["challenged", "wrong-credentials"]
    assert [each["username"] for each in found["lockouts"]] == ["1001"]
    assert [each["username"] for each in found["users"]] == ["1001"]


def test_nothing_known_is_said(server: Server, log: Path) -> None:
    said = server.administer("why", "4711", "--log", str(log))
    assert "User Info has no 4711." in said
    assert "The log has no outcome of it" in said


def test_log_that_is_not_there_is_a_refusal(server: Server) -> None:
    refused = server.sbcauth("why", "1001", "--log", "nowhere.log")
    assert refused.returncode == 1
    assert refused.stderr == "nowhere.log: No such file or directory\n"


def test_journal_of_the_unit_is_read(server: Server, log: Path, tmp_path: Path) -> None:
    """By the real journalctl, of a real journal in a mount namespace of its own."""
    lines = [line for line in log.read_text().splitlines() if " decision=" in line]
    exported = tmp_path / "export"
    exported.write_text(
        "".join(
            f"__REALTIME_TIMESTAMP={(1772439247 + second) * 1000000}\n_BOOT_ID={'0' * 31}1\n"
            f"_HOSTNAME=sbc\n_SYSTEMD_UNIT={unit}\n{entry}\n"
            for second, line in enumerate(lines)
            for unit in ("sbcauth.service", "another.service")
            for entry in (outcome(line), quoted(line))
        )
    )
    # Within a chroot `/` is no mount whose propagation could be changed; there it is private.
    script = """
        mount --make-rprivate / 2>/dev/null || true
        mount -t tmpfs tmpfs /var/log
        journal=/var/log/journal/$(cat /etc/machine-id)
        mkdir -p "$journal"
        "$1" -o "$journal/system.journal" "$2"
        shift 2
        exec "$@"
    """
    unshare = ("unshare", "--mount", "--propagation", "unchanged")
    in_namespace = (*unshare, "sh", "-e", "-c", script, "sh", JOURNAL_REMOTE, exported)
    command = (SBCAUTH, "--config", server.config_file, "why", "1001", "--json")

    def why(*more: str) -> list[dict[str, str]]:
        done = subprocess.run(
            [*in_namespace, *command, *more],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        sys.stderr.write(done.stderr)
        assert done.returncode == 0
        found: list[dict[str, str]] = json.loads(done.stdout)["outcomes"]
        return found

    found = why("--unit", "sbcauth")
    assert [each["reason"] for each in found][-2:] == ["challenged", "wrong-credentials"]
    assert found[-1]["time"].startswith("2026-03-02T")
    assert why("--unit", "sbcauth", "--last", "1") == found[-1:]
    assert why("--unit", "another") == found
    assert why("--unit", "nothing") == []
