"""The users of Kamailio's own module auth_db: its table `subscriber`, as rows that we import."""

import csv
import io
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from sbcauth.exceptions import UserInfoError
from sbcauth.policy.ip_groups import IPGroup

_COLUMNS = ("username", "ip_group", "realm", "password", "ha1_md5")
_QUERY = "SELECT username, domain, password, ha1 FROM subscriber ORDER BY id"


class Subscribers(NamedTuple):
    """The table as a CSV file, and the rows that fit no IP Group, each with its line."""

    file: BinaryIO
    unfit: list[tuple[int, str]]


@contextmanager
def as_csv(
    path: Path, default: IPGroup | None, by_realm: Mapping[str, IPGroup]
) -> Iterator[Subscribers]:
    """Give the table in the SQLite database `path` as a CSV file without a name.

    Users go to the IP Group that `by_realm` has for their domain, else to `default`. An H(A1)
    there is MD5 and bound to the column `domain`, which has to be the realm of that IP Group; a
    password will do for every realm. Raises UserInfoError where there is no such table.
    """
    with tempfile.TemporaryFile() as file:
        text = io.TextIOWrapper(cast(BinaryIO, file), "utf-8", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        unfit: list[tuple[int, str]] = []
        try:
            for number, row in enumerate(_rows(path), start=2):
                fitting = _fitting(row, default, by_realm)
                if isinstance(fitting, str):
                    unfit.append((number, fitting))
                    writer.writerow(())  # each row has its line
                else:
                    writer.writerow(fitting)
        except sqlite3.Error as error:
            raise UserInfoError(f"{path}: {error}") from error
        finally:
            text.detach()
        file.seek(0)
        yield Subscribers(cast(BinaryIO, file), unfit)


def _fitting(
    row: tuple[str, ...], default: IPGroup | None, by_realm: Mapping[str, IPGroup]
) -> tuple[str, ...] | str:
    """Return the row as it is imported, or why it cannot be."""
    username, domain, password, ha1 = row
    group = by_realm.get(domain) or default
    if group is None:
        return f"{username} is of the domain {domain}: --realm {domain}=IP_GROUP says where to"
    if ha1 and domain and domain != group.realm:
        return (
            f"the ha1 of {username} is bound to the realm {domain}, but that of the IP Group "
            f"{group.name} is {group.realm}: set it there first, or name another IP Group by "
            f"--realm {domain}=IP_GROUP"
        )
    return username, group.name, group.realm, "" if ha1 else password or "", ha1 or ""


def _rows(path: Path) -> Iterator[tuple[str, ...]]:
    if not path.exists():
        raise UserInfoError(f"{path}: No such file or directory")
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        yield from database.execute(_QUERY)
    finally:
        database.close()
