"""User Info in PostgreSQL: the twin of schema.sql, its migrations, and what goes wrong."""

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from postgresql import Postgresql

from sbcauth.exceptions import Unavailable
from sbcauth.installation import schema_postgresql_sql, schema_sql
from sbcauth.users import migrations, postgresql
from sbcauth.users.database_url import name_of, without_password
from sbcauth.users.migrations import MIGRATIONS, POSTGRESQL_MIGRATIONS, SCHEMA_VERSION
from sbcauth.users.resealing import reseal
from sbcauth.users.table import UserTable

REALM = "example.com"
TABLES = ("user_info", "ha1", "identity", "sealing")
HA1 = {"MD5": "0" * 32, "SHA-256": "a" * 64}
SEALED = {"MD5": "v1:1:" + "A" * 60, "SHA-256": "v1:12:" + "A" * 80}


@pytest.fixture
def table(postgresql: Postgresql, tmp_path: Path) -> Iterator[UserTable]:
    with UserTable(postgresql.url(), tmp_path / "sbcauth.seal") as table:
        yield table


@pytest.fixture
def sqlite() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(schema_sql().read_text("utf-8"))
        yield connection


# The twin of schema.sql


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_those_of_sqlite(
    name: str, table: UserTable, postgresql: Postgresql, sqlite: sqlite3.Connection
) -> None:
    kinds = {"bigint": "INTEGER", "integer": "INTEGER", "boolean": "INTEGER", "text": "TEXT"}
    found = postgresql.execute(
        "SELECT column_name, data_type, is_nullable, column_default IS NULL "
        "FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position",
        (name,),
    )
    of_sqlite = sqlite.execute(f"PRAGMA table_info({name})").fetchall()
    assert [(column, kinds[kind]) for column, kind, *_ in found] == [
        (column, kind) for _, column, kind, *_ in of_sqlite
    ]
    assert [nullable == "NO" for _, _, nullable, _ in found] == [
        bool(required or key) for _, _, _, required, _, key in of_sqlite
    ]
    assert [has_none for *_, has_none in found] == [row[4] is None for row in of_sqlite]


@pytest.mark.parametrize("name", TABLES)
def test_keys_and_indexes_are_those_of_sqlite(
    name: str, table: UserTable, postgresql: Postgresql, sqlite: sqlite3.Connection
) -> None:
    found = postgresql.execute(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = %s", (name,)
    )
    theirs = set()
    for (definition,) in found:
        columns = re.search(r"\(([^)]*)\)", definition)[1]  # type: ignore[index]
        is_partial = "WHERE (NOT enabled)" in definition
        theirs.add((columns.replace('"', ""), "UNIQUE" in definition, is_partial))
    ours = {
        (
            ", ".join(c for _, _, c in sqlite.execute(f"PRAGMA index_info({index})")),
            bool(unique),
            bool(is_partial),
        )
        for _, index, unique, _, is_partial in sqlite.execute(f"PRAGMA index_list({name})")
    }
    # SQLite's own key of a table with one integer is no index.
    assert theirs - {("id", True, False)} == ours


