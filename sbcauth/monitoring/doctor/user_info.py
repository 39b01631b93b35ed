"""User Info: the database, and whether it is sealed."""

from collections.abc import Iterator
from pathlib import Path

from sbcauth.config.load import Config
from sbcauth.exceptions import Unavailable
from sbcauth.monitoring.doctor.finding import Finding, Grade, is_open
from sbcauth.monitoring.file_locks import writers
from sbcauth.users.database_url import is_postgresql, name_of
from sbcauth.users.membership import orphans
from sbcauth.users.resealing import plain_users
from sbcauth.users.table import UserTable


def database(config: Config) -> Iterator[Finding]:
    """See whether User Info can be read, by its owner alone, and fits the configuration."""
    path = config.users_file
    is_copy = is_postgresql(config.database)
    if not is_copy and not path.exists():
        yield Finding(Grade.WARNING, "User Info", f"{path} is not there yet: sbcauth user add")
        return
    if path.exists() and is_open(path):
        text = f"{path} is open to others, and H(A1) is as good as a password: chmod 600"
        yield Finding(Grade.WARNING, "User Info", text)
    try:
        with UserTable(config.database, config.ha1_key_file) as table:
            users = table.count()
            for orphan in orphans(table, config.ip_groups):
                yield Finding(Grade.ERROR, "User Info", orphan)
            yield from _sealing(table)
    except Unavailable as error:
        yield Finding(Grade.ERROR, "User Info", f"{error}{_cure(str(error), path)}")
        return
    there = "1 user" if users == 1 else f"{users} users"
    yield Finding(Grade.OK, "User Info", f"{name_of(config.database)}: {there}")
    if is_copy:
        yield _copy(config)


def _cure(error: str, path: Path) -> str:
    """Return what helps where User Info cannot be opened, for what SQLite says of it."""
    if "is locked" in error:
        holders = ", ".join(writers(path))
        return f" by process {holders}: end it" if holders else " by another program: end it"
    if "not a database" in error or "malformed" in error:
        return ": put a backup in its place, or move it away and `sbcauth user import` users again"
    return ""


def _copy(config: Config) -> Finding:
    """See whether the copy that the workers read has every change."""
    from sbcauth.users.copying import revisions  # psycopg is an extra

    path = config.users_file
    if not path.exists():
        text = f"{path} is not there yet: a running server makes it"
        return Finding(Grade.WARNING, "copy of User Info", text)
    try:
        there, here = revisions(config.database, path)
    except Unavailable as error:
        return Finding(Grade.ERROR, "copy of User Info", str(error))
    if there != here:
        text = f"{path} lacks the latest changes: a running server copies them"
        return Finding(Grade.WARNING, "copy of User Info", text)
    return Finding(Grade.OK, "copy of User Info", f"{path} has every change")


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
    if is_open(path):
        text = f"{path} is open to others, who could open what is sealed: chmod 600"
        yield Finding(Grade.ERROR, "sealing keys", text)
    yield Finding(Grade.OK, "sealing keys", str(path))
