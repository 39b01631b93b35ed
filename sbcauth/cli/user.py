"""`sbcauth user`: the people who may register and call."""

import os
import secrets
import sys
import warnings
from collections.abc import Sequence
from contextlib import closing
from getpass import GetPassWarning, getpass
from itertools import islice
from typing import Annotated, Any

import typer

from sbcauth.cli import completion
from sbcauth.cli.help import WithWholeSentences
from sbcauth.cli.options import AsJSON
from sbcauth.cli.output import counted, print_json, print_table
from sbcauth.cli.user_files import export, import_, import_kamailio
from sbcauth.config.load import load
from sbcauth.exceptions import UserInfoError
from sbcauth.policy.ip_groups import IPGroup
from sbcauth.users.database import UserInfo
from sbcauth.users.membership import (
    ip_group_named,
    ip_group_of_users_named,
    only_ip_group_of_users,
    several_ip_groups,
)
from sbcauth.users.names import check_names
from sbcauth.users.resealing import reseal as reseal_
from sbcauth.users.table import UserTable

commands = typer.Typer(
    cls=WithWholeSentences, help="Manage the users of User Info.", no_args_is_help=True
)

_SHORTEST = 8
_GENERATED_BYTES = 15  # 20 characters, 120 bits


def valid_name(parameter: typer.CallbackParam, name: str | None) -> str | None:
    """Return `name`; what no user can be named, such as bytes, is not looked for either."""
    if name is not None:
        check_names({str(parameter.name): name})
    return name


Username = Annotated[
    str,
    typer.Argument(
        callback=valid_name, autocompletion=completion.users, help="The user name of the digest."
    ),
]
NewUsername = Annotated[
    str, typer.Argument(callback=valid_name, help="The user name of the digest.")
]
IPGroupOption = Annotated[
    str | None,
    typer.Option(
        "--ip-group",
        callback=valid_name,
        autocompletion=completion.ip_groups,
        help="The user's IP Group.",
    ),
]
RealmOption = Annotated[
    str | None, typer.Option(callback=valid_name, help="Where a user name has several realms.")
]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]
Identities = Annotated[
    list[str] | None,
    typer.Option(
        "--identity",
        metavar="NUMBER",
        help="A number that it speaks for as well, or a prefix such as +4930123*; may be repeated.",
    ),
]
Generate = Annotated[bool, typer.Option("--generate", help="Make a password and print it once.")]


@commands.command()
def add(
    context: typer.Context,
    username: NewUsername,
    ip_group: IPGroupOption = None,
    local_user: Annotated[
        str | None, typer.Option(help="User part of the address of record, if another.")
    ] = None,
    realm: Annotated[str | None, typer.Option(help="Another realm than the IP Group's.")] = None,
    identity: Identities = None,
    password_stdin: PasswordStdin = False,
    generate: Generate = False,
) -> None:
    """Add a user; the password is asked for twice.

    Example: sbcauth user add 1001 --ip-group Phones
    """
    config = load(context.obj, os.environ)
    group = _ip_group(config.ip_groups, ip_group)
    password = _password(username, password_stdin, generate)
    with UserTable(config.database, config.ha1_key_file) as table:
        row = table.add(
            group.name, username, realm or group.realm, password, local_user, identity or ()
        )
    _print_generated(password, generate)
    print(f"added {row.username} to {row.ip_group}, for sip:{row.local_user}@{row.realm}")


