"""The options and arguments of `sbcauth user`, and User Info as its commands open it."""

import os
from typing import Annotated

import typer

from sbcauth.cli import completion
from sbcauth.config.load import load
from sbcauth.users.names import check_names
from sbcauth.users.table import UserTable


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


def user_table(context: typer.Context) -> UserTable:
    """Return User Info, open until the command ends."""
    config = load(context.obj, os.environ)
    return context.with_resource(UserTable(config.database, config.ha1_key_file))
