"""Changing User Info: what the commands do, each in one transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import peewee

from sbcauth.database import UserInfo, open_for_writing
from sbcauth.digest import Algorithm, ha1
from sbcauth.exceptions import NoSuchUser, Unavailable, UserExists, UserInfoError
from sbcauth.users import LONGEST_NAME

_COLUMNS = {
    Algorithm.MD5: "ha1_md5",
    Algorithm.SHA_256: "ha1_sha256",
    Algorithm.SHA_512_256: "ha1_sha512_256",
}

_NOW = peewee.fn.strftime("%Y-%m-%dT%H:%M:%SZ", "now")


class UserTable:
    """The User Info table in the database `url`, for one command.

    Every method raises Unavailable where the database cannot be read or written.
    """

    def __init__(self, url: str) -> None:
        self._database = open_for_writing(url)

    def add(
        self, ip_group: str, username: str, realm: str, password: str, local_user: str | None = None
    ) -> UserInfo:
        """Add a user; its address of record is the user name up to an `@`, unless given.

        Raises UserExists, and UserInfoError where a name is too long to be looked up.
        """
        if max(len(name.encode()) for name in (username, realm, local_user or "")) > LONGEST_NAME:
            raise UserInfoError(f"a name of more than {LONGEST_NAME} bytes is never looked up")
        row = UserInfo(
            ip_group=ip_group,
            username=username,
            realm=realm,
            local_user=local_user or username.partition("@")[0],
            **hashes(username, realm, password),
        )
        with self._transaction():
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
        with self._transaction():
            yield from query

    def set_password(self, row: UserInfo, password: str) -> None:
        """Replace the password."""
        self._update(row, **hashes(row.username, row.realm, password))

    def set_enabled(self, row: UserInfo, enabled: bool) -> None:
        """Let the user in again, or no more."""
        self._update(row, enabled=enabled)

    def remove(self, row: UserInfo) -> None:
        """Remove the user."""
        with self._transaction():
            row.delete_instance()

    def _update(self, row: UserInfo, **values: Any) -> None:
        with self._transaction():
            UserInfo.update(updated_at=_NOW, **values).where(UserInfo.id == row.id).execute()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._database.atomic():
                yield
        except peewee.PeeweeException as error:
            raise Unavailable(f"{self._database.database}: {error}") from error


def hashes(username: str, realm: str, password: str) -> dict[str, str]:
    """Return H(A1) for each algorithm, by column; the password itself is kept nowhere."""
    return {
        column: ha1(algorithm, username, realm, password) for algorithm, column in _COLUMNS.items()
    }


def algorithms(row: UserInfo) -> list[str]:
    """Return the algorithms that the user has an H(A1) for."""
    return [str(algorithm) for algorithm, column in _COLUMNS.items() if getattr(row, column)]
