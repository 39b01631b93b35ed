"""User Info in SQLite: opening the file, and making it from schema.sql."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import peewee

from sbcauth.exceptions import Unavailable
from sbcauth.files import create
from sbcauth.installation import schema_sql
from sbcauth.users.migrations import SCHEMA_VERSION, migrate
from sbcauth.users.migrations import version as schema_version
from sbcauth.users.sealing import Seals
from sbcauth.users.sql import write_proof

_BUSY_TIMEOUT = 5.0  # seconds that a command waits for another's transaction
_SEALING_SINCE = 3  # version of the schema
IDENTITIES_SINCE = 4
"""The version of the schema from which on users have identities."""


class SqliteDatabase(peewee.SqliteDatabase):
    """User Info in SQLite, for one command."""

    errors = (sqlite3.Error, peewee.PeeweeException)
    updated_at = peewee.fn.strftime("%Y-%m-%dT%H:%M:%SZ", "now")
    seconds = "SELECT CAST(strftime('%s', 'now') AS INTEGER)"

    @property
    def name(self) -> str:
        """Return what messages call the database."""
        return str(self.database)

    def writing(self) -> AbstractContextManager[Any]:
        """Do all that is done within, or nothing; nobody else writes meanwhile."""
        return cast(AbstractContextManager[Any], self.atomic("IMMEDIATE"))

    def reading(self) -> AbstractContextManager[Any]:
        """See the tables as they are now, whoever writes meanwhile."""
        return cast(AbstractContextManager[Any], self.atomic())

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Wait as ever: SQLite is no server."""
        yield

    def read_proof(self) -> str | None:
        """Return the proof of the right sealing keys; None where H(A1) are not sealed."""
        return read_proof(self.connection())  # type: ignore[no-untyped-call]

    def erase(self) -> bool:
        """Leave nothing of earlier rows in the database or in SQLite's log beside it."""
        connection: sqlite3.Connection = self.connection()  # type: ignore[no-untyped-call]
        connection.execute("PRAGMA temp_store = file")  # a whole copy is made
        connection.execute("VACUUM")
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def told(self, error: BaseException) -> str:
        """Return what an error says."""
        return str(error)


def open_for_writing(path: Path, seals: Seals) -> SqliteDatabase:
    """Return the database in a file; it is made from schema.sql where it is missing.

    The file is readable by its owner alone: its folder's, where root makes it. Raises Unavailable
    where it cannot be opened, or was made by a newer version.
    """
    database = SqliteDatabase(str(path), timeout=_BUSY_TIMEOUT, pragmas={"temp_store": "memory"})
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
        said = getattr(error, "strerror", None) or str(error)
        hint = "; try as root" if isinstance(error, PermissionError) and os.geteuid() else ""
        raise Unavailable(f"{path}: {said}{hint}") from error
    return database


def _make_tables(database: SqliteDatabase, path: Path, seals: Seals) -> None:
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


def open_for_reading(path: Path, timeout: float) -> sqlite3.Connection:
    """Return a connection for reading; `timeout` (seconds) bounds every wait.

    It is peewee's own, without the models: a look-up costs a fraction so. Raises
    peewee.PeeweeException where the file is missing or no database.
    """
    uri = f"file:{quote(str(path))}?mode=ro"
    database = peewee.SqliteDatabase(uri, uri=True, timeout=timeout, check_same_thread=False)
    connection: sqlite3.Connection = database.connection()  # type: ignore[no-untyped-call]
    return connection
