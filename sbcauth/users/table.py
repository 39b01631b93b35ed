"""Changing User Info: what the commands do, each in one transaction."""

import re
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import peewee

from sbcauth.digest.ha1s import NO_HA1S, HA1s
from sbcauth.exceptions import NoSuchUser, Unavailable, UserExists, UserInfoError
from sbcauth.policy.accounts import User
from sbcauth.policy.identities import as_identity
from sbcauth.users.database import UserInfo, open_for_writing, read_proof, sqlite_path
from sbcauth.users.directory import LONGEST_NAME, may_be_a_name
from sbcauth.users.sealing import Seals, key_file_beside, without_plain
from sbcauth.users.stored import SELECT, rewrite_ha1s, users, write_ha1s

_NO_USER_PART = re.compile(r'[\s@:<>"]')
"""What no user part of a SIP URI has, other than escaped (RFC 3261, 25.1)."""
_SHOWN = 40  # characters of a name that cannot be one

_INSERT = """
    INSERT INTO user_info (id, ip_group, local_user, username, realm, enabled, old_until)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (ip_group, username, realm) DO NOTHING
"""
_NEXT_ID = "SELECT coalesce(max(id), 0) + 1 FROM user_info"
_LEFT_BEHIND = "DELETE FROM ha1 WHERE user >= ?"  # by SQLite's shell, blind to foreign keys
_IN_ORDER = f"{SELECT} ORDER BY ip_group, username, realm"
_BY_ID = f"{SELECT} WHERE user_info.id = ?"
_MOVE_ALL = """
    DROP TABLE IF EXISTS temp.users_aside;
    DROP TABLE IF EXISTS temp.ha1_aside;
    CREATE TEMP TABLE users_aside AS SELECT * FROM user_info;
    CREATE TEMP TABLE ha1_aside AS SELECT * FROM ha1;
    CREATE INDEX temp.user_aside ON users_aside (ip_group, username, realm);
    CREATE INDEX temp.ha1_of_user_aside ON ha1_aside (user)
"""
_MOVED = (
    SELECT.replace("user_info", "users_aside").replace("JOIN ha1", "JOIN ha1_aside AS ha1")
    + "WHERE ip_group = ? AND username = ? AND realm = ?"
)

_IDENTITIES = "SELECT pattern FROM identity WHERE user = ? ORDER BY pattern"
_ALL_IDENTITIES = """
    SELECT ip_group, username, realm, pattern
    FROM identity JOIN user_info ON user_info.id = identity.user ORDER BY pattern
"""
_ANOTHERS = """
    SELECT username FROM user_info LEFT JOIN identity ON identity.user = user_info.id
    WHERE ip_group = ? AND user_info.id <> ? AND (local_user = ? OR realm = ? AND pattern = ?)
"""

_NOW = peewee.fn.strftime("%Y-%m-%dT%H:%M:%SZ", "now")


