"""`sbcauth config`: whether the configuration is right, and what is in force."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer
import yaml

from sbcauth.cli.help import WithWholeSentences
from sbcauth.cli.options import AsJSON
from sbcauth.cli.output import counted, print_json
from sbcauth.config.load import Config, load
from sbcauth.config.show import effective, json_schema
from sbcauth.exceptions import ConfigError, Mistake
from sbcauth.monitoring.user_table import table_to_read
from sbcauth.users.database_url import is_postgresql
from sbcauth.users.membership import orphans

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
    unfit = _orphans(config)
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
    mistakes: list[Mistake] = []
    warnings: Sequence[Mistake] = ()
    unfit: list[str] = []
    groups: list[str] = []
    try:
        config = load(file, os.environ)
    except ConfigError as error:
        mistakes = error.mistakes
    else:
        groups = [group.name for group in config.ip_groups]
        warnings, unfit = config.warnings, _orphans(config)
    print_json(
        {
            "file": str(file),
            "ip_groups": groups,
            "mistakes": [each._asdict() for each in mistakes],
            "warnings": [each._asdict() for each in warnings],
            "users": unfit,
        }
    )
    if mistakes or unfit:
        raise typer.Exit(1)


def _orphans(config: Config) -> list[str]:
    if not is_postgresql(config.database) and not config.users_file.exists():
        return []
    with table_to_read(config) as table:
        return list(orphans(table, config.ip_groups))
