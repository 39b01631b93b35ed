"""What commonly goes wrong on a machine, looked for in one go."""

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from sbcauth.config.load import Config, load
from sbcauth.config.versions import values, version
from sbcauth.exceptions import ConfigError, Unavailable
from sbcauth.files import check_folder
from sbcauth.installation import script
from sbcauth.monitoring import counts, modules
from sbcauth.monitoring.access import Need, Person, lacking, owner_of_file, user_of_process
from sbcauth.monitoring.in_force import running
from sbcauth.monitoring.ports import Listen, owner_of
from sbcauth.monitoring.rpc import NotRunning, Rpc, RpcError
from sbcauth.policy.shared_state import Table
from sbcauth.users.database import sqlite_path
from sbcauth.users.membership import orphans
from sbcauth.users.resealing import plain_users
from sbcauth.users.table import UserTable

_LISTEN = Listen("udp", "127.0.0.1", 5060)


class Grade(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(NamedTuple):
    """What was looked at, how it is, and what to do where it is not well."""

    grade: Grade
    subject: str
    text: str


def examine(file: Path, environment: Mapping[str, str], rpc: Rpc, now: float) -> Iterator[Finding]:
    """Yield a finding for each thing that is looked at, at `now` (seconds since 1970)."""
    yield from _kamailio(environment)
    try:
        config = load(file, environment)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield Finding(Grade.ERROR, "configuration", line)
        return
    yield from _configuration(config)
    yield from _database(config)
    yield from _permissions(config, rpc)
    yield from _keys(config, now)
    yield from _server(config, rpc)


def _kamailio(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Look for Kamailio, its modules, and the Python that it embeds."""
    if not shutil.which("kamailio", path=f"{environment.get('PATH', '')}:/usr/sbin"):
        yield Finding(Grade.ERROR, "Kamailio", "is not installed: apt install kamailio")
        return
    there = modules.installed()
    for module in modules.missing(there):
        grade = Grade.WARNING if module.definition else Grade.ERROR
        only = f" (only for {module.definition} in kamailio.cfg)" if module.definition else ""
        yield Finding(grade, "module", f"{module}{only}")
    folder = modules.folder()
    if folder and "app_python3.so" in there:
        yield _python(folder / "app_python3.so")


def _python(module: Path) -> Finding:
    """Compare this Python with the one that Kamailio embeds: packages are for one of them."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    embedded = re.search(rb"libpython(3\.\d+)", module.read_bytes())
    theirs = embedded[1].decode() if embedded else ours
    if theirs == ours:
        return Finding(Grade.OK, "Python", f"{ours}, as in Kamailio")
    return Finding(
        Grade.ERROR,
        "Python",
        f"sbcauth runs on {ours}, Kamailio embeds {theirs}: "
        "make the virtual environment anew with /usr/bin/python3",
    )


def _configuration(config: Config) -> Iterator[Finding]:
    for warning in config.warnings:
        yield Finding(Grade.WARNING, "configuration", str(warning))
    text = config.file.read_text("utf-8", errors="replace")
    has_secrets = re.search(r"^\s*(?:- )?(?:password_\w+|secret):\s*(?!.*\$\{)", text, re.MULTILINE)
    if has_secrets and _is_open(config.file):
        advice = "has passwords in it and is open to others: chmod 640, or write ${file:…}"
        yield Finding(Grade.WARNING, "configuration", f"{config.file} {advice}")
    groups = ", ".join(group.name for group in config.ip_groups)
    yield Finding(Grade.OK, "configuration", f"{config.file}: {groups}")


def _database(config: Config) -> Iterator[Finding]:
    path = sqlite_path(config.database)
    if not path.exists():
        yield Finding(Grade.WARNING, "User Info", f"{path} is not there yet: sbcauth user add")
        return
    if _is_open(path):
        text = f"{path} is open to others, and H(A1) is as good as a password: chmod 600"
        yield Finding(Grade.WARNING, "User Info", text)
    try:
        with UserTable(config.database, config.ha1_key_file) as table:
            users = table.count()
            for orphan in orphans(table, config.ip_groups):
                yield Finding(Grade.ERROR, "User Info", orphan)
            yield from _sealing(table)
    except Unavailable as error:
        yield Finding(Grade.ERROR, "User Info", str(error))
        return
    yield Finding(Grade.OK, "User Info", f"{path}: {users} users")


def _permissions(config: Config, rpc: Rpc) -> Iterator[Finding]:
    """See whether the user that the server runs as may do with its files what it must."""
    database = sqlite_path(config.database)
    try:
        person = _user_of_server(rpc) or owner_of_file(database.parent)
    except OSError as error:
        yield Finding(Grade.ERROR, "User Info", f"{database.parent}: {error.strerror}")
        return
    try:
        needs = list(_needs(config))
        folders = dict.fromkeys(folder for need in needs for folder in need.path.parents[::-1])
        closed = lacking(person, [Need(folder, os.X_OK) for folder in folders])[:1]
        lacks = closed or lacking(person, needs)
    except PermissionError:
        text = f"the server is {person.name}'s, whose rights only root can try: run this as root"
        yield Finding(Grade.WARNING, "permissions", text)
        return
    for need in lacks:
        cure = f"chmod o+x {need.path}" if need in closed else f"chown {person.name} {need.path}"
        text = f"{person.name}, whom the server runs as, may not {need}: {cure}"
        yield Finding(Grade.ERROR, "permissions", text)
    if not lacks:
        yield Finding(Grade.OK, "permissions", f"those of {person.name} suffice")


def _user_of_server(rpc: Rpc) -> Person | None:
    """Return whom the SIP workers run as; None where no server runs here."""
    try:
        processes = rpc.call("core.psx")
        return user_of_process(int(processes[-1]["PID"]))
    except (NotRunning, RpcError, OSError):
        return None


def _needs(config: Config) -> Iterator[Need]:
    """Yield what a worker does with which file; a missing one is made in its folder."""
    yield Need(config.file, os.R_OK)
    yield Need(script(), os.R_OK)
    database = sqlite_path(config.database)
    for path in (database, database.with_name(f"{database.name}-wal")):
        if path.exists():
            yield Need(path, os.R_OK | os.W_OK)
    for path in (config.ha1_key_file, config.nonce_key_file):
        if path.exists():
            yield Need(path, os.R_OK)
    for folder in {database.parent, config.nonce_key_file.parent}:
        yield Need(folder, os.W_OK | os.X_OK)


def _sealing(table: UserTable) -> Iterator[Finding]:
    """See whether what is stored is of no use to who reads the database alone."""
    path = table.seals.path
    try:
        if not table.is_sealed():
            text = "H(A1) are plain, as older versions kept them: sbcauth user reseal"
            yield Finding(Grade.WARNING, "sealing keys", text)
            return
    except Unavailable as error:
        yield Finding(Grade.ERROR, "sealing keys", str(error))
        return
    if plain := plain_users(table):
        text = f"H(A1) of {', '.join(plain)}: not written by sbcauth, and lets nobody in; "
        text += "`sbcauth user set-password` or `remove`"
        yield Finding(Grade.ERROR, "sealing keys", text)
    if _is_open(path):
        text = f"{path} is open to others, who could open what is sealed: chmod 600"
        yield Finding(Grade.ERROR, "sealing keys", text)
    yield Finding(Grade.OK, "sealing keys", str(path))


def _keys(config: Config, now: float) -> Iterator[Finding]:
    path = config.nonce_key_file
    try:
        check_folder(path.parent)
    except OSError as error:
        yield Finding(Grade.ERROR, "nonce keys", str(error.strerror))
    if not path.exists():
        yield Finding(Grade.OK, "nonce keys", f"{path} will be made at the first start")
        return
    if _is_open(path):
        text = f"{path} is open to others, who could make nonces: chmod 600"
        yield Finding(Grade.ERROR, "nonce keys", text)
    if path.stat().st_mtime > now + 60:
        text = f"is before the time at which {path} was written: set it (systemd-timesyncd, chrony)"
        yield Finding(Grade.ERROR, "clock", text)
    yield Finding(Grade.OK, "nonce keys", str(path))


def _server(config: Config, rpc: Rpc) -> Iterator[Finding]:
    """Ask the running server; where there is none, see whether it could start."""
    try:
        uptime = int(rpc.call("core.uptime")["uptime"])
        pid = int(rpc.call("core.psx")[0]["PID"])
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
    yield from _tables(rpc)
    for text in left_open(_routing(pid)):
        yield Finding(Grade.WARNING, "server", text)
    yield Finding(Grade.OK, "server", f"runs for {uptime} s, process {pid}")


def left_open(routing: str) -> Iterator[str]:
    """Yield what a kamailio.cfg leaves open that calls sbcauth; nothing where there is none."""
    if "authenticate" not in routing:
        return
    for sought, what in _LEFT_OPEN.items():
        if sought not in routing:
            yield f"kamailio.cfg {what}: docs/existing-deployment.md"


_LEFT_OPEN = {
    "sbcauth_word": "does not look at $avp(sbcauth_word): what nobody vouches for goes on",
    "registration": 'keeps registrations without python_exec("registration"): any Contact and Path',
    "within_dialog": 'does not call python_exec("within_dialog"): who made up a dialog is relayed',
    "SBCAUTH_REGISTRAR": "does not define SBCAUTH_REGISTRAR: nobody counts as registered",
    "gruu_enabled": "hands out GRUUs (registrar, gruu_enabled), which nobody routes to",
}


def _routing(pid: int) -> str:
    """Return the kamailio.cfg of a running server, with what it includes beside itself.

    What cannot be read is not complained of.
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
    """Return a process's command line; what cannot be read is not complained of."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return "tlsf"


def _is_open(path: Path) -> bool:
    """Tell whether others than the owner and its group have a right to a file."""
    return bool(path.stat().st_mode & stat.S_IRWXO)