class UserTable:
    """The User Info table in the database `url`, for one command.

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

    def add(
        self,
        ip_group: str,
        username: str,
        realm: str,
        password: str,
        local_user: str | None = None,
        identities: Sequence[str] = (),
    ) -> UserInfo:
        """Add a user; its address of record is the user name up to an `@`, unless given.

        Raises UserExists, and UserInfoError where no user can be named so, or an identity is no
        number, or another's.
        """
        names = {
            "ip_group": ip_group,
            "username": username,
            "realm": realm,
            "local_user": local_user or default_local_user(username),
        }
        check_names(names)
        ha1s = HA1s.of_password(username, realm, password)
        user = User(ip_group, names["local_user"], username, realm, enabled=True, ha1s=ha1s)
        with self.transaction():
            if self.insert([user]):
                raise UserExists(
                    f"{username} exists already in the IP Group {ip_group}, realm {realm}; "
                    "to change the password: sbcauth user set-password"
                )
            row = self.find(username, ip_group, realm)
            if identities:
                self._write_identities(row, identities)
        return row

    def set_identities(self, row: UserInfo, identities: Sequence[str]) -> None:
        """Have a user speak for these numbers and prefixes beside its local user, and no others.

        Raises UserInfoError where one is no number, or another's.
        """
        with self.transaction():
            self._update(row)
            self._write_identities(row, identities)

    def _write_identities(self, row: UserInfo, identities: Sequence[str]) -> None:
        self.connection().execute("DELETE FROM identity WHERE user = ?", (row.id,))
        rows = [(row.id, identity) for identity in checked_identities(identities)]
        self._check_identities(row, [identity for _, identity in rows])
        self.connection().executemany("INSERT INTO identity (user, pattern) VALUES (?, ?)", rows)

    def _check_identities(self, row: UserInfo, identities: Iterable[str]) -> None:
        for identity in identities:
            names = (row.ip_group, row.id, identity, row.realm, identity)
            if found := self.connection().execute(_ANOTHERS, names).fetchone():
                raise UserInfoError(
                    f"{identity} is the number of {found[0]} already, in {row.ip_group}"
                )

    def identities(self, row: UserInfo) -> list[str]:
        """Return the numbers and prefixes of a user beside its local user, in order."""
        with self.reading():
            return [pattern for (pattern,) in self.connection().execute(_IDENTITIES, (row.id,))]

    def all_identities(self) -> dict[tuple[str, str, str], list[str]]:
        """Return the identities of all users that have any, by IP Group, user name and realm."""
        found: dict[tuple[str, str, str], list[str]] = {}
        with self.reading():
            for *names, pattern in self.connection().execute(_ALL_IDENTITIES):
                found.setdefault((names[0], names[1], names[2]), []).append(pattern)
        return found

    def find(
        self, username: str, ip_group: str | None = None, realm: str | None = None
    ) -> UserInfo:
        """Return the one user that is meant. Raises NoSuchUser where none or several fit."""
        fitting = list(self.all(ip_group, username, realm))
        if not fitting:
            where = f" in the IP Group {ip_group}" if ip_group else ""
            raise NoSuchUser(f"no user {username}{where}; sbcauth user list shows them all")
        if len(fitting) > 1:
            ways = "; ".join(f"--ip-group {row.ip_group} --realm {row.realm}" for row in fitting)
            raise NoSuchUser(f"several users are named {username}: say which ({ways})")
        return fitting[0]

    def all(
        self, ip_group: str | None = None, username: str | None = None, realm: str | None = None
    ) -> Generator[UserInfo, None, None]:
        """Yield the users that fit, in the order of IP Group and user name."""
        wanted = {"ip_group": ip_group, "username": username, "realm": realm}
        query = UserInfo.select().order_by(UserInfo.ip_group, UserInfo.username, UserInfo.realm)
        for column, value in wanted.items():
            if value is not None:
                query = query.where(getattr(UserInfo, column) == value)
        with self.reading():
            yield from query.iterator()

    def owners(self) -> dict[tuple[str, str], str]:
        """Return the IP Group of each address of record, by its user part and realm."""
        columns = (UserInfo.local_user, UserInfo.realm, UserInfo.ip_group)
        with self.reading():
            rows = UserInfo.select(*columns).tuples().iterator()
            return {(user, realm): ip_group for user, realm, ip_group in rows}

    def names(self, beginning: str) -> Iterator[str]:
        """Yield the user names that begin so, in order."""
        query = UserInfo.select(UserInfo.username).distinct().order_by(UserInfo.username)
        with self.reading():
            for row in query.where(UserInfo.username.startswith(beginning)).iterator():
                yield row.username

    def count(self) -> int:
        """Return how many users there are."""
        with self.reading():
            number: int = UserInfo.select().count()
        return number

    def users(self) -> Iterator[User]:
        """Yield all users, every H(A1) opened, in the order of IP Group and user name."""
        is_sealed = self.is_sealed()
        with self.reading():
            for _, user in users(self.connection().execute(_IN_ORDER)):
                yield self.seals.open(user, all_sealed=is_sealed)

    def opened(self, row: UserInfo) -> User:
        """Return the user of a row, every H(A1) opened; raises NoSuchUser where it is gone."""
        return self.seals.open(self._stored(row), all_sealed=self.is_sealed())

    def algorithms(self, row: UserInfo) -> list[str]:
        """Return the algorithms that the user has an H(A1) for, from weakest to strongest."""
        return [str(algorithm) for algorithm, _ in self._stored(row).ha1s.items()]

    def _stored(self, row: UserInfo) -> User:
        """Return the user of a row as it stands in the database now."""
        with self.reading():
            for _, user in users(self.connection().execute(_BY_ID, (row.id,))):
                return user
        raise NoSuchUser(f"{row.username} has just been removed from {row.ip_group}")

    def set_password(self, row: UserInfo, password: str, memory: int = 0) -> None:
        """Replace the password; the old one is recognised for `memory` seconds.

        The same password again changes nothing about the one before it.
        """
        with self.transaction():
            before = self._before(self._stored(row), self.is_sealed())
            until = self._now() + memory if memory else None
            new = HA1s.of_password(before.username, before.realm, password)
            self._write(row, _remembering(before._replace(ha1s=new), before, until))

    def set_enabled(self, row: UserInfo, enabled: bool) -> None:
        """Let the user in again, or no more."""
        self._update(row, enabled=enabled)

    def move(self, row: UserInfo, ip_group: str) -> None:
        """Have the user be of another IP Group, with the same password.

        Raises UserExists where that has one of this name.
        """
        with self.transaction():
            if list(self.all(ip_group, row.username, row.realm)):
                raise UserExists(f"{row.username} exists already in {ip_group}")
            self._write(row, self.opened(row)._replace(ip_group=ip_group))
            row.ip_group = ip_group
            self._check_identities(row, self.identities(row))

    def _write(self, row: UserInfo, user: User) -> None:
        """Have the user of a row be `user`, whose every H(A1) is open."""
        self._update(row, ip_group=user.ip_group, old_until=user.old_until)
        (kept,) = self._for_keeping([user])
        rewrite_ha1s(self.connection(), [(row.id, kept)])

    def remove(self, row: UserInfo) -> None:
        """Remove the user."""
        with self.transaction():
            row.delete_instance()

    def move_to_temporary_table(self) -> None:
        """Move all users to a temporary table, so that an import can replace them.

        In a transaction: `with_old_passwords` reads them there until it ends.
        """
        for statement in _MOVE_ALL.split(";"):  # a script would end the transaction
            self.connection().execute(statement)
        self.clear()

    def with_old_passwords(self, new: Iterable[User], memory: int) -> list[User]:
        """Return `new` users with the passwords that they had in the temporary table.

        Those are recognised for `memory` seconds; one that is the same again changes nothing
        about the one before it.
        """
        until, is_sealed = self._now() + memory, self.is_sealed()
        return [self._with_old_password(user, until, is_sealed) for user in new]

    def _with_old_password(self, user: User, until: int, is_sealed: bool) -> User:
        names = (user.ip_group, user.username, user.realm)
        for _, before in users(self.connection().execute(_MOVED, names)):
            return _remembering(user, self._before(before, is_sealed), until)
        return user

    def _before(self, user: User, is_sealed: bool) -> User:
        """Return a user who is about to change, opened; what others have written is forgotten."""
        ours = without_plain(user) if is_sealed else user
        return self.seals.open(ours, all_sealed=is_sealed)

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

    def _update(self, row: UserInfo, **values: Any) -> None:
        with self.transaction():
            query = UserInfo.update(updated_at=_NOW, **values).where(UserInfo.id == row.id)
            if not query.execute():
                raise NoSuchUser(f"{row.username} has just been removed from {row.ip_group}")

    def clear(self) -> None:
        """Remove all users."""
        with self.transaction():
            self.connection().execute("DELETE FROM ha1")  # at once, not user by user
            UserInfo.delete().execute()

    def insert(self, users: Sequence[User]) -> list[int]:
        """Add users; return the places of those that were not, for they exist already."""
        with self.transaction(), self._database.atomic() as savepoint:
            (next_id,) = self.connection().execute(_NEXT_ID).fetchone()
            self.connection().execute(_LEFT_BEHIND, (next_id,))
            kept = list(enumerate(self._for_keeping(users), next_id))
            if self._insert(kept) == len(kept):
                return []
            savepoint.rollback()
            return [place for place, user in enumerate(kept) if not self._insert([user])]

    def _insert(self, users: Sequence[tuple[int, User]]) -> int:
        """Add users with their ids, as they are to be kept; return how many were added."""
        connection = self.connection()
        rows = (
            (
                *(number, user.ip_group, user.local_user, user.username, user.realm),
                *(user.enabled, user.old_until),
            )
            for number, user in users
        )
        count = connection.executemany(_INSERT, rows).rowcount
        if count == len(users):
            write_ha1s(connection, users)
        return count

    def _for_keeping(self, users: Sequence[User]) -> list[User]:
        """Return `users` as they are to be written: sealed, where the database is."""
        return list(map(self.seals.seal, users)) if self.is_sealed() else list(users)

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

    def _now(self) -> int:
        """Return the seconds since 1970."""
        (now,) = (
            self.connection().execute("SELECT CAST(strftime('%s', 'now') AS INTEGER)").fetchone()
        )
        return int(now)


def default_local_user(username: str) -> str:
    """Return the address of record's user part of a user who is given none."""
    return username.partition("@")[0]


