"""`sbcauth console-token`: the programs that may use the console's JSON API."""

import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from sbcauth.cli.console import RoleOption, have_packages, role_named
from sbcauth.cli.help import WithWholeSentences
from sbcauth.cli.options import AsJSON
from sbcauth.cli.output import print_json, print_table
from sbcauth.config.load import load

if TYPE_CHECKING:
    from sbcauth.console.tokens import Tokens

commands = typer.Typer(
    cls=WithWholeSentences, help="Manage the tokens of the console's API.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The name of the token.")]


@commands.command()
def add(
    context: typer.Context,
    name: Name,
    role: RoleOption = "look",
    days: Annotated[
        int | None, typer.Option(min=1, max=36500, help="It expires after so many days.")
    ] = None,
) -> None:
    """Make a token and print it once; only a hash of it is kept.

    Example: sbcauth console-token add provisioning --role change
    """
    table = _tokens(context)
    token = table.add(name, role_named(role), days)
    print(f"token: {token}")
    print(f"added {name}, which may {role}")


@commands.command("list")
def list_(context: typer.Context, as_json: AsJSON = False) -> None:
    """List the tokens, and when they expire.

    Example: sbcauth console-token list
    """
    found = _tokens(context).all().values()
    if as_json:
        print_json(
            [
                {"name": each.name, "role": str(each.role), "expires": _time(each.expires)}
                for each in found
            ]
        )
    else:
        print_table(
            ("Name", "Role", "Expires"),
            [(each.name, str(each.role), _time(each.expires) or "never") for each in found],
        )


@commands.command()
def remove(context: typer.Context, name: Name) -> None:
    """Remove a token; it is refused from then on.

    Example: sbcauth console-token remove provisioning
    """
    _tokens(context).remove(name)
    print(f"removed {name}")


def _time(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tokens(context: typer.Context) -> "Tokens":
    have_packages()
    from sbcauth.console.tokens import Tokens, tokens_file

    return Tokens(tokens_file(load(context.obj, os.environ)), time.time)
