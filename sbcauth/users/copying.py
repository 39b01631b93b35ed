"""The copy of User Info in PostgreSQL that a node keeps, in a SQLite file that its workers read.

One process a node follows the database. It is woken by each change (LISTEN), and looks every half
second all the same. What it copies is one state of the database (one snapshot), and the copy
changes in one transaction: whoever reads it, or kills this process, finds one state or the other.

The copy remembers the revision that it has. Where the database knows that one, only the users that
have changed since are copied; where it does not, such as after another server took over that had
not seen it, all are.
"""

import os
import select
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import psycopg

from sbcauth.exceptions import Unavailable
from sbcauth.files import create
from sbcauth.installation import schema_sql
from sbcauth.users.database_url import name_of
from sbcauth.users.migrations import SCHEMA_VERSION, migrate
from sbcauth.users.migrations import version as sqlite_version
from sbcauth.users.postgresql import Connection, check_version, connect, one_line, version

LOOKS_EVERY = 0.5
"""Seconds between two looks for a change, where none has woken the process."""
_PATIENCE = 2.0
"""Seconds that one answer may take."""
_BUSY_TIMEOUT = 5.0
_MOST_CHANGED = 20_000
"""Changed users from which on all are copied."""
_BATCH = 2000

_LATEST = "SELECT number, stamp::text FROM revision ORDER BY number DESC LIMIT 1"
_IS_KNOWN = "SELECT 1 FROM revision WHERE number = ? AND stamp::text = ?"
_CHANGED = 'SELECT DISTINCT "user" FROM changed_user WHERE revision > ? LIMIT ?'
_EVERYBODY = "SELECT coalesce(json_agg(id ORDER BY id), '[]') FROM user_info"
# A batch comes as one value: a hundred thousand users would be a million of them.
_TABLES = {
    "user_info": """
        SELECT json_agg(json_build_array(id, ip_group, local_user, username, realm, enabled::int,
                                         created_at, updated_at, old_until))
        FROM user_info WHERE id
    """,
    "ha1": """
        SELECT json_agg(json_build_array("user", algorithm, ha1, old_ha1)) FROM ha1 WHERE "user"
    """,
    "identity": """
        SELECT json_agg(json_build_array("user", pattern)) FROM identity WHERE "user"
    """,
}
_COPY_OF = """
    CREATE TABLE IF NOT EXISTS copy_of (
        id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, stamp TEXT NOT NULL
    ) STRICT
"""


class Revision(NamedTuple):
    """A state of the database: how many changes it has seen, and the name of the last one."""

    number: int
    stamp: str


class Changes(NamedTuple):
    """What has changed up to a revision: the users with these ids, or all."""

    revision: Revision
    users: Sequence[int]
    is_all: bool


class UsersCopy:
    """The copy in the file `path` of User Info in the database `url`.

    Every method raises Unavailable
    where the database does not answer, or the file cannot be written; the next call tries again.
    """

    def __init__(self, url: str, path: Path) -> None:
        self.url = url
        self.path = path
        self.revision = 0
        """The number of the revision that the copy has, once it is known."""
        self.users = 0
        """How many users the copy has, once it is known."""
        self._connection: Connection | None = None

    def follow(self, seconds: float = LOOKS_EVERY) -> Changes | None:
        """Wait for a change, so many seconds at most, and copy it; None where there was none."""
        try:
            if self._connection is None:
                self._connection = self._connected()
            elif seconds:
                select.select([self._connection.fileno()], [], [], seconds)
            return self._copy(self._connection)
        except (psycopg.Error, sqlite3.Error, OSError, Unavailable) as error:
            self.close()
            if isinstance(error, Unavailable):
                raise
            where = name_of(self.url) if isinstance(error, psycopg.Error) else self.path
            raise Unavailable(f"{where}: {one_line(error)}") from error

    @property
    def server(self) -> str:
        """Return the host and port of the server that is followed; empty where there is none."""
        connection = self._connection
        return f"{connection.info.host}:{connection.info.port}" if connection else ""

    def close(self) -> None:
        """Leave the database; the copy stays."""
        if self._connection:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None

    def _connected(self) -> Connection:
        connection = connect(self.url, _PATIENCE)
        try:
            found = version(connection)
            check_version(name_of(self.url), found)
            if found < SCHEMA_VERSION:
                what = "is of an older version" if found else "has no users yet"
                raise Unavailable(f"{name_of(self.url)}: {what}: `sbcauth user list` prepares it")
            with suppress(
                psycopg.errors.FeatureNotSupported, psycopg.errors.ReadOnlySqlTransaction
            ):
                connection.execute("LISTEN sbcauth_users")  # a standby refuses; it is asked
        except BaseException:
            connection.close()
            raise
        return connection

    def _copy(self, source: Connection) -> Changes | None:
        source.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        with closing(open_copy(self.path)) as copy:
            known = read_revision(copy)
            changes = _changes(source, known)
            if changes:
                _write(copy, source, changes)
                known = changes.revision
            if changes or not self.revision:
                (self.users,) = copy.execute("SELECT count(*) FROM user_info").fetchone()
            self.revision = known.number if known else 0
        source.execute("COMMIT")
        return changes


