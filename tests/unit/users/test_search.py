"""Finding users by how their names begin, a page at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sbcauth.users.search import Place, search
from sbcauth.users.table import UserTable

MANY = 60_000


@pytest.fixture
def table(tmp_path: Path) -> Iterator[UserTable]:
    with UserTable(f"sqlite:///{tmp_path}/users.db") as table:
        yield table


def names(table: UserTable, beginning: str = "", **how: object) -> list[str]:
    return [row.username for row in search(table, beginning, **how).users]  # type: ignore[arg-type]


def test_names_begin_so_in_all_ip_groups(table: UserTable) -> None:
    for group, name in (("B", "100"), ("A", "101"), ("A", "11"), ("B", "é10"), ("A", "10%")):
        table.add(group, name, "example.com", "secret")
    assert names(table, "10") == ["10%", "101", "100"]
    assert names(table, "10%") == ["10%"]
    assert names(table, "10", ip_group="B") == ["100"]
    assert names(table, "é") == ["é10"]
    assert names(table, "x") == []


def test_owner_of_an_address_comes_first(table: UserTable) -> None:
    table.add("A", "bob", "example.com", "secret", "1001")
    table.add("A", "1001x", "example.com", "secret")
    assert names(table, "1001") == ["bob", "1001x"]
    assert names(table, "100") == ["1001x"]
    assert names(table, "1001", disabled=True) == []


def test_disabled_ones_alone(table: UserTable) -> None:
    for name in ("1", "2"):
        table.add("A", name, "example.com", "secret")
    table.set_enabled(table.find("2"), False)
    assert names(table, disabled=True) == ["2"]


def test_pages_have_everybody_once(table: UserTable) -> None:
    everybody = [(group, str(number)) for group in "ABC" for number in range(7)]
    for group, name in everybody:
        table.add(group, name, "example.com", "secret")
    table.add("B", "3", "other.example", "secret")
    found, after = [], None
    while True:
        page = search(table, after=after, most=4)
        found += [(row.ip_group, row.username) for row in page.users]
        if not page.has_more:
            break
        last = page.users[-1]
        after = Place(last.ip_group, last.username, last.realm)
    assert sorted(found) == sorted([*everybody, ("B", "3")])


def test_page_is_found_by_the_index_however_many_users_there_are(tmp_path: Path) -> None:
    with UserTable(f"sqlite:///{tmp_path}/users.db") as table:
        rows = (
            (f"Group{number % 5}", str(number), str(number), "example.com")
            for number in range(MANY)
        )
        connection: Any = table.connection()
        connection.execute("PRAGMA synchronous = off")
        connection.executemany(
            "INSERT INTO user_info (ip_group, local_user, username, realm) VALUES (?, ?, ?, ?)",
            rows,
        )
        connection.commit()
        steps: list[int] = []
        connection.set_progress_handler(lambda: steps.append(1), 1000)
        for beginning in ("", "9", "99", "999", "99999", "59999", "x"):
            search(table, beginning)
        search(table, after=Place("Group4", "30004", "example.com"))
        assert len(steps) < 40, "it reads more than a page"
        connection.set_progress_handler(None, 0)
