"""UserDirectory: what one worker knows of User Info, and how soon it notices a change."""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import looking_up
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.ha1s import HA1s
from sbcauth.digest.response import ha1
from sbcauth.exceptions import Unavailable
from sbcauth.policy.accounts import User
from sbcauth.users import directory as users
from sbcauth.users.directory import FRESHNESS, CountingUserDirectory, UserDirectory
from sbcauth.users.sealing import key_file_beside
from sbcauth.users.table import UserTable

NOTICED_WITHIN = 0.4
"""Seconds after which a change must be seen."""
REALM = "example.com"
NOBODY = 65534
NOW = 1000.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sbcauth.db"


@pytest.fixture
def table(file: Path) -> Iterator[UserTable]:
    """The table as a command sees it, with the user 1001."""
    with UserTable(f"sqlite:///{file}") as table:
        table.add("Phones", "1001", REALM, "secret")
        yield table


@pytest.fixture
def directory(file: Path, table: UserTable) -> Iterator[UserDirectory]:
    directory = UserDirectory(f"sqlite:///{file}")
    directory.refresh(NOW)
    yield directory
    directory.close()


def find(directory: UserDirectory, username: str = "1001") -> User | None:
    return looking_up.find(directory, "Phones", username, REALM)


def forget_log(file: Path) -> None:
    """Remove SQLite's files beside a database that is about to be replaced."""
    for ending in ("-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)


# Look-ups


def test_user_is_found_by_ip_group_user_name_and_realm(directory: UserDirectory) -> None:
    user = find(directory)
    assert user is not None
    assert (user.ip_group, user.username, user.local_user) == ("Phones", "1001", "1001")
    assert (user.realm, user.enabled) == (REALM, True)
    for algorithm in Algorithm:
        assert user.ha1s.get(algorithm) == ha1(algorithm, "1001", REALM, "secret")


@pytest.mark.parametrize(
    "key",
    [
        ("Phones", "1002", REALM),
        ("Phones", "1001", "other.example"),
        ("Carrier", "1001", REALM),
        ("phones", "1001", REALM),
        ("Phones", "", REALM),
        ("Phones", "1001' OR '1'='1", REALM),
        ("Phones", "%", REALM),
    ],
)
def test_user_that_differs_in_anything_is_unknown(
    key: tuple[str, str, str], directory: UserDirectory
) -> None:
    assert directory.find(*key) is None


def test_user_of_the_same_name_in_another_ip_group_or_realm_is_another(
    directory: UserDirectory, table: UserTable
) -> None:
    table.add("Desk", "1001", REALM, "of the desk")
    table.add("Phones", "1001", "other.example", "of another realm")
    found = {
        (group, realm): directory.find(group, "1001", realm, "MD5")
        for group in ("Phones", "Desk")
        for realm in (REALM, "other.example")
    }
    assert found.pop(("Desk", "other.example")) is None
    assert len({user.ha1s.get("MD5") for user in found.values() if user}) == 3


def test_disabled_user_is_known_but_not_enabled(directory: UserDirectory, table: UserTable) -> None:
    table.set_enabled(table.find("1001"), False)
    directory.refresh(NOW + NOTICED_WITHIN)
    user = find(directory)
    assert user is not None
    assert user.enabled is False
    assert directory.has_local_user("Phones", "1001")
    assert directory.find_by_local_user("Phones", "1001", REALM) is None


def test_address_of_record_is_found_where_it_is_not_the_user_name(
    directory: UserDirectory, table: UserTable
) -> None:
    table.add("Phones", "alice@example.com", REALM, "secret", local_user="2001")
    assert directory.has_local_user("Phones", "2001")
    assert not directory.has_local_user("Phones", "alice")
    assert not directory.has_local_user("Desk", "2001")
    user = directory.find_by_local_user("Phones", "2001", REALM)
    assert user is not None
    assert user.username == "alice@example.com"
    assert directory.find_by_local_user("Phones", "2001", "other.example") is None


def test_algorithm_that_a_row_has_no_ha1_for_is_none(
    directory: UserDirectory, table: UserTable, file: Path
) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM ha1 WHERE algorithm = 'SHA-256'")
    connection.close()
    user = find(directory)
    assert user is not None
    assert user.ha1s.get(Algorithm.SHA_256) is None
    assert user.ha1s.get(Algorithm.MD5) is not None


def test_no_ha1_is_in_the_repr(directory: UserDirectory) -> None:
    user = find(directory)
    assert user is not None
    for shown in (repr(user), str(user), f"{user}", repr([user])):
        assert not any(user.ha1s.get(algorithm) in shown for algorithm in Algorithm)  # type: ignore[operator]
    assert repr(user) == "User('1001' in 'Phones', realm 'example.com')"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "\0",
        "1001\0",
        "1001\n",
        "\x7f",
        "\u202e",
        "\udcff",
        "x" * 256,
        "ü" * 128,
        "\ud800\udc00",
    ],
)
def test_name_that_no_user_can_have_is_unknown_and_not_remembered(
    name: str, directory: UserDirectory
) -> None:
    find(directory)
    remembered = len(directory._known)
    assert find(directory, name) is None
    assert not directory.has_local_user("Phones", name)
    assert len(directory._known) == remembered


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "日本", "a b", "o'neil", 'quo"te', "a%b"])
def test_name_that_a_user_can_have_is_found(
    name: str, directory: UserDirectory, table: UserTable
) -> None:
    table.add("Phones", name, REALM, "secret", "1001")
    user = find(directory, name)
    assert user is not None
    assert user.username == name


