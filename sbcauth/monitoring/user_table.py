"""Opening User Info for a command that only reads it."""

import sys

from sbcauth.config.load import Config
from sbcauth.exceptions import DriverMissing, Unavailable
from sbcauth.users.database_url import is_postgresql, sqlite_url
from sbcauth.users.table import UserTable


def table_to_read(config: Config) -> UserTable:
    """Return User Info; where PostgreSQL does not answer, the copy of it that is here.

    Raises Unavailable where there is none either.
    """
    try:
        return UserTable(config.database, config.ha1_key_file)
    except DriverMissing:
        raise
    except Unavailable as error:
        if not is_postgresql(config.database) or not config.users_file.exists():
            raise
        print(f"{error}; this is User Info as last seen", file=sys.stderr)
        return UserTable(sqlite_url(config.users_file), config.ha1_key_file)
