"""`sbcauth why`: why a user gets in or not, and what to do about it."""

import os
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from sbcauth.cli import completion
from sbcauth.cli.lockout import public_lockout
from sbcauth.cli.options import AsJSON, Socket, rpc
from sbcauth.cli.output import print_json, print_table
from sbcauth.cli.user import public_user, valid_name
from sbcauth.config.load import load
from sbcauth.config.schema import LogDetail
from sbcauth.monitoring.lockouts import Wanted, lockouts
from sbcauth.monitoring.log_files import last_in_file, last_in_journal
from sbcauth.monitoring.rpc import NotRunning, Rpc
from sbcauth.monitoring.why import Outcome, advice
from sbcauth.users.table import UserTable


def why(
    context: typer.Context,
    username: Annotated[
        str,
        typer.Argument(
            callback=valid_name,
            autocompletion=completion.users,
            help="The user name of the digest, or of From.",
        ),
    ],
    ip_group: Annotated[
        str | None,
        typer.Option("--ip-group", autocompletion=completion.ip_groups, help="In this IP Group."),
    ] = None,
    log: Annotated[
        str | None, typer.Option(help="A file of outcomes, or - for stdin; else as log_to says.")
    ] = None,
    unit: Annotated[str, typer.Option(help="The systemd unit whose journal is read.")] = "sbcauth",
    last: Annotated[int, typer.Option(min=1, help="How many outcomes are shown.")] = 10,
    socket: Socket = None,
    as_json: AsJSON = False,
) -> None:
    """Tell why a user gets in or not: the last outcomes in the log, and what to do.

    Example: sbcauth why 1001
    """
    config = load(context.obj, os.environ)
    with UserTable(config.database, config.ha1_key_file) as table:
        users = [public_user(row) for row in table.all(ip_group, username)]
    locked_out = _lockouts(rpc(context, socket), Wanted(ip_group, None, username))
    if log is None and "/" in config.log_to:
        log = config.log_to
    if log is None:
        found = last_in_journal(unit, username, ip_group, last)
    else:
        found = last_in_file(log, username, ip_group, last)
    what_to_do = advice(found, username)
    if as_json:
        print_json(
            {
                "users": users,
                "lockouts": locked_out,
                "outcomes": [each._asdict() for each in found],
                "advice": what_to_do,
            }
        )
        return
    for line in (*_users(username, users), *_locked_out(locked_out)):
        print(line)
    if not found:
        print(
            f"The log has no outcome of it{_not_written(config.log)}; "
            "--log FILE or --unit NAME reads another."
        )
        return
    print_table(("Time", "IP Group", "Source", "Method", "Outcome", "Why"), map(_row, found))
    if what_to_do:
        print(f"What to do: {what_to_do}")


def _not_written(log: LogDetail) -> str:
    """Say what a log of this detail leaves out."""
    return (
        "" if log is LogDetail.ALL else f" (log: {log} leaves out what is usual; log: all does not)"
    )


def _lockouts(rpc: Rpc, wanted: Wanted) -> list[dict[str, Any]] | None:
    """Return who is locked out, or None where no server tells."""
    now = time.time()
    try:
        return [public_lockout(each, now) for each in lockouts(rpc, now, wanted)]
    except NotRunning:
        return None


def _users(username: str, users: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not users:
        yield f"User Info has no {username}."
    for user in users:
        enabled = "enabled" if user["enabled"] else "disabled"
        address = f"sip:{user['local_user']}@{user['realm']}"
        known_by = ", ".join(user["algorithms"])
        yield f"User Info: {username} in {user['ip_group']}, {enabled}, for {address} ({known_by})."


def _locked_out(lockouts: Sequence[dict[str, Any]] | None) -> Iterator[str]:
    if lockouts is None:
        yield "Lockouts are not known: no server answers."
    for each in lockouts or ():
        yield (
            f"Locked out in {each['ip_group']}: {each['username']} from {each['source']}, "
            f"for {each['seconds_left']} seconds more."
        )


def _row(outcome: Outcome) -> tuple[str, ...]:
    done = f"{outcome.decision} {outcome.status}".strip()
    if outcome.shadow:
        done = f"pass, in shadow of {done}"
    detail = f": {outcome.detail}" if outcome.detail else ""
    return (
        outcome.time or "-",
        outcome.ip_group,
        outcome.source,
        outcome.method,
        done,
        f"{outcome.reason}: {outcome.meaning()}{detail}",
    )
