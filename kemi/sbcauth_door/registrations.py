"""The file in which registrations survive a restart.

usrloc keeps registrations in memory, and writes them to SQLite behind. The tables are those of the
Kamailio that runs: the scripts that come with its module db_sqlite make them. Where another version
has left other tables, they are made anew: phones register again by themselves.
"""

import os
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

import KSR

from sbcauth.exceptions import Unavailable
from sbcauth.files import create
from sbcauth.monitoring.counts import TABLE
from sbcauth.monitoring.registrations import FILE_KEY
from sbcauth_door import route_block

_SCRIPTS = Path("/usr/share/kamailio/db_sqlite")
_VERSIONS = "SELECT table_name, table_version FROM version ORDER BY table_name"


def prepare() -> None:
    """Make the file that kamailio.cfg names; raises Unavailable where that cannot be done."""
    url = route_block.definition("SBCAUTH_REGISTRATIONS")
    if not url:
        return
    path = Path(urlsplit(url).path.removeprefix("/"))
    KSR.htable.sht_sets(TABLE, FILE_KEY, str(path))  # for `sbcauth registered`
    try:
        script = "".join(
            (_SCRIPTS / f"{name}-create.sql").read_text() for name in ("standard", "usrloc")
        )
        with sqlite3.connect(":memory:") as wanted:
            wanted.executescript(script)
        if _versions(path) != wanted.execute(_VERSIONS).fetchall():
            _make(path, script)
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(
            f"registrations cannot be kept in {path}: {error}; SBCAUTH_REGISTRATIONS in "
            "kamailio.cfg names the file, and the package kamailio-sqlite-modules has the scripts"
        ) from error


def _versions(path: Path) -> list[tuple[str, int]]:
    """Return the versions of the tables in the file, none where it has none or cannot be read."""
    if not path.exists():
        return []
    connection = sqlite3.connect(path)
    try:
        return connection.execute(_VERSIONS).fetchall()
    except sqlite3.DatabaseError:
        return []
    finally:
        connection.close()


def _make(path: Path, script: str) -> None:
    """Put a file with empty tables in the place of `path`, readable by its folder's owner alone."""
    for ending in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    os.close(create(path))
    connection = sqlite3.connect(path)
    connection.executescript(f"PRAGMA journal_mode = wal;{script}")
    connection.close()