def check_names(names: Mapping[str, str]) -> None:
    """Raise UserInfoError where one of `names`, by column, can be no user's."""
    for column, name in names.items():
        if not may_be_a_name(name):
            raise UserInfoError(
                f"{column} {_shown(name)} is not a name of 1 to {LONGEST_NAME} bytes "
                "without control characters"
            )
    local_user = names.get("local_user", "")
    if _NO_USER_PART.search(local_user):
        raise UserInfoError(
            f"local_user {_shown(local_user)} cannot stand in a SIP address: it has a space or one "
            'of @ : < > "; --local-user gives the user another'
        )


def checked_identities(identities: Iterable[str]) -> list[str]:
    """Return identities, each once; raises UserInfoError where one is none."""
    try:
        return list(dict.fromkeys(as_identity(identity) for identity in identities))
    except ValueError as error:
        raise UserInfoError(str(error)) from None


def _shown(name: str) -> str:
    return ascii(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")


def _remembering(user: User, before: User, until: int | None) -> User:
    """Return `user` with the password of `before` recognised until then; None for not at all.

    The same password again changes nothing about the one before it.
    """
    if user.ha1s.may_be_of_the_password_of(before.ha1s):
        return user._replace(old_ha1s=before.old_ha1s, old_until=before.old_until)
    old_ha1s = before.ha1s if until else NO_HA1S
    return user._replace(old_ha1s=old_ha1s, old_until=until)
