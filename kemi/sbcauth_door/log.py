"""Writing to the log: by Kamailio, or straight to the standard error that `sbcauth run` gives it.

Kamailio writes a line there in several pieces, between which those of other processes come with
glibc 2.37 and later, and each of which costs a system call. Here one write is a line, whole. To
journald it tells the level, too (sd-daemon(3)).
"""

import os
from collections.abc import Callable

import KSR

Write = Callable[[str], None]

_STDERR = 2
_NOTICE = 1

level = 0
"""Kamailio's `debug` at the last `follow`, for those who cannot ask each time."""


def follow() -> None:
    """Follow Kamailio's `debug`, which can be changed while it runs."""
    global level
    level = KSR.get_debug()


def _straight(of_level: int, name: str, priority: int) -> Write:
    """Return a function that writes lines of one of Kamailio's levels, and syslog's `priority`.

    Whoever has a line above NOTICE has asked for the level already, and saved itself the line.
    """
    begins = f"<{priority}>" if "JOURNAL_STREAM" in os.environ else ""

    def write(line: str) -> None:
        if of_level > _NOTICE or KSR.get_debug() >= of_level:
            text = f"{begins}({_process}) {name}: {line}"
            try:  # noqa: SIM105 - a request is answered, whoever reads of it, and 0.3 µs sooner
                os.write(_STDERR, text.encode("utf-8", "surrogateescape"))
            except OSError:
                pass

    return write


def _begin() -> None:
    """Note the process: to ask for it with each line would be a system call."""
    global _process
    _process = os.getpid()


_process = 0
_begin()
os.register_at_fork(after_in_child=_begin)
err: Write = KSR.err
notice: Write = KSR.notice
info: Write = KSR.info
dbg: Write = KSR.dbg

if KSR.kx.get_def("SBCAUTH_LOG") == '"stderr"':
    err, notice = _straight(-1, "ERROR", 3), _straight(_NOTICE, "NOTICE", 5)
    info, dbg = _straight(2, "INFO", 6), _straight(3, "DEBUG", 7)