@given(name=st.text(st.characters()))
def test_any_name_from_the_network_is_answered(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any-name.db"
    with UserTable(f"sqlite:///{file}"):
        directory = UserDirectory(f"sqlite:///{file}")
        assert find(directory, name) is None
        assert not directory.has_local_user(name, name)
        directory.close()


# The cache


def test_second_look_up_asks_no_database(directory: UserDirectory) -> None:
    assert find(directory)
    assert find(directory, "nobody") is None
    questions: list[str] = []
    connection = directory._connection
    assert connection is not None
    connection.set_trace_callback(questions.append)
    assert find(directory)
    assert find(directory, "nobody") is None
    assert questions == []


def test_cache_is_bounded_and_keeps_the_latest(
    directory: UserDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "CACHE_SIZE", 10)
    for number in range(100):
        find(directory, f"made up {number}")
        assert len(directory._known) <= 10
    assert any("made up 99" in key for key in directory._known)


# Changes


def change_password(table: UserTable) -> None:
    table.set_password(table.find("1001"), "changed")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (change_password, ha1(Algorithm.MD5, "1001", REALM, "changed")),
        (lambda table: table.remove(table.find("1001")), None),
    ],
)
def test_change_by_another_connection_is_seen_in_time(
    change: object, expected: str | None, directory: UserDirectory, table: UserTable
) -> None:
    assert find(directory)
    assert callable(change)
    change(table)
    directory.refresh(NOW + NOTICED_WITHIN)
    user = find(directory)
    assert (user.ha1s.get("MD5") if user else None) == expected


def test_user_that_was_unknown_is_known_once_it_is_added(
    directory: UserDirectory, table: UserTable
) -> None:
    assert find(directory, "1002") is None
    assert not directory.has_local_user("Phones", "1002")
    table.add("Phones", "1002", REALM, "secret")
    directory.refresh(NOW + NOTICED_WITHIN)
    assert find(directory, "1002")
    assert directory.has_local_user("Phones", "1002")


def test_notes_are_emptied_when_the_users_change_and_not_before(
    directory: UserDirectory, table: UserTable
) -> None:
    memo = directory.memo_until_change()
    memo["1001"] = b"a conclusion"
    directory.refresh(NOW + NOTICED_WITHIN)
    assert memo == {"1001": b"a conclusion"}
    change_password(table)
    directory.refresh(NOW + 2 * NOTICED_WITHIN)
    assert memo == {}


def test_notes_are_emptied_when_the_database_is_gone(directory: UserDirectory, file: Path) -> None:
    memo = directory.memo_until_change()
    memo["1001"] = b"a conclusion"
    file.rename(file.with_name("away"))
    directory.refresh(NOW + NOTICED_WITHIN)
    assert memo == {}


def test_note_that_is_read_counts_as_a_look_up_that_the_cache_had(
    file: Path, table: UserTable
) -> None:
    hits: list[bool] = []
    directory = CountingUserDirectory(hits.append, f"sqlite:///{file}")
    memo = directory.memo_until_change()
    assert memo.get("1001") is None
    assert directory.find("Phones", "1001", REALM)
    memo["1001"] = b"a conclusion"
    assert memo.get("1001") == b"a conclusion"
    assert hits == [False, True]
    directory.close()


def test_database_is_asked_for_changes_a_few_times_a_second_and_not_with_every_request(
    directory: UserDirectory, table: UserTable
) -> None:
    before = find(directory)
    change_password(table)
    directory.refresh(NOW + FRESHNESS / 2)
    assert find(directory) == before
    directory.refresh(NOW + FRESHNESS * 1.01)
    assert find(directory) != before


def test_clock_that_was_set_back_does_not_hide_changes(
    directory: UserDirectory, table: UserTable
) -> None:
    before = find(directory)
    change_password(table)
    directory.refresh(NOW - 3600)
    assert find(directory) != before


def test_nothing_is_forgotten_where_nothing_changed(directory: UserDirectory) -> None:
    find(directory)
    for tenth in range(1, 20):
        directory.refresh(NOW + tenth * NOTICED_WITHIN)
        assert directory._known


# A database that does not answer


def test_missing_database_is_unavailable_and_found_once_it_is_there(file: Path) -> None:
    directory = UserDirectory(f"sqlite:///{file}")
    directory.refresh(NOW)
    with pytest.raises(Unavailable, match="User Info"):
        find(directory)
    assert not file.exists()
    with UserTable(f"sqlite:///{file}") as table:
        table.add("Phones", "1001", REALM, "secret")
    directory.refresh(NOW + NOTICED_WITHIN)
    assert find(directory)
    directory.close()


