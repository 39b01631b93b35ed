"""Replacing all users at once, as an import does: their old passwords are recognised for a time."""

from collections.abc import Iterable

from sbcauth.policy.accounts import User
from sbcauth.users.stored import SELECT, users
from sbcauth.users.table import UserTable, remembering

_MOVE_ALL = """
    DROP TABLE IF EXISTS users_aside;
    DROP TABLE IF EXISTS ha1_aside;
    CREATE TEMP TABLE users_aside AS SELECT * FROM user_info;
    CREATE TEMP TABLE ha1_aside AS SELECT * FROM ha1;
    CREATE INDEX user_aside ON users_aside (ip_group, username, realm);
    CREATE INDEX ha1_of_user_aside ON ha1_aside ("user")
"""
_MOVED = (
    SELECT.replace("user_info", "users_aside").replace("JOIN ha1", "JOIN ha1_aside AS ha1")
    + "WHERE ip_group = ? AND username = ? AND realm = ?"
)


def move_to_temporary_table(table: UserTable) -> None:
    """Move all users to a temporary table, so that an import can replace them.

    In a transaction: `with_old_passwords` reads them there until it ends.
    """
    with table.patiently():
        for statement in _MOVE_ALL.split(";"):  # a script would end the transaction
            table.connection().execute(statement)
    table.clear()


def with_old_passwords(table: UserTable, new: Iterable[User], memory: int) -> list[User]:
    """Return `new` users with the passwords that they had in the temporary table.

    Those are recognised for `memory` seconds; one that is the same again changes nothing
    about the one before it.
    """
    until, is_sealed = table.now() + memory, table.is_sealed()
    return [_with_old_password(table, user, until, is_sealed) for user in new]


def _with_old_password(table: UserTable, user: User, until: int, is_sealed: bool) -> User:
    names = (user.ip_group, user.username, user.realm)
    for _, before in users(table.connection().execute(_MOVED, names)):
        return remembering(user, table.opened_before_change(before, is_sealed), until)
    return user
