"""schema.sql, the only truth about the database, and peewee's model of it."""

import re
import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import looking_up
import peewee
import pytest

from sbcauth.digest.ha1s import HA1s
from sbcauth.exceptions import Unavailable
from sbcauth.installation import schema_sql
from sbcauth.policy.accounts import User
from sbcauth.users import directory
from sbcauth.users.database import UserInfo, open_for_writing
from sbcauth.users.database_url import sqlite_path
from sbcauth.users.directory import UserDirectory
from sbcauth.users.migrations import HA1_COLUMNS_BEFORE_5, MIGRATIONS, SCHEMA_VERSION
from sbcauth.users.sealing import Seals, key_file_beside
from sbcauth.users.sql import Database
from sbcauth.users.stored import SELECT, select
from sbcauth.users.table import UserTable

SCHEMA = schema_sql().read_text("utf-8")
ROW = {
    "ip_group": "Phones",
    "local_user": "1001",
    "username": "1001",
    "realm": "example.com",
}
HA1 = {"MD5": "0" * 32, "SHA-256": "a" * 64, "SHA-512-256": "f" * 64}
OLD_HA1 = {"MD5": "1" * 32, "SHA-256": "b" * 64}
HERE = Path(__file__).parent


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


def insert_ha1(database: sqlite3.Connection, **values: object) -> None:
    row = {"user": 1, "algorithm": "MD5", "ha1": None, "old_ha1": None, **values}
    database.execute("INSERT INTO ha1 VALUES (:user, :algorithm, :ha1, :old_ha1)", row)


