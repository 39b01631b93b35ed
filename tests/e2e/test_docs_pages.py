"""The documentation is played: each command in it runs, and prints what the page says."""

import re
import sqlite3
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest
from docs_page import Page, fits
from editor import objections
from repository import REPOSITORY

from sbcauth.config.load import load

DOCS = sorted((REPOSITORY / "docs").glob("*.md"))
PLAYED: dict[str, dict[str, str]] = {
    "tutorial.md": {"1001": "secret-of-1001"},
    "moving-from-audiocodes.md": {},
    "moving-from-auth-db.md": {},
}
"""The pages that are played, with the passwords that are typed in them."""


@pytest.mark.parametrize("name", PLAYED)
def test_commands_of_a_page_print_what_it_says(name: str, tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / name).read_text("utf-8")
    if name == "moving-from-auth-db.md":
        make_subscribers(tmp_path / "kamailio.sqlite")
    page = Page(text, tmp_path, PLAYED[name])
    assert page.play() == len(re.findall(r"^\$ ", text, re.MULTILINE))


def make_subscribers(path: Path) -> None:
    """Make Kamailio's own table of users, with two of them."""
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE version (table_name TEXT, table_version INT)")
    database.executescript(Path("/usr/share/kamailio/db_sqlite/auth_db-create.sql").read_text())
    for user in ("1001", "1002"):
        ha1 = md5(f"{user}:example.com:secret".encode(), usedforsecurity=False).hexdigest()
        insert = "INSERT INTO subscriber (username, domain, ha1) VALUES (?, 'example.com', ?)"
        database.execute(insert, (user, ha1))
    database.commit()
    database.close()


def configurations() -> Iterator[tuple[str, str]]:
    """Yield each configuration in the documentation, with the page that it is from."""
    for page in DOCS:
        blocks = re.findall(r"^ *```yaml\n(.*?)^ *```", page.read_text("utf-8"), re.M | re.S)
        yield from ((page.name, block) for block in blocks)


@pytest.mark.parametrize(("page", "text"), list(configurations()))
def test_configurations_are_right(page: str, text: str, tmp_path: Path) -> None:
    for name in re.findall(r"\$\{file:(.*?)\}", text):
        (tmp_path / name).write_text("a-secret\n")
    environment = dict.fromkeys(re.findall(r"\$\{env:(.*?)\}", text), "a-secret")
    (tmp_path / "sbcauth.yaml").write_text(text)
    said = [each.message for each in load(tmp_path / "sbcauth.yaml", environment).warnings]
    assert not [each for each in said if "of any address that no rule fits" not in each]
    assert objections(text) == []


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link


def test_every_page_is_in_the_index() -> None:
    index = (REPOSITORY / "docs" / "README.md").read_text("utf-8")
    missing = [page.name for page in DOCS if f"]({page.name})" not in index]
    assert missing == ["README.md"]


@pytest.mark.parametrize(
    ("expected", "printed", "fitting"),
    [
        ("", "anything", True),
        ("a  b\n", "a b", True),
        ("a … c", "a b b c", True),
        ("a … c", "a b b", False),
        ("a", "a b", False),
    ],
)
def test_what_a_page_says_is_compared(expected: str, printed: str, fitting: bool) -> None:
    assert fits(expected, printed) is fitting
