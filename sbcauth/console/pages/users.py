"""Users: finding them among a million, adding one, and what one does about a user."""

from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from sbcauth.console.visit import Refused, Visit
from sbcauth.exceptions import UserInfoError
from sbcauth.monitoring.lockouts import Wanted, clear, lockouts
from sbcauth.monitoring.registrations import Registration, drop, of_user
from sbcauth.monitoring.rpc import NotRunning, RpcError
from sbcauth.monitoring.user_report import report
from sbcauth.monitoring.why import Outcome
from sbcauth.policy.ip_groups import IPGroupType
from sbcauth.users.database import UserInfo
from sbcauth.users.membership import ip_group_of_users_named, move_user
from sbcauth.users.search import Place, search
from sbcauth.users.shown import generated_password
from sbcauth.users.table import UserTable

_PAGE = 30
_OUTCOMES = 20


class Line(NamedTuple):
    """A user in the list; `registered` is None where no server tells."""

    row: UserInfo
    address: str
    registered: list[Registration] | None
    last: Outcome | None
    is_locked_out: bool


def users(visit: Visit) -> Response:
    """Show a page of those whose names begin as asked."""
    config = visit.console.config()
    beginning, group = visit.asked("q"), visit.asked("ip_group")
    disabled = visit.asked("state") == "disabled"
    after = Place(visit.asked("after_group"), visit.asked("after"), visit.asked("after_realm"))
    with visit.console.users(config) as table:
        found = search(
            table,
            beginning,
            group or None,
            disabled=disabled,
            after=after if after.ip_group else None,
            most=_PAGE,
        )
        total = 0 if visit.is_part else visit.console.total.of(table, visit.now)
    asked = {"q": beginning, "ip_group": group, "state": "disabled" if disabled else ""}
    following = ""
    if found.has_more:
        last = found.users[-1]
        place = {
            "after_group": last.ip_group,
            "after": last.username,
            "after_realm": last.realm,
        }
        following = urlencode({**asked, **place})
    return visit.page(
        "users.html",
        lines=_lines(visit, found.users),
        asked=asked,
        total=total,
        is_first=not after.ip_group,
        following=following,
        ip_groups=[each.name for each in config.ip_groups if each.type is IPGroupType.USER],
    )


def _lines(visit: Visit, rows: list[UserInfo]) -> list[Line]:
    """Return users with what became of them last, and where they are registered."""
    last: dict[str, Outcome] = {}
    for each in visit.console.watch.seen.outcomes:
        last[each.username] = last[each.from_user] = each
    server = visit.console.server() if visit.console.watch.seen.status else None
    locked_out = {
        (each.ip_group, each.username) for each in visit.console.watch.seen.lockouts or ()
    }
    lines = []
    for row in rows:
        registered: list[Registration] | None = None
        if server is not None:
            with suppress(NotRunning, RpcError):
                registered = of_user(server, row.local_user, row.realm, row.ip_group, visit.now)
        is_locked_out = (row.ip_group, row.username) in locked_out
        lines.append(Line(row, _address(row), registered, last.get(row.username), is_locked_out))
    return lines


def _address(row: UserInfo) -> str:
    """Return the address of a user's page."""
    names = {"name": row.username, "ip_group": row.ip_group, "realm": row.realm}
    return f"/user?{urlencode(names)}"


def user(visit: Visit) -> Response:
    """Show all that is known of a user name: whether it gets in, and what to do."""
    name, group = visit.asked("name"), visit.asked("ip_group")
    if not name:
        return RedirectResponse("/users", 303)
    return _shown(visit, name, group)


def _shown(visit: Visit, name: str, group: str, password: str = "") -> Response:
    config = visit.console.config()
    with visit.console.alone():
        found = report(config, visit.console.server(), name, group or None, _OUTCOMES, visit.now)
    return visit.page(
        "user.html",
        200 if found.users or found.outcomes or found.lockouts else 404,
        name=name,
        group=group,
        found=found,
        realm=found.users[0]["realm"] if found.users else "",
        is_server=found.known.servers.get(name, ""),
        password=password,
        ip_groups=[each.name for each in config.ip_groups if each.type is IPGroupType.USER],
    )


