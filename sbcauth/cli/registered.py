"""`sbcauth registered`: who is registered now, from where, and until when."""

import os
import time
from datetime import datetime
from typing import Annotated

import typer

from sbcauth.cli import completion
from sbcauth.cli.help import WithWholeSentences
from sbcauth.cli.lockout import source_or_prefix
from sbcauth.cli.options import AsJSON, Socket, have_ip_group, rpc
from sbcauth.cli.output import print_json, print_table
from sbcauth.config.load import load
from sbcauth.exceptions import SbcAuthError
from sbcauth.monitoring.registered import Wanted
from sbcauth.monitoring.registered import drop as drop_these
from sbcauth.monitoring.registered import registered as find
from sbcauth.monitoring.registrations import Registration, shown_registration

commands = typer.Typer(cls=WithWholeSentences)


class NobodyRegistered(SbcAuthError):
    """Nobody is registered who fits."""


@commands.callback(invoke_without_command=True)
def registered(
    context: typer.Context,
    user: Annotated[
        str | None,
        typer.Option(autocompletion=completion.users, help="User name, or user of the address."),
    ] = None,
    ip_group: Annotated[
        str | None,
        typer.Option("--ip-group", autocompletion=completion.ip_groups, help="Of this IP Group."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(callback=source_or_prefix, help="From this address or prefix.")
    ] = None,
    socket: Socket = None,
    as_json: AsJSON = False,
) -> None:
    """Show who is registered, from where, and until when.

    Example: sbcauth registered --ip-group Phones
    """
    if context.invoked_subcommand:
        return
    have_ip_group(context, ip_group)
    config = load(context.obj, os.environ)
    wanted = Wanted(user, ip_group, source)
    found = find(config, rpc(context, socket), time.time(), wanted)
    if as_json:
        print_json([shown_registration(each)._asdict() for each in found])
        return
    print_table(
        ("User", "IP Group", "Source", "Transport", "Since", "Until", "User agent", "Contact"),
        map(_row, found),
    )


@commands.command()
def drop(
    context: typer.Context,
    user: Annotated[
        str, typer.Argument(autocompletion=completion.users, help="The user name of the digest.")
    ],
    ip_group: Annotated[
        str | None,
        typer.Option("--ip-group", autocompletion=completion.ip_groups, help="In this IP Group."),
    ] = None,
    socket: Socket = None,
) -> None:
    """Forget where a user is registered, until the phone registers again.

    Example: sbcauth registered drop 1001
    """
    have_ip_group(context, ip_group)
    config = load(context.obj, os.environ)
    dropped = drop_these(config, rpc(context, socket), user, ip_group)
    if not dropped:
        raise NobodyRegistered(f"{user} is not registered; sbcauth registered shows who is")
    for local_user, realm in dropped:
        print(f"dropped sip:{local_user}@{realm}")


def _row(each: Registration) -> tuple[str, ...]:
    address = f"{each.user}@{each.realm}" if each.realm else each.user
    since, until = map(_time, (each.since, each.until))
    agent = each.user_agent or "-"
    return (
        *(address, each.ip_group or "-", each.source, each.transport),
        *(since, until, agent, each.contact),
    )


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%m-%d %H:%M:%S")
