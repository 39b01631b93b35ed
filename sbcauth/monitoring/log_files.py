"""Where outcomes are: the journal of a systemd unit, or a file; and the last ones of a user."""

import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

from sbcauth.exceptions import SbcAuthError
from sbcauth.monitoring.channels import IDENTIFIER
from sbcauth.monitoring.log_line import escaped
from sbcauth.monitoring.why import Outcome, outcomes


class NoJournal(SbcAuthError):
    """The journal cannot be read."""


def last_in_journal(unit: str, user: str, ip_group: str | None, most: int) -> list[Outcome]:
    """Return the `most` last outcomes of `user` in a unit's journal; raises NoJournal."""
    return list(islice(outcomes(_journal(unit, user), user, ip_group), most))[::-1]


def last_in_file(name: str, user: str, ip_group: str | None, most: int) -> list[Outcome]:
    """Return the same of a file, or of standard input, which is `-`; raises OSError."""
    return list(deque(outcomes(_file(name), user, ip_group), maxlen=most))


def _file(name: str) -> Iterator[str]:
    """Yield the lines of a log file, the oldest first."""
    with nullcontext(sys.stdin) if name == "-" else Path(name).open(errors="replace") as lines:
        yield from lines


def _journal(unit: str, user: str) -> Iterator[str]:
    """Yield the outcomes of `user` in the unit's journal, the newest first.

    They have our name, and came by the journal's own protocol: what Kamailio writes to standard
    error has neither, and what other units write is not of this one.
    """
    command = ["journalctl", f"--unit={unit}", "--reverse", "--output=short-iso", "--no-pager"]
    ours = (f"SYSLOG_IDENTIFIER={IDENTIFIER}", "_TRANSPORT=journal")
    name = escaped(user)
    command += [*ours, f"SBCAUTH_USERNAME={name}", "+", *ours, f"SBCAUTH_FROM={name}"]
    try:
        journal = subprocess.Popen(  # noqa: S603 - no shell, and the unit can be no option
            command, stdout=subprocess.PIPE, text=True, errors="replace"
        )
    except FileNotFoundError:
        raise NoJournal("there is no journalctl here: --log FILE reads a log file") from None
    with journal:
        try:
            yield from journal.stdout or ()
        finally:  # nobody may want to read to its end
            journal.kill()
