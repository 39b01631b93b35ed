"""The database of User Info, open for one command: its transactions and its sealing keys."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import peewee

from sbcauth.exceptions import Unavailable
from sbcauth.policy.accounts import User
from sbcauth.users.database import open_for_writing, read_proof, sqlite_path
from sbcauth.users.sealing import Seals, key_file_beside, without_plain


class Session:
    """The database `url`, for one command.

    `key_file` has the sealing keys; it is the one beside the database where none is given. Every
    method raises Unavailable where the database cannot be read or written; those that read or
    write an H(A1), also where the keys are missing or not the right ones.
    """

    def __init__(self, url: str, key_file: Path | None = None) -> None:
        self._path = sqlite_path(url)
        self.seals = Seals(key_file or key_file_beside(self._path))
        self._database = open_for_writing(url, self.seals)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connection(self) -> sqlite3.Connection:
        """Return SQLite's own connection, for what peewee does not say."""
        connection: sqlite3.Connection = self._database.connection()  # type: ignore[no-untyped-call]
        return connection

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        """Do all that is done within, or nothing where an exception comes; `keep` it or not.

        Nobody else writes meanwhile.
        """
        with self.as_unavailable(), self._database.atomic("IMMEDIATE") as transaction:
            yield
            if not keep:
                transaction.rollback()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See the table as it is now, whoever writes meanwhile."""
        with self.as_unavailable(), self._database.atomic():
            yield

    @contextmanager
    def as_unavailable(self) -> Iterator[None]:
        """Raise the errors of the database as Unavailable, with its name."""
        try:
            yield
        except (sqlite3.Error, peewee.PeeweeException) as error:
            raise Unavailable(f"{self._database.database}: {error}") from error

    def now(self) -> int:
        """Return the seconds since 1970."""
        (now,) = (
            self.connection().execute("SELECT CAST(strftime('%s', 'now') AS INTEGER)").fetchone()
        )
        return int(now)

    def is_sealed(self) -> bool:
        """Tell whether H(A1) are sealed; if so, see to it that the keys are the right ones.

        Raises Unavailable where the database does not say so although there are keys.
        """
        has_proof = self.has_proof()
        if not has_proof and self.seals.stamp():
            raise self.seals.missing_proof(self._path)
        return has_proof

    def has_proof(self) -> bool:
        """Tell whether the database has a proof of its keys, which has to be of these."""
        with self.reading():
            proof = read_proof(self.connection())
        if proof:
            self.seals.check(proof)
        return bool(proof)

    def opened_before_change(self, user: User, is_sealed: bool) -> User:
        """Return a user who is about to change, opened; what others have written is forgotten."""
        ours = without_plain(user) if is_sealed else user
        return self.seals.open(ours, all_sealed=is_sealed)
