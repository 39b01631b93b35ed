"""Changing User Info: what the commands do, each in one transaction."""

from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Any

from sbcauth.digest.ha1s import NO_HA1S, HA1s
from sbcauth.exceptions import NoSuchUser, SeveralUsers, UserExists
from sbcauth.policy.accounts import User
from sbcauth.users import identities as identity_table
from sbcauth.users.database import UserInfo
from sbcauth.users.names import check_names, default_local_user
from sbcauth.users.session import Session
from sbcauth.users.stored import SELECT, rewrite_ha1s, users, write_ha1s

_INSERT = """
    INSERT INTO user_info (id, ip_group, local_user, username, realm, enabled, old_until)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (ip_group, username, realm) DO NOTHING
"""
_NEXT_ID = "SELECT coalesce(max(id), 0) + 1 FROM user_info"
_LEFT_BEHIND = 'DELETE FROM ha1 WHERE "user" >= ?'  # by SQLite's shell, blind to foreign keys
_IN_ORDER = f"{SELECT} ORDER BY ip_group, username, realm"
_BY_ID = f"{SELECT} WHERE user_info.id = ?"


class UserTable(Session):
    """The User Info table, open for one command."""

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
                identity_table.write(self.connection(), row, identities)
        return row

    def set_identities(self, row: UserInfo, identities: Sequence[str]) -> None:
        """Have a user speak for these numbers and prefixes beside its local user, and no others.

        Raises UserInfoError where one is no number, or another's.
        """
        with self.transaction():
            self._update(row)
            identity_table.write(self.connection(), row, identities)

    def identities(self, row: UserInfo) -> list[str]:
        """Return the numbers and prefixes of a user beside its local user, in order."""
        with self.reading():
            return identity_table.of_user(self.connection(), row)

    def all_identities(self) -> dict[tuple[str, str, str], list[str]]:
        """Return the identities of all users that have any, by IP Group, user name and realm."""
        with self.reading():
            return identity_table.of_all(self.connection())

    def find(
        self, username: str, ip_group: str | None = None, realm: str | None = None
    ) -> UserInfo:
        """Return the one user that is meant. Raises NoSuchUser, or SeveralUsers where many fit."""
        fitting = list(self.all(ip_group, username, realm))
        if not fitting:
            where = f" in the IP Group {ip_group}" if ip_group else ""
            raise NoSuchUser(f"no user {username}{where}; sbcauth user list shows them all")
        if len(fitting) > 1:
            ways = "; ".join(f"--ip-group {row.ip_group} --realm {row.realm}" for row in fitting)
            raise SeveralUsers(f"several users are named {username}: say which ({ways})")
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
            if ip_group is None and username is not None:  # the index of names begins with it
                query = query.where(UserInfo.ip_group.in_(list(ip_groups())))
            yield from query.iterator()

    def owners(
        self, ip_groups: Collection[str], local_users: Collection[str]
    ) -> dict[tuple[str, str], str]:
        """Return the IP Group of these addresses of record, by their user part and realm."""
        columns = (UserInfo.local_user, UserInfo.realm, UserInfo.ip_group)
        of_these = UserInfo.ip_group.in_(ip_groups) & UserInfo.local_user.in_(local_users)
        with self.reading():
            rows = UserInfo.select(*columns).where(of_these).tuples().iterator()
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
            before = self.opened_before_change(self._stored(row), self.is_sealed())
            until = self.now() + memory if memory else None
            new = HA1s.of_password(before.username, before.realm, password)
            self._write(row, remembering(before._replace(ha1s=new), before, until))

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
            identity_table.check_not_of_another(self.connection(), row, self.identities(row))

    def _write(self, row: UserInfo, user: User) -> None:
        """Have the user of a row be `user`, whose every H(A1) is open."""
        self._update(row, ip_group=user.ip_group, old_until=user.old_until)
        (kept,) = self._for_keeping([user])
        rewrite_ha1s(self.connection(), [(row.id, kept)])

    def remove(self, row: UserInfo) -> None:
        """Remove the user."""
        with self.transaction():
            row.delete_instance()

    def _update(self, row: UserInfo, **values: Any) -> None:
        with self.transaction():
            values["updated_at"] = self._database.updated_at
            query = UserInfo.update(**values).where(UserInfo.id == row.id)
            if not query.execute():
                raise NoSuchUser(f"{row.username} has just been removed from {row.ip_group}")

    def clear(self) -> None:
        """Remove all users."""
        with self.transaction(), self.patiently():
            self.connection().execute("DELETE FROM ha1")  # at once, not user by user
            UserInfo.delete().execute()

    def insert(self, users: Sequence[User]) -> list[int]:
        """Add users; return the places of those that were not, for they exist already."""
        with self.transaction(), self._database.atomic() as savepoint:
            (next_id,) = self.connection().execute(_NEXT_ID).fetchone() or (1,)
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
        count: int = connection.executemany(_INSERT, rows).rowcount
        if count == len(users):
            write_ha1s(connection, users)
        return count

    def _for_keeping(self, users: Sequence[User]) -> list[User]:
        """Return `users` as they are to be written: sealed, where the database is."""
        return list(map(self.seals.seal, users)) if self.is_sealed() else list(users)


def remembering(user: User, before: User, until: int | None) -> User:
    """Return `user` with the password of `before` recognised until then; None for not at all.

    The same password again changes nothing about the one before it.
    """
    if user.ha1s.may_be_of_the_password_of(before.ha1s):
        return user._replace(old_ha1s=before.old_ha1s, old_until=before.old_until)
    old_ha1s = before.ha1s if until else NO_HA1S
    return user._replace(old_ha1s=old_ha1s, old_until=until)


def ip_groups(first: str = "") -> Iterator[str]:
    """Yield the IP Groups that have users, from `first` on, each by one look-up in the index."""
    query = UserInfo.select(UserInfo.ip_group).order_by(UserInfo.ip_group).limit(1)
    found = query.where(UserInfo.ip_group >= first).first()
    while found is not None:
        yield found.ip_group
        found = query.where(UserInfo.ip_group > found.ip_group).first()
