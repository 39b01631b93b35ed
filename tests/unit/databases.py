"""User Info in SQLite and in PostgreSQL: what is tested of the one is tested of the other."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from postgresql import Postgresql


class Kind(NamedTuple):
    """A kind of database, empty."""

    url: str
    key_file: Path
    server: Postgresql | None

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask by another connection what is in it, or change it."""
        if self.server:
            return self.server.execute(statement.replace("?", "%s"), values)
        path = self.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            return connection.execute(statement, values).fetchall()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Postgresql]:
    """One server for all tests."""
    with Postgresql() as server:
        yield server


@pytest.fixture
def postgresql(postgresql_server: Postgresql) -> Postgresql:
    """The server, with an empty database."""
    postgresql_server.empty()
    return postgresql_server


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    """A database of each kind."""
    key_file = tmp_path / "sbcauth.seal"
    if request.param == "sqlite":
        return Kind(f"sqlite:///{tmp_path}/sbcauth.db", key_file, None)
    server: Postgresql = request.getfixturevalue("postgresql")
    return Kind(server.url(), key_file, server)
