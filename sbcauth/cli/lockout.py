"""`sbcauth lockout`: who is locked out now, and letting them in again."""

import time
from typing import Annotated

import typer

from sbcauth.cli import completion
from sbcauth.cli.help import WithWholeSentences
from sbcauth.cli.options import AsJSON, Socket, cluster_of, have_ip_group, rpc
from sbcauth.cli.output import counted, print_json, print_table
from sbcauth.exceptions import SbcAuthError
from sbcauth.monitoring.lockouts import Wanted, clear_all, lockouts, may_be_source, public_lockout
from sbcauth.monitoring.lockouts import clear as clear_these

commands = typer.Typer(
    cls=WithWholeSentences,
    help="Show who is locked out, and let them in again.",
    no_args_is_help=True,
)


def source_or_prefix(text: str | None) -> str | None:
    """Refuse what is no source: nobody would be found under a mistyped address."""
    if text is not None and not may_be_source(text):
        raise typer.BadParameter(f"{text!a} is no address or prefix")
    return text


Username = Annotated[
    str | None,
    typer.Argument(autocompletion=completion.users, help="The user name of the digest."),
]
IPGroupOption = Annotated[
    str | None,
    typer.Option("--ip-group", autocompletion=completion.ip_groups, help="In this IP Group."),
]
SourceOption = Annotated[
    str | None,
    typer.Option("--source", callback=source_or_prefix, help="From this address or prefix."),
]


class NobodyLockedOut(SbcAuthError):
    """There is no lockout to be cleared."""


@commands.command("list")
def list_(
    context: typer.Context,
    username: Username = None,
    ip_group: IPGroupOption = None,
    source: SourceOption = None,
    socket: Socket = None,
    as_json: AsJSON = False,
) -> None:
    """List who is locked out now.

    Example: sbcauth lockout list --ip-group Phones
    """
    now = time.time()
    found = lockouts(rpc(context, socket), now, Wanted(ip_group, source, username))
    if not found:
        have_ip_group(context, ip_group)
    if as_json:
        print_json([public_lockout(each, now) for each in found])
    else:
        print_table(
            ("IP Group", "Locked out", "User name", "Source", "Seconds left"),
            (
                (each.ip_group, each.what, each.username, each.source, int(each.until - now))
                for each in found
            ),
        )


@commands.command()
def clear(
    context: typer.Context,
    username: Username = None,
    ip_group: IPGroupOption = None,
    source: SourceOption = None,
    socket: Socket = None,
    everybody: Annotated[bool, typer.Option("--all", help="Let everybody in again.")] = False,
) -> None:
    """Let those in again who are locked out and fit all that is given.

    Example: sbcauth lockout clear 1001 --source 192.0.2.7
    """
    wanted = Wanted(ip_group, source, username)
    if everybody == any(each is not None for each in wanted):
        raise typer.BadParameter("say whom: USERNAME, --ip-group, --source; or --all alone")
    server, cluster = rpc(context, socket), cluster_of(context)
    if everybody:
        print(f"cleared {counted(clear_all(server, time.time(), cluster), 'lockout')}")
        return
    found = lockouts(server, time.time(), wanted)
    if not found:
        have_ip_group(context, ip_group)
        raise NobodyLockedOut("nobody is locked out who fits; sbcauth lockout list shows them all")
    clear_these(server, found, cluster)
    for each in found:
        print(f"cleared {each.username} from {each.source} in {each.ip_group}")
