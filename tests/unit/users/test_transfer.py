"""All users from one database to another: as they are, all or none."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from postgresql import Postgresql

from sbcauth.exceptions import Unavailable, UserInfoError
from sbcauth.users.table import UserTable
from sbcauth.users.transfer import migrate_database

REALM = "example.com"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "sbcauth.seal"


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sbcauth.db"


def fill(url: str, keys: Path) -> None:
    with UserTable(url, keys) as table:
        for username in ("1001", "1002", "ümlaut"):
            table.add("Phones", username, REALM, "secret", identities=[f"+49{len(username)}"])
            table.clear() if username == "1001" else None
        table.set_password(table.find("1002"), "changed", memory=600)
        table.set_enabled(table.find("ümlaut"), False)


def content(url: str, keys: Path) -> list[Any]:
    """Return everything that is known of all users."""
    with UserTable(url, keys) as table:
        rows = [(row.id, row.created_at, row.updated_at, bool(row.enabled)) for row in table.all()]
        return [rows, list(table.users()), table.all_identities()]


def test_users_go_to_postgresql_and_back_as_they_are(
    postgresql: Postgresql, sqlite: str, keys: Path, tmp_path: Path
) -> None:
    fill(sqlite, keys)
    before = content(sqlite, keys)
    assert len(before[1]) == 2
    assert before[1][0].old_until
    seen: list[int] = []

    def track(rows: Iterable[Any], total: int) -> Iterable[Any]:
        for number, row in enumerate(rows, start=1):
            seen.append(total - number)
            yield row

    assert migrate_database(sqlite, postgresql.url(), keys, track) == 2
    assert seen[-1] == 0
    assert content(postgresql.url(), keys) == before
    back = f"sqlite:///{tmp_path}/back.db"
    assert migrate_database(postgresql.url(), back, keys) == 2
    assert content(back, keys) == before
    with UserTable(postgresql.url(), keys) as table:
        assert table.add("Phones", "1003", REALM, "secret").id == 3


def test_database_that_has_users_stays_as_it_is(
    postgresql: Postgresql, sqlite: str, keys: Path
) -> None:
    fill(sqlite, keys)
    with UserTable(postgresql.url(), keys) as table:
        table.add("Phones", "9", REALM, "secret")
    for source, target in ((sqlite, postgresql.url()), (postgresql.url(), sqlite)):
        before = content(target, keys)
        with pytest.raises(UserInfoError, match="has users already"):
            migrate_database(source, target, keys)
        assert content(target, keys) == before


def test_nothing_is_kept_where_it_is_interrupted(
    postgresql: Postgresql, sqlite: str, keys: Path
) -> None:
    fill(sqlite, keys)

    def interrupted(rows: Iterable[Any], total: int) -> Iterable[Any]:
        for number, row in enumerate(rows):
            if number == total - 1:
                raise KeyboardInterrupt
            yield row

    with pytest.raises(KeyboardInterrupt):
        migrate_database(sqlite, postgresql.url(), keys, interrupted)
    assert content(postgresql.url(), keys) == [[], [], {}]
    assert migrate_database(sqlite, postgresql.url(), keys) == 2


def test_keys_have_to_be_those_of_the_users(
    postgresql: Postgresql, sqlite: str, keys: Path, tmp_path: Path
) -> None:
    fill(sqlite, keys)
    with pytest.raises(Unavailable, match="put the file back"):
        migrate_database(sqlite, postgresql.url(), tmp_path / "other.seal")
    assert postgresql.execute("SELECT to_regclass('user_info')") == [(None,)]


def test_plain_users_are_sealed_first(postgresql: Postgresql, sqlite: str, keys: Path) -> None:
    fill(sqlite, keys)
    with UserTable(sqlite, keys) as table:
        table.connection().execute("DELETE FROM sealing")
    keys.unlink()
    with pytest.raises(UserInfoError, match="user reseal"):
        migrate_database(sqlite, postgresql.url(), keys)
