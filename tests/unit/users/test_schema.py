"""schema.sql, the only truth about the database, and peewee's model of it."""

import re
import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import peewee
import pytest

from sbcauth.exceptions import Unavailable
from sbcauth.installation import schema_sql
from sbcauth.users.database import UserInfo, open_for_writing, sqlite_path
from sbcauth.users.directory import UserDirectory
from sbcauth.users.migrations import MIGRATIONS, SCHEMA_VERSION
from sbcauth.users.sealing import Seals, key_file_beside

SCHEMA = schema_sql().read_text("utf-8")
ROW = {
    "ip_group": "Phones",
    "local_user": "1001",
    "username": "1001",
    "realm": "example.com",
    "ha1_md5": "0" * 32,
    "ha1_sha256": "a" * 64,
    "ha1_sha512_256": "f" * 64,
}


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    """A database of schema.sql alone."""
    database = sqlite3.connect(":memory:")
    database.executescript(SCHEMA)
    yield database
    database.close()


def insert(database: sqlite3.Connection, **values: object) -> None:
    row = {**ROW, **values}
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    # S608: names of columns only
    sql = f"INSERT INTO user_info ({names}) VALUES ({marks})"  # noqa: S608
    database.execute(sql, tuple(row.values()))


def opened(url: str) -> peewee.SqliteDatabase:
    return open_for_writing(url, Seals(key_file_beside(sqlite_path(url))))


# The model is the schema


def test_model_has_the_columns_of_the_schema(database: sqlite3.Connection) -> None:
    columns = database.execute("PRAGMA table_info(user_info)").fetchall()
    assert [name for _, name, *_ in columns] == list(UserInfo._meta.sorted_field_names)
    for _, name, kind, required, _, key in columns:
        field = UserInfo._meta.fields[name]
        assert field.field_type in {"TEXT": {"TEXT"}, "INTEGER": {"BOOL", "AUTO", "INT"}}[kind], (
            name
        )
        assert (not field.null or bool(key)) == bool(required or key), name
        assert isinstance(field, peewee.AutoField) == bool(key), name


def test_model_has_the_keys_of_the_schema(database: sqlite3.Connection) -> None:
    indexes = {
        tuple(name for _, _, name in database.execute(f"PRAGMA index_info({index})")): bool(unique)
        for _, index, unique, *_ in database.execute("PRAGMA index_list(user_info)")
    }
    assert indexes == dict(UserInfo._meta.indexes)


def test_look_ups_use_the_keys(database: sqlite3.Connection) -> None:
    from sbcauth.users import directory

    for query, values in (
        (directory._BY_USERNAME, ("Phones", "1001", "example.com")),
        (directory._BY_LOCAL_USER, ("Phones", "1001")),
    ):
        (plan,) = database.execute(f"EXPLAIN QUERY PLAN {query}", values)
        assert plan[3].startswith("SEARCH user_info USING INDEX")


def test_look_up_of_a_number_uses_the_keys(database: sqlite3.Connection) -> None:
    from sbcauth.users.directory import _BY_IDENTITY

    plan = database.execute(f"EXPLAIN QUERY PLAN {_BY_IDENTITY}", ("[]", "Phones", "example.com"))
    details = [row[3] for row in plan]
    assert any("identity USING INDEX identity_pattern" in each for each in details)
    assert any("user_info USING INTEGER PRIMARY KEY" in each for each in details)


def test_version_in_the_schema_is_the_one_that_the_code_knows(
    database: sqlite3.Connection,
) -> None:
    assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_no_column_could_hold_a_password(database: sqlite3.Connection) -> None:
    assert not re.search(r"^\s*\w*passw\w*\s+TEXT", SCHEMA, re.IGNORECASE | re.MULTILINE)


# What the schema keeps out


def test_row_has_its_times_and_is_enabled(database: sqlite3.Connection) -> None:
    insert(database)
    (row,) = database.execute("SELECT enabled, created_at, updated_at FROM user_info")
    assert row[0] == 1
    assert row[1] == row[2]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[1])


