"""`sbcauth user import` and `export`: users in bulk."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.progress import open as open_with_progress
from rich.progress import track

from sbcauth.cli.output import counted
from sbcauth.config.load import Config, load
from sbcauth.files import replacing
from sbcauth.monitoring.user_table import table_to_read
from sbcauth.policy.accounts import User
from sbcauth.policy.ip_groups import IPGroup
from sbcauth.users.files import UserFile, export_users, import_users
from sbcauth.users.membership import (
    ip_group_named,
    ip_group_of_users_named,
    only_ip_group_of_users,
    several_ip_groups,
)
from sbcauth.users.subscriber import as_csv
from sbcauth.users.table import UserTable

Realms = Annotated[
    list[str] | None,
    typer.Option(
        "--realm",
        metavar="REALM=IP_GROUP",
        help="The IP Group of users of a realm; may be repeated.",
    ),
]
Skip = Annotated[
    bool, typer.Option("--skip", help="Name the rows that do not fit, and import the others.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Tell what would be done, and change nothing.")
]


def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A CSV file; its first row names the columns.")],
    ip_group: Annotated[
        str | None, typer.Option("--ip-group", help="The IP Group of rows that name none.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the whole table: all others are removed.")
    ] = False,
    realms: Realms = None,
    skip: Skip = False,
    dry_run: DryRun = False,
) -> None:
    """Add the users of a CSV file, all or none; files of an AudioCodes SBC are read as they are.

    Columns: local_user, username, ip_group, realm, enabled, and password or else ha1_md5,
    ha1_sha256, ha1_sha512_256; and identities, with spaces between them.

    Example: sbcauth user import users.csv --dry-run
    """
    config = load(context.obj, os.environ)
    default = only_ip_group_of_users(config.ip_groups)
    if ip_group:
        default = ip_group_named(config.ip_groups, ip_group)
    progress = Console(stderr=True)
    with (
        UserTable(config.database, config.ha1_key_file) as table,
        open_with_progress(
            file, "rb", description="import", console=progress, disable=not progress.is_terminal
        ) as content,
    ):
        by_realm = _by_realm(config, realms)
        source = UserFile(content, str(file), config.ip_groups, default, by_realm, skip=skip)
        memory = config.old_password_memory
        counts = import_users(table, source, replace=replace, dry_run=dry_run, memory=memory)
    _tell(counts, source, dry_run)


def import_kamailio(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="An SQLite database with the table subscriber.")],
    ip_group: Annotated[
        str | None, typer.Option("--ip-group", help="The IP Group that they will belong to.")
    ] = None,
    realms: Realms = None,
    skip: Skip = False,
    dry_run: DryRun = False,
) -> None:
    """Add the users of Kamailio's own module auth_db, all or none.

    Example: sbcauth user import-kamailio kamailio.sqlite --dry-run
    """
    config = load(context.obj, os.environ)
    group = only_ip_group_of_users(config.ip_groups)
    if ip_group:
        group = ip_group_named(config.ip_groups, ip_group)
    by_realm = _by_realm(config, realms)
    if group is None and not by_realm:
        raise several_ip_groups(config.ip_groups)
    with (
        as_csv(file, group, by_realm) as (content, unfit),
        UserTable(config.database, config.ha1_key_file) as table,
    ):
        source = UserFile(content, f"{file}, table subscriber", config.ip_groups, skip=skip)
        for number, message in unfit:
            source.note_mistake(number, message)
        _tell(import_users(table, source, dry_run=dry_run), source, dry_run)


def _by_realm(config: Config, realms: Sequence[str] | None) -> dict[str, IPGroup]:
    """Return the IP Group for each realm, of `REALM=IP_GROUP`; raises UserInfoError."""
    found = {}
    for text in realms or ():
        realm, equals, name = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text!a} is not REALM=IP_GROUP", param_hint="--realm")
        found[realm] = ip_group_of_users_named(config.ip_groups, name)
    return found


def _tell(counts: Counter[str], source: UserFile, dry_run: bool) -> None:
    for line in source.mistakes():
        print(line, file=sys.stderr)
    done = "would import" if dry_run else "imported"
    parts = ", ".join(f"{count} to {group}" for group, count in sorted(counts.items()))
    skipped = f"; skipped {counted(source.skipped, 'row')}" if source.skipped else ""
    print(f"{done} {counted(counts.total(), 'user')}{f': {parts}' if parts else ''}{skipped}")


def _progress(total: int) -> Callable[[Iterable[User]], Iterable[User]]:
    """Return what hands users on and shows, on a terminal, how many of `total` are left."""
    console = Console(stderr=True)
    return lambda users: track(
        users, "export", total=total, console=console, disable=not console.is_terminal
    )


def export(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="The file to write, for its owner alone; else stdout.")
    ] = None,
) -> None:
    """Write all users as CSV, with H(A1) in place of passwords; `import` reads it.

    Whoever has an H(A1) can authenticate with it: keep the file as you would passwords.

    Example: sbcauth user export users.csv
    """
    config = load(context.obj, os.environ)
    with table_to_read(config) as table:
        if file is None:
            export_users(table, sys.stdout)
            return
        with _opened(file) as output:
            count = export_users(table, output, _progress(table.count()))
    print(f"exported {counted(count, 'user')} to {file}")


def _opened(file: Path) -> AbstractContextManager[TextIO]:
    """Open a file for its owner alone; what is none, such as a pipe, is written to as it is."""
    if file.exists() and not file.is_file():
        return file.open("w", encoding="utf-8", newline="")
    return replacing(file)
