"""Telling that requests are served: systemd, and whoever has started the server by hand."""

import os
import socket
from contextlib import suppress
from pathlib import Path

import KSR

MAIN = 0
"""The rank of Kamailio's main process, which has its turn when the workers have theirs
(core/sr_module.h, PROC_MAIN); its TCP sockets listen by then."""

_STDERR = 2
_TRY = "SBCAUTH_TRY"
"""The variable with what `make run` has people try next."""


def tell(config_file: Path) -> None:
    """Say that requests are served, to systemd and on the terminal; never raises OSError."""
    with suppress(OSError):
        _notify(f"READY=1\nSTATUS=serves by {config_file}\n")
    if KSR.kx.get_def("SBCAUTH_LOG") != '"stderr"':
        return
    text = f"sbcauth: serves by {config_file}, process {os.getpid()}\n{os.environ.get(_TRY, '')}"
    with suppress(OSError):
        os.write(_STDERR, text.encode("utf-8", "surrogateescape"))


def _notify(text: str) -> None:
    """Send `text` to systemd, where it waits for it (sd_notify(3)); raises OSError."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as systemd:
        systemd.settimeout(1)
        systemd.connect("\0" + address[1:] if address[0] == "@" else address)
        systemd.send(text.encode("utf-8", "surrogateescape"))