def open_copy(path: Path) -> sqlite3.Connection:
    """Return the copy, which is for its owner alone; raises Unavailable where it is none."""
    with suppress(FileExistsError):
        os.close(create(path))
    copy = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None)
    copy.execute("PRAGMA journal_mode = wal")
    copy.execute("PRAGMA secure_delete = on")  # an H(A1) that is gone is gone
    found = sqlite_version(copy)
    if found > SCHEMA_VERSION:
        copy.close()
        raise Unavailable(f"{path}: made by a newer version of sbcauth (schema {found})")
    if found and not _is_copy(copy):
        copy.close()
        raise Unavailable(f"{path}: is no copy; name another file in database_copy")
    if found:
        migrate(copy)
    return copy


def read_revision(copy: sqlite3.Connection) -> Revision | None:
    """Return the revision that a copy has; None where it has none yet."""
    if not _is_copy(copy):
        return None
    row = copy.execute("SELECT revision, stamp FROM copy_of").fetchone()
    return Revision(*row) if row else None


def revisions(url: str, path: Path) -> tuple[Revision, Revision | None]:
    """Return the revision of the database, and that of its copy; raises Unavailable."""
    try:
        with closing(connect(url)) as source, closing(open_copy(path)) as copy:
            return Revision(*source.execute(_LATEST).fetchone()), read_revision(copy)
    except (psycopg.Error, sqlite3.Error, OSError) as error:
        raise Unavailable(f"{name_of(url)}, {path}: {one_line(error)}") from error


def _is_copy(copy: sqlite3.Connection) -> bool:
    return bool(copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'copy_of'").fetchone())


def _changes(source: Connection, known: Revision | None) -> Changes | None:
    """Return what has changed since a revision; None where nothing has."""
    latest = Revision(*source.execute(_LATEST).fetchone())
    if latest == known:
        return None
    if known and source.execute(_IS_KNOWN, known).fetchone():
        users = [user for (user,) in source.execute(_CHANGED, (known.number, _MOST_CHANGED))]
        if None not in users and len(users) < _MOST_CHANGED:
            return Changes(latest, users, is_all=False)
    (users,) = source.execute(_EVERYBODY).fetchone()
    return Changes(latest, users, is_all=True)


def _write(copy: sqlite3.Connection, source: Connection, changes: Changes) -> None:
    """Write what has changed into the copy, all or nothing."""
    try:
        _begin(copy)
        if changes.is_all:
            for table in _TABLES:
                copy.execute(f"DELETE FROM {table}")  # noqa: S608 # constants only
        for batch in _batches(changes.users):
            if not changes.is_all:
                _remove(copy, batch)
        for batch in _batches(changes.users):
            _insert(copy, source, batch, is_all=changes.is_all)
        if changes.is_all:
            copy.execute("DELETE FROM sealing")
            proofs = source.execute("SELECT id, proof FROM sealing").fetchall()
            copy.executemany("INSERT INTO sealing VALUES (?, ?)", proofs)
        copy.execute("INSERT OR REPLACE INTO copy_of VALUES (1, ?, ?)", changes.revision)
        copy.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            copy.execute("ROLLBACK")
        raise
    copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _begin(copy: sqlite3.Connection) -> None:
    """Begin a transaction; the tables of a new copy are made within, for nobody to see empty."""
    if sqlite_version(copy) == 0:
        copy.executescript(f"BEGIN IMMEDIATE; {schema_sql().read_text('utf-8')}")
        copy.execute(_COPY_OF)
    else:
        copy.execute("BEGIN IMMEDIATE")


def _batches(users: Sequence[int]) -> Iterator[Sequence[int]]:
    return (users[start : start + _BATCH] for start in range(0, len(users), _BATCH))


def _remove(copy: sqlite3.Connection, users: Sequence[int]) -> None:
    values = [(user,) for user in users]
    for table, key in (("ha1", "user"), ("identity", "user"), ("user_info", "id")):
        copy.executemany(f"DELETE FROM {table} WHERE {key} = ?", values)  # noqa: S608


def _insert(
    copy: sqlite3.Connection, source: Connection, users: Sequence[int], *, is_all: bool
) -> None:
    """Copy users of whom there is nothing; where they are of all, they follow each other."""
    which = (
        f"BETWEEN {users[0]} AND {users[-1]}" if is_all else f"IN ({', '.join(map(str, users))})"
    )
    for table, query in _TABLES.items():
        (rows,) = source.execute(query + which).fetchone()
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            copy.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608
