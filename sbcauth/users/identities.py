"""The numbers and prefixes that a user speaks for beside its local user, in the database."""

from collections.abc import Iterable

from sbcauth.exceptions import UserInfoError
from sbcauth.policy.identities import as_identity
from sbcauth.users.database import UserInfo
from sbcauth.users.sql import Connection

_OF_USER = 'SELECT pattern FROM identity WHERE "user" = ? ORDER BY pattern'
_OF_ALL = """
    SELECT ip_group, username, realm, pattern
    FROM identity JOIN user_info ON user_info.id = identity.user ORDER BY pattern
"""
_OF_ANOTHER = """
    SELECT username FROM user_info LEFT JOIN identity ON identity.user = user_info.id
    WHERE ip_group = ? AND user_info.id <> ? AND (local_user = ? OR realm = ? AND pattern = ?)
"""


def checked(identities: Iterable[str]) -> list[str]:
    """Return identities, each once; raises UserInfoError where one is none."""
    try:
        return list(dict.fromkeys(as_identity(identity) for identity in identities))
    except ValueError as error:
        raise UserInfoError(str(error)) from None


def of_user(connection: Connection, row: UserInfo) -> list[str]:
    """Return the identities of a user, in order."""
    return [pattern for (pattern,) in connection.execute(_OF_USER, (row.id,))]


def of_all(connection: Connection) -> dict[tuple[str, str, str], list[str]]:
    """Return the identities of all users that have any, by IP Group, user name and realm."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for *names, pattern in connection.execute(_OF_ALL):
        found.setdefault((names[0], names[1], names[2]), []).append(pattern)
    return found


def write(connection: Connection, row: UserInfo, identities: Iterable[str]) -> None:
    """Write the identities of a user in place of those that it has.

    Raises UserInfoError where one is no number, or another's.
    """
    connection.execute('DELETE FROM identity WHERE "user" = ?', (row.id,))
    rows = [(row.id, identity) for identity in checked(identities)]
    check_not_of_another(connection, row, [identity for _, identity in rows])
    connection.executemany('INSERT INTO identity ("user", pattern) VALUES (?, ?)', rows)


def check_not_of_another(connection: Connection, row: UserInfo, identities: Iterable[str]) -> None:
    """Raise UserInfoError where one of `identities` is another user's in the IP Group of `row`."""
    for identity in identities:
        names = (row.ip_group, row.id, identity, row.realm, identity)
        if found := connection.execute(_OF_ANOTHER, names).fetchone():
            raise UserInfoError(
                f"{identity} is the number of {found[0]} already, in {row.ip_group}"
            )