def test_database_that_is_deleted_is_unavailable_although_it_was_cached(
    directory: UserDirectory, file: Path
) -> None:
    assert find(directory)
    file.unlink()
    directory.refresh(NOW + NOTICED_WITHIN)
    with pytest.raises(Unavailable):
        find(directory)


def test_database_that_is_replaced_is_read_anew(
    directory: UserDirectory, file: Path, tmp_path: Path
) -> None:
    assert find(directory)
    other = tmp_path / "other.db"
    with UserTable(f"sqlite:///{other}", key_file_beside(file)) as table:
        table.add("Phones", "1002", REALM, "secret")
    forget_log(file)
    other.replace(file)
    directory.refresh(NOW + NOTICED_WITHIN)
    assert find(directory) is None
    assert find(directory, "1002")


@pytest.mark.parametrize("content", [b"no database at all " * 100, b""])
def test_corrupt_database_is_unavailable_and_read_again_once_it_is_whole(
    content: bytes, directory: UserDirectory, file: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole.db", tmp_path / "broken.db"
    with UserTable(f"sqlite:///{whole}", key_file_beside(file)) as table:
        table.add("Phones", "1001", REALM, "restored")
    broken.write_bytes(content)
    forget_log(file)
    broken.replace(file)
    directory.refresh(NOW + 1)
    for _ in range(2):
        with pytest.raises(Unavailable, match="User Info"):
            find(directory)
    whole.replace(file)
    directory.refresh(NOW + 2)
    user = find(directory)
    assert user is not None
    assert user.ha1s == HA1s.of_password("1001", REALM, "restored")


def test_database_in_a_path_of_odd_characters_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "a b#c?d%20ü"
    folder.mkdir()
    file = folder / "users.db"
    url = f"sqlite:///{quote(str(file))}"
    with UserTable(url) as table:
        table.add("Phones", "1001", REALM, "secret")
    assert file.exists()
    directory = UserDirectory(url)
    assert find(directory)
    directory.close()


def test_locked_database_is_unavailable_after_a_short_wait_and_read_once_it_is_free(
    directory: UserDirectory, table: UserTable, file: Path
) -> None:
    directory.close()
    table.close()
    locking = sqlite3.connect(file, isolation_level=None)
    locking.execute("PRAGMA locking_mode = EXCLUSIVE")
    locking.execute("BEGIN EXCLUSIVE")
    directory.refresh(NOW + 1)
    with pytest.raises(Unavailable, match="locked"):
        find(directory)
    locking.execute("ROLLBACK")
    locking.close()
    directory.refresh(NOW + 2)
    assert find(directory)


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "said"),
    [
        (0o755, 0o644, "; this process must be able to write in {folder}"),
        (0o755, 0o600, "; this process may not read it"),
        (0o700, 0o644, "Permission denied"),
        (0o777, 0o644, ""),
    ],
)
def test_right_that_a_worker_has_not_is_named(folder_mode: int, file_mode: int, said: str) -> None:
    with tempfile.TemporaryDirectory() as name:  # tmp_path is its owner's alone
        folder = Path(name)
        file = folder / "sbcauth.db"
        with UserTable(f"sqlite:///{file}") as table:
            table.add("Phones", "1001", REALM, "secret")
        file.chmod(file_mode)
        folder.chmod(folder_mode)
        message = as_nobody(lambda: find(UserDirectory(f"sqlite:///{file}")))
        folder.chmod(0o700)
    assert message.startswith(f"User Info {file}: ") == bool(said)
    assert said.format(folder=folder) in message
    assert message.count("; ") <= 1


def as_nobody(look_up: Callable[[], object]) -> str:
    """Look a user up in a process without rights; return what is said, or nothing."""
    assert os.geteuid() == 0, "only root can become another user: run the tests as root"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            look_up()
        except BaseException as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        message = pipe.read().decode()
    os.waitpid(child, 0)
    return message


def test_writer_does_not_keep_readers_waiting(directory: UserDirectory, file: Path) -> None:
    writing = sqlite3.connect(file, isolation_level=None)
    writing.execute("BEGIN IMMEDIATE")
    writing.execute("UPDATE user_info SET enabled = 0")
    directory.refresh(NOW + 1)
    user = find(directory)
    assert user is not None
    assert user.enabled is True
    writing.execute("COMMIT")
    writing.close()
    directory.refresh(NOW + 2)
    user = find(directory)
    assert user is not None
    assert user.enabled is False


# Processes


def test_child_has_a_connection_of_its_own_and_leaves_the_parent_s_alone(
    directory: UserDirectory, table: UserTable
) -> None:
    assert find(directory)
    of_parent = directory._connection
    child = os.fork()
    if child == 0:
        code = 1
        try:
            change_password(table)
            directory.refresh(NOW + 1)
            user = find(directory)
            changed = ha1(Algorithm.MD5, "1001", REALM, "changed")
            code = not (
                user and user.ha1s.get("MD5") == changed and directory._connection != of_parent
            )
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    directory.refresh(NOW + 1)
    assert directory._connection is of_parent
    user = find(directory)
    assert user is not None
    assert user.ha1s == HA1s.of_password("1001", REALM, "changed")
