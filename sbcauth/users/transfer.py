"""All users from one database to another, of whichever kinds they are: all, or none.

H(A1) go as they are, sealed by the same keys.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sbcauth.exceptions import UserInfoError
from sbcauth.users.session import Session

_BATCH = 1000
_TABLES = {
    "user_info": (
        *("id", "ip_group", "local_user", "username", "realm", "enabled"),
        *("created_at", "updated_at", "old_until"),
    ),
    "ha1": ("user", "algorithm", "ha1", "old_ha1"),
    "identity": ("user", "pattern"),
}
_ENABLED = _TABLES["user_info"].index("enabled")

Track = Callable[[Iterable[Any], int], Iterable[Any]]
"""Hands on rows, of which it is told how many there are, and may show how far it is."""


def migrate_database(
    source_url: str, target_url: str, key_file: Path, track: Track = lambda rows, _: rows
) -> int:
    """Copy all users to a database that has none, and return how many they are.

    `key_file` has the sealing keys of both. Raises UserInfoError where there are users already, or
    those of the source are not sealed, and Unavailable.
    """
    with Session(source_url, key_file) as source:
        if not source.is_sealed():
            raise UserInfoError(f"{source.name}: H(A1) are plain: `sbcauth user reseal` first")
        with Session(target_url, key_file) as target, target.patiently(), target.transaction():
            if there := _count(target, "user_info"):
                raise UserInfoError(f"{target.name}: has users already ({there})")
            with source.reading(), source.patiently():
                total = sum(_count(source, table) for table in _TABLES)
                rows = iter(track(_rows(source), total))
                while batch := list(islice(rows, _BATCH)):
                    for table in _TABLES:
                        of_table = [row for name, row in batch if name == table]
                        target.connection().executemany(_insert(table), of_table)
                users = _count(source, "user_info")
            copied = sum(_count(target, table) for table in _TABLES)
            if copied != total:
                raise UserInfoError(f"{target.name}: took {copied} of {total} rows, and none stays")
    return users


def _count(session: Session, table: str) -> int:
    query = f"SELECT count(*) FROM {table}"  # noqa: S608 # constants only
    (number,) = session.connection().execute(query).fetchone()
    return int(number)


def _rows(source: Session) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield every row, with its table's name; users come before what is theirs."""
    for table, columns in _TABLES.items():
        query = f"SELECT {_listed(columns)} FROM {table} ORDER BY 1, 2"  # noqa: S608
        for row in source.connection().execute(query):
            yield table, _as_sql_has_it(row) if table == "user_info" else tuple(row)


def _as_sql_has_it(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a user whose `enabled` is true or false: SQLite has a number there."""
    return (*row[:_ENABLED], bool(row[_ENABLED]), *row[_ENABLED + 1 :])


def _insert(table: str) -> str:
    columns = _TABLES[table]
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({_listed(columns)}) VALUES ({marks})"  # noqa: S608


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
