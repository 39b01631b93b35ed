"""`sbcauth user`: the people who may register and call."""

import os
import secrets
import sys
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from sbcauth.cli.output import print_json, print_table
from sbcauth.config import Config, load
from sbcauth.database import UserInfo
from sbcauth.exceptions import NoSuchUser, UserInfoError
from sbcauth.ip_groups import IPGroup, IPGroupType
from sbcauth.user_admin import UserTable, algorithms

commands = typer.Typer(help="Manage the users of User Info.", no_args_is_help=True)

_SHORTEST = 8
_GENERATED_BYTES = 15  # 20 characters, 120 bits

Username = Annotated[str, typer.Argument(help="The user name of the digest.")]
IPGroupOption = Annotated[str | None, typer.Option("--ip-group", help="The user's IP Group.")]
RealmOption = Annotated[str | None, typer.Option(help="Where a user name has several realms.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]
Generate = Annotated[bool, typer.Option("--generate", help="Make a password and print it once.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@commands.command()
def add(
    context: typer.Context,
    username: Username,
    ip_group: IPGroupOption = None,
    local_user: Annotated[
        str | None, typer.Option(help="User part of the address of record, if another.")
    ] = None,
    realm: Annotated[str | None, typer.Option(help="Another realm than the IP Group's.")] = None,
    password_stdin: PasswordStdin = False,
    generate: Generate = False,
) -> None:
    """Add a user; the password is asked for twice.

    Example: sbcauth user add 1001 --ip-group Phones
    """
    config = load(context.obj, os.environ)
    group = _ip_group(config, ip_group)
    password = _password(username, password_stdin, generate)
    row = UserTable(config.database).add(
        group.name, username, realm or group.realm, password, local_user
    )
    print(f"added {row.username} to {row.ip_group}, for sip:{row.local_user}@{row.realm}")


@commands.command("list")
def list_(context: typer.Context, ip_group: IPGroupOption = None, as_json: AsJSON = False) -> None:
    """List the users.

    Example: sbcauth user list --ip-group Phones
    """
    users = [_public(row) for row in _table(context).all(ip_group)]
    if as_json:
        print_json(users)
    else:
        print_table(
            ("IP Group", "User name", "Local user", "Realm", "Enabled"),
            (
                (u["ip_group"], u["username"], u["local_user"], u["realm"], _yes(u["enabled"]))
                for u in users
            ),
        )


@commands.command()
def show(
    context: typer.Context,
    username: Username,
    ip_group: IPGroupOption = None,
    realm: RealmOption = None,
    as_json: AsJSON = False,
) -> None:
    """Show one user.

    Example: sbcauth user show 1001
    """
    user = _public(_table(context).find(username, ip_group, realm))
    if as_json:
        print_json(user)
    else:
        user["enabled"] = _yes(user["enabled"])
        user["algorithms"] = ", ".join(user["algorithms"])
        print_table(("Key", "Value"), user.items())


@commands.command("set-password")
def set_password(
    context: typer.Context,
    username: Username,
    ip_group: IPGroupOption = None,
    realm: RealmOption = None,
    password_stdin: PasswordStdin = False,
    generate: Generate = False,
) -> None:
    """Replace a user's password; it is asked for twice.

    Example: sbcauth user set-password 1001 --generate
    """
    table = _table(context)
    row = table.find(username, ip_group, realm)
    table.set_password(row, _password(username, password_stdin, generate))
    print(f"changed the password of {username} in {row.ip_group}")


@commands.command()
def enable(
    context: typer.Context,
    username: Username,
    ip_group: IPGroupOption = None,
    realm: RealmOption = None,
) -> None:
    """Let a disabled user in again.

    Example: sbcauth user enable 1001
    """
    _set_enabled(context, username, ip_group, realm, True)


@commands.command()
def disable(
    context: typer.Context,
    username: Username,
    ip_group: IPGroupOption = None,
    realm: RealmOption = None,
) -> None:
    """Keep a user out without removing it.

    Example: sbcauth user disable 1001
    """
    _set_enabled(context, username, ip_group, realm, False)


@commands.command()
def remove(
    context: typer.Context,
    username: Username,
    ip_group: IPGroupOption = None,
    realm: RealmOption = None,
) -> None:
    """Remove a user.

    Example: sbcauth user remove 1001 --ip-group Phones
    """
    table = _table(context)
    row = table.find(username, ip_group, realm)
    table.remove(row)
    print(f"removed {username} from {row.ip_group}")


def _table(context: typer.Context) -> UserTable:
    return UserTable(load(context.obj, os.environ).database)


def _set_enabled(
    context: typer.Context, username: str, ip_group: str | None, realm: str | None, enabled: bool
) -> None:
    table = _table(context)
    row = table.find(username, ip_group, realm)
    table.set_enabled(row, enabled)
    print(f"{'enabled' if enabled else 'disabled'} {username} in {row.ip_group}")


def _ip_group(config: Config, name: str | None) -> IPGroup:
    """Return the IP Group that a new user goes to; the only one of type user is the default."""
    groups = {group.name: group for group in config.ip_groups}
    if name in groups:
        return groups[name]
    of_users = [group for group in config.ip_groups if group.type is IPGroupType.USER]
    if name is None:
        if len(of_users) == 1:
            return of_users[0]
        names = ", ".join(group.name for group in of_users) or "none"
        raise UserInfoError(f"say which --ip-group; those of type user are: {names}")
    near = get_close_matches(name, groups, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(groups)}"
    raise NoSuchUser(f"there is no IP Group {name!r}; {hint}")


def _password(username: str, from_stdin: bool, generate: bool) -> str:
    """Return a new password; it is never taken from the command line, where others see it."""
    if generate:
        password = secrets.token_urlsafe(_GENERATED_BYTES)
        print(f"password: {password}")
        return password
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    if not password:
        raise UserInfoError("the password is empty")
    if len(password) < _SHORTEST or password == username or password.isdigit():
        print(
            "warning: scanners guess user names, digits and short passwords first; "
            "--generate makes a strong one",
            file=sys.stderr,
        )
    return password


def _public(row: UserInfo) -> dict[str, Any]:
    """Return what may be shown of a user: all but H(A1)."""
    return {
        "ip_group": row.ip_group,
        "username": row.username,
        "local_user": row.local_user,
        "realm": row.realm,
        "enabled": bool(row.enabled),
        "algorithms": algorithms(row),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _yes(value: object) -> str:
    return "yes" if value else "no"
