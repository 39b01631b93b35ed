"""The model of the User Info table, and opening its database, of whichever kind."""

from typing import Any, cast

import peewee

from sbcauth.users import sqlite
from sbcauth.users.database_url import is_postgresql, sqlite_path
from sbcauth.users.sealing import Seals
from sbcauth.users.sql import Database


class UserInfo(peewee.Model):
    """A row of the User Info table; schema.sql says what its columns hold.

    H(A1) are in a table of their own, which `stored` reads and writes.
    """

    id = peewee.AutoField()
    ip_group = peewee.TextField()
    local_user = peewee.TextField()
    username = peewee.TextField()
    realm = peewee.TextField()
    enabled = peewee.BooleanField(default=True)
    created_at = peewee.TextField()
    updated_at = peewee.TextField()
    old_until = peewee.IntegerField(null=True)

    class Meta:
        """The table's name and keys, as in schema.sql."""

        table_name = "user_info"
        indexes = ((("ip_group", "username", "realm"), True), (("ip_group", "local_user"), False))


def open_for_writing(url: str, seals: Seals) -> Database:
    """Return the database, bound to UserInfo; its tables are made where they are missing.

    In one that is made here H(A1) will be sealed by `seals`, whose keys are made too; one of an
    older version is brought up to date. Raises Unavailable where it cannot be opened, or was made
    by a newer version.
    """
    database: Any
    if is_postgresql(url):
        from sbcauth.users import postgresql  # psycopg is an extra

        database = postgresql.open_for_writing(url, seals)
    else:
        database = sqlite.open_for_writing(sqlite_path(url), seals)
    database.bind([UserInfo])
    return cast(Database, database)
