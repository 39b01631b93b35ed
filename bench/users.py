"""The same users for every server: User Info for ours, `subscriber` for Kamailio's modules."""

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from bench.phones import REALM, password, username

SCHEMA = Path(__file__).resolve().parent.parent / "schema.sql"

_SUBSCRIBER = """
CREATE TABLE version (
    id INTEGER PRIMARY KEY NOT NULL,
    table_name VARCHAR(32) NOT NULL UNIQUE,
    table_version INTEGER DEFAULT 0 NOT NULL
);
CREATE TABLE subscriber (
    id INTEGER PRIMARY KEY NOT NULL,
    username VARCHAR(64) DEFAULT '' NOT NULL,
    domain VARCHAR(64) DEFAULT '' NOT NULL,
    password VARCHAR(64) DEFAULT '' NOT NULL,
    ha1 VARCHAR(128) DEFAULT '' NOT NULL,
    ha1b VARCHAR(128) DEFAULT '' NOT NULL,
    ha1_sha256 VARCHAR(128) DEFAULT '' NOT NULL,
    CONSTRAINT subscriber_account_idx UNIQUE (username, domain)
);
CREATE INDEX subscriber_username_idx ON subscriber (username);
INSERT INTO version (table_name, table_version) VALUES ('version', 1), ('subscriber', 7);
"""


def fill_user_info(path: Path, users: int, ip_group: str = "Phones") -> None:
    """Make our database with `users` users of one IP Group."""
    _fill(
        path,
        SCHEMA.read_text(),
        "INSERT INTO user_info (ip_group, local_user, username, realm, ha1_md5, ha1_sha256)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        ((ip_group, username(user), username(user), REALM, *_ha1(user)) for user in range(users)),
    )


def fill_subscriber(path: Path, users: int) -> None:
    """Make Kamailio's database with `users` users, its tables as Kamailio ships them."""
    _fill(
        path,
        _SUBSCRIBER,
        "INSERT INTO subscriber (username, domain, ha1, ha1_sha256) VALUES (?, ?, ?, ?)",
        ((username(user), REALM, *_ha1(user)) for user in range(users)),
    )


def _fill(path: Path, schema: str, insert: str, rows: Iterator[tuple[str, ...]]) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=wal")
    database.executescript(schema)
    with database:
        database.executemany(insert, rows)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def _ha1(user: int) -> tuple[str, str]:
    a1 = f"{username(user)}:{REALM}:{password(user)}".encode()
    return hashlib.md5(a1, usedforsecurity=False).hexdigest(), hashlib.sha256(a1).hexdigest()
