"""`sbcauth config`: whether the configuration is right, and what is in force."""

import os
import sys
from pathlib import Path

import typer
import yaml

from sbcauth.cli.help import WithWholeSentences
from sbcauth.cli.options import AsJSON
from sbcauth.cli.output import counted, print_json
from sbcauth.config.load import load
from sbcauth.config.show import effective, json_schema
from sbcauth.monitoring.config_check import check as check_file
from sbcauth.monitoring.config_check import unfit_users
from sbcauth.monitoring.plain import plain

commands = typer.Typer(
    cls=WithWholeSentences, help="Check and show the configuration.", no_args_is_help=True
)


@commands.command()
def check(context: typer.Context, as_json: AsJSON = False) -> None:
    """Name every mistake in the configuration, and users that it no longer fits.

    Example: sbcauth --config /etc/sbcauth/sbcauth.yaml config check
    """
    if as_json:
        _check_as_json(context.obj)
        return
    config = load(context.obj, os.environ)
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    unfit = unfit_users(config)
    for orphan in unfit:
        print(orphan, file=sys.stderr)
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


def _check_as_json(file: Path) -> None:
    """Print all that is found, and exit 1 where it is a mistake."""
    found = check_file(file, os.environ)
    print_json(plain(found))
    if found.mistakes or found.users:
        raise typer.Exit(1)