def opened(url: str) -> Database:
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
    for query, values in (
        (directory._BY_USERNAME, ("Phones", "1001", "example.com")),
        (directory._BY_LOCAL_USER, ("Phones", "1001")),
    ):
        plan = database.execute(f"EXPLAIN QUERY PLAN {SELECT} {query}", values).fetchall()
        assert plan[0][3].startswith("SEARCH user_info USING INDEX")
        assert plan[1][3].startswith("SEARCH ha1 USING PRIMARY KEY (user=?)")


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
    ],
)
def test_what_cannot_be_right_is_refused(
    column: str, value: object, database: sqlite3.Connection
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        insert(database, **{column: value})


@pytest.mark.parametrize("column", ["ha1", "old_ha1"])
@pytest.mark.parametrize(
    ("algorithm", "value"),
    [
        ("MD5", "0" * 32),
        ("SHA-256", "0" * 64),
        ("SHA-512-256", "0" * 64),
        *(("MD5", f"v1:{key}:" + "A" * 60) for key in (0, 10, 100)),
        *(("SHA-256", f"v1:{key}:" + "A" * 80) for key in (0, 10, 100)),
        ("SHA-512-256", "v1:0:" + "A" * 80),
    ],
)
def test_ha1_is_sealed_or_hexadecimal(
    column: str, algorithm: str, value: str, database: sqlite3.Connection
) -> None:
    insert(database)
    insert_ha1(database, algorithm=algorithm, **{column: value})


@pytest.mark.parametrize("column", ["ha1", "old_ha1"])
@pytest.mark.parametrize(
    ("algorithm", "value"),
    [
        ("MD5", "secret"),
        ("MD5", "A" * 32),
        ("MD5", "0" * 64),
        ("MD5", "0" * 31 + "\n"),
        ("MD5", b"0" * 32),
        ("MD5", "v1:0:" + "A" * 80),
        ("MD5", "v1:0:"),
        ("SHA-256", "0" * 32),
        ("SHA-256", "g" * 64),
        ("SHA-256", "v1:0:" + "A" * 60),
        ("SHA-512-256", "0" * 128),
        ("SHA-512-256", "v1:x:" + "A" * 80),
        ("", "0" * 64),
        (None, "0" * 64),
    ],
)
def test_ha1_that_cannot_be_right_is_refused(
    column: str, algorithm: object, value: object, database: sqlite3.Connection
) -> None:
    insert(database)
    with pytest.raises(sqlite3.IntegrityError):
        insert_ha1(database, algorithm=algorithm, **{column: value})


def test_user_has_one_ha1_of_an_algorithm(database: sqlite3.Connection) -> None:
    insert(database)
    insert_ha1(database, ha1="0" * 32)
    with pytest.raises(sqlite3.IntegrityError):
        insert_ha1(database, ha1="1" * 32)


def test_ha1_goes_with_its_user_and_is_nobodys_without(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA foreign_keys = on")
    insert(database)
    insert_ha1(database, ha1="0" * 32)
    with pytest.raises(sqlite3.IntegrityError):
        insert_ha1(database, user=2, ha1="0" * 32)
    database.execute("DELETE FROM user_info")
    assert database.execute("SELECT * FROM ha1").fetchall() == []


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

OLDER = tuple(range(1, SCHEMA_VERSION))


@pytest.fixture(params=OLDER)
def older(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A database as an older version made it, with two users: one has been given a password."""
    file = tmp_path / "sbcauth.db"
    database = sqlite3.connect(file)
    database.executescript((HERE / f"schema_{request.param}.sql").read_text("utf-8"))
    database.execute("PRAGMA journal_mode = wal")
    columns = dict(zip(HA1_COLUMNS_BEFORE_5.values(), HA1.values(), strict=True))
    insert(database, **columns)
    old = {
        **{f"old_{HA1_COLUMNS_BEFORE_5[name]}": value for name, value in OLD_HA1.items()},
        "old_until": 2000,
    }
    insert(
        database,
        username="1002",
        ha1_md5=HA1["MD5"],
        enabled=0,
        **(old if request.param > 1 else {}),
    )
    database.commit()
    database.close()
    return file


def in_it(file: Path) -> list[User]:
    """Return who is in a database that `older` made, as it should be read."""
    had_old = read(file, "SELECT 1 FROM pragma_table_info('user_info') WHERE name = 'old_until'")
    first = User("Phones", "1001", "1001", "example.com", True, HA1s(HA1))
    second = first._replace(username="1002", enabled=False, ha1s=HA1s({"MD5": HA1["MD5"]}))
    return [first, second._replace(old_ha1s=HA1s(OLD_HA1), old_until=2000) if had_old else second]


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
    there = in_it(older)
    dates = read(older, "SELECT id, created_at, updated_at FROM user_info")
    opened(f"sqlite:///{older}").close()
    assert read(older, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    made = "SELECT type, name, tbl_name FROM sqlite_master ORDER BY name"
    assert read(older, made) == database.execute(made).fetchall()
    for table in ("user_info", "ha1", "sealing"):
        columns = database.execute(f"PRAGMA table_info({table})").fetchall()
        assert read(older, f"PRAGMA table_info({table})") == columns
        sql = f"SELECT sql FROM sqlite_master WHERE name = '{table}'"  # noqa: S608
        ((of_older,),), ((of_new,),) = read(older, sql), database.execute(sql).fetchall()
        assert plain(str(of_older)) == plain(of_new)
    with UserTable(f"sqlite:///{older}") as table_:
        assert list(table_.users()) == there
    assert read(older, "SELECT id, created_at, updated_at FROM user_info") == dates


def plain(sql: str) -> str:
    """Return the statement that makes a table without what does not matter in it."""
    return re.sub(r'--[^\n]*|\s|"', "", sql)


def test_several_commands_may_bring_it_up_to_date_at_once(older: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda _: opened(f"sqlite:///{older}").close(), range(16)):
            pass
    assert read(older, "SELECT count(*) FROM user_info") == [(2,)]
    assert read(older, "SELECT count(*) FROM ha1 WHERE ha1 IS NOT NULL") == [(4,)]


def test_migration_that_fails_changes_nothing(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MIGRATIONS, 5, (*MIGRATIONS[5], "ALTER TABLE missing ADD COLUMN x"))
    version = read(older, "PRAGMA user_version")
    before = read(older, "SELECT * FROM user_info")
    with pytest.raises(Unavailable, match="no such table: missing"):
        opened(f"sqlite:///{older}")
    assert read(older, "SELECT * FROM user_info") == before
    assert read(older, "PRAGMA user_version") == version


def test_running_server_reads_before_and_after_a_command_brings_it_up_to_date(
    older: Path,
) -> None:
    first, second = in_it(older)
    with closing(UserDirectory(f"sqlite:///{older}")) as users:
        users.refresh(1000.0)
        assert looking_up.find(users, "Phones", "1001", "example.com") == first
        assert users.find_by_local_user("Phones", "1001", "example.com") == first
        assert users.has_local_user("Phones", "1001")
        assert looking_up.find(users, "Phones", "nobody", "example.com") is None
        database = opened(f"sqlite:///{older}")  # which it has not noticed yet
        assert (
            looking_up.find(users, "Phones", "1002", "example.com") == second
        )  # before it looks again
        database.close()
        with closing(sqlite3.connect(older)) as changed, changed:
            changed.execute("UPDATE ha1 SET ha1 = ? WHERE algorithm = 'MD5'", ("2" * 32,))
        users.refresh(1001.0)
        user = looking_up.find(users, "Phones", "1001", "example.com")
        assert user == first._replace(ha1s=HA1s({**HA1, "MD5": "2" * 32}))


@pytest.mark.parametrize("schema", OLDER)
def test_older_database_is_searched_by_its_keys(schema: int) -> None:
    database = sqlite3.connect(":memory:")
    database.executescript((HERE / f"schema_{schema}.sql").read_text("utf-8"))
    query = f"EXPLAIN QUERY PLAN {select(schema)} {directory._BY_USERNAME}"
    plan = database.execute(query, ("Phones", "1001", "example.com")).fetchall()
    assert "SEARCH user_info USING INDEX sqlite_autoindex_user_info_1" in str(plan)
    assert "SCAN user_info" not in str(plan)
    database.close()


def test_what_was_sealed_stays_sealed_and_opens(tmp_path: Path) -> None:
    file = tmp_path / "sbcauth.db"
    seals = Seals(key_file_beside(file))
    seals.make()
    user = User("Phones", "1001", "1001", "example.com", True, HA1s(HA1), HA1s(OLD_HA1), 2000)
    sealed = seals.seal(user)
    columns = {
        f"{kind}{column}": ha1s.get(name)
        for kind, ha1s in (("", sealed.ha1s), ("old_", sealed.old_ha1s))
        for name, column in HA1_COLUMNS_BEFORE_5.items()
    }
    with closing(sqlite3.connect(file)) as database:
        database.executescript((HERE / "schema_3.sql").read_text("utf-8"))
        insert(database, **columns, old_until=2000)
        database.execute("INSERT INTO sealing VALUES (1, ?)", (seals.prove(),))
        database.commit()
    with closing(UserDirectory(f"sqlite:///{file}")) as users:
        assert looking_up.find(users, "Phones", "1001", "example.com") == user
        opened(f"sqlite:///{file}").close()
        users.refresh(1.0)
        assert looking_up.find(users, "Phones", "1001", "example.com") == user
    stored = read(file, "SELECT algorithm, ha1, old_ha1 FROM ha1 ORDER BY algorithm")
    assert {name: ha1 for name, ha1, _ in stored} == dict(sealed.ha1s.items())
