"""The database: opening it, making it from schema.sql, and its one model."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import peewee

from sbcauth.exceptions import Unavailable
from sbcauth.files import create
from sbcauth.installation import schema_sql
from sbcauth.users.migrations import SCHEMA_VERSION, migrate
from sbcauth.users.migrations import version as schema_version
from sbcauth.users.sealing import Seals

_BUSY_TIMEOUT = 5.0  # seconds that a command waits for another's transaction
_SEALING_SINCE = 3  # version of the schema
IDENTITIES_SINCE = 4
"""The version of the schema from which on users have identities."""


class UserInfo(peewee.Model):
    """A row of the User Info table; schema.sql says what its columns hold.

    H(A1) are in a table of their own, which `stored` reads and writes.
    """

    id = peewee.AutoField()
    ip_group = peewee.TextField()
    local_user = peewee.TextField()
    username = peewee.TextField()
    realm = peewee.TextField()
    enabled = peewee.BooleanField(default=True)
    created_at = peewee.TextField()
    updated_at = peewee.TextField()
    old_until = peewee.IntegerField(null=True)

    class Meta:
        """The table's name and keys, as in schema.sql."""

        table_name = "user_info"
        indexes = ((("ip_group", "username", "realm"), True), (("ip_group", "local_user"), False))


def sqlite_path(url: str) -> Path:
    """Return the file that `sqlite:///PATH` names; an absolute PATH makes a fourth slash."""
    return Path(unquote(urlsplit(url).path).removeprefix("/"))


def open_for_writing(url: str, seals: Seals) -> peewee.SqliteDatabase:
    """Return the database, bound to UserInfo; it is made from schema.sql where it is missing.

    In one that is made here H(A1) will be sealed by `seals`, whose keys are made too; one of an
    older version is brought up to date. The file is readable by its owner alone: its folder's,
    where root makes it.
    Raises Unavailable where it cannot be opened, or was made by a newer version.
    """
    path = sqlite_path(url)
    database = peewee.SqliteDatabase(
        str(path), timeout=_BUSY_TIMEOUT, pragmas={"temp_store": "memory"}
    )
    try:
        with suppress(FileExistsError):
            os.close(create(path))
        os.close(os.open(path, os.O_RDWR))
        if path.is_symlink() and path.lstat().st_uid not in (0, os.geteuid()):
            raise Unavailable(f"{path}: is another's link; name the database itself")
        database.connect()
        _make_tables(database, path, seals)
    except Unavailable:
        database.close()
        raise
    except (OSError, sqlite3.Error, peewee.PeeweeException) as error:
        database.close()
        raise Unavailable(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    database.bind([UserInfo])
    return database


def _make_tables(database: peewee.SqliteDatabase, path: Path, seals: Seals) -> None:
    connection: sqlite3.Connection = database.connection()  # type: ignore[no-untyped-call]
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        with suppress(sqlite3.OperationalError):  # locked: another command is about it, too
            connection.execute("PRAGMA journal_mode = wal")
    version = schema_version(connection)
    if version > SCHEMA_VERSION:
        raise Unavailable(f"{path}: made by a newer version of sbcauth (schema {version})")
    if version == 0:
        _make_from_schema(connection, seals)
    migrate(connection)
    connection.execute("PRAGMA foreign_keys = on")  # H(A1) and identities go too


def _make_from_schema(connection: sqlite3.Connection, seals: Seals) -> None:
    script = schema_sql().read_text("utf-8")
    connection.executescript(f"BEGIN IMMEDIATE; {script}")
    if read_proof(connection) is None:  # no other command was faster
        seals.make()
        write_proof(connection, seals.prove())
    connection.execute("COMMIT")


def read_proof(connection: sqlite3.Connection) -> str | None:
    """Return the proof of the right sealing keys; None where H(A1) are not sealed."""
    if schema_version(connection) < _SEALING_SINCE:
        return None
    row = connection.execute("SELECT proof FROM sealing").fetchone()
    return str(row[0]) if row else None


def write_proof(connection: sqlite3.Connection, proof: str) -> None:
    """Have H(A1) sealed from now on, by the keys that `proof` is of."""
    connection.execute("INSERT OR REPLACE INTO sealing (id, proof) VALUES (1, ?)", (proof,))


def open_for_reading(path: Path, timeout: float) -> sqlite3.Connection:
    """Return a connection for reading; `timeout` (seconds) bounds every wait.

    It is peewee's own, without the models: a look-up costs a fraction so. Raises
    peewee.PeeweeException where the file is missing or no database.
    """
    uri = f"file:{quote(str(path))}?mode=ro"
    database = peewee.SqliteDatabase(uri, uri=True, timeout=timeout, check_same_thread=False)
    connection: sqlite3.Connection = database.connection()  # type: ignore[no-untyped-call]
    return connection
