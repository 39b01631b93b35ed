"""Where outcomes are: the journal of a systemd unit, or a file; and the last ones of a user."""

import gzip
import io
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from sbcauth.exceptions import SbcAuthError
from sbcauth.monitoring.channels import IDENTIFIER
from sbcauth.monitoring.log_line import escaped
from sbcauth.monitoring.why import Outcome, Search, outcomes

_ROTATED = re.compile(r".*(\.\d+|-\d{8}[\d-]*)(\.gz)?")
"""How logrotate names files, without `dateext` and with it (logrotate(8))."""
_GZIP = b"\x1f\x8b"
"""How a file of gzip's begins (RFC 1952, 2.3.1)."""


class NoJournal(SbcAuthError):
    """The journal cannot be read."""


def last_in_journal(unit: str, search: Search, most: int, *, quiet: bool = False) -> list[Outcome]:
    """Return the `most` last outcomes in a unit's journal that fit; raises NoJournal.

    What journalctl complains about is on standard error, unless it is to be `quiet`.
    """
    return list(islice(outcomes(_journal(unit, search.user, quiet), search), most))[::-1]


def last_in_file(name: str, search: Search, most: int) -> list[Outcome]:
    """Return the same of a file, or of standard input, which is `-`; raises OSError."""
    return list(deque(outcomes(_file(name), search), maxlen=most))


def last_in_rotated(
    path: Path, search: Search, most: int, warn: Callable[[str], None]
) -> list[Outcome]:
    """Return the same of a file and of those that logrotate has made of it; raises OSError.

    Older ones are read as long as outcomes are wanted. `warn` is told where there is none at all.
    """
    found: list[Outcome] = []
    there = [each for each in path.parent.glob(f"{path.name}*") if _ROTATED.fullmatch(each.name)]
    files = sorted(there, key=lambda each: each.stat().st_mtime, reverse=True)
    if path.exists():
        files.insert(0, path)
    if not files:
        warn(f"{path} (log_to) is not there: no outcome has been written so far")
    for file in files:
        found = [*last_in_file(str(file), search, most - len(found)), *found]
        if len(found) >= most:
            break
    return found


def _file(name: str) -> Iterator[str]:
    """Yield the lines of a log file, the oldest first; gzip's as logrotate leaves them, too."""
    with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
        reader = cast(io.BufferedReader, file)
        if reader.peek(2)[:2] == _GZIP:
            file = cast(BinaryIO, gzip.GzipFile(fileobj=reader))
        for line in file:
            yield line.decode("utf-8", "replace")


def _journal(unit: str, user: str | None, quiet: bool) -> Iterator[str]:
    """Yield the outcomes in the unit's journal, of `user` where one is given, the newest first.

    They have our name, and came by the journal's own protocol: what Kamailio writes to standard
    error has neither, and what other units write is not of this one.
    """
    command = ["journalctl", f"--unit={unit}", "--reverse", "--output=short-iso", "--no-pager"]
    ours = (f"SYSLOG_IDENTIFIER={IDENTIFIER}", "_TRANSPORT=journal")
    command += ours
    if user is not None:
        name = escaped(user)
        command += [f"SBCAUTH_USERNAME={name}", "+", *ours, f"SBCAUTH_FROM={name}"]
    try:
        journal = subprocess.Popen(  # noqa: S603 - no shell, and the unit can be no option
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise NoJournal("there is no journalctl here: --log FILE reads a log file") from None
    with journal:
        try:
            yield from journal.stdout or ()
        finally:  # nobody may want to read to its end
            journal.kill()
