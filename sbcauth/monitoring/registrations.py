"""Who is registered at a running server, and letting a user register anew.

Kamailio's answer must fit a datagram. So many registrations are read from the file in which they
survive a restart, which is a few seconds behind.
"""

import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sbcauth.monitoring.counts import LISTED, value
from sbcauth.monitoring.rpc import Rpc, RpcError
from sbcauth.policy.targets import host_of

TABLE = "location"
FILE_KEY = f"{LISTED}registrations"
"""The key under which shared memory has the file that registrations are written to."""
_AT_ONCE = 60
"""So many contacts fit an answer, of some hundred bytes each."""
_EPOCH = 2440587.5
_DAY = 86400
"""db_sqlite keeps times as Julian days: 1970 began at that one."""
_NOTHING = ("[not set]", "n/a", "")
_PORT = re.compile(r":(\d{1,5})(?:[;?>]|$)")
_QUERY = """
    SELECT username, domain, contact, received, user_agent, socket, last_modified, expires
    FROM location WHERE +expires > julianday('now') AND {} ORDER BY username, domain, contact
"""
"""In the order of Kamailio's index of names, and so without sorting a million."""


class Registration(NamedTuple):
    """A contact of an address of record, `user`@`realm`.

    `source` is where it registered from, as ADDRESS:PORT; `transport` how. `since` is when it
    registered last, `until` when that ends (seconds since 1970).
    """

    user: str
    realm: str
    ip_group: str
    contact: str
    source: str
    transport: str
    user_agent: str
    since: int
    until: int


class ShownRegistration(NamedTuple):
    """A contact of an address of record, `local_user`@`realm`.

    `source` is where it registered from, as ADDRESS:PORT; `transport` how. `since` is when it
    registered last, `until` when that ends (ISO 8601, in UTC).
    """

    local_user: str
    realm: str
    ip_group: str
    contact: str
    source: str
    transport: str
    user_agent: str
    since: str
    until: str


def shown_registration(each: Registration) -> ShownRegistration:
    """Return a registration as JSON shows it."""
    return ShownRegistration(*each[:-2], _iso(each.since), _iso(each.until))


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def beside(database: Path) -> Path:
    """Return the file in which registrations survive a restart, beside that of the users."""
    return database.with_name(f"{database.stem}-registrations.db")


def count(rpc: Rpc) -> tuple[int, int]:
    """Return how many users are registered and with how many contacts; raises as Rpc.call.

    Both are 0 where kamailio.cfg has no registrar.
    """
    try:
        lines = rpc.call("stats.get_statistics", "usrloc:")
    except RpcError:
        return 0, 0
    found = dict(line.removeprefix("usrloc:").split(" = ") for line in lines)
    return int(found.get("registered_users", 0)), int(found.get(f"{TABLE}_contacts", 0))


class Place(NamedTuple):
    """The registration after which a page begins."""

    user: str = ""
    realm: str = ""
    contact: str = ""


def registrations(
    rpc: Rpc,
    now: float,
    users: Collection[str] = (),
    text: str = "",
    after: Place | None = None,
) -> Iterator[Registration]:
    """Yield registrations at `now` (seconds since 1970), in the order of user, realm and contact.

    Those of `users` alone, where any are given. Where they come from a file, `text` is what their
    addresses have in them. Their IP Group is left empty. Raises NotRunning, and RpcError where
    there are too many to be told at once and the server has no file that it writes them to.
    """
    registered, contacts = count(rpc)
    if contacts <= _AT_ONCE:
        found = [_registration(row) for row in _asked(rpc, now)]
        for each in sorted(found, key=place_of):
            if (not users or each.user in users) and place_of(each) > (after or Place()):
                yield each
    elif file := value(rpc, FILE_KEY):
        yield from map(_registration, _written(Path(str(file)), users, text, after))
    else:
        raise RpcError(
            f"{registered} users are registered, more than the server can tell at once: name one"
        )


def place_of(each: Registration) -> Place:
    """Return where a registration is in their order."""
    return Place(each.user, each.realm, each.contact)


def of_user(rpc: Rpc, user: str, realm: str, ip_group: str, now: float) -> list[Registration]:
    """Return where one user is registered at `now`; raises NotRunning."""
    try:
        found = rpc.call("ul.lookup", TABLE, f"{user}@{realm}")
    except RpcError:  # has no contacts
        return []
    return [_registration(row, ip_group) for row in _contacts(found, now)]


def drop(rpc: Rpc, user: str, realm: str) -> bool:
    """Forget where a user is registered; tell whether there was anything. Raises NotRunning."""
    try:
        rpc.call("ul.lookup", TABLE, f"{user}@{realm}")  # `ul.rm` takes what has no contact, too
        rpc.call("ul.rm", TABLE, f"{user}@{realm}")
    except RpcError:
        return False
    return True


class _Row(NamedTuple):
    user: str
    realm: str
    contact: str
    received: str
    user_agent: str
    socket: str
    since: int
    until: int


def _asked(rpc: Rpc, now: float) -> Iterator[_Row]:
    for domain in rpc.call("ul.dump")["Domains"]:
        for each in domain["Domain"].get("AoRs", ()):
            yield from _contacts(each["Info"], now)


def _contacts(info: Mapping[str, Any], now: float) -> Iterator[_Row]:
    address = str(info["AoR"])
    user, at, realm = address.rpartition("@")
    if not at:  # usrloc without use_domain, as in Debian's kamailio.cfg
        user, realm = address, ""
    for each in info.get("Contacts", ()):
        contact = each["Contact"]
        if not isinstance(contact["Expires"], int):  # "expired", "deleted", "permanent"
            continue
        since = int(contact["Last-Modified"])
        yield _Row(
            user,
            realm,
            str(contact["Address"]),
            _given(contact["Received"]),
            _given(contact["User-Agent"]),
            _given(contact["Socket"]),
            since,
            int(now) + contact["Expires"],
        )


def _written(file: Path, users: Collection[str], text: str, after: Place | None) -> Iterator[_Row]:
    where, values = ["true"], [*users]
    if users:
        where.append(f"username IN ({', '.join('?' * len(users))})")
    if text:
        where.append("(instr(received, ?) OR instr(contact, ?))")
        values += [text, text]
    if after:
        where.append("(username, domain, contact) > (?, ?, ?)")
        values += after
    query = _QUERY.format(" AND ".join(where))
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
        for user, realm, contact, received, agent, socket, since, until in database.execute(
            query, values
        ):
            received, agent, socket = map(_given, (received, agent, socket))
            times = _seconds(since), _seconds(until)
            yield _Row(user, realm or "", contact, received, agent, socket, *times)


def _seconds(julian_day: float) -> int:
    return round((julian_day - _EPOCH) * _DAY)


def _given(value: object) -> str:
    text = str(value or "")
    return "" if text in _NOTHING else text


def _registration(row: _Row, ip_group: str = "") -> Registration:
    reached_at = row.received or row.contact
    port = _PORT.search(reached_at.partition("@")[2] or reached_at)
    return Registration(
        row.user,
        row.realm,
        ip_group,
        row.contact,
        f"{host_of(reached_at)}:{port[1] if port else 5060}",
        row.socket.partition(":")[0] or "udp",
        row.user_agent,
        row.since,
        row.until,
    )
