"""The channels of outcomes: by their own protocols, one write a line, and never waiting."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from sbcauth.config.schema import LogDetail
from sbcauth.monitoring import channels
from sbcauth.monitoring.channels import Channel, File, Journal, Stdout, Syslog, channel
from sbcauth.monitoring.log_line import NOTICE, Record, record
from sbcauth.monitoring.outcome_log import OutcomeLog

Open = Callable[[Channel], Channel]
STANDARD_OUTPUT = Stdout(1)
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen where a daemon of a log would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "log"))
        listening.settimeout(5)
        yield listening


@pytest.fixture
def opened() -> Iterator[Open]:
    """Have a channel closed after the test."""
    with ExitStack() as stack:
        yield lambda channel: stack.enter_context(closing(channel))


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass, as the channels know it."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    return passes


def outcome(**values: str) -> Record:
    return record(NOTICE, decision="reject", **values)


def test_journal_has_a_field_for_each_value(
    tmp_path: Path, daemon: socket.socket, opened: Open
) -> None:
    assert opened(Journal(tmp_path / "log")).write(
        outcome(ip_group="My Phones", call_id="", username="1")
    )
    assert daemon.recv(65535).decode().splitlines() == [
        "PRIORITY=5",
        "SYSLOG_IDENTIFIER=sbcauth-outcomes",
        'MESSAGE=decision=reject ip_group="My Phones" call_id=- username=1',
        "SBCAUTH_DECISION=reject",
        "SBCAUTH_IP_GROUP=My Phones",
        "SBCAUTH_USERNAME=1",
    ]


def test_no_value_makes_another_field(tmp_path: Path, daemon: socket.socket, opened: Open) -> None:
    opened(Journal(tmp_path / "log")).write(outcome(username="1\nSBCAUTH_REASON=accepted\r\n\0é"))
    assert daemon.recv(65535).decode("ascii").splitlines()[4:] == [
        r"SBCAUTH_USERNAME=1\nSBCAUTH_REASON=accepted\r\n\x00\xe9"
    ]


def test_syslog_has_our_own_name(tmp_path: Path, daemon: socket.socket, opened: Open) -> None:
    assert opened(Syslog(tmp_path / "log")).write(outcome(username="1001"))
    line = daemon.recv(65535).decode()
    named = rf"<29>[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d sbcauth-outcomes\[{os.getpid()}\]: "
    assert re.fullmatch(named + "decision=reject username=1001", line)


def test_daemon_that_reads_nothing_keeps_nobody_waiting(
    tmp_path: Path, daemon: socket.socket, opened: Open
) -> None:
    lost: list[int] = []
    log = OutcomeLog(opened(Journal(tmp_path / "log")), LogDetail.ALL, lambda: lost.append(1))
    while not lost:
        log.write(outcome(number="first"))
    log.write(outcome(number="second"))
    assert len(lost) == 2
    written = 0
    daemon.setblocking(False)
    while True:
        try:
            daemon.recv(65535)
        except BlockingIOError:
            break
        written += 1
    assert written > 0
    log.write(outcome(number="third"))
    assert b"MESSAGE=lost=2\n" in daemon.recv(65535)
    assert b"SBCAUTH_NUMBER=third\n" in daemon.recv(65535)
    assert len(lost) == 2


def test_daemon_that_was_restarted_is_found_again(
    tmp_path: Path, daemon: socket.socket, passing: Callable[[float], None], opened: Open
) -> None:
    journal = opened(Journal(tmp_path / "log"))
    assert journal.write(outcome())
    daemon.close()
    (tmp_path / "log").unlink()
    assert not journal.write(outcome())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as restarted:
        restarted.bind(str(tmp_path / "log"))
        assert not journal.write(outcome())  # tried once a second at most
        passing(1.1)
        assert journal.write(outcome())
        assert b"decision=reject" in restarted.recv(65535)


def test_daemon_that_is_not_there_takes_nothing(tmp_path: Path, opened: Open) -> None:
    assert not opened(Syslog(tmp_path / "nowhere")).write(outcome())


def test_file_has_a_line_with_the_time_and_is_no_business_of_others(
    tmp_path: Path, opened: Open
) -> None:
    file = tmp_path / "outcomes"
    written = opened(File(file))
    assert written.write(outcome(username="1 0"))
    assert written.write(outcome(username="1001"))
    first, second = file.read_text().splitlines()
    assert re.fullmatch(TIME + ' decision=reject username="1 0"', first)
    assert re.fullmatch(TIME + " decision=reject username=1001", second)
    assert not file.stat().st_mode & 0o007


def test_file_that_was_moved_is_opened_anew(
    tmp_path: Path, passing: Callable[[float], None], opened: Open
) -> None:
    file, moved = tmp_path / "outcomes", tmp_path / "outcomes.1"
    log = opened(File(file))
    assert log.write(outcome(number="1"))
    file.rename(moved)
    assert log.write(outcome(number="2"))
    passing(1.1)
    assert log.write(outcome(number="3"))
    assert [line[-1] for line in moved.read_text().splitlines()] == ["1", "2"]
    assert [line[-1] for line in file.read_text().splitlines()] == ["3"]


@pytest.mark.parametrize("plant", [Path.symlink_to, Path.hardlink_to])
def test_planted_link_is_not_written_to(
    tmp_path: Path,
    plant: Callable[[Path, Path], None],
    passing: Callable[[float], None],
    opened: Open,
) -> None:
    victim, file = tmp_path / "victim", tmp_path / "outcomes"
    victim.write_text("mine")
    plant(file, victim)
    log = opened(File(file))
    assert not log.write(outcome())
    assert victim.read_text() == "mine"
    file.unlink()
    passing(1.1)
    assert log.write(outcome())


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not File(tmp_path / "pipe").write(outcome())


STDOUT = """
from sbcauth.monitoring.channels import Stdout
from sbcauth.monitoring.log_line import record
stdout, taken = Stdout(1), 0
while stdout.write(record(5, decision="reject")):
    taken += 1
    if taken == 100_000:
        break
