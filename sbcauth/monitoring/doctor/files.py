"""The configuration and the keys, and who may read and write them."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from sbcauth.config.load import Config
from sbcauth.files import check_folder
from sbcauth.installation import script
from sbcauth.monitoring.access import Need, Person, lacking, owner_of_file, user_of_process
from sbcauth.monitoring.doctor.finding import Finding, Grade, is_open
from sbcauth.monitoring.rpc import NotRunning, Rpc, RpcError


def configuration(config: Config) -> Iterator[Finding]:
    """Tell what may be a mistake in sbcauth.yaml, and whether others can read its secrets."""
    for warning in config.warnings:
        yield Finding(Grade.WARNING, "configuration", str(warning))
    text = config.file.read_text("utf-8", errors="replace")
    has_secrets = _SECRET.search(text)
    if has_secrets and is_open(config.file):
        advice = "has passwords in it and is open to others: chmod 640, or write ${file:…}"
        yield Finding(Grade.WARNING, "configuration", f"{config.file} {advice}")
    folder = Path(config.log_to).parent
    if "/" in config.log_to and not folder.is_dir():
        text = f"{folder}, for log_to, is not there: nothing is logged; mkdir it"
        yield Finding(Grade.ERROR, "log", text)
    groups = ", ".join(group.name for group in config.ip_groups)
    yield Finding(Grade.OK, "configuration", f"{config.file}: {groups}")


_SECRET = re.compile(
    r"^\s*(?:- )?(?:(?:password_\w+|secret):\s*|database: *[^:]*:[^:]*:(?=.*@))(?!.*\$\{)",
    re.MULTILINE,
)


def permissions(config: Config, rpc: Rpc) -> Iterator[Finding]:
    """See whether the user that the server runs as may do with its files what it must."""
    database = config.users_file
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
    database = config.users_file
    for path in (database, database.with_name(f"{database.name}-wal")):
        if path.exists():
            yield Need(path, os.R_OK | os.W_OK)
    for path in (config.ha1_key_file, config.nonce_key_file):
        if path.exists():
            yield Need(path, os.R_OK)
    for folder in {database.parent, config.nonce_key_file.parent}:
        yield Need(folder, os.W_OK | os.X_OK)


def nonce_keys(config: Config, now: float) -> Iterator[Finding]:
    """See whether only the server can make nonces, and whether the clock is right."""
    path = config.nonce_key_file
    try:
        check_folder(path.parent)
    except OSError as error:
        yield Finding(Grade.ERROR, "nonce keys", str(error.strerror))
    if not path.exists():
        yield Finding(Grade.OK, "nonce keys", f"{path} will be made at the first start")
        return
    if is_open(path):
        text = f"{path} is open to others, who could make nonces: chmod 600"
        yield Finding(Grade.ERROR, "nonce keys", text)
    if path.stat().st_mtime > now + 60:
        text = f"is before the time at which {path} was written: set it (systemd-timesyncd, chrony)"
        yield Finding(Grade.ERROR, "clock", text)
    yield Finding(Grade.OK, "nonce keys", str(path))
