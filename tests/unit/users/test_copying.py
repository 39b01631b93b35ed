"""The copy of users in PostgreSQL: one state of the database, and never half of one."""

import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from postgresql import Postgresql

from sbcauth.exceptions import Unavailable
from sbcauth.policy.accounts import User
from sbcauth.users import copying
from sbcauth.users.copying import UsersCopy, revisions
from sbcauth.users.database_url import sqlite_url
from sbcauth.users.directory import UserDirectory
from sbcauth.users.resealing import reseal
from sbcauth.users.table import UserTable

REALM = "example.com"


@pytest.fixture
def table(postgresql: Postgresql, tmp_path: Path) -> Iterator[UserTable]:
    with UserTable(postgresql.url(), tmp_path / "sbcauth.seal") as table:
        yield table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


@pytest.fixture
def copy(table: UserTable, postgresql: Postgresql, file: Path) -> Iterator[UsersCopy]:
    copy = UsersCopy(postgresql.url(), file)
    yield copy
    copy.close()


def content(url: str, keys: Path) -> tuple[list[User], object]:
    with UserTable(url, keys) as table:
        return list(table.users()), table.all_identities()


def test_copy_is_what_the_database_has_change_after_change(
    copy: UsersCopy, table: UserTable, postgresql: Postgresql, file: Path
) -> None:
    keys = table.seals.path

    def is_copied(*, whole: bool) -> None:
        changes = copy.follow(0)
        assert changes
        assert changes.is_all is whole
        assert content(sqlite_url(file), keys) == content(postgresql.url(), keys)
        assert copy.follow(0) is None
        there, here = revisions(postgresql.url(), file)
        assert there == here == changes.revision

    def alone() -> UserTable:
        return UserTable(postgresql.url(), keys)  # reading has bound the model elsewhere

    with alone() as table:
        for username in ("1001", "1002", "ümlaut"):
            numbers = [f"+49{username}"] if username.isdigit() else []
            table.add("Phones", username, REALM, "secret", identities=numbers)
    is_copied(whole=True)
    with alone() as table:
        table.set_password(table.find("1001"), "changed", memory=60)
    is_copied(whole=False)
    with alone() as table:
        table.set_enabled(table.find("1002"), False)
        table.move(table.find("ümlaut"), "Desk")
    is_copied(whole=False)
    with alone() as table:
        table.remove(table.find("1001"))
        table.add("Phones", "1003", REALM, "secret")
    is_copied(whole=False)
    with alone() as table:
        reseal(table, rotate=True)
    is_copied(whole=True)
    with alone() as table:
        table.clear()
    is_copied(whole=False)


def test_reader_of_sqlite_reads_it(copy: UsersCopy, table: UserTable, file: Path) -> None:
    table.add("Phones", "1001", REALM, "secret", identities=["+4930*"])
    ha1s = table.opened(table.find("1001")).ha1s
    copy.follow(0)
    directory = UserDirectory(sqlite_url(file), table.seals.path)
    found = directory.find("Phones", "1001", REALM, "SHA-256")
    assert found
    assert found.ha1s.get("SHA-256") == ha1s.get("SHA-256") is not None
    assert directory.find_by_identity("Phones", "+493012", REALM)
    table.remove(table.find("1001"))
    copy.follow(0)
    directory.refresh(10.0)
    assert directory.find("Phones", "1001", REALM) is None
    directory.close()


def test_it_waits_until_something_changes(
    copy: UsersCopy, postgresql: Postgresql, table: UserTable
) -> None:
    copy.follow(0)
    table.add("Phones", "1001", REALM, "secret")
    assert copy.follow(20)  # the news of that change has come
    change = threading.Timer(
        0.5, postgresql.execute, ["UPDATE user_info SET enabled = NOT enabled"]
    )
    change.start()
    begun = time.monotonic()
    assert copy.follow(30)
    assert time.monotonic() - begun < 25
    change.join()


def test_copy_is_its_owners_alone_and_keeps_nothing_of_who_is_gone(
    copy: UsersCopy, table: UserTable, file: Path
) -> None:
    table.add("Phones", "a-name-to-be-found", REALM, "secret")
    copy.follow(0)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with closing(sqlite3.connect(file)) as database:
        (ha1,) = database.execute("SELECT ha1 FROM ha1 LIMIT 1").fetchone()
    everything = b"".join(each.read_bytes() for each in file.parent.glob("copy.db*"))
    assert ha1.encode() in everything
    table.clear()
    copy.follow(0)
    everything = b"".join(each.read_bytes() for each in file.parent.glob("copy.db*"))
    assert ha1.encode() not in everything
    assert b"a-name-to-be-found" not in everything


