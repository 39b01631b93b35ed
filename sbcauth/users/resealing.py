"""Sealing what is in User Info already: the plain H(A1) of an older version, or with a new key."""

from sbcauth.exceptions import Unavailable
from sbcauth.users.sealing import every_ha1
from sbcauth.users.sql import Connection, write_proof
from sbcauth.users.stored import SELECT, rewrite_ha1s, users
from sbcauth.users.table import UserTable

# S608: constants only
_BATCH = f"""
    {SELECT} WHERE user_info.id IN (SELECT id FROM user_info WHERE id > ? ORDER BY id LIMIT 1000)
    ORDER BY user_info.id
"""  # noqa: S608
_PLAIN = """
    SELECT DISTINCT username, ip_group FROM user_info JOIN ha1 ON ha1.user = user_info.id
    WHERE substr(ha1.ha1, 1, 3) <> 'v1:' OR substr(ha1.old_ha1, 1, 3) <> 'v1:'
    ORDER BY ip_group, username LIMIT 10
"""
_ANY_SEALED = """
    SELECT 1 FROM ha1
    WHERE substr(ha1.ha1, 1, 3) = 'v1:' OR substr(ha1.old_ha1, 1, 3) = 'v1:' LIMIT 1
"""


def reseal(table: UserTable, *, rotate: bool = False) -> tuple[int, int]:
    """Seal every H(A1) with the newest key, a new one where that is to `rotate`.

    Returns the key's number, and how many users were not sealed with it before. Nothing of what
    was there is left in the files of the database. Raises Unavailable.
    """
    count = last = 0
    with table.transaction():
        connection, seals = table.connection(), table.seals
        is_sealed = table.has_proof() or bool(connection.execute(_ANY_SEALED).fetchone())
        if is_sealed and (plain := _plain(connection)):
            raise Unavailable(
                f"not written by sbcauth: H(A1) of {', '.join(plain)}; `sbcauth user set-password` "
                "or `remove`, then do the same again"
            )
        key = seals.make(anew=rotate)
        while rows := connection.execute(_BATCH, (last,)).fetchall():
            last = rows[-1][0]
            changed = [
                (number, seals.seal(seals.open(user, all_sealed=is_sealed)))
                for number, user in users(rows)
                if not all(map(seals.is_newest, every_ha1(user)))
            ]
            rewrite_ha1s(connection, changed)
            count += len(changed)
        write_proof(connection, seals.prove())
    if not table.erase():
        raise Unavailable(
            "all is sealed, but another program reads the database, whose log still has earlier "
            "rows: end it, and do the same again"
        )
    return key, count


def plain_users(table: UserTable) -> list[str]:
    """Return who has an H(A1) that is not sealed, the first ten; raises Unavailable."""
    with table.reading():
        return _plain(table.connection())


def _plain(connection: Connection) -> list[str]:
    return [f"{username} in {ip_group}" for username, ip_group in connection.execute(_PLAIN)]
