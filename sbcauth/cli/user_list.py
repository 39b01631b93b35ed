"""`sbcauth user list` and `show`."""

import os
import sys
from contextlib import closing
from itertools import islice
from typing import Annotated

import typer

from sbcauth.cli.options import AsJSON
from sbcauth.cli.output import print_json, print_table
from sbcauth.cli.user_options import IPGroupOption, RealmOption, Username
from sbcauth.config.load import load
from sbcauth.monitoring.user_table import table_to_read
from sbcauth.users.membership import ip_group_named
from sbcauth.users.shown import public_user


def list_(
    context: typer.Context,
    beginning: Annotated[
        str, typer.Argument(help="How the user name, or the local user, begins.")
    ] = "",
    ip_group: IPGroupOption = None,
    disabled: Annotated[
        bool, typer.Option("--disabled", help="Only those that are disabled.")
    ] = False,
    count: Annotated[bool, typer.Option("--count", help="Tell only how many they are.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="So many at most.")] = None,
    skip: Annotated[int, typer.Option(min=0, help="Leave out so many at first.")] = 0,
    as_json: AsJSON = False,
) -> None:
    """List the users, or count them.

    Example: sbcauth user list 10 --ip-group Phones --limit 50
    """
    config = load(context.obj, os.environ)
    with (
        table_to_read(config) as table,
        closing(table.all(ip_group)) as every,
    ):
        rows = (
            row
            for row in every
            if row.username.startswith(beginning) or row.local_user.startswith(beginning)
            if not (disabled and row.enabled)
        )
        if count:
            print(sum(1 for _ in rows))
            return
        identities = table.all_identities() if as_json else {}
        users = [
            public_user(table, row, identities.get((row.ip_group, row.username, row.realm), []))
            for row in islice(rows, skip, limit and skip + limit)
        ]
        more = next(rows, None) is not None
    if more and not as_json:
        print(f"there are more: --skip {skip + len(users)} shows them", file=sys.stderr)
    if ip_group is not None and not users:  # one that is no longer configured may have users yet
        ip_group_named(config.ip_groups, ip_group)
    if as_json:
        print_json(users)
    else:
        print_table(
            ("IP Group", "User name", "Local user", "Realm", "Enabled"),
            (
                (u["ip_group"], u["username"], u["local_user"], u["realm"], _yes(u["enabled"]))
                for u in users
            ),
        )


def show(
    context: typer.Context,
    username: Username,
    ip_group: IPGroupOption = None,
    realm: RealmOption = None,
    as_json: AsJSON = False,
) -> None:
    """Show one user.

    Example: sbcauth user show 1001
    """
    table = context.with_resource(table_to_read(load(context.obj, os.environ)))
    row = table.find(username, ip_group, realm)
    user = public_user(table, row, table.identities(row))
    if as_json:
        print_json(user)
    else:
        user["identities"] = " ".join(user["identities"]) or "-"
        user["enabled"] = _yes(user["enabled"])
        user["algorithms"] = ", ".join(user["algorithms"])
        print_table(("Key", "Value"), user.items())


def _yes(value: object) -> str:
    return "yes" if value else "no"
