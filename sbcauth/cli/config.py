"""`sbcauth config`: whether the configuration is right, and what is in force."""

import os
import sys

import typer
import yaml

from sbcauth.cli.options import AsJSON
from sbcauth.cli.output import counted, print_json
from sbcauth.config.load import Config, load
from sbcauth.config.show import effective, json_schema
from sbcauth.users.database import sqlite_path
from sbcauth.users.membership import strays
from sbcauth.users.table import UserTable

commands = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)


@commands.command()
def check(context: typer.Context) -> None:
    """Name every mistake in the configuration, and users that it no longer fits.

    Example: sbcauth --config /etc/sbcauth/sbcauth.yaml config check
    """
    config = load(context.obj, os.environ)
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    unfit = _strays(config)
    for stray in unfit:
        print(stray, file=sys.stderr)
    if unfit:
        raise typer.Exit(1)
    print(f"{context.obj}: {counted(len(config.ip_groups), 'IP Group')}, no mistake found")


@commands.command()
def show(
    context: typer.Context,
    as_json: AsJSON = False,
) -> None:
    """Print what is in force for each IP Group, secrets masked.

    Example: sbcauth config show --json
    """
    values = effective(load(context.obj, os.environ))
    if as_json:
        print_json(values)
    else:
        print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), end="")


@commands.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors.

    Example: sbcauth config schema > sbcauth.schema.json
    """
    print_json(json_schema())


def _strays(config: Config) -> list[str]:
    if not sqlite_path(config.database).exists():
        return []
    with UserTable(config.database, config.ha1_key_file) as table:
        return list(strays(table, config.ip_groups))
