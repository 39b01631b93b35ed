"""From an older schema to that of schema.sql, one numbered step after the other.

No column goes and none changes its meaning, so that a running server of either version can read
before, meanwhile and after. What H(A1) is there stays as it is: `sbcauth user reseal` seals it,
which a server of a version before schema 3 could not read.
"""

import sqlite3

SCHEMA_VERSION = 4

_HEX = "NOT GLOB '*[^0-9a-f]*'"


def _ha1(column: str, digits: int) -> str:
    """Return a column of schema 3 for an H(A1), sealed or of as many hexadecimal digits."""
    shortest = 5 + (28 + digits // 2 + 2) // 3 * 4  # `v1:0:`, base64 of nonce, ciphertext and tag
    return (
        f"{column} TEXT CHECK ({column} GLOB 'v1:[0-9]*' "
        f"AND length({column}) BETWEEN {shortest} AND {shortest + 2} "
        f"OR length({column}) = {digits} AND {column} {_HEX})"
    )


_HA1_DIGITS = {"ha1_md5": 32, "ha1_sha256": 64, "ha1_sha512_256": 64}
_NOW = "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"
_COLUMNS_2 = (
    *("id", "ip_group", "local_user", "username", "realm"),
    *_HA1_DIGITS,
    *("enabled", "created_at", "updated_at"),
    *(f"old_{column}" for column in _HA1_DIGITS),
    "old_until",
)
_USER_INFO_3 = f"""
CREATE TABLE user_info (
    id INTEGER PRIMARY KEY,
    ip_group TEXT NOT NULL CHECK (ip_group <> ''),
    local_user TEXT NOT NULL CHECK (local_user <> ''),
    username TEXT NOT NULL CHECK (username <> ''),
    realm TEXT NOT NULL CHECK (realm <> ''),
    {", ".join(_ha1(column, digits) for column, digits in _HA1_DIGITS.items())},
    enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    created_at TEXT NOT NULL DEFAULT ({_NOW}),
    updated_at TEXT NOT NULL DEFAULT ({_NOW}),
    {", ".join(_ha1(f"old_{column}", digits) for column, digits in _HA1_DIGITS.items())},
    old_until INTEGER,
    UNIQUE (ip_group, username, realm)
) STRICT
"""

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
    3: (  # SQLite cannot change a CHECK, so the table is made anew
        "ALTER TABLE user_info RENAME TO user_info_2",
        _USER_INFO_3,
        f"INSERT INTO user_info SELECT {', '.join(_COLUMNS_2)} FROM user_info_2",  # noqa: S608
        "DROP TABLE user_info_2",
        "CREATE INDEX user_info_local_user ON user_info (ip_group, local_user)",
        "CREATE TABLE sealing (id INTEGER PRIMARY KEY CHECK (id = 1), "
        "proof TEXT NOT NULL CHECK (proof GLOB 'v1:[0-9]*')) STRICT",
    ),
    4: (
        "CREATE TABLE identity ("
        "user INTEGER NOT NULL REFERENCES user_info (id) ON DELETE CASCADE, "
        "pattern TEXT NOT NULL CHECK (pattern <> '' AND pattern <> '*'), "
        "PRIMARY KEY (user, pattern)) STRICT",
        "CREATE INDEX identity_pattern ON identity (pattern)",
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
