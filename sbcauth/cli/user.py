"""`sbcauth user`: the people who may register and call."""

import os
from typing import Annotated

import typer

from sbcauth.cli import completion
from sbcauth.cli.help import WithWholeSentences
from sbcauth.cli.output import counted
from sbcauth.cli.passwords import new_password, print_generated
from sbcauth.cli.user_database import migrate_database
from sbcauth.cli.user_files import export, import_, import_kamailio
from sbcauth.cli.user_list import list_, show
from sbcauth.cli.user_options import (
    Generate,
    Identities,
    IPGroupOption,
    NewUsername,
    PasswordStdin,
    RealmOption,
    Username,
    user_table,
)
from sbcauth.config.load import load
from sbcauth.users.membership import ip_group_of_new_user, ip_group_of_users_named, move_user
from sbcauth.users.resealing import reseal as reseal_
from sbcauth.users.table import UserTable

commands = typer.Typer(
    cls=WithWholeSentences, help="Manage the users of User Info.", no_args_is_help=True
)


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
    group = ip_group_of_new_user(config.ip_groups, ip_group)
    password = new_password(username, password_stdin, generate)
    with UserTable(config.database, config.ha1_key_file) as table:
        row = table.add(
            group.name, username, realm or group.realm, password, local_user, identity or ()
        )
    print_generated(password, generate)
    print(f"added {row.username} to {row.ip_group}, for sip:{row.local_user}@{row.realm}")


commands.command("list")(list_)
commands.command()(show)


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
    table = user_table(context)
    row = table.find(username, ip_group, realm)
    password = new_password(username, password_stdin, generate)
    table.set_password(row, password, load(context.obj, os.environ).old_password_memory)
    print_generated(password, generate)
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
    table = user_table(context)
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
    table = user_table(context)
    row = table.find(username, ip_group, realm)
    before = row.ip_group
    move_user(table, row, group)
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
    table = user_table(context)
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
    table = user_table(context)
    key, count = reseal_(table, rotate=rotate)
    print(f"key {key} of {table.seals.path} seals; {counted(count, 'user')} sealed with it anew")


commands.command("migrate-database")(migrate_database)
commands.command("import")(import_)
commands.command("import-kamailio")(import_kamailio)
commands.command()(export)


def _set_enabled(
    context: typer.Context, username: str, ip_group: str | None, realm: str | None, enabled: bool
) -> None:
    table = user_table(context)
    row = table.find(username, ip_group, realm)
    table.set_enabled(row, enabled)
    print(f"{'enabled' if enabled else 'disabled'} {username} in {row.ip_group}")
