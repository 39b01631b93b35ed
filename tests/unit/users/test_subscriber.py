"""The users of Kamailio's module auth_db, in the tables that Kamailio ships."""

import hashlib
import sqlite3
from pathlib import Path

import pytest

from sbcauth.exceptions import UserInfoError
from sbcauth.policy.ip_groups import IPGroup, IPGroupType
from sbcauth.users.files import BadUserFile, UserFile, import_users
from sbcauth.users.subscriber import as_csv
from sbcauth.users.table import UserTable

SCHEMA = Path("/usr/share/kamailio/db_sqlite/auth_db-create.sql")
PHONES = IPGroup(name="Phones", type=IPGroupType.USER, realm="example.com")


def a1(username: str, realm: str, password: str) -> str:
    text = f"{username}:{realm}:{password}".encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def kamailio(folder: Path, *rows: tuple[str, str, str, str]) -> Path:
    """Make a database with these users: user name, domain, password, ha1."""
    path = folder / "kamailio.sqlite"
    versions = "CREATE TABLE version (table_name TEXT, table_version INT);"
    with sqlite3.connect(path) as database:
        database.executescript(versions + SCHEMA.read_text())
        insert = "INSERT INTO subscriber (username, domain, password, ha1) VALUES (?, ?, ?, ?)"
        database.executemany(insert, rows)
    database.close()
    return path


def imported(folder: Path, path: Path) -> list[tuple[object, ...]]:
    url = f"sqlite:///{folder}/sbcauth.db"
    with as_csv(path, PHONES, {}) as (content, unfit), UserTable(url) as table:
        source = UserFile(content, "subscriber", [PHONES], PHONES)
        for line, message in unfit:
            source.note_mistake(line, message)
        import_users(table, source)
        return [
            (u.username, u.local_user, u.realm, u.ha1s.get("MD5"), u.ha1s.get("SHA-256"))
            for u in table.users()
        ]


def test_users_keep_their_passwords(tmp_path: Path) -> None:
    ha1 = a1("1001", "example.com", "secret")
    path = kamailio(tmp_path, ("1001", "example.com", "", ha1))
    assert imported(tmp_path, path) == [("1001", "1001", "example.com", ha1, None)]


def test_password_in_the_clear_gives_all_algorithms(tmp_path: Path) -> None:
    ((*_, md5, sha256),) = imported(tmp_path, kamailio(tmp_path, ("1001", "", 'se"c,ret', "")))
    assert md5 == a1("1001", "example.com", 'se"c,ret')
    assert sha256 == hashlib.sha256(b'1001:example.com:se"c,ret').hexdigest()


def test_ha1_comes_before_a_password_beside_it(tmp_path: Path) -> None:
    ha1 = a1("1001", "example.com", "old")
    rows = imported(tmp_path, kamailio(tmp_path, ("1001", "example.com", "new", ha1)))
    assert rows[0][3] == ha1


def test_ha1_of_another_realm_is_refused(tmp_path: Path) -> None:
    path = kamailio(tmp_path, ("1001", "other.example", "", "0" * 32))
    with pytest.raises(UserInfoError, match=r"bound to the realm other\.example, but that of"):
        imported(tmp_path, path)


def test_user_without_any_password_is_named(tmp_path: Path) -> None:
    path = kamailio(tmp_path, ("1001", "example.com", "", ""))
    with pytest.raises(BadUserFile, match="has neither a password nor an H"):
        imported(tmp_path, path)


def test_database_without_the_table_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    sqlite3.connect(path).close()
    path.write_bytes(b"")
    with pytest.raises(UserInfoError, match="no such table: subscriber"):
        imported(tmp_path, path)


def test_file_that_is_missing_is_an_error_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "missing.sqlite"
    with pytest.raises(UserInfoError, match="No such file"):
        imported(tmp_path, path)
    assert not path.exists()


BRANCH = IPGroup(name="Branch", type=IPGroupType.USER, realm="example.org")


def test_domains_go_to_their_ip_groups_and_the_others_are_named(tmp_path: Path) -> None:
    path = kamailio(
        tmp_path,
        ("1001", "example.com", "", "a" * 32),
        ("1002", "nowhere.example", "", "b" * 32),
        ("1003", "example.org", "", "c" * 32),
    )
    by_realm = {"example.com": PHONES, "example.org": BRANCH}
    url = f"sqlite:///{tmp_path}/sbcauth.db"
    with as_csv(path, None, by_realm) as (content, unfit), UserTable(url) as table:
        assert unfit == [
            (
                3,
                "1002 is of the domain nowhere.example: "
                "--realm nowhere.example=IP_GROUP says where to",
            )
        ]
        source = UserFile(content, "subscriber", [PHONES, BRANCH], skip=True)
        for line, message in unfit:
            source.note_mistake(line, message)
        assert import_users(table, source) == {"Phones": 1, "Branch": 1}
        assert [(u.ip_group, u.username, u.realm) for u in table.users()] == [
            ("Branch", "1003", "example.org"),
            ("Phones", "1001", "example.com"),
        ]