import sys
print(taken, file=sys.stderr)
"""


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_standard_output_that_nobody_reads_is_not_waited_for(kind: str) -> None:
    reading, writing = os.pipe() if kind == "pipe" else map(_detached, socket.socketpair())
    done = subprocess.run(
        [sys.executable, "-c", STDOUT],
        stdout=writing, stderr=subprocess.PIPE, timeout=60, check=True,
    )  # fmt: skip
    os.close(writing)
    taken = int(done.stderr)
    assert 100 < taken < 100_000
    with open(reading, "rb") as output:  # noqa: PTH123 - a descriptor
        lines = output.read().decode().splitlines()
    assert len(lines) in (taken, taken + 1)  # a socket may take a part of the last
    assert all(re.fullmatch(TIME + " decision=reject", line) for line in lines[:taken])


def _detached(one: socket.socket) -> int:
    return one.detach()


def test_everything_reaches_a_standard_output_that_is_a_file(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        done = subprocess.run(
            [sys.executable, "-c", STDOUT.replace("100_000", "100")],
            stdout=out, stderr=subprocess.PIPE, timeout=60, check=True,
        )  # fmt: skip
    assert int(done.stderr) == len((tmp_path / "out").read_text().splitlines()) == 100


@pytest.mark.parametrize(
    ("log_to", "kind"), [("journal", Journal), ("syslog", Syslog), ("stdout", Stdout), ("/x", File)]
)
def test_word_or_path_says_which(log_to: str, kind: type) -> None:
    assert isinstance(channel(log_to, {}, STANDARD_OUTPUT, foreground=True), kind)


def test_what_is_there_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, daemon: socket.socket
) -> None:
    def chosen(environment: dict[str, str], *, foreground: bool) -> type:
        return type(channel("auto", environment, STANDARD_OUTPUT, foreground=foreground))

    error = os.fstat(2)
    service = {"JOURNAL_STREAM": f"{error.st_dev}:{error.st_ino}"}
    inherited = {"JOURNAL_STREAM": "8:1"}
    for name in ("JOURNAL", "SYSLOG"):
        monkeypatch.setattr(channels, name, tmp_path / "nowhere")
    assert chosen(service, foreground=True) is Stdout
    assert chosen({}, foreground=False) is Stdout
    monkeypatch.setattr(channels, "SYSLOG", tmp_path / "log")
    assert chosen({}, foreground=True) is Stdout
    assert chosen({}, foreground=False) is Syslog
    monkeypatch.setattr(channels, "JOURNAL", tmp_path / "log")
    assert chosen({}, foreground=False) is Journal
    assert chosen(service, foreground=True) is Journal
    assert chosen(inherited, foreground=True) is Stdout
    assert chosen({}, foreground=True) is Stdout
