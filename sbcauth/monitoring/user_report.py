"""All that is known of a user: why it gets in or not, and what to do about it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sbcauth.config.load import Config
from sbcauth.exceptions import Unavailable
from sbcauth.monitoring.latest import facts, last_outcomes
from sbcauth.monitoring.lockouts import Lockout, Wanted, lockouts
from sbcauth.monitoring.registrations import Registration, of_user
from sbcauth.monitoring.rpc import NotRunning, Rpc
from sbcauth.monitoring.user_table import table_to_read
from sbcauth.monitoring.why import Facts, Outcome, Search, advice
from sbcauth.users.database import UserInfo
from sbcauth.users.shown import public_user


class UserReport(NamedTuple):
    """What User Info, the server and the log have of a user name; outcomes with the newest last.

    `lockouts` are None where no server tells; `known` are the facts that `advice` went by.
    """

    users: list[dict[str, Any]]
    registered: list[Registration]
    lockouts: list[Lockout] | None
    outcomes: list[Outcome]
    advice: list[str]
    known: Facts


def report(
    config: Config,
    server: Rpc,
    username: str,
    ip_group: str | None,
    most: int,
    now: float,
    outcomes: Callable[[Search], Sequence[Outcome]] | None = None,
    warn: Callable[[str], None] | None = None,
) -> UserReport:
    """Return what is known at `now` of a user name, in one IP Group or in all of them.

    `outcomes` finds those in the log; `last_outcomes` does where none is given. `warn` is told why
    User Info cannot be read, which is passed by then; without it, Unavailable is raised.
    """
    search = Search(username, ip_group)
    locked_out = _lockouts(server, now, Wanted(ip_group, None, username))
    found = [*outcomes(search)] if outcomes else last_outcomes(config, server, search, most)
    names = {username, *(each.username for each in found)}
    rows: list[UserInfo] = []
    users: list[dict[str, Any]] = []
    are_users_known = True
    try:
        with table_to_read(config) as table:
            rows = list(table.all(ip_group, username))
            users = [public_user(table, row, table.identities(row)) for row in rows]
            known = facts(config, table, names, locked_out or ())
    except Unavailable as error:
        if warn is None:
            raise
        warn(str(error))
        are_users_known = False
        known = facts(config, None, names, locked_out or ())
    registered = [each for row in rows for each in _registered(server, row, now)]
    asked = locked_out is not None and bool(rows)
    known = known._replace(not_registered=asked and not registered)
    are_complete = are_users_known and locked_out is not None
    what_to_do = advice(found, username, known, known=are_complete)
    return UserReport(users, registered, locked_out, found, what_to_do, known)


def _lockouts(rpc: Rpc, now: float, wanted: Wanted) -> list[Lockout] | None:
    """Return who is locked out, or None where no server tells."""
    try:
        return lockouts(rpc, now, wanted)
    except NotRunning:
        return None


def _registered(server: Rpc, row: UserInfo, now: float) -> list[Registration]:
    """Return where a user is registered, as far as a server tells."""
    try:
        return of_user(server, row.local_user, row.realm, row.ip_group, now)
    except NotRunning:
        return []
