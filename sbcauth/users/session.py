"""The database of User Info, open for one command: its transactions and its sealing keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sbcauth.exceptions import Unavailable
from sbcauth.policy.accounts import User
from sbcauth.users.database import open_for_writing
from sbcauth.users.database_url import is_postgresql, sqlite_path
from sbcauth.users.sealing import Seals, key_file_beside, without_plain
from sbcauth.users.sql import Connection


class Session:
    """The database `url`, for one command.

    `key_file` has the sealing keys; it is the one beside the database where none is given. Every
    method raises Unavailable where the database cannot be read or written; those that read or
    write an H(A1), also where the keys are missing or not the right ones.
    """

    def __init__(self, url: str, key_file: Path | None = None) -> None:
        if key_file is None and is_postgresql(url):
            raise ValueError("no file is beside a database of PostgreSQL")
        self.seals = Seals(key_file or key_file_beside(sqlite_path(url)))
        self._database = open_for_writing(url, self.seals)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connection(self) -> Connection:
        """Return the driver's own connection, for what peewee does not say."""
        connection: Connection = self._database.connection()
        return connection

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        """Do all that is done within, or nothing where an exception comes; `keep` it or not.

        Nobody else writes meanwhile.
        """
        with self.as_unavailable(), self._database.writing() as transaction:
            yield
            if not keep:
                transaction.rollback()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See the table as it is now, whoever writes meanwhile."""
        with self.as_unavailable(), self._database.reading():
            yield

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Wait longer than usual for a statement that is about all users."""
        with self._database.patiently():
            yield

    @contextmanager
    def as_unavailable(self) -> Iterator[None]:
        """Raise the errors of the database as Unavailable, with its name."""
        try:
            yield
        except self._database.errors as error:
            raise Unavailable(f"{self.name}: {self._database.told(error)}") from error

    @property
    def name(self) -> str:
        """Return what messages call the database."""
        return self._database.name

    def erase(self) -> bool:
        """Leave nothing of earlier rows; False where another program keeps it from that."""
        with self.as_unavailable():
            return self._database.erase()

    def now(self) -> int:
        """Return the seconds since 1970."""
        (now,) = self.connection().execute(self._database.seconds).fetchone() or (0,)
        return int(now)

    def is_sealed(self) -> bool:
        """Tell whether H(A1) are sealed; if so, see to it that the keys are the right ones.

        Raises Unavailable where the database does not say so although there are keys.
        """
        has_proof = self.has_proof()
        if not has_proof and self.seals.stamp():
            raise self.seals.missing_proof(self.name)
        return has_proof

    def has_proof(self) -> bool:
        """Tell whether the database has a proof of its keys, which has to be of these."""
        with self.reading():
            proof = self._database.read_proof()
        if proof:
            self.seals.check(proof)
        return bool(proof)

    def opened_before_change(self, user: User, is_sealed: bool) -> User:
        """Return a user who is about to change, opened; what others have written is forgotten."""
        ours = without_plain(user) if is_sealed else user
        return self.seals.open(ours, all_sealed=is_sealed)
