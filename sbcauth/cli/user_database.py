"""`sbcauth user migrate-database`: all users to another database."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from sbcauth.cli.output import counted
from sbcauth.config.load import load
from sbcauth.users.database_url import is_postgresql, name_of
from sbcauth.users.transfer import migrate_database as migrate


def _url(text: str) -> str:
    if not is_postgresql(text) and not text.startswith("sqlite:///"):
        raise typer.BadParameter(f"{name_of(text)!a} is neither sqlite:///PATH nor postgresql://…")
    return text


def migrate_database(
    context: typer.Context,
    source: Annotated[str, typer.Argument(callback=_url, help="The database with the users.")],
    target: Annotated[str, typer.Argument(callback=_url, help="A database that has none.")],
    key_file: Annotated[
        Path | None, typer.Option(help="The sealing keys of both, if not those configured.")
    ] = None,
) -> None:
    """Copy all users to another database, or none: from SQLite to PostgreSQL, or back.

    H(A1) stay sealed by the same keys.

    Example: sbcauth user migrate-database sqlite:////var/lib/sbcauth/users.db postgresql:///sbcauth
    """
    keys = key_file or load(context.obj, os.environ).ha1_key_file
    count = migrate(source, target, keys.resolve(), _progress)
    print(
        f"copied {counted(count, 'user')} to {name_of(target)}; next: `database` in {context.obj} "
        f"names it, and `ha1_key_file: {keys.resolve()}`; then restart the server"
    )


def _progress(rows: Iterable[Any], total: int) -> Iterable[Any]:
    console = Console(stderr=True)
    return track(
        rows, "migrate-database", total=total, console=console, disable=not console.is_terminal
    )
