"""Outcomes have a channel of their own, which nothing that Kamailio writes can reach."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from kamailio import Server, StartServer, wait_for
from phone import Endpoint, Phone
from repository import REPOSITORY

from sbcauth.monitoring.why import parse

CONFIG = """
realm: example.com
log_to: log/outcomes
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/8}]
"""
FORGED = (
    "2026-11-01T10:00:00+0000 decision=reject status=403 reason=wrong-credentials ip_group=Phones "
    "method=REGISTER source=198.51.100.7:5060/udp username=1001 from=1001 to=1001 call_id=x"
)
JOURNALD = "/lib/systemd/systemd-journald"


@pytest.fixture
def start(start_server: StartServer, tmp_path: Path) -> StartServer:
    """Start a server with the user 1001; the folder of its outcomes is there."""

    def start(config: str = CONFIG, **options: Any) -> Server:
        server: Server = start_server(config, **options)
        server.add_user("1001", "secret")
        return server

    (tmp_path / "server0" / "log").mkdir(parents=True)
    return start


@pytest.fixture
def start_server(start_server: StartServer, tmp_path: Path) -> Iterator[StartServer]:
    def start(config: str, **options: Any) -> Server:
        folder = tmp_path / "server0"
        server = Server(folder, config, **options)
        started.append(server)
        server.start()
        return server

    started: list[Server] = []
    yield start
    for server in started:
        server.stop()


def outcomes(server: Server, name: str = "log/outcomes") -> list[str]:
    """Return the lines of a file of outcomes, without those of our own question for readiness."""
    file = server.folder / name
    lines = file.read_text().splitlines() if file.exists() else []
    return [line for line in lines if not line.endswith(" call_id=ready")]


def reasons(server: Server) -> list[str]:
    return re.findall(r" reason=([\w-]+)", "\n".join(outcomes(server)))


def hostile(server: Server) -> Iterator[tuple[str, bytes]]:
    """Yield messages that Kamailio quotes in its log, each with a line of ours in it."""
    head = (
        f"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/@@@ 127.0.0.1:{server.port};"
        "branch=z9hG4bKx\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\n"
        "Call-ID: x\r\nCSeq: 1 REGISTER\r\n"
    )
    lines = f"{FORGED}\n{FORGED.partition(' ')[2]}\n"
    for transport in ("udp", "tcp"):
        end = f"Bad Name\n{lines}: x\r\n\r\n"
        sip = head.replace("@@@", transport.upper())
        yield transport, f"{sip}Content-Length: 0\r\n{end}".encode()
        yield transport, f"{sip}Subject: a\0b\r\nContent-Length: 0\r\n{end}".encode()
    for length in ("Content-Length: abc\r\n", "Content-Length: 99999999999\r\n", ""):
        yield "tcp", f"{sip}{length}{end}".encode()
    yield "tcp", f"GET /\n{lines} HTTP/1.1\r\n\r\n{lines}\r\n\r\n".encode()


@pytest.mark.parametrize("log_to", ["log/outcomes", "stdout"])
def test_what_kamailio_quotes_is_never_an_outcome(
    start: StartServer, tmp_path: Path, log_to: str
) -> None:
    server = start(CONFIG.replace("log/outcomes", log_to), separate=True)
    for transport, raw in hostile(server):
        with Endpoint(server, transport=transport) as stranger:
            stranger.send(raw)
            with suppress(ConnectionError):
                stranger.hears_nothing(0.1)
    with Phone(server, "1001", "secret", expires=0) as phone:
        assert phone.register(password="wrong").status == 401
    file = server.folder / log_to if log_to != "stdout" else server.outcomes_file
    assert wait_for(lambda: "wrong-credentials" in file.read_text())
    assert wait_for(lambda: "198.51.100.7" in server.log())  # what the guard would have had to find
    ours = [line for line in file.read_text().splitlines() if " decision=" in line]
    sources = {each.source.rpartition(":")[0] for line in ours if (each := parse(line))}
    assert sources == {"127.0.0.1"}
    assert "198.51.100.7" not in file.read_text()
    found = server.administer("why", "1001", "--log", str(file), "--json")
    assert {each["reason"] for each in json.loads(found)["outcomes"]} == {
        *("challenged", "wrong-credentials")
    }
    banned = subprocess.run(
        [
            *("fail2ban-regex", "-o", "ip", str(file)),
            str(REPOSITORY / "contrib" / "fail2ban" / "sbcauth.conf"),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert banned.stdout.split() == ["127.0.0.1"]


def test_phone_that_registers_again_writes_nothing(start: StartServer) -> None:
    server = start(f"{CONFIG}log: changes\n", workers=4)
    with Phone(server, "1001", "secret") as phone:
        for _ in range(20):
            assert phone.register().status == 200
        assert reasons(server) == ["accepted"]
        assert phone.register(password="wrong").status == 401
    with Phone(server, "1001", "secret", address="127.0.0.2") as moved:
        assert moved.register().status == 200
        assert moved.register().status == 200
    with Phone(server, "1001", "secret", transport="tcp") as same_place:
        assert same_place.register().status == 200
    assert reasons(server) == ["accepted", "wrong-credentials", "accepted"]
    assert "word=digest" in outcomes(server)[0]


def test_refusals_alone_are_written_where_that_is_wanted(start: StartServer) -> None:
    server = start(f"{CONFIG}log: refusals\n")
    with Phone(server, "1001", "secret", expires=0) as phone:
        assert phone.register().status == 200
        assert [phone.register(password="wrong").status for _ in range(3)] == [401, 401, 403]
        assert phone.register().status == 403
    assert reasons(server) == ["wrong-credentials"] * 3 + ["locked-out"]


def test_detail_and_place_follow_a_reload_and_that_is_written_once(start: StartServer) -> None:
    server = start(f"{CONFIG}log: refusals\n", workers=4)
    with Phone(server, "1001", "secret", expires=0) as phone:
        assert phone.register().status == 200
        assert outcomes(server) == []
        text = server.config_file.read_text().replace("log: refusals", "log: all")
        server.config_file.write_text(text.replace("log/outcomes", "log/others"))
        server.administer("reload")
        for _ in range(20):
            assert phone.register().status == 200
            time.sleep(0.05)
    others = outcomes(server, "log/others")
    told = [line for line in others if "event=reload" in line]
    assert len(told) == 1
    assert "configuration reloaded: " in told[0]
    assert sum("reason=challenged" in line for line in others) > 10
    assert outcomes(server) == []


def test_file_may_be_moved_away(start: StartServer) -> None:
    server = start(workers=1)
    file = server.folder / "log" / "outcomes"
    with Phone(server, "1001", "secret", expires=0) as phone:
        assert phone.register().status == 200
        file.rename(file.with_name("outcomes.1"))
        time.sleep(1.1)
        assert phone.register().status == 200
    assert [" reason=accepted " in line for line in outcomes(server)] == [False, True]
    assert len(outcomes(server, "log/outcomes.1")) == 2
    said = server.administer("why", "1001")
    assert said.count("accepted") == 2  # that of the file that was moved, too


def test_planted_link_is_left_alone_and_phones_are_served(
    start: StartServer, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "server0" / "log" / "outcomes").symlink_to(victim)
    server = start()
    with Phone(server, "1001", "secret", expires=0) as phone:
        assert phone.register().status == 200
    assert victim.read_text() == "mine"
    lost = json.loads(server.administer("status", "--json"))["outcomes_lost"]
    assert lost >= 2
    assert f"{lost} outcomes were not written" in server.administer("status")


def test_full_pipe_keeps_nobody_waiting(start: StartServer) -> None:
    """Standard output is a pipe that nobody reads, as of a pager that is left standing."""
    server = start(f"{CONFIG}log: all\n".replace("log/outcomes", "stdout"), pipe=True)
    with Phone(server, "1001", "secret", expires=0) as phone:
        for _ in range(400):
            assert phone.register().status == 200
    lost = json.loads(server.administer("status", "--json"))["outcomes_lost"]
    assert 0 < lost < 800


IN_NAMESPACE = """
mount --make-rprivate / 2>/dev/null || true
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log
[ -d /sys/fs/cgroup ] || { mount -t tmpfs tmpfs /sys && mkdir -p /sys/fs/cgroup; }
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup  # journald looks there
exec "$@"
"""


def in_namespace(script: str, *arguments: object) -> list[str]:
    """Return the command that runs a Python script where /run is empty, and its own."""
    unshare = ["unshare", "--mount", "--propagation", "unchanged", "sh", "-ec", IN_NAMESPACE, "sh"]
    return [*unshare, sys.executable, "-c", script, *map(str, arguments)]


WITH_JOURNALD = """
import subprocess, sys, time, os
from pathlib import Path
journald, *command = sys.argv[1:]
with subprocess.Popen([journald]) as daemon:
    while not Path("/run/systemd/journal/socket").exists():
        time.sleep(0.02)
    try:
        sys.exit(subprocess.run(command).returncode)
    finally:
        daemon.terminate()
