"""Users as they stand in the database: one row for each H(A1), read in every schema that was.

A server reads what is there, before and after a command brings the database up to date.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.ha1s import NO_HA1S, HA1s
from sbcauth.policy.accounts import User
from sbcauth.users.migrations import HA1_COLUMNS_BEFORE_5
from sbcauth.users.sql import Connection

Row = tuple[Any, ...]
"""Of a query that begins as `select` says; those of one user follow each other."""

_NAMES = "user_info.id, ip_group, local_user, username, realm, enabled"
SELECT = f"""
    SELECT {_NAMES}, old_until, algorithm, ha1.ha1, ha1.old_ha1
    FROM user_info LEFT JOIN ha1 ON ha1.user = user_info.id
"""  # noqa: S608 # constants only
"""The beginning of a query for users in a database of today's schema."""
_SELECT_ONE = """
    SELECT local_user, enabled, old_until, ha1.ha1, ha1.old_ha1
    FROM user_info LEFT JOIN ha1 ON ha1.user = user_info.id AND ha1.algorithm = ?
"""


_WRITE_HA1 = 'INSERT INTO ha1 ("user", algorithm, ha1, old_ha1) VALUES (?, ?, ?, ?)'
_ALGORITHMS = [(algorithm, algorithm.value) for algorithm in Algorithm]


def select(schema: int) -> str:
    """Return the beginning of a query for users in a database of this schema."""
    if schema not in _WITH_COLUMNS:
        return SELECT
    return f"SELECT {_NAMES}, {_of_columns(schema)} FROM user_info, ({_COLUMNS})"  # noqa: S608


def select_one(schema: int) -> str:
    """Return the beginning of a query for users with H(A1) for one algorithm, its first parameter.

    It finds local user, whether it is enabled, `old_until`, H(A1) and the old one.
    """
    if schema not in _WITH_COLUMNS:
        return _SELECT_ONE
    old_until, _, ha1, old_ha1 = _of_columns(schema).split(", ")
    return (
        f"SELECT local_user, enabled, {old_until}, {ha1}, {old_ha1} "  # noqa: S608 # as above
        f"FROM user_info LEFT JOIN ({_COLUMNS}) ON column1 = ?"
    )


_WITH_COLUMNS = range(1, 5)
"""The schemas that had a column for each H(A1)."""
_COLUMNS = "VALUES " + ", ".join(f"('{name}')" for name in HA1_COLUMNS_BEFORE_5)


def _of_columns(schema: int) -> str:
    """Return what a row has in a database that has a column for each H(A1)."""
    if schema == 1:
        return f"NULL, column1, {_of_algorithm('')}, NULL"
    return f"old_until, column1, {_of_algorithm('')}, {_of_algorithm('old_')}"


def _of_algorithm(kind: str) -> str:
    """Return what an older schema has in a column for each algorithm."""
    each = (f"WHEN '{name}' THEN {kind}{column}" for name, column in HA1_COLUMNS_BEFORE_5.items())
    return f"CASE column1 {' '.join(each)} END"


def users(rows: Iterable[Row], shared: Iterable[str] = ()) -> Iterator[tuple[int, User]]:
    """Yield each user with its id; a name that is among `shared` is not kept twice."""
    same = {name: name for name in shared}
    for number, of_user in groupby(rows, itemgetter(0)):
        each = list(of_user)
        names: list[str]
        _, *names, enabled, old_until, _, _, _ = each[0]
        ip_group, local_user, username, realm = (same.get(name, name) for name in names)
        yield (
            number,
            User(
                ip_group,
                local_user,
                username,
                realm,
                bool(enabled),
                HA1s({algorithm: ha1 for *_, algorithm, ha1, _ in each}),
                HA1s({algorithm: old for *_, algorithm, _, old in each}) if old_until else NO_HA1S,
                old_until,
            ),
        )


def write_ha1s(connection: Connection, users: Iterable[tuple[int, User]]) -> None:
    """Write every H(A1) of users who have none yet, each with its id."""
    connection.executemany(_WRITE_HA1, (row for each in users for row in _ha1_rows(*each)))


def rewrite_ha1s(connection: Connection, users: Sequence[tuple[int, User]]) -> None:
    """Write every H(A1) of users, each with its id, in place of all that they have."""
    connection.executemany('DELETE FROM ha1 WHERE "user" = ?', ((number,) for number, _ in users))
    write_ha1s(connection, users)


def _ha1_rows(number: int, user: User) -> Iterator[Row]:
    ha1_of, old_ha1_of = user.ha1s.get, user.old_ha1s.get
    for algorithm, name in _ALGORITHMS:
        ha1, old_ha1 = ha1_of(algorithm), old_ha1_of(algorithm)
        if ha1 or old_ha1:
            yield number, name, ha1, old_ha1
