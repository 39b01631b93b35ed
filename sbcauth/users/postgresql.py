"""User Info in PostgreSQL: connecting, waiting no longer than told, and making its tables.

A server that is stopped, or behind a dead link, neither refuses nor answers; no setting of libpq
or PostgreSQL sets a limit to that. So every wait of a connection made here has a deadline.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, NamedTuple, cast

import peewee

from sbcauth.exceptions import DriverMissing, Unavailable
from sbcauth.installation import schema_postgresql_sql
from sbcauth.users.database_url import name_of
from sbcauth.users.migrations import POSTGRESQL_MIGRATIONS, SCHEMA_VERSION
from sbcauth.users.sealing import Seals

try:
    import psycopg
    from psycopg import pq
    from psycopg.abc import PQGen
    from psycopg.conninfo import conninfo_to_dict
except ImportError as error:
    raise DriverMissing(
        "PostgreSQL needs psycopg: pip install 'sbcauth[postgresql]'"
        if error.name == "psycopg"
        else "PostgreSQL needs libpq: apt install libpq5"
    ) from error

PATIENCE = 10.0
"""Seconds that a command waits for one answer."""
_BULK_PATIENCE = 300.0
"""Seconds that it waits where all users are changed by one statement."""
_CONNECT_TIMEOUT = "2"
"""Seconds for each host, where the URL says nothing else; libpq takes no less."""
_INTERVAL = 0.1
"""Seconds between two looks whether Ctrl-C was pressed."""
_LOCK_TIMEOUT = "5s"
"""How long a command waits for another's transaction."""
_INSERT = re.compile(r"\s*INSERT INTO (\w+) \(([^)]*)\)\s+VALUES \(\?(?:, \?)*\)(.*)", re.DOTALL)
_ROWS_AT_ONCE = 5000
_WRITING = "LOCK TABLE sbcauth_schema IN SHARE ROW EXCLUSIVE MODE"
_MAKING = "SELECT pg_advisory_lock(1935823220)"
_MADE = "SELECT pg_advisory_unlock(1935823220)"
_VERSION = "SELECT number FROM sbcauth_schema"


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up, and closes, when an answer is not there after `patience` seconds.

    `execute` and `executemany` are for statements that SQLite takes as well, with `?` in them.
    """

    patience = PATIENCE

    def wait(
        self, gen: PQGen[Any], interval: float = _INTERVAL, timeout: float | None = None
    ) -> Any:
        """Wait for an answer; raises OperationalError where there is none in time."""
        try:
            return super().wait(gen, interval, timeout or self.patience)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {self.patience:g} seconds") from None

    def execute(self, query: Any, *args: Any, **more: Any) -> Any:
        """Execute a statement, and return its rows."""
        return super().execute(_translated(query), *args, **more)

    def executemany(self, query: str, rows: Iterable[Sequence[Any]]) -> Any:
        """Execute a statement for each row, and return how many rows it was about in all.

        Rows are inserted by one statement, as JSON: a round trip for each, or a parameter for each
        value, would take many times as long.
        """
        cursor = self.cursor()
        found = _INSERT.match(query)
        if not found:
            cursor.executemany(_translated(query), rows)
            return cursor
        table, columns, rest = found.groups()
        names = [name.strip(' "') for name in columns.split(",")]
        count = 0
        every = iter(rows)
        while batch := list(islice(every, _ROWS_AT_ONCE)):
            text = json.dumps([dict(zip(names, row, strict=True)) for row in batch])
            statement = (
                f"INSERT INTO {table} ({columns}) SELECT {columns} "  # noqa: S608 # our own names
                f"FROM json_populate_recordset(NULL::{table}, %s) {rest}"
            )
            count += cursor.execute(statement.encode(), (text,)).rowcount
        return Inserted(count)


class Inserted(NamedTuple):
    """How many rows were inserted."""

    rowcount: int


def _translated(query: Any) -> Any:
    return query.replace("?", "%s") if isinstance(query, str) else query


def connect(url: str, patience: float = PATIENCE) -> Connection:
    """Return a connection in autocommit mode; raises psycopg.Error."""
    given: dict[str, Any] = dict(conninfo_to_dict(url))
    given.setdefault("connect_timeout", _CONNECT_TIMEOUT)
    given.setdefault("application_name", "sbcauth")
    if "," in str(given.get("host", "")) or "," in str(given.get("hostaddr", "")):
        given.setdefault("target_session_attrs", "read-write")
    given["client_encoding"] = "UTF8"
    connection = Connection.connect(**given, autocommit=True, prepare_threshold=None)
    connection.patience = patience
    connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
    return connection


class _Adapter(peewee.Psycopg3Adapter):
    """What peewee knows of psycopg, which it was not shown when it was imported."""

    txn_idle = pq.TransactionStatus.IDLE
    txn_inerror = pq.TransactionStatus.INERROR
    txn_unknown = pq.TransactionStatus.UNKNOWN

    def __init__(self) -> None:
        self.json_type = self.jsonb_type = None
        self.cast_json_case = False

    def check_driver(self) -> None:
        """Know that there is one."""

    def connect(self, db: Any, **_: Any) -> Connection:
        """Return a connection with our deadlines."""
        return connect(db.database)


class PostgresqlDatabase(peewee.PostgresqlDatabase):
    """User Info in PostgreSQL, for one command."""

    psycopg2_adapter = psycopg3_adapter = _Adapter
    updated_at = peewee.SQL("""to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')""")
    """Now, as text; the transaction's beginning is told."""
    seconds = "SELECT extract(epoch FROM now())::bigint"
    errors = (psycopg.Error, peewee.PeeweeException)

    @property
    def name(self) -> str:
        """Return what messages call the database."""
        return name_of(self.database)

    def _connected(self) -> Connection:
        connection: Connection = self.connection()  # type: ignore[no-untyped-call]
        return connection

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """Do all that is done within, or nothing; nobody else writes meanwhile."""
        with self.atomic() as transaction:
            self._connected().execute(_WRITING)
            yield transaction

    def reading(self) -> AbstractContextManager[Any]:
        """See the tables as they are now, whoever writes meanwhile."""
        if self.in_transaction():
            return cast(AbstractContextManager[Any], self.atomic())
        return cast(AbstractContextManager[Any], self.transaction("REPEATABLE READ"))

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Wait longer than usual for a statement that is about all users."""
        connection = self._connected()
        connection.patience = _BULK_PATIENCE
        try:
            yield
        finally:
            connection.patience = PATIENCE

    def read_proof(self) -> str | None:
        """Return the proof of the right sealing keys; None where H(A1) are not sealed."""
        row = self._connected().execute("SELECT proof FROM sealing").fetchone()
        return str(row[0]) if row else None

    def erase(self) -> bool:
        """Leave it to PostgreSQL to reuse the space of earlier rows."""
        return True

    def told(self, error: BaseException) -> str:
        """Return what an error says, in one line."""
        return one_line(error)


def one_line(error: BaseException) -> str:
    """Return what an error of PostgreSQL says, in one line.

    Of several hosts each one's own failure is told, once.
    """
    lines = [line.strip(" \t-") for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(_SAYS_NOTHING)]
    return "; ".join(dict.fromkeys(told)) or type(error).__name__


_SAYS_NOTHING = ("Is the server running", "Multiple connection attempts", "LINE ", "^", "HINT:")


def open_for_writing(url: str, seals: Seals) -> PostgresqlDatabase:
    """Return the database; its tables are made where they are missing, or brought up to date.

    In those that are made here H(A1) will be sealed by `seals`, whose keys are made too. Raises
    Unavailable where it cannot be opened, or was made by a newer version.
    """
    database = PostgresqlDatabase(url, autoconnect=False)
    try:
        database.connect()
        _make_tables(database, seals)
    except Unavailable:
        database.close()
        raise
    except database.errors as error:
        database.close()
        raise Unavailable(f"{name_of(url)}: {one_line(error)}") from error
    return database


def version(connection: Connection) -> int:
    """Return the version of the schema, 0 where there are no tables yet; raises psycopg.Error."""
    there = connection.execute("SELECT to_regclass('sbcauth_schema') IS NOT NULL").fetchone()
    if there != (True,):
        return 0
    (number,) = connection.execute(_VERSION).fetchone() or (0,)
    return int(number)


def check_version(name: str, number: int) -> None:
    """Raise Unavailable where a database is of a newer version than this program."""
    if number > SCHEMA_VERSION:
        raise Unavailable(f"{name}: made by a newer version of sbcauth (schema {number})")


def _make_tables(database: PostgresqlDatabase, seals: Seals) -> None:
    connection: Connection = database.connection()  # type: ignore[no-untyped-call]
    if connection.info.parameter_status("server_encoding") != "UTF8":
        raise Unavailable(f"{database.name}: is not in UTF8: CREATE DATABASE … ENCODING 'UTF8'")
    check_version(database.name, number := version(connection))
    if number == SCHEMA_VERSION:
        return
    connection.execute(_MAKING)  # another command may be about it, too
    with database.patiently(), database.atomic():
        if number := version(connection):
            connection.execute("LOCK TABLE sbcauth_schema IN ACCESS EXCLUSIVE MODE")
            number = version(connection)
        else:
            connection.execute(schema_postgresql_sql().read_bytes())
            seals.make()
            connection.execute("INSERT INTO sealing VALUES (1, %s)", (seals.prove(),))
        for each in range(number + 1, SCHEMA_VERSION + 1) if number else ():
            for statement in POSTGRESQL_MIGRATIONS[each]:
                connection.execute(statement.encode())
            connection.execute("UPDATE sbcauth_schema SET number = %s", (each,))
    connection.execute(_MADE)
