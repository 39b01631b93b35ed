"""The running server; where there is none, whether one could start."""

import re
from collections.abc import Iterator
from pathlib import Path

from sbcauth.config.load import Config
from sbcauth.config.versions import values, version
from sbcauth.monitoring import counts, users_copy
from sbcauth.monitoring.doctor.finding import Finding, Grade
from sbcauth.monitoring.doctor.listening import sockets, unreachable
from sbcauth.monitoring.doctor.surroundings import certificates, external_servers
from sbcauth.monitoring.in_force import running
from sbcauth.monitoring.ports import Listen, owner_of
from sbcauth.monitoring.rpc import NotAllowed, NotRunning, Rpc, RpcError
from sbcauth.policy.shared_state import Table

_LISTEN = Listen("udp", "127.0.0.1", 5060)


def server(config: Config, rpc: Rpc, now: float) -> Iterator[Finding]:
    """Ask the running server at `now`; where there is none, see whether it could start."""
    try:
        uptime = int(rpc.call("core.uptime")["uptime"])
        pid = int(rpc.call("core.psx")[0]["PID"])
    except NotAllowed as error:
        yield Finding(Grade.WARNING, "server", str(error))
        return
    except NotRunning as error:
        start = "`sbcauth run` or `systemctl start sbcauth` starts one"
        yield Finding(Grade.WARNING, "server", f"{error}; {start}")
        if owner := owner_of(_LISTEN):
            text = (
                f"{owner} has port {_LISTEN.port}: where that is the server you mean, name its "
                "configuration by --config, or its socket by --socket; a second one must listen "
                "elsewhere, by `sbcauth run --listen`"
            )
            yield Finding(Grade.ERROR, "server", text)
        return
    except RpcError as error:
        yield Finding(Grade.ERROR, "server", str(error))
        return
    in_force = running(rpc)
    if in_force and in_force.version != version(values(config)):
        text = f"{config.file} has changed since the server loaded it: sbcauth reload"
        yield Finding(Grade.WARNING, "server", text)
    if "tlsf" not in _command_line(pid):
        text = "runs with a slow memory manager: start Kamailio with -x tlsf -X tlsf"
        yield Finding(Grade.WARNING, "server", text)
    if lost := counts.value(rpc, counts.LOST):
        text = f"{lost} outcomes were not written: {config.log_to} (log_to) did not take them"
        yield Finding(Grade.WARNING, "log", text)
    if config.database_copy:
        yield from _copying(rpc)
    yield from external_servers(rpc)
    where = sockets(rpc)
    yield from unreachable(config, where)
    yield from certificates(where, now)
    yield from _tables(rpc)
    for text in left_open(_routing(pid)):
        yield Finding(Grade.WARNING, "server", text)
    places = ", ".join(map(str, where)) or "no address"
    yield Finding(Grade.OK, "server", f"runs for {uptime} s, process {pid}, at {places}")


def _copying(rpc: Rpc) -> Iterator[Finding]:
    """See whether the server has a process that copies users, and a database to copy from."""
    state = users_copy.running(rpc)
    if state is None:
        how = "`sbcauth kamailio-snippet --postgresql`"
        text = f"kamailio.cfg has no process that copies users: {how}"
        yield Finding(Grade.ERROR, "copy of User Info", text)
    elif state.error:
        text = f"{state.error}; phones are served as last seen"
        yield Finding(Grade.ERROR, "copy of User Info", text)


def left_open(routing: str) -> Iterator[str]:
    """Yield what a kamailio.cfg leaves open that calls sbcauth; nothing where there is none."""
    if "authenticate" not in routing:
        return
    for sought, what in _LEFT_OPEN.items():
        if sought not in routing:
            yield f"kamailio.cfg {what}: docs/existing-deployment.md"
    for name in ("SBCAUTH_CANCEL", "SBCAUTH_WITHIN_DIALOG"):
        if f"route[{name}]" in routing and f"route({name})" not in routing:
            yield f"kamailio.cfg has route[{name}] and never calls it: docs/existing-deployment.md"


_LEFT_OPEN = {
    "sbcauth_word": "does not look at $avp(sbcauth_word): what nobody vouches for goes on",
    "registration": 'keeps registrations without python_exec("registration"): any Contact and Path',
    "within_dialog": 'does not call python_exec("within_dialog"): who made up a dialog is relayed',
    "may_cancel": 'does not call python_exec("may_cancel"): who is called may cancel it, too',
    "SBCAUTH_REGISTRAR": "does not define SBCAUTH_REGISTRAR: nobody counts as registered",
    "case_sensitive": "takes Alice for alice (registrar, case_sensitive): who may be one is both",
    "gruu_enabled": "hands out GRUUs (registrar, gruu_enabled), which nobody routes to",
}


def _routing(pid: int) -> str:
    """Return the kamailio.cfg of a running server, with what it includes beside itself.

    What cannot be read brings no finding.
    """
    words = _command_line(pid).split("\0")
    given = words[words.index("-f") + 1] if "-f" in words[:-1] else "/etc/kamailio/kamailio.cfg"
    file = Path(f"/proc/{pid}/cwd", given)
    try:
        text = file.read_text("utf-8", "replace")
        for name in re.findall(r'^\s*(?:include|import)_file\s+"([^"]+)"', text, re.MULTILINE):
            included = file.parent / name
            text += included.read_text("utf-8", "replace") if included.is_file() else ""
    except OSError:
        return ""
    return re.sub(r"^\s*#(?!!).*$", "", text, flags=re.MULTILINE)


def _tables(rpc: Rpc) -> Iterator[Finding]:
    """Look for the htables in the running server: a kamailio.cfg may be older than sbcauth."""
    there = {table["name"] for table in rpc.call("htable.stats")}
    for table in Table:
        if table not in there:
            grade = Grade.WARNING if table is Table.CSEQ else Grade.ERROR  # SBC as Client alone
            said = f"kamailio.cfg lacks an htable; add: {table.parameter}"
            yield Finding(grade, "server", said)


def _command_line(pid: int) -> str:
    """Return a process's command line; what cannot be read brings no finding."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return "tlsf"