"""
REGISTER_AND_ASK = """
import json, subprocess, sys, os
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[2])
from kamailio import Server, wait_for
from phone import Phone
CONFIG, folder = sys.argv[1], Path(sys.argv[3])
server = Server(folder, CONFIG)
server.add_user("1001", "secret")
with server:
    with Phone(server, "1001", "secret", expires=0) as phone:
        assert phone.register().status == 200
        assert phone.register(password="wrong").status == 401
    command = ["journalctl", "-o", "json", "--no-pager", "SYSLOG_IDENTIFIER=sbcauth-outcomes"]
    def entries():
        done = subprocess.run(command, capture_output=True, text=True)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return [entry for entry in found if entry["SBCAUTH_CALL_ID"] != "ready"]
    assert wait_for(lambda: len(entries()) == 4), entries()
    print(json.dumps(entries()))
"""


def test_journal_has_outcomes_with_fields(tmp_path: Path) -> None:
    """By the real journald, in a mount namespace of its own."""
    config = f"{CONFIG}log: all\n".replace("log/outcomes", "journal")
    python = in_namespace(WITH_JOURNALD, JOURNALD, sys.executable, "-c", REGISTER_AND_ASK)
    done = subprocess.run(
        [*python, config, json.dumps(sys.path), tmp_path],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [entry["SBCAUTH_REASON"] for entry in found] == [
        *("challenged", "accepted", "challenged", "wrong-credentials")
    ]
    assert [entry["PRIORITY"] for entry in found] == ["6", "6", "6", "5"]
    last = found[-1]
    assert last["_TRANSPORT"] == "journal"
    assert last["MESSAGE"].startswith("decision=challenge status=401 reason=wrong-credentials ")
    assert last["SBCAUTH_SOURCE"].startswith("127.0.0.1:")
    for field, value in {
        "USERNAME": "1001", "IP_GROUP": "Phones", "METHOD": "REGISTER", "FROM": "1001",
    }.items():  # fmt: skip
        assert last[f"SBCAUTH_{field}"] == value
    assert last["SBCAUTH_CALL_ID"]
    assert found[1]["SBCAUTH_WORD"] == "digest"


def test_journal_that_reads_nothing_keeps_nobody_waiting(tmp_path: Path) -> None:
    script = REGISTER_AND_ASK.partition("    command = ")[0].replace(
        "    with Phone", "    import socket, json\n    with Phone"
    )
    script = f"""
import socket
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind("/run/systemd/journal/socket")
{script}
        for _ in range(200):
            assert phone.register().status in (200, 401)
    print(json.loads(server.administer("status", "--json"))["outcomes_lost"])
"""
    config = f"{CONFIG}log: all\n".replace("log/outcomes", "journal")
    done = subprocess.run(
        in_namespace(script, config, json.dumps(sys.path), tmp_path),
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) < 404
