"""What commands do to a database, whichever it is: SQLite or PostgreSQL."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

_WRITE_PROOF = """
    INSERT INTO sealing (id, proof) VALUES (1, ?)
    ON CONFLICT (id) DO UPDATE SET proof = excluded.proof
"""


class Connection(Protocol):
    """A connection, for statements that SQLite and PostgreSQL both take, with `?` in them."""

    def execute(self, statement: str, values: tuple[Any, ...] = (), /) -> Any:
        """Execute a statement."""

    def executemany(self, statement: str, rows: Iterable[tuple[Any, ...]], /) -> Any:
        """Execute a statement for each row."""


class Database(Protocol):
    """What a command needs of its database beside what both kinds of SQL have in common."""

    name: str
    """What messages call it."""
    errors: tuple[type[Exception], ...]
    """What it raises."""
    updated_at: Any
    """The expression for now, as text."""
    seconds: str
    """The query for now, in seconds since 1970."""

    def connection(self) -> Any:
        """Return the driver's connection."""

    def close(self) -> Any:
        """Close it."""

    def atomic(self) -> AbstractContextManager[Any]:
        """Do all that is done within, or nothing."""

    def writing(self) -> AbstractContextManager[Any]:
        """Do all that is done within, or nothing; nobody else writes meanwhile."""

    def reading(self) -> AbstractContextManager[Any]:
        """See the tables as they are now, whoever writes meanwhile."""

    def patiently(self) -> AbstractContextManager[None]:
        """Wait longer than usual for a statement that is about all users."""

    def read_proof(self) -> str | None:
        """Return the proof of the right sealing keys; None where H(A1) are not sealed."""

    def erase(self) -> bool:
        """Leave nothing of earlier rows; False where another program keeps it from that."""

    def told(self, error: BaseException) -> str:
        """Return what an error says, in one line."""


def write_proof(connection: Connection, proof: str) -> None:
    """Have H(A1) sealed from now on, by the keys that `proof` is of."""
    connection.execute(_WRITE_PROOF, (proof,))