def test_copying_that_fails_leaves_the_copy_as_it_was(
    copy: UsersCopy, table: UserTable, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.add("Phones", "1001", REALM, "secret")
    copy.follow(0)
    before = content(sqlite_url(file), table.seals.path)
    with UserTable(copy.url, table.seals.path) as again:
        again.clear()
        for username in ("1002", "1003", "1004"):
            again.add("Phones", username, REALM, "secret")
    insert = copying._insert
    batches: list[int] = []

    def failing(*arguments: object, **more: object) -> None:
        if batches:
            raise psycopg.OperationalError("the server has gone")
        batches.append(1)
        insert(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(copying, "_BATCH", 1)
    monkeypatch.setattr(copying, "_insert", failing)
    with pytest.raises(Unavailable, match="the server has gone"):
        copy.follow(0)
    assert content(sqlite_url(file), table.seals.path) == before
    monkeypatch.setattr(copying, "_insert", insert)
    assert copy.follow(0)
    users, _ = content(sqlite_url(file), table.seals.path)
    assert [user.username for user in users] == ["1002", "1003", "1004"]


def test_nobody_sees_a_new_copy_empty(
    copy: UsersCopy, table: UserTable, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.add("Phones", "1001", REALM, "secret")
    insert = copying._insert

    def watched(*arguments: object, **more: object) -> None:
        insert(*arguments, **more)  # type: ignore[arg-type]
        directory = UserDirectory(sqlite_url(file), table.seals.path)
        with pytest.raises(Unavailable):
            directory.find("Phones", "1001", REALM)
        directory.close()

    monkeypatch.setattr(copying, "_insert", watched)
    assert copy.follow(0)


def test_many_changes_are_copied_as_a_whole(
    copy: UsersCopy, table: UserTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy.follow(0)
    monkeypatch.setattr(copying, "_MOST_CHANGED", 3)
    for username in ("1001", "1002"):
        table.add("Phones", username, REALM, "secret")
    changes = copy.follow(0)
    assert changes
    assert not changes.is_all
    for username in ("1003", "1004", "1005"):
        table.add("Phones", username, REALM, "secret")
    changes = copy.follow(0)
    assert changes
    assert changes.is_all


def test_only_the_latest_thousand_changes_are_remembered(
    copy: UsersCopy, table: UserTable, postgresql: Postgresql
) -> None:
    table.add("Phones", "1001", REALM, "secret")
    copy.follow(0)
    with psycopg.connect(postgresql.url(), autocommit=True) as connection:
        for _ in range(1100):
            connection.execute("UPDATE user_info SET enabled = NOT enabled")
    assert postgresql.execute("SELECT count(*) FROM revision") == [(1000,)]
    changes = copy.follow(0)
    assert changes
    assert changes.is_all


def test_file_with_users_of_its_own_is_not_written_to(
    table: UserTable, postgresql: Postgresql, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.db"
    with UserTable(sqlite_url(mine), table.seals.path) as own:
        own.add("Phones", "1001", REALM, "secret")
    before = content(sqlite_url(mine), table.seals.path)
    with pytest.raises(Unavailable, match="is no copy; name another file in database_copy"):
        UsersCopy(postgresql.url(), mine).follow(0)
    assert content(sqlite_url(mine), table.seals.path) == before


def test_database_without_tables_or_of_a_newer_version_is_said_to_be(
    postgresql: Postgresql, file: Path, tmp_path: Path
) -> None:
    copy = UsersCopy(postgresql.url(), file)
    with pytest.raises(Unavailable, match="has no users yet"):
        copy.follow(0)
    UserTable(postgresql.url(), tmp_path / "sbcauth.seal").close()
    postgresql.execute("UPDATE sbcauth_schema SET number = 99")
    with pytest.raises(Unavailable, match="newer version"):
        copy.follow(0)
    postgresql.execute("UPDATE sbcauth_schema SET number = 5")
    assert copy.follow(0)
    copy.close()


def test_standby_is_read_where_the_url_says_so(
    copy: UsersCopy, table: UserTable, postgresql: Postgresql, file: Path
) -> None:
    table.add("Phones", "1001", REALM, "secret")
    with Postgresql(of=postgresql) as standby:
        copied = UsersCopy(standby.url(), file)
        assert copied.follow(0)
        assert copied.server.endswith(str(standby.port))
        with (
            UserTable(standby.url(), table.seals.path) as there,
            pytest.raises(Unavailable, match="during recovery"),
        ):
            there.add("Phones", "1002", REALM, "secret")
        copied.close()
