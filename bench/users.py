"""The same users for every server: User Info for ours, `subscriber` for Kamailio's modules."""

import hashlib
import sqlite3
from itertools import islice
from pathlib import Path

from bench.phones import REALM, password, username
from sbcauth.digest.ha1s import HA1s
from sbcauth.policy.accounts import User
from sbcauth.users.table import UserTable

_BATCH = 1000
_SCRIPTS = Path("/usr/share/kamailio/db_sqlite")

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
    """Make our database with `users` users of one IP Group, sealed as ever."""
    rows = (
        User(ip_group, username(user), username(user), REALM, True, HA1s(_ha1(user)))
        for user in range(users)
    )
    with UserTable(f"sqlite:///{path}") as table, table.transaction():
        while batch := list(islice(rows, _BATCH)):
            table.insert(batch)


def fill_subscriber(path: Path, users: int) -> None:
    """Make Kamailio's database with `users` users, its tables as Kamailio ships them."""
    rows = ((username(user), REALM, *_ha1(user).values()) for user in range(users))
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=wal")
    database.executescript(_SUBSCRIBER)
    with database:
        database.executemany(
            "INSERT INTO subscriber (username, domain, ha1, ha1_sha256) VALUES (?, ?, ?, ?)", rows
        )
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def make_registrations(path: Path) -> None:
    """Make the tables of Kamailio's registrar, as its package ships them; ours makes its own."""
    script = "".join(
        (_SCRIPTS / f"{name}-create.sql").read_text() for name in ("standard", "usrloc")
    )
    database = sqlite3.connect(path)
    database.executescript(f"PRAGMA journal_mode = wal;{script}")
    database.close()


def _ha1(user: int) -> dict[str, str]:
    a1 = f"{username(user)}:{REALM}:{password(user)}".encode()
    return {
        "MD5": hashlib.md5(a1, usedforsecurity=False).hexdigest(),
        "SHA-256": hashlib.sha256(a1).hexdigest(),
    }
