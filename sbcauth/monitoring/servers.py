"""Which running server a command is about, and that only one runs in a folder.

`sbcauth run` has its RPC socket in `run/` beside the configuration, the systemd unit in
/run/sbcauth, a Kamailio of Debian's in /run/kamailio. A killed server leaves its socket behind:
only one that answers is taken.
"""

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path

from sbcauth.exceptions import SbcAuthError
from sbcauth.files import create, open_own
from sbcauth.monitoring.in_force import running
from sbcauth.monitoring.ports import first_with
from sbcauth.monitoring.rpc import NotRunning, Rpc, RpcError

SOCKET = "rpc.sock"
ELSEWHERE = (
    Path("/run/sbcauth") / SOCKET,
    Path("/run/kamailio/sbcauth.sock"),
    Path("/run/kamailio/kamailio_rpc.sock"),
)
"""Where servers have their socket that were not started by `sbcauth run` beside the file: the
systemd unit's, that of our own kamailio.cfg, that of Debian's Kamailio."""


_KAMAILIO_CLOSES = 100
"""Kamailio closes the descriptors 3 to 31 as it starts (core/daemonize.c, MAX_FD)."""


class RunsAlready(SbcAuthError):
    """Another server runs in this folder, or by this configuration."""


def server_of(config_file: Path) -> Rpc:
    """Return the server that works by this configuration.

    It is the one beside the file; else the one that answers elsewhere and says that it works by
    this file: a command never reaches another server of the machine. Where there is none, every
    call says so, and what else was found.
    """
    beside = config_file.resolve().parent / "run" / SOCKET
    if _may_answer(beside):
        return Rpc(beside)
    hint = ""
    for path in filter(_may_answer, ELSEWHERE):
        try:
            file = _configuration_of(Rpc(path))
        except NotRunning as error:
            hint = f"; {error}"
            continue
        if file and _is_same(file, config_file):
            return Rpc(path)
        works_by = f"works by another file: sbcauth --config {file}" if file else "is not sbcauth's"
        hint = f"; the server on {path} {works_by}"
    return Rpc(beside, hint=hint)


def _is_same(one: str, other: Path) -> bool:
    return Path(one).resolve() == other.resolve()


def _may_answer(path: Path) -> bool:
    """Tell whether a server listens on the socket; one that we may not ask may do so, too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(path))
        except PermissionError:
            return True
        except OSError:
            return False
    return True


def _configuration_of(rpc: Rpc) -> str:
    """Return the file that a server works by; empty where it does not tell; raises NotRunning."""
    with suppress(RpcError, ValueError):
        found = running(rpc)
        return found.file if found else ""
    return ""


def lock(folder: Path) -> int:
    """Be the one server in `folder`, as long as this process or a child of it lives.

    Returns the descriptor that holds the lock: it stays open over exec. Raises RunsAlready,
    which names the process that has it, and OSError.
    """
    path = folder / "lock"
    with suppress(FileExistsError):
        os.close(create(path))
    descriptor = open_own(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        written = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        pid = first_with(str(path.resolve())) or written
        raise RunsAlready(
            f"a server runs in {folder} already, process {pid}: `sbcauth status` shows it, "
            f"`kill {pid}` ends it"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    kept = fcntl.fcntl(descriptor, fcntl.F_DUPFD, _KAMAILIO_CLOSES)
    os.close(descriptor)
    return kept


def refuse_a_second(config_file: Path) -> None:
    """Raise RunsAlready where a server elsewhere works by this configuration.

    Two of them would share the database and the nonce keys, but not which nonces were used.
    """
    for path in ELSEWHERE:
        file = ""
        if _may_answer(path):
            with suppress(NotRunning):
                file = _configuration_of(Rpc(path))
        if file and _is_same(file, config_file):
            raise RunsAlready(
                f"a server works by {config_file} already, and answers on {path}: "
                "`sbcauth status` shows it, `sbcauth reload` loads a change"
            )
