"""Where outcomes are written: the journal, syslog, a file, or standard output.

They have a channel of their own that nothing else writes to: Kamailio quotes hostile messages in
its log, line breaks and all, and none of that must pass for an outcome. Each record is one system
call, so that lines of several processes never mix, and none waits: a SIP worker that waited for its
log would answer nobody. What is not taken at once is lost, and counted (`outcome_log`).
"""

import os
import socket
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from sbcauth.config.values import LOG_TO_AUTO
from sbcauth.monitoring.log_line import Record

IDENTIFIER = "sbcauth-outcomes"
"""SYSLOG_IDENTIFIER in the journal, and the name before each line of syslog."""
JOURNAL = Path("/run/systemd/journal/socket")
SYSLOG = Path("/dev/log")

_DAEMON = 3 << 3  # the facility LOG_DAEMON of syslog(3)
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TRY_AGAIN = 1.0
"""Seconds between two looks whether a file was moved, or a socket is back."""


class Channel(Protocol):
    """Takes records, or says that it did not."""

    name: str

    def write(self, record: Record) -> bool:
        """Write a record at once and whole; tell whether it was taken."""

    def close(self) -> None:
        """Close what is open."""


def channel(
    log_to: str, environment: Mapping[str, str], stdout: "Channel", *, foreground: bool
) -> Channel:
    """Return the channel that `log_to` names: a word, or the path of a file.

    `auto` is the journal for a service, and else `stdout` for `sbcauth run`, which is in the
    `foreground`. Another Kamailio closes its own: for that it is the journal or syslog.
    """
    if log_to == LOG_TO_AUTO:
        log_to = _what_is_there(environment, foreground=foreground)
    match log_to:
        case "journal":
            return Journal(JOURNAL)
        case "syslog":
            return Syslog(SYSLOG)
        case "stdout":
            return stdout
    return File(Path(log_to))


def _what_is_there(environment: Mapping[str, str], *, foreground: bool) -> str:
    if JOURNAL.exists() and (not foreground or _stderr_is_the_journal(environment)):
        return "journal"
    return "syslog" if SYSLOG.exists() and not foreground else "stdout"


def _stderr_is_the_journal(environment: Mapping[str, str]) -> bool:
    """Tell whether systemd has connected standard error with the journal (systemd.exec(5)).

    The variable alone says too little: programs that a user starts inherit it.
    """
    error = os.fstat(2)
    return environment.get("JOURNAL_STREAM") == f"{error.st_dev}:{error.st_ino}"


class _Datagrams:
    """A socket that takes datagrams, connected anew where whoever reads it was restarted."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._socket: socket.socket | None = None
        self._next_try = 0.0

    def _send(self, data: bytes) -> bool:
        for _ in range(2):
            try:
                if self._socket is None and not self._connect():
                    return False
                self._socket.send(data)  # type: ignore[union-attr] # connected
                return True
            except BlockingIOError:
                return False
            except OSError:
                self.close()
        return False

    def _connect(self) -> bool:
        now = time.monotonic()
        if now < self._next_try:
            return False
        self._next_try = now + _TRY_AGAIN
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(self.name)
        return True

    def close(self) -> None:
        """Close the socket; the next record opens it again."""
        if self._socket:
            self._socket.close()
        self._socket = None


class Journal(_Datagrams):
    """The journal, by its native protocol, with a field for each value.

    https://systemd.io/JOURNAL_NATIVE_PROTOCOL/: lines of FIELD=value; no value has a line break.
    """

    def write(self, record: Record) -> bool:
        """Write a record; tell whether it was taken."""
        fields = [
            f"PRIORITY={record.priority}",
            f"SYSLOG_IDENTIFIER={IDENTIFIER}",
            f"MESSAGE={record.line}",
            *(f"SBCAUTH_{key.upper()}={value}" for key, value in record.values if value != "-"),
        ]
        return self._send(("\n".join(fields) + "\n").encode("ascii"))


class Syslog(_Datagrams):
    """The local syslog daemon, by RFC 3164's form, which all of them read on their socket."""

    def write(self, record: Record) -> bool:
        """Write a record; tell whether it was taken."""
        at = time.strftime("%b %e %H:%M:%S")
        begins = f"<{_DAEMON | record.priority}>{at} {IDENTIFIER}[{os.getpid()}]: "
        return self._send(f"{begins}{record.line}".encode("ascii"))


class File:
    """A file, opened anew where it was moved away or removed, as logrotate does.

    A link is not followed, and a file of several names is not written to: who may make files in
    its folder must not choose where this process writes.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._descriptor = -1
        self._file = (0, 0)
        self._next_look = 0.0

    def write(self, record: Record) -> bool:
        """Write a record; tell whether it was taken."""
        try:
            if (now := time.monotonic()) >= self._next_look:
                try:
                    self._look()
                finally:
                    self._next_look = now + _TRY_AGAIN
            return self._descriptor >= 0 and _write(self._descriptor, record)
        except OSError:
            return False

    def _look(self) -> None:
        try:
            there = self._path.lstat()
            if (there.st_dev, there.st_ino) == self._file and self._descriptor >= 0:
                return
        except FileNotFoundError:
            pass
        self.close()
        descriptor = os.open(self._path, _APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o640)
        opened = os.fstat(descriptor)
        if not stat.S_ISREG(opened.st_mode) or opened.st_nlink != 1:
            os.close(descriptor)
            raise FileExistsError(self.name)
        self._descriptor, self._file = descriptor, (opened.st_dev, opened.st_ino)

    def close(self) -> None:
        """Close the file; the next record opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._next_look = -1, 0.0


class Stdout:
    """Standard output: of `sbcauth run` in a terminal, or where a container's log comes from.

    It is the copy with the number `descriptor`, since Kamailio closes its own. That is opened once
    more, so that writing to it never waits, while others may wait for theirs.
    """

    name = "standard output"

    def __init__(self, descriptor: int) -> None:
        self._socket: socket.socket | None = None
        self._descriptor = descriptor
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):  # which cannot be opened again
            self._socket = socket.socket(fileno=os.dup(descriptor))
            return
        with suppress(OSError):  # another user's terminal
            self._descriptor = os.open(f"/proc/self/fd/{descriptor}", _APPEND)

    def write(self, record: Record) -> bool:
        """Write a record; tell whether it was taken."""
        try:
            if self._socket:
                line = _line(record)
                return self._socket.send(line, socket.MSG_DONTWAIT) == len(line)
            return _write(self._descriptor, record)
        except OSError:
            return False

    def close(self) -> None:
        """Keep it open: it could not be found again."""


class Nowhere:
    """What takes nothing: there is no standard output."""

    name = "nowhere"

    def write(self, record: Record) -> bool:
        """Say that the record was not taken."""
        return False

    def close(self) -> None:
        """Do nothing."""


def _write(descriptor: int, record: Record) -> bool:
    line = _line(record)
    return os.write(descriptor, line) == len(line)


def _line(record: Record) -> bytes:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {record.line}\n".encode("ascii")
