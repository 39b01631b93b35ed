"""Kamailio's own log, for what is no outcome: bugs, and what a process has to say of itself.

`sbcauth run` has standard error for it. Kamailio writes a line there in several pieces, between
which those of other processes come with glibc 2.37 and later. Here one write is a line, whole. To
journald it tells the level, too (sd-daemon(3)).
"""

import os
import traceback
from collections.abc import Callable
from contextlib import suppress

import KSR

from sbcauth.monitoring.log_line import word

Write = Callable[[str], None]

_STDERR = 2


def _straight(of_level: int, name: str, priority: int) -> Write:
    """Return a function that writes lines of one of Kamailio's levels, and syslog's `priority`."""
    begins = f"<{priority}>" if "JOURNAL_STREAM" in os.environ else ""

    def write(line: str) -> None:
        if KSR.get_debug() >= of_level:
            text = f"{begins}({os.getpid()}) {name}: {line}"
            with suppress(OSError):  # a request is answered, whoever reads of it
                os.write(_STDERR, text.encode("utf-8", "surrogateescape"))

    return write


err: Write = KSR.err
notice: Write = KSR.notice

if KSR.kx.get_def("SBCAUTH_LOG") == '"stderr"':
    err, notice = _straight(-1, "ERROR", 3), _straight(1, "NOTICE", 5)


def bug() -> None:
    """Write the trace of the exception at hand, which is a bug."""
    trace = traceback.format_exc().strip().replace("\n", " | ")
    err(f"sbcauth: a bug, please report it: {word(trace, 2000)}\n")
