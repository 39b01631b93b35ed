"""Changing User Info: what the commands do, each in one transaction."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, Self

import peewee

from sbcauth.database import UserInfo, open_for_writing
from sbcauth.digest import Algorithm, ha1
from sbcauth.exceptions import NoSuchUser, Unavailable, UserExists, UserInfoError
from sbcauth.ip_groups import IPGroup, IPGroupType
from sbcauth.users import LONGEST_NAME, User, may_be_a_name

HA1_COLUMNS = {
    Algorithm.MD5: "ha1_md5",
    Algorithm.SHA_256: "ha1_sha256",
    Algorithm.SHA_512_256: "ha1_sha512_256",
}

_SHOWN = 40  # characters of a name that cannot be one

_INSERT = f"""
    INSERT INTO user_info ({", ".join(User._fields)}) VALUES ({", ".join("?" * len(User._fields))})
    ON CONFLICT (ip_group, username, realm) DO NOTHING
"""  # noqa: S608 - constants only

_SAME_USER = """
    new.ip_group = old.ip_group AND new.username = old.username AND new.realm = old.realm
"""
_SAME_PASSWORD = " AND ".join(
    f"(new.{column} IS old.{column} OR new.{column} IS NULL OR old.{column} IS NULL)"
    for column in HA1_COLUMNS.values()
)
_REMEMBER_OLD = f"""
    UPDATE user_info AS new SET old_until = CAST(strftime('%s', 'now') AS INTEGER) + :memory,
    {", ".join(f"old_{column} = old.{column}" for column in HA1_COLUMNS.values())}
    FROM temp.put_aside AS old WHERE {_SAME_USER} AND NOT ({_SAME_PASSWORD})
"""  # noqa: S608 - constants only
_KEEP_OLD = f"""
    UPDATE user_info AS new SET old_until = old.old_until,
    {", ".join(f"old_{column} = old.old_{column}" for column in HA1_COLUMNS.values())}
    FROM temp.put_aside AS old WHERE {_SAME_USER} AND {_SAME_PASSWORD}
"""  # noqa: S608 - constants only

_NOW = peewee.fn.strftime("%Y-%m-%dT%H:%M:%SZ", "now")
_SECONDS = peewee.fn.strftime("%s", "now").cast("integer")


class UserTable:
    """The User Info table in the database `url`, for one command.

    Every method raises Unavailable where the database cannot be read or written.
    """

    def __init__(self, url: str) -> None:
        self._database = open_for_writing(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def add(
        self, ip_group: str, username: str, realm: str, password: str, local_user: str | None = None
    ) -> UserInfo:
        """Add a user; its address of record is the user name up to an `@`, unless given.

        Raises UserExists, and UserInfoError where no user can be named so.
        """
        names = {
            "ip_group": ip_group,
            "username": username,
            "realm": realm,
            "local_user": local_user or default_local_user(username),
        }
        check_names(names)
        row = UserInfo(**names, **hashes(username, realm, password))
        with self.transaction():
            try:
                row.save(force_insert=True)
            except peewee.IntegrityError as error:
                if "UNIQUE" not in str(error):
                    raise
                raise UserExists(
                    f"{username} exists already in the IP Group {ip_group}, realm {realm}; "
                    "to change the password: sbcauth user set-password"
                ) from error
        return row

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
    ) -> Iterator[UserInfo]:
        """Yield the users that fit, in the order of IP Group and user name."""
        wanted = {"ip_group": ip_group, "username": username, "realm": realm}
        query = UserInfo.select().order_by(UserInfo.ip_group, UserInfo.username, UserInfo.realm)
        for column, value in wanted.items():
            if value is not None:
                query = query.where(getattr(UserInfo, column) == value)
        with self.transaction():
            yield from query.iterator()

    def set_password(self, row: UserInfo, password: str, memory: int = 0) -> None:
        """Replace the password; the old one is recognised for `memory` seconds.

        The same password again changes nothing about the one before it.
        """
        new = hashes(row.username, row.realm, password)
        if all(getattr(row, column) in (None, value) for column, value in new.items()):
            self._update(row, **new)
            return
        old = {f"old_{column}": getattr(row, column) if memory else None for column in new}
        self._update(row, **new, **old, old_until=_SECONDS + memory if memory else None)

    def set_enabled(self, row: UserInfo, enabled: bool) -> None:
        """Let the user in again, or no more."""
        self._update(row, enabled=enabled)

    def remove(self, row: UserInfo) -> None:
        """Remove the user."""
        with self.transaction():
            row.delete_instance()

    def put_aside(self) -> None:
        """Remove all users, for others to take their place; in a transaction."""
        connection: sqlite3.Connection = self._database.connection()  # type: ignore[no-untyped-call]
        connection.execute("DROP TABLE IF EXISTS temp.put_aside")
        connection.execute("CREATE TEMP TABLE put_aside AS SELECT * FROM user_info")
        self.clear()

    def remember_old_passwords(self, memory: int) -> None:
        """Have the passwords of users that were put aside recognised for `memory` seconds."""
        connection: sqlite3.Connection = self._database.connection()  # type: ignore[no-untyped-call]
        if memory:
            connection.execute(_REMEMBER_OLD, {"memory": memory})
            connection.execute(_KEEP_OLD)
        connection.execute("DROP TABLE temp.put_aside")

    def _update(self, row: UserInfo, **values: Any) -> None:
        with self.transaction():
            query = UserInfo.update(updated_at=_NOW, **values).where(UserInfo.id == row.id)
            if not query.execute():
                raise NoSuchUser(f"{row.username} has just been removed from {row.ip_group}")

    def clear(self) -> None:
        """Remove all users."""
        with self.transaction():
            UserInfo.delete().execute()

    def insert(self, users: Sequence[User]) -> list[int]:
        """Add users; return the places of those that were not, for they exist already."""
        with self.transaction(), self._database.atomic() as savepoint:
            if self._insert(users) == len(users):
                return []
            savepoint.rollback()
            return [place for place, user in enumerate(users) if not self._insert([user])]

    def _insert(self, users: Sequence[User]) -> int:
        connection: sqlite3.Connection = self._database.connection()  # type: ignore[no-untyped-call]
        return connection.executemany(_INSERT, users).rowcount

    def columns(self, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield these columns of all users, in the order of IP Group and user name."""
        query = UserInfo.select(*(getattr(UserInfo, name) for name in names))
        query = query.order_by(UserInfo.ip_group, UserInfo.username, UserInfo.realm)
        with self.transaction():
            yield from query.tuples().iterator()

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        """Do all that is done within, or nothing where an exception comes; `keep` it or not."""
        try:
            with self._database.atomic() as transaction:
                yield
                if not keep:
                    transaction.rollback()
        except (sqlite3.Error, peewee.PeeweeException) as error:
            raise Unavailable(f"{self._database.database}: {error}") from error


