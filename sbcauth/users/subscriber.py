"""The users of Kamailio's own module auth_db: its table `subscriber`, as rows that we import."""

import csv
import io
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from sbcauth.exceptions import UserInfoError
from sbcauth.policy.ip_groups import IPGroup

_COLUMNS = ("username", "realm", "password", "ha1_md5")
_QUERY = "SELECT username, domain, password, ha1 FROM subscriber ORDER BY id"


@contextmanager
def as_csv(path: Path, group: IPGroup) -> Iterator[BinaryIO]:
    """Give the table in the SQLite database `path` as a CSV file, for users of `group`.

    An H(A1) there is MD5 and bound to the column `domain`, which has to be the realm; a password
    will do for every realm. The file has no name. Raises UserInfoError where there is no such
    table, or its domains are not the IP Group's realm.
    """
    with tempfile.TemporaryFile() as file:
        text = io.TextIOWrapper(cast(BinaryIO, file), "utf-8", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        try:
            writer.writerows(_rows(path, group))
        except sqlite3.Error as error:
            raise UserInfoError(f"{path}: {error}") from error
        finally:
            text.detach()
        file.seek(0)
        yield cast(BinaryIO, file)


def _rows(path: Path, group: IPGroup) -> Iterator[tuple[str, ...]]:
    if not path.exists():
        raise UserInfoError(f"{path}: No such file or directory")
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        for username, domain, password, ha1 in database.execute(_QUERY):
            if not ha1:
                yield username, group.realm, password or "", ""
                continue
            if domain and domain != group.realm:
                raise UserInfoError(
                    f"{path}: the ha1 of {username} is bound to the realm {domain}, but that of "
                    f"the IP Group {group.name} is {group.realm}: set it there first"
                )
            yield username, group.realm, "", ha1
    finally:
        database.close()
