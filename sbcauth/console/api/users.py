"""Users: finding, adding, changing and removing them, and why one gets in or not."""

from typing import Any, NamedTuple
from urllib.parse import urlencode

from sbcauth.console.api.asked import UserChange, UserQuery, UsersQuery, UserToBe, WhyQuery
from sbcauth.console.api.call import Call
from sbcauth.console.problems import ROOT
from sbcauth.exceptions import UserExists, UserInfoError
from sbcauth.monitoring.lockouts import public_lockout
from sbcauth.monitoring.registrations import ShownRegistration, shown_registration
from sbcauth.monitoring.user_report import report
from sbcauth.monitoring.why import Outcome
from sbcauth.users.database import UserInfo
from sbcauth.users.membership import (
    ip_group_of_new_user,
    ip_group_of_users_named,
    move_user,
)
from sbcauth.users.search import Place, search
from sbcauth.users.shown import generated_password, public_user
from sbcauth.users.table import UserTable


class User(NamedTuple):
    """A user of User Info. `algorithms` are those that its password is kept for."""

    ip_group: str
    username: str
    local_user: str
    realm: str
    identities: list[str]
    enabled: bool
    algorithms: list[str]
    created_at: str
    updated_at: str


class Users(NamedTuple):
    """A page of users; `next` is the address of the one behind it, null where there is none."""

    users: list[User]
    next: str | None


class ChangedUser(NamedTuple):
    """A user after a change; `password` is one that was made, shown this once, else null."""

    user: User
    password: str | None


class Lockout(NamedTuple):
    """Who is refused until then.

    `what` is a `pair` of source and user name, a `source` or a `user`; `*` stands for all.
    """

    what: str
    ip_group: str
    username: str
    source: str
    until: str
    seconds_left: int


class Why(NamedTuple):
    """Why a user gets in or does not; outcomes with the newest last.

    `lockouts` are null where no server tells.
    """

    users: list[User]
    registered: list[ShownRegistration]
    lockouts: list[Lockout] | None
    outcomes: list[Outcome]
    advice: list[str]


def users(call: Call[UsersQuery, None]) -> Users:
    """List the users whose names begin so, a page at a time."""
    config, asked = call.console.config(), call.query
    after = Place(asked.after_ip_group, asked.after_username, asked.after_realm)
    with call.console.users(config) as table:
        found = search(
            table,
            asked.q,
            asked.ip_group,
            disabled=asked.disabled,
            after=after if after.ip_group else None,
            most=asked.limit,
        )
        rows = [_user(table, row) for row in found.users]
    return Users(rows, _next(asked, rows[-1]) if found.has_more else None)


def _next(asked: UsersQuery, last: User) -> str:
    values: dict[str, Any] = {
        **asked.model_dump(exclude_defaults=True),
        "after_ip_group": last.ip_group,
        "after_username": last.username,
        "after_realm": last.realm,
    }
    if asked.disabled:
        values["disabled"] = "true"
    return f"{ROOT}/users?{urlencode(values)}"


def user(call: Call[UserQuery, None]) -> User:
    """Show one user."""
    with call.console.users(call.console.config()) as table:
        return _user(table, table.find(call.username, call.query.ip_group, call.query.realm))


def put_user(call: Call[UserQuery, UserToBe]) -> ChangedUser:
    """Make sure that a user exists, with what is given.

    The same again changes nothing more. `ip_group` may be left out where only one has users. A new
    user has 201, and a password that is made and returned where none is given.
    """
    config, name, wanted = call.console.config(), call.username, call.body
    group = ip_group_of_new_user(config.ip_groups, call.query.ip_group)
    realm = call.query.realm or group.realm
    made = None
    with call.console.users(config) as table, table.transaction():
        row = next(iter(list(table.all(group.name, name, realm))), None)
        if row is None:
            call.is_new = True
            password = wanted.password or (made := generated_password())
            row = table.add(group.name, name, realm, password, wanted.local_user)
        else:
            if wanted.local_user not in (None, row.local_user):
                raise UserExists(f"{name} exists already, for {row.local_user}: remove it first")
            if wanted.password is not None:
                table.set_password(row, wanted.password, config.old_password_memory)
        _set(table, row, wanted)
        found = _found_again(table, row)
    call.log("user-add" if call.is_new else "user-set", user=name, ip_group=group.name)
    return ChangedUser(found, made)


def change_user(call: Call[UserQuery, UserChange]) -> ChangedUser:
    """Change what is given of a user: password, numbers, whether it gets in, IP Group."""
    config, wanted = call.console.config(), call.body
    if wanted.generate and wanted.password is not None:
        raise UserInfoError("generate and password exclude each other")
    made = generated_password() if wanted.generate else None
    password = made or wanted.password
    with call.console.users(config) as table, table.transaction():
        row = table.find(call.username, call.query.ip_group, call.query.realm)
        before = row.ip_group
        if password is not None:
            table.set_password(row, password, config.old_password_memory)
        _set(table, row, wanted)
        if wanted.ip_group not in (None, row.ip_group):
            move_user(table, row, ip_group_of_users_named(config.ip_groups, wanted.ip_group or ""))
        found = _found_again(table, row)
    changed = ",".join(sorted(wanted.model_fields_set))
    call.log("user-change", user=found.username, ip_group=before, what=changed)
    return ChangedUser(found, made)


def remove_user(call: Call[UserQuery, None]) -> None:
    """Remove a user."""
    with call.console.users(call.console.config()) as table:
        row = table.find(call.username, call.query.ip_group, call.query.realm)
        table.remove(row)
    call.log("user-remove", user=row.username, ip_group=row.ip_group)


def why(call: Call[WhyQuery, None]) -> Why:
    """Tell why a user gets in or does not, and what to do."""
    console, asked = call.console, call.query
    config, name = console.config(), call.username
    with console.alone():
        found = report(config, console.server(), name, asked.ip_group, asked.limit, call.now)
    locked_out = found.lockouts
    return Why(
        [_shown(each) for each in found.users],
        [shown_registration(each) for each in found.registered],
        None if locked_out is None else shown_lockouts(locked_out, call.now),
        found.outcomes,
        found.advice,
    )


def shown_lockouts(found: list[Any], now: float) -> list[Lockout]:
    """Return lockouts as they are shown."""
    return [Lockout(**public_lockout(each, now)) for each in found]


def _set(table: UserTable, row: UserInfo, wanted: UserToBe | UserChange) -> None:
    if wanted.identities is not None:
        table.set_identities(row, wanted.identities)
    if wanted.enabled is not None:
        table.set_enabled(row, wanted.enabled)


def _found_again(table: UserTable, row: UserInfo) -> User:
    """Return a user as the database has it after a change."""
    return _user(table, table.find(row.username, row.ip_group, row.realm))


def _user(table: UserTable, row: UserInfo) -> User:
    return _shown(public_user(table, row, table.identities(row)))


def _shown(values: dict[str, Any]) -> User:
    times = {name: str(values[name]) for name in ("created_at", "updated_at")}
    return User(**{**values, **times})