@commands.command("list")
def list_(
    context: typer.Context,
    beginning: Annotated[
        str, typer.Argument(help="How the user name, or the local user, begins.")
    ] = "",
    ip_group: IPGroupOption = None,
    disabled: Annotated[
        bool, typer.Option("--disabled", help="Only those that are disabled.")
    ] = False,
    count: Annotated[bool, typer.Option("--count", help="Tell only how many they are.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="So many at most.")] = None,
    skip: Annotated[int, typer.Option(min=0, help="Leave out so many at first.")] = 0,
    as_json: AsJSON = False,
) -> None:
    """List the users, or count them.

    Example: sbcauth user list 10 --ip-group Phones --limit 50
    """
    config = load(context.obj, os.environ)
    with (
        UserTable(config.database, config.ha1_key_file) as table,
        closing(table.all(ip_group)) as every,
    ):
        rows = (
            row
            for row in every
            if row.username.startswith(beginning) or row.local_user.startswith(beginning)
            if not (disabled and row.enabled)
        )
        if count:
            print(sum(1 for _ in rows))
            return
        identities = table.all_identities() if as_json else {}
        users = [
            public_user(table, row, identities.get((row.ip_group, row.username, row.realm), []))
            for row in islice(rows, skip, limit and skip + limit)
        ]
        more = next(rows, None) is not None
    if more and not as_json:
        print(f"there are more: --skip {skip + len(users)} shows them", file=sys.stderr)
    if ip_group is not None and not users:  # one that is no longer configured may have users yet
        ip_group_named(config.ip_groups, ip_group)
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
    table = _table(context)
    row = table.find(username, ip_group, realm)
    user = public_user(table, row, table.identities(row))
    if as_json:
        print_json(user)
    else:
        user["identities"] = " ".join(user["identities"]) or "-"
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
    password = _password(username, password_stdin, generate)
    table.set_password(row, password, load(context.obj, os.environ).old_password_memory)
    _print_generated(password, generate)
    print(f"changed the password of {username} in {row.ip_group}")


@commands.command("set-identities")
def set_identities(
    context: typer.Context,
    username: Username,
    identities: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IDENTITIES]...", help="Numbers, and prefixes that end in *; none for none."
        ),
    ] = None,
    ip_group: IPGroupOption = None,
    realm: RealmOption = None,
) -> None:
    """Replace the numbers that a user speaks for beside its own: those of a PBX.

    Example: sbcauth user set-identities office '+4930123*' +49301999
    """
    table = _table(context)
    row = table.find(username, ip_group, realm)
    table.set_identities(row, identities or ())
    said = " ".join(table.identities(row)) or "none"
    print(f"identities of {username} in {row.ip_group}: {said}")


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
def move(
    context: typer.Context,
    username: Username,
    to: Annotated[
        str,
        typer.Argument(
            metavar="TO", autocompletion=completion.ip_groups, help="The IP Group to be moved to."
        ),
    ],
    ip_group: IPGroupOption = None,
    realm: RealmOption = None,
) -> None:
    """Move a user to another IP Group of the same realm; the password stays.

    Example: sbcauth user move 1003 Phones
    """
    config = load(context.obj, os.environ)
    group = ip_group_of_users_named(config.ip_groups, to)
    table = _table(context)
    row = table.find(username, ip_group, realm)
    if row.realm != group.realm:
        raise UserInfoError(
            f"the password of {username} is bound to the realm {row.realm}, but that of {to} is "
            f"{group.realm}: remove the user, and add it to {to} with a password"
        )
    before = row.ip_group
    table.move(row, group.name)
    print(f"moved {username} from {before} to {group.name}")


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


@commands.command()
def reseal(
    context: typer.Context,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new key first.")] = False,
) -> None:
    """Seal every H(A1) in the database with the newest key.

    Older keys stay in the file, for backups of the database.

    Example: sbcauth user reseal --rotate
    """
    table = _table(context)
    key, count = reseal_(table, rotate=rotate)
    print(f"key {key} of {table.seals.path} seals; {counted(count, 'user')} sealed with it anew")


commands.command("import")(import_)
commands.command("import-kamailio")(import_kamailio)
commands.command()(export)


def _table(context: typer.Context) -> UserTable:
    """Return User Info, open until the command ends."""
    config = load(context.obj, os.environ)
    return context.with_resource(UserTable(config.database, config.ha1_key_file))


def _set_enabled(
    context: typer.Context, username: str, ip_group: str | None, realm: str | None, enabled: bool
) -> None:
    table = _table(context)
    row = table.find(username, ip_group, realm)
    table.set_enabled(row, enabled)
    print(f"{'enabled' if enabled else 'disabled'} {username} in {row.ip_group}")


def _ip_group(ip_groups: Sequence[IPGroup], name: str | None) -> IPGroup:
    """Return the IP Group that a new user goes to; the only one of type user is the default."""
    if name is not None:
        return ip_group_of_users_named(ip_groups, name)
    if group := only_ip_group_of_users(ip_groups):
        return group
    raise several_ip_groups(ip_groups)


def _password(username: str, from_stdin: bool, generate: bool) -> str:
    """Return a new password; it is never taken from the command line, where others see it."""
    if generate and from_stdin:
        raise typer.BadParameter("--generate and --password-stdin exclude each other")
    if generate:
        return secrets.token_urlsafe(_GENERATED_BYTES)
    try:
        password = _read_password() if from_stdin else _ask_password()
    except UnicodeDecodeError:
        raise UserInfoError("the password is not UTF-8") from None
    if not password:
        raise UserInfoError("the password is empty")
    if len(password) < _SHORTEST or password == username or password.isdigit():
        print(
            "warning: scanners guess user names, digits and short passwords first; "
            "--generate makes a strong one",
            file=sys.stderr,
        )
    return password


def _read_password() -> str:
    line = sys.stdin.buffer.readline() if sys.stdin else b""
    return line.decode().rstrip("\r\n")


def _ask_password() -> str:
    """Ask for the password, on the terminal alone, until it is the same twice."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)  # else it would be seen while it is typed
        try:
            while (password := getpass("Password: ")) != getpass("The same again: "):
                print("the two differ", file=sys.stderr)
        except GetPassWarning:
            raise UserInfoError(
                "there is no terminal to ask for the password on; --password-stdin reads it"
            ) from None
    return password


def _print_generated(password: str, generated: bool) -> None:
    """Print a password that was made here, once it is in force: nobody knows it yet."""
    if generated:
        print(f"password: {password}")


def public_user(table: UserTable, row: UserInfo, identities: Sequence[str]) -> dict[str, Any]:
    """Return what may be shown of a user: all but H(A1)."""
    return {
        "ip_group": row.ip_group,
        "username": row.username,
        "local_user": row.local_user,
        "realm": row.realm,
        "identities": list(identities),
        "enabled": bool(row.enabled),
        "algorithms": table.algorithms(row),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _yes(value: object) -> str:
    return "yes" if value else "no"
