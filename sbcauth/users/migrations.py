"""From an older schema to that of schema.sql, one numbered step after the other.

A running server of this version reads every schema that was, and so before, meanwhile and after.
One of an older version has to be restarted once a command has brought the database here: it finds
no H(A1) where it looks for them, and answers 503. What H(A1) is there stays as it is: `sbcauth user
reseal` seals it.
"""

import sqlite3

SCHEMA_VERSION = 5

_HEX = "NOT GLOB '*[^0-9a-f]*'"


def _ha1(column: str, digits: int) -> str:
    """Return a column of schema 3 for an H(A1), sealed or of as many hexadecimal digits."""
    shortest = 5 + (28 + digits // 2 + 2) // 3 * 4  # `v1:0:`, base64 of nonce, ciphertext and tag
    return (
        f"{column} TEXT CHECK ({column} GLOB 'v1:[0-9]*' "
        f"AND length({column}) BETWEEN {shortest} AND {shortest + 2} "
        f"OR length({column}) = {digits} AND {column} {_HEX})"
    )


HA1_COLUMNS_BEFORE_5 = {
    "MD5": "ha1_md5",
    "SHA-256": "ha1_sha256",
    "SHA-512-256": "ha1_sha512_256",
}
"""The columns of user_info that had H(A1) until schema 4, by algorithm; `old_…` are beside them."""
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


def _ha1_5(column: str) -> str:
    """Return a column of schema 5 for an H(A1), sealed or of 32 or 64 hexadecimal digits."""
    return (
        f"{column} TEXT CHECK ({column} GLOB 'v1:[0-9]*' "
        f"AND length({column}) - iif(algorithm = 'MD5', 65, 85) BETWEEN 0 AND 2 "
        f"OR length({column}) = iif(algorithm = 'MD5', 32, 64) AND {column} {_HEX})"
    )


_HA1_5 = f"""
CREATE TABLE ha1 (
    user INTEGER NOT NULL REFERENCES user_info (id) ON DELETE CASCADE,
    algorithm TEXT NOT NULL CHECK (algorithm <> ''),
    {_ha1_5("ha1")},
    {_ha1_5("old_ha1")},
    PRIMARY KEY (user, algorithm)
) STRICT, WITHOUT ROWID
"""


def _from_columns() -> str:
    """Return what fills the table ha1 from the columns of schema 4, a user after the other."""
    each = (
        f"SELECT id, '{name}' AS algorithm, {column}, old_{column} FROM user_info "  # noqa: S608
        f"WHERE {column} IS NOT NULL OR old_{column} IS NOT NULL"
        for name, column in HA1_COLUMNS_BEFORE_5.items()
    )
    return f"INSERT INTO ha1 {' UNION ALL '.join(each)} ORDER BY id, algorithm"


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
    5: (
        _HA1_5,
        _from_columns(),
        *(
            f"ALTER TABLE user_info DROP COLUMN {kind}{column}"
            for kind in ("old_", "")
            for column in HA1_COLUMNS_BEFORE_5.values()
        ),
        "CREATE INDEX user_info_disabled ON user_info (ip_group, username, realm) "
        "WHERE NOT enabled",
    ),
}
"""What brings the schema before a version to that version."""

POSTGRESQL_MIGRATIONS: dict[int, tuple[str, ...]] = {}
"""The same for schema.postgresql.sql, whose first version was 5."""


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