_ROWS: list[tuple[str, tuple[object, ...]]] = [
    *(
        ("user_info", (2, *row, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", None))
        for row in (
            ("Phones", "1002", "1002", REALM, True),
            ("Desk", "1001", "1001", REALM, True),
            ("Phones", "1001", "1001", REALM, True),
            ("phones", "1001", "1001", REALM, True),
            ("", "1002", "1002", REALM, True),
            ("Phones", "", "1002", REALM, True),
            ("Phones", "1002", "", REALM, True),
            ("Phones", "1002", "1002", "", True),
            (None, "1002", "1002", REALM, True),
            ("Phones", None, "1002", REALM, True),
            ("Phones", "1002", None, REALM, True),
            ("Phones", "1002", "1002", None, True),
            ("Phones", "1002", "1002", REALM, None),
        )
    ),
    *(
        ("ha1", (user, algorithm, ha1, old_ha1))
        for user in (1, 9)
        for algorithm in ("MD5", "SHA-256", "", None)
        for ha1 in (None, *HA1.values(), *SEALED.values(), "x" * 32, "A" * 32, "0" * 31, "v1:")
        for old_ha1 in (None, HA1["MD5"], SEALED["SHA-256"], "v1:x" + "A" * 64)
    ),
    *(("identity", (user, pattern)) for user in (1, 9) for pattern in ("1", "1*", "*", "", None)),
    *(("sealing", (id_, proof)) for id_ in (1, 2) for proof in ("v1:1:x", "v2:1:x", "v1:x", None)),
]
"""Rows with what may be there, and with what may not."""


def test_rows_that_one_refuses_the_other_refuses(
    table: UserTable, postgresql: Postgresql, sqlite: sqlite3.Connection
) -> None:
    sqlite.execute("PRAGMA foreign_keys = on")
    first = (1, "Phones", "1001", "1001", REALM, True, "2026", "2026", None)
    accepted = 0
    with psycopg.connect(postgresql.url()) as theirs:
        for connection in (sqlite, theirs):
            mark = "?" if connection is sqlite else "%s"
            connection.execute(f"INSERT INTO user_info VALUES ({', '.join([mark] * 9)})", first)  # noqa: S608
            connection.execute("DELETE FROM sealing")
        for name, row in _ROWS:
            marks = ", ".join("?" * len(row))
            said = []
            sqlite.execute("SAVEPOINT row")
            try:
                sqlite.execute(f"INSERT INTO {name} VALUES ({marks})", row)  # noqa: S608
                said.append(True)
            except sqlite3.IntegrityError:
                said.append(False)
            sqlite.execute("ROLLBACK TO row")
            theirs.execute("SAVEPOINT row")
            try:
                statement = f"INSERT INTO {name} VALUES ({marks.replace('?', '%s')})"  # noqa: S608
                theirs.execute(statement.encode(), row)
                said.append(True)
            except psycopg.IntegrityError:
                said.append(False)
            theirs.execute("ROLLBACK TO row")
            assert said[0] == said[1], (name, row)
            accepted += said[0]
    assert 15 < accepted < len(_ROWS) / 2


def test_version_in_the_schema_is_the_one_that_the_code_knows(
    table: UserTable, postgresql: Postgresql
) -> None:
    assert postgresql.execute("SELECT number FROM sbcauth_schema") == [(SCHEMA_VERSION,)]
    assert "password" not in schema_postgresql_sql().read_text("utf-8").lower()


def test_each_migration_of_sqlite_has_its_twin() -> None:
    first = 5  # the version that PostgreSQL began with
    assert set(POSTGRESQL_MIGRATIONS) == {number for number in MIGRATIONS if number > first}


# Migrations


def _next_version(monkeypatch: pytest.MonkeyPatch, *statements: str) -> None:
    monkeypatch.setitem(migrations.POSTGRESQL_MIGRATIONS, SCHEMA_VERSION + 1, statements)
    monkeypatch.setattr(postgresql, "SCHEMA_VERSION", SCHEMA_VERSION + 1)


def test_older_database_is_brought_up_to_date_by_many_commands_at_once(
    table: UserTable,
    postgresql: Postgresql,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table.add("Phones", "1001", REALM, "secret")
    _next_version(monkeypatch, "ALTER TABLE user_info ADD COLUMN note TEXT")

    def count(_: int) -> int:
        from sbcauth.users.postgresql import open_for_writing

        database = open_for_writing(postgresql.url(), table.seals)
        with closing(database):
            (number,) = database.execute_sql("SELECT count(*) FROM user_info").fetchone()  # type: ignore[no-untyped-call]
        return int(number)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(count, range(12))) == [1] * 12
    assert postgresql.execute("SELECT number FROM sbcauth_schema") == [(SCHEMA_VERSION + 1,)]
    assert postgresql.execute("SELECT note FROM user_info") == [(None,)]


def test_migration_that_fails_changes_nothing(
    table: UserTable, postgresql: Postgresql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = (
        "ALTER TABLE user_info ADD COLUMN note TEXT",
        "ALTER TABLE nothing ADD COLUMN x TEXT",
    )
    _next_version(monkeypatch, *statements)
    with pytest.raises(Unavailable, match="does not exist"):
        UserTable(postgresql.url(), tmp_path / "sbcauth.seal")
    assert postgresql.execute("SELECT number FROM sbcauth_schema") == [(SCHEMA_VERSION,)]
    columns = "SELECT 1 FROM information_schema.columns WHERE column_name = 'note'"
    assert postgresql.execute(columns) == []


def test_database_of_a_newer_version_is_refused(
    table: UserTable, postgresql: Postgresql, tmp_path: Path
) -> None:
    postgresql.execute("UPDATE sbcauth_schema SET number = 99")
    with pytest.raises(Unavailable, match=r"made by a newer version of sbcauth \(schema 99\)"):
        UserTable(postgresql.url(), tmp_path / "sbcauth.seal")


def test_tables_are_made_once_by_many_commands_at_once(
    postgresql: Postgresql, tmp_path: Path
) -> None:
    def opened(_: int) -> bool:
        from sbcauth.users.postgresql import open_for_writing
        from sbcauth.users.sealing import Seals

        open_for_writing(postgresql.url(), Seals(tmp_path / "sbcauth.seal")).close()
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(opened, range(12)))
    assert postgresql.execute("SELECT count(*) FROM sealing") == [(1,)]


# What goes wrong


def _said(url: str, key_file: Path) -> str:
    with pytest.raises(Unavailable) as caught:
        UserTable(url, key_file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_server_that_is_away_is_said_to_be_in_one_line(
    postgresql: Postgresql, tmp_path: Path
) -> None:
    away = "postgresql://sbcauth:geheim@127.0.0.1:1,127.0.0.1:2/sbcauth"
    said = _said(away, tmp_path / "sbcauth.seal")
    assert "refused" in said
    assert "geheim" not in said
    assert "port 1" in said
    assert "port 2" in said


@pytest.mark.parametrize("url", ["postgresql://h:x/y", "postgresql://h/d?nonsense=1"])
def test_url_that_is_none_is_said_to_be(url: str, tmp_path: Path) -> None:
    assert _said(url, tmp_path / "sbcauth.seal").startswith(url)


def test_database_that_is_not_there_is_named(postgresql: Postgresql, tmp_path: Path) -> None:
    said = _said(postgresql.url("nothing"), tmp_path / "sbcauth.seal")
    assert 'database "nothing" does not exist' in said


def test_database_in_another_encoding_is_refused(postgresql: Postgresql, tmp_path: Path) -> None:
    postgresql.execute("DROP DATABASE IF EXISTS latin", database="postgres")
    how = "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' OWNER sbcauth"
    postgresql.execute(f"CREATE DATABASE latin {how}", database="postgres")
    assert "is not in UTF8" in _said(postgresql.url("latin"), tmp_path / "sbcauth.seal")


def test_command_waits_for_a_frozen_server_no_longer_than_told(
    table: UserTable, postgresql: Postgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.add("Phones", "1001", REALM, "secret")
    row = table.find("1001")
    table.connection().patience = 0.5  # type: ignore[attr-defined]
    postgresql.freeze()
    try:
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="no answer within"):
            table.set_enabled(row, False)
        assert time.monotonic() - begun < 8
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="timeout"):
            UserTable(postgresql.url(), table.seals.path)
        assert time.monotonic() - begun < 15
    finally:
        postgresql.thaw()
    with UserTable(postgresql.url(), table.seals.path) as again:
        assert again.find("1001").enabled


def test_command_does_not_wait_for_anothers_transaction_for_ever(
    table: UserTable, postgresql: Postgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.connection().execute("SET lock_timeout = '200ms'")
    with (
        UserTable(postgresql.url(), table.seals.path) as other,
        other.transaction(),
        pytest.raises(Unavailable, match="lock timeout"),
    ):
        table.add("Phones", "1001", REALM, "secret")


def test_sealing_keys_of_another_node_are_wanted(
    table: UserTable, postgresql: Postgresql, tmp_path: Path
) -> None:
    table.add("Phones", "1001", REALM, "secret")
    with UserTable(postgresql.url(), tmp_path / "missing.seal") as elsewhere:
        with pytest.raises(Unavailable, match=r"missing.seal.*put the file back"):
            elsewhere.add("Phones", "1002", REALM, "secret")
        assert elsewhere.count() == 1


def test_plain_ha1_is_named_and_everything_is_sealed_anew(
    table: UserTable, postgresql: Postgresql
) -> None:
    for name in ("1001", "1002"):
        table.add("Phones", name, REALM, "secret")
    assert reseal(table, rotate=True) == (1, 2)
    assert postgresql.execute("SELECT count(*) FROM ha1 WHERE ha1 LIKE 'v1:1:%'") == [(6,)]
    postgresql.execute("UPDATE ha1 SET ha1 = repeat('0', 32) WHERE algorithm = 'MD5'")
    with pytest.raises(Unavailable, match="1001 in Phones, 1002 in Phones"):
        reseal(table)


@pytest.mark.parametrize(
    ("module", "said"),
    [("psycopg", "pip install 'sbcauth[postgresql]'"), ("psycopg.pq", "apt install libpq5")],
)
def test_driver_that_is_missing_is_named(module: str, said: str, tmp_path: Path) -> None:
    config = tmp_path / "sbcauth.yaml"
    config.write_text("realm: r\ndatabase: postgresql://h/d\nip_groups: []\n")
    without = f"import sys; sys.modules[{module!r}] = None; from sbcauth.cli import app; app()"
    for command in (["user", "list"], ["run"]):
        done = subprocess.run(
            [sys.executable, "-c", without, "--config", str(config), *command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert said in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_users_in_sqlite_load_no_driver(tmp_path: Path) -> None:
    program = "import sys, sbcauth.users.table; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "peewee" in done.stdout.split()
    assert "psycopg" not in done.stdout.split()


# URLs


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:********@h/d"),
        ("postgresql://u:p@ss@h,i:5/d?x=1", "postgresql://u:********@h,i:5/d?x=1"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://h/d?password=x&host=a", "postgresql://h/d?password=********&host=a"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("postgresql://u@/d?host=a,b&port=1,2", "postgresql://u@/d?host=a,b&port=1,2"),
    ],
)
def test_password_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == name_of(url) == shown
