"""Users by how their names begin, a page at a time: by the index, however many there are."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import peewee

from sbcauth.users.database import UserInfo
from sbcauth.users.table import UserTable, ip_groups

_LAST = "\U0010ffff"
"""Sorts after whatever a name has."""


class Place(NamedTuple):
    """The user after whom a page begins; empty for the first page."""

    ip_group: str = ""
    username: str = ""
    realm: str = ""


class Found(NamedTuple):
    """A page of users, and whether there are more behind it."""

    users: list[UserInfo]
    has_more: bool


def search(
    table: UserTable,
    beginning: str = "",
    ip_group: str | None = None,
    *,
    disabled: bool = False,
    after: Place | None = None,
    most: int = 50,
) -> Found:
    """Return the users whose names begin so, in the order of IP Group, user name and realm.

    On the first page, those whose address of record has `beginning` for its user part come first.
    """
    if any("\0" in text for text in (beginning, ip_group or "", *(after or ()))):
        return Found([], has_more=False)  # no name has it, and PostgreSQL takes none
    with table.reading():
        users = _named(beginning, ip_group, disabled, after or Place())
        if after is None:
            users = _owners_first(beginning, ip_group, disabled, users)
        found = list(islice(users, most + 1))
    return Found(found[:most], len(found) > most)


def _named(
    beginning: str, ip_group: str | None, disabled: bool, after: Place
) -> Iterator[UserInfo]:
    """Yield users by the index of names, one IP Group after the other."""
    for group in [ip_group] if ip_group is not None else ip_groups(after.ip_group):
        query = UserInfo.select().where(UserInfo.ip_group == group)
        if beginning:
            name = UserInfo.username
            query = query.where(name >= beginning, name < beginning + _LAST)
        if group == after.ip_group:
            names = peewee.Tuple(UserInfo.username, UserInfo.realm)
            query = query.where(names > (after.username, after.realm))
        if disabled:
            query = query.where(~UserInfo.enabled)  # as the index of those has it
        yield from query.order_by(UserInfo.username, UserInfo.realm).iterator()


def _owners_first(
    local_user: str, ip_group: str | None, disabled: bool, others: Iterator[UserInfo]
) -> Iterator[UserInfo]:
    """Yield the users of an address of record whose names begin otherwise, then the others."""
    if local_user:
        for group in [ip_group] if ip_group is not None else ip_groups(""):
            of_group = UserInfo.select().where(
                UserInfo.ip_group == group, UserInfo.local_user == local_user
            )
            for row in sorted(of_group, key=_name):  # SQLite would sort by the index of names
                if not row.username.startswith(local_user) and not (disabled and row.enabled):
                    yield row
    yield from others


def _name(row: UserInfo) -> tuple[str, str]:
    return str(row.username), str(row.realm)