def strays(table: UserTable, ip_groups: Iterable[IPGroup]) -> Iterator[str]:
    """Yield a line for each user whose IP Group or realm is no longer configured.

    A user may have the realm of the peer that the IP Group is routed to: that answers the peer's
    challenges.
    """
    groups = {group.name: group for group in ip_groups}
    for row in table.all():
        group = groups.get(row.ip_group)
        if group is None:
            yield f"user {row.username}: there is no IP Group {row.ip_group}"
            continue
        peer = groups.get(group.route_to or "")
        if row.realm not in (group.realm, peer and peer.realm):
            yield (
                f"user {row.username}: the password is bound to the realm {row.realm}, but that of "
                f"the IP Group {row.ip_group} is {group.realm}: "
                "remove the user and add it again"
            )


def ip_group_named(ip_groups: Iterable[IPGroup], name: str) -> IPGroup:
    """Return the IP Group of this name; raises UserInfoError where there is none."""
    groups = {group.name: group for group in ip_groups}
    if name not in groups:
        near = get_close_matches(name, groups, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(groups)}"
        raise UserInfoError(f"there is no IP Group {name!a}; {hint}")
    return groups[name]


def ip_group_of_users_named(ip_groups: Iterable[IPGroup], name: str) -> IPGroup:
    """Return the IP Group of this name, which new users may belong to; raises UserInfoError."""
    group = ip_group_named(ip_groups, name)
    if group.type is IPGroupType.SERVER:
        raise UserInfoError(
            f"{name} is an IP Group of type server: it has no users, but username_as_server and "
            "username_as_client in the configuration"
        )
    return group


def only_ip_group_of_users(ip_groups: Iterable[IPGroup]) -> IPGroup | None:
    """Return the IP Group of type user where there is only one: it need not be named."""
    of_users = [group for group in ip_groups if group.type is IPGroupType.USER]
    return of_users[0] if len(of_users) == 1 else None


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


def _shown(name: str) -> str:
    return ascii(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")


def hashes(username: str, realm: str, password: str) -> dict[str, str]:
    """Return H(A1) for each algorithm, by column; the password itself is kept nowhere."""
    return {
        column: ha1(algorithm, username, realm, password)
        for algorithm, column in HA1_COLUMNS.items()
    }


def algorithms(row: UserInfo) -> list[str]:
    """Return the algorithms that the user has an H(A1) for."""
    return [str(algorithm) for algorithm, column in HA1_COLUMNS.items() if getattr(row, column)]
