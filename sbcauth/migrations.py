"""From an older schema to that of schema.sql, one numbered step after the other.

A step only adds, so that a running server of either version can read before, meanwhile and after.
"""

import sqlite3

SCHEMA_VERSION = 2

_HEX = "NOT GLOB '*[^0-9a-f]*'"
MIGRATIONS: dict[int, tuple[str, ...]] = {
    2: (
        "ALTER TABLE user_info ADD COLUMN old_ha1_md5 TEXT "
        f"CHECK (length(old_ha1_md5) = 32 AND old_ha1_md5 {_HEX})",
        "ALTER TABLE user_info ADD COLUMN old_ha1_sha256 TEXT "
        f"CHECK (length(old_ha1_sha256) = 64 AND old_ha1_sha256 {_HEX})",
        "ALTER TABLE user_info ADD COLUMN old_ha1_sha512_256 TEXT "
        f"CHECK (length(old_ha1_sha512_256) = 64 AND old_ha1_sha512_256 {_HEX})",
        "ALTER TABLE user_info ADD COLUMN old_until INTEGER",
    ),
}
"""What brings the schema before a version to that version."""


def version(connection: sqlite3.Connection) -> int:
    """Return the version of the schema, 0 for an empty database."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an older schema up to date, or leave it as it is where anything fails.

    `connection` must be in autocommit mode. Another command may be doing the same: the version is
    looked at when nobody else can write.
    """
    if version(connection) >= SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(version(connection) + 1, SCHEMA_VERSION + 1):
            for statement in MIGRATIONS[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
