"""`sbcauth registered`: who is registered now, from where, and until when."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Annotated

import typer

from sbcauth.cli import completion
from sbcauth.cli.help import WithWholeSentences
from sbcauth.cli.lockout import source_or_prefix
from sbcauth.cli.options import AsJSON, Socket, rpc
from sbcauth.cli.output import print_json, print_table
from sbcauth.config.load import Config, load
from sbcauth.exceptions import SbcAuthError
from sbcauth.monitoring.registrations import Registration, registrations
from sbcauth.monitoring.registrations import drop as drop_these
from sbcauth.monitoring.user_table import table_to_read

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
    config = load(context.obj, os.environ)
    found = [
        each
        for each in _all(context, config, socket)
        if (ip_group in (None, each.ip_group))
        and (user is None or each.user in _users_named(config, user))
        and (source is None or _is_from(source, each))
    ]
    if as_json:
        print_json([each._asdict() for each in found])
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
    config = load(context.obj, os.environ)
    server = rpc(context, socket)
    addresses = list(_addresses(config, user, ip_group))
    dropped = [each for each in addresses if drop_these(server, *each)]
    if not dropped:
        raise NobodyRegistered(f"{user} is not registered; sbcauth registered shows who is")
    for local_user, realm in dropped:
        print(f"dropped sip:{local_user}@{realm}")


def _all(context: typer.Context, config: Config, socket: Socket) -> list[Registration]:
    with table_to_read(config) as table:
        owners = table.owners()
    return registrations(rpc(context, socket), owners, time.time())


def _addresses(config: Config, user: str, ip_group: str | None) -> Iterator[tuple[str, str]]:
    """Yield the addresses of record of a user, and those that a group of other users may have."""
    with table_to_read(config) as table:
        rows = list(table.all(ip_group, user))
    if rows:
        yield from {(row.local_user, row.realm): None for row in rows}
        return
    for realm in dict.fromkeys(group.realm for group in config.ip_groups):
        yield user, realm


def _users_named(config: Config, user: str) -> set[str]:
    return {user, *(local_user for local_user, _ in _addresses(config, user, None))}


def _is_from(source: str, registration: Registration) -> bool:
    with suppress(ValueError):
        address = ip_address(registration.source.rpartition(":")[0].strip("[]"))
        return address in ip_network(source, strict=False)
    return False


def _row(each: Registration) -> tuple[str, ...]:
    address = f"{each.user}@{each.realm}"
    since, until = map(_time, (each.since, each.until))
    agent = each.user_agent or "-"
    return (
        *(address, each.ip_group or "-", each.source, each.transport),
        *(since, until, agent, each.contact),
    )


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%m-%d %H:%M:%S")