@pytest.mark.parametrize("column", ["ha1_md5", "ha1_sha256", "ha1_sha512_256"])
def test_ha1_of_an_algorithm_may_be_missing(column: str, database: sqlite3.Connection) -> None:
    insert(database, **{column: None})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ip_group", ""),
        ("ip_group", None),
        ("local_user", ""),
        ("username", ""),
        ("username", None),
        ("realm", ""),
        ("enabled", 2),
        ("enabled", None),
        ("enabled", "yes"),
        ("ha1_md5", "secret"),
        ("ha1_md5", "A" * 32),
        ("ha1_md5", "0" * 64),
        ("ha1_md5", "0" * 31 + "\n"),
        ("ha1_sha256", "0" * 32),
        ("ha1_sha256", "g" * 64),
        ("ha1_sha512_256", "0" * 128),
        ("ha1_md5", b"0" * 32),
    ],
)
def test_what_cannot_be_right_is_refused(
    column: str, value: object, database: sqlite3.Connection
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        insert(database, **{column: value})


def test_user_is_there_once_in_an_ip_group_and_realm(database: sqlite3.Connection) -> None:
    insert(database)
    insert(database, ip_group="Desk")
    insert(database, realm="other.example")
    insert(database, username="1001@example.com")
    with pytest.raises(sqlite3.IntegrityError):
        insert(database, local_user="1002")


# Opening


def test_database_is_made_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "sbcauth.db"
    database = opened(f"sqlite:///{file}")
    UserInfo.create(**ROW, created_at="", updated_at="")
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    database.close()


def test_database_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sbcauth.db"
    database = opened(url)
    UserInfo.create(**ROW, created_at="", updated_at="")
    database.close()
    database = opened(url)
    assert UserInfo.select().count() == 1
    database.close()


def test_several_commands_may_make_it_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sbcauth.db"
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda _: opened(url).close(), range(16)):
            pass


def test_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "sbcauth.db"
    newer = sqlite3.connect(file)
    newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()
    with pytest.raises(Unavailable, match="newer version"):
        opened(f"sqlite:///{file}")


@pytest.mark.parametrize("name", ["missing/sbcauth.db", "file/sbcauth.db", "folder", "file"])
def test_what_cannot_be_a_database_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("no database at all " * 100)
    with pytest.raises(Unavailable) as caught:
        opened(f"sqlite:///{tmp_path}/{name}")
    assert str(caught.value).startswith(f"{tmp_path}/{name}: ")
    assert str(caught.value).count(str(tmp_path)) == 1


# From older schemas


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A database as the first schema made it, with a user."""
    file = tmp_path / "sbcauth.db"
    database = sqlite3.connect(file)
    database.executescript(Path(__file__).with_name("schema_1.sql").read_text("utf-8"))
    database.execute("PRAGMA journal_mode = wal")
    insert(database)
    database.commit()
    database.close()
    return file


def read(file: Path, query: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(file)
    rows = database.execute(query).fetchall()
    database.close()
    return rows


def test_every_version_has_its_migration() -> None:
    assert list(MIGRATIONS) == list(range(2, SCHEMA_VERSION + 1))


def test_older_database_becomes_what_the_schema_makes(
    older: Path, database: sqlite3.Connection
) -> None:
    before = read(older, "SELECT * FROM user_info")
    opened(f"sqlite:///{older}").close()
    assert read(older, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    columns = database.execute("PRAGMA table_info(user_info)").fetchall()
    assert read(older, "PRAGMA table_info(user_info)") == columns
    (row,) = read(older, "SELECT * FROM user_info")
    assert row == (*before[0], None, None, None, None)
    changed = sqlite3.connect(older)
    for column in ("old_ha1_md5", "old_ha1_sha256", "old_ha1_sha512_256"):
        with pytest.raises(sqlite3.IntegrityError):
            changed.execute(f"UPDATE user_info SET {column} = 'secret'")  # noqa: S608
    changed.close()


def test_several_commands_may_bring_it_up_to_date_at_once(older: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda _: opened(f"sqlite:///{older}").close(), range(16)):
            pass
    assert read(older, "SELECT count(*) FROM user_info") == [(1,)]


def test_migration_that_fails_changes_nothing(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MIGRATIONS, 2, (*MIGRATIONS[2], "ALTER TABLE missing ADD COLUMN x"))
    before = read(older, "SELECT * FROM user_info")
    with pytest.raises(Unavailable, match="no such table: missing"):
        opened(f"sqlite:///{older}")
    assert read(older, "SELECT * FROM user_info") == before
    assert read(older, "PRAGMA user_version") == [(1,)]


def test_running_server_reads_before_and_after_a_command_brings_it_up_to_date(
    older: Path,
) -> None:
    directory = UserDirectory(f"sqlite:///{older}")
    directory.refresh(1000.0)
    before = directory.find("Phones", "1001", "example.com")
    database = opened(f"sqlite:///{older}")
    assert directory.find("Phones", "1001", "example.com") == before
    UserInfo.update(old_ha1_md5="1" * 32, old_until=2000).execute()
    database.close()
    directory.refresh(1001.0)
    after = directory.find("Phones", "1001", "example.com")
    assert before
    assert after == before._replace(old_ha1_md5="1" * 32, old_until=2000)
    directory.close()