def add(visit: Visit) -> Response:
    """Add a user with a password that is made here and shown once, unless one is given."""
    config = visit.console.config()
    if visit.request.method != "POST":
        groups = [each for each in config.ip_groups if each.type is IPGroupType.USER]
        return visit.page(
            "add.html", ip_groups=groups, name=visit.asked("name"), group=visit.asked("ip_group")
        )
    name = visit.form.get("name", "").strip()
    group = ip_group_of_users_named(config.ip_groups, visit.form.get("ip_group", ""))
    password, generated = _password(visit)
    identities = visit.form.get("identities", "").split()
    local_user = visit.form.get("local_user", "").strip() or None
    with visit.console.users(config) as table:
        row = table.add(group.name, name, group.realm, password, local_user, identities)
    visit.log("user-add", user=row.username, ip_group=row.ip_group)
    return _shown(visit, row.username, row.ip_group, generated)


def act(visit: Visit) -> Response:
    """Do to a user what its button says."""
    config = visit.console.config()
    action = visit.request.path_params["action"]
    name, group = visit.form.get("name", ""), visit.form.get("ip_group", "")
    with visit.console.users(config) as table:
        row = table.find(name, group or None, visit.form.get("realm") or None)
        name, group, address = row.username, row.ip_group, (row.local_user, row.realm)
        generated, there = "", _address(row)
        match action:
            case "enable" | "disable":
                table.set_enabled(row, action == "enable")
            case "password":
                password, generated = _password(visit)
                table.set_password(row, password, config.old_password_memory)
            case "move":
                to = ip_group_of_users_named(config.ip_groups, visit.form.get("to", ""))
                move_user(table, row, to)
                there = _address(row)
            case "identities":
                table.set_identities(row, visit.form.get("identities", "").split())
            case "remove":
                _remove(visit, table, row)
                there = "/users"
            case "drop":
                drop(visit.console.server(), *address)
            case _:
                raise Refused(404, "There is no such thing to do.")
    values = {"to": row.ip_group} if action == "move" else {}
    visit.log(f"user-{action}", user=name, ip_group=group, **values)
    if generated:
        return _shown(visit, name, row.ip_group, generated)
    return RedirectResponse(there, 303)


def _remove(visit: Visit, table: UserTable, row: UserInfo) -> None:
    """Remove a user whose name was typed once more."""
    if visit.form.get("again", "").strip() != row.username:
        raise UserInfoError(f"Not removed: type {row.username} to have it removed.")
    table.remove(row)


def lift(visit: Visit) -> Response:
    """Let those in again who are locked out and fit."""
    names = ("ip_group", "source", "username")
    wanted = Wanted(*(visit.form.get(name) or None for name in names))
    if wanted == Wanted():
        raise UserInfoError("Say whose lockout is to be lifted.")
    server = visit.console.server()
    found = [
        each
        for each in lockouts(server, visit.now, Wanted(ip_group=wanted.ip_group))
        if wanted.source in (None, each.source) and wanted.username in (None, each.username)
    ]
    clear(server, found, visit.console.cluster())
    for each in found:
        visit.log(
            "lockout-clear", user=each.username, ip_group=each.ip_group, locked_out_at=each.source
        )
    visit.console.watch.look()
    name = visit.form.get("back", "")
    return RedirectResponse(f"/user?{urlencode({'name': name})}" if name else "/refusals", 303)


def _password(visit: Visit) -> tuple[str, str]:
    """Return the password that is given, or one that is made, and that again to be shown."""
    given = visit.form.get("password", "")
    if given:
        return given, ""
    made = generated_password()
    return made, made
