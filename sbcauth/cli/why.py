"""`sbcauth why`: why a user gets in or not, and what to do about it."""

import os
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from sbcauth.cli import completion
from sbcauth.cli.latest import Log, Unit, outcomes, print_advice, print_outcomes, warn_of_user_info
from sbcauth.cli.options import AsJSON, Socket, have_ip_group, rpc
from sbcauth.cli.output import print_json
from sbcauth.cli.user_options import valid_name
from sbcauth.config.load import load
from sbcauth.config.schema import LogDetail
from sbcauth.monitoring.lockouts import Lockout, public_lockout
from sbcauth.monitoring.registrations import Registration, shown_registration
from sbcauth.monitoring.user_report import report
from sbcauth.monitoring.why import Facts, Outcome, Search


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
    log: Log = None,
    unit: Unit = None,
    last: Annotated[int, typer.Option(min=1, help="How many outcomes are shown.")] = 10,
    socket: Socket = None,
    as_json: AsJSON = False,
) -> None:
    """Tell why a user gets in or not: the last outcomes in the log, and what to do.

    Example: sbcauth why 1001
    """
    config = load(context.obj, os.environ)
    server = rpc(context, socket)
    now = time.time()

    def in_log(search: Search) -> list[Outcome]:
        return outcomes(config, server, search, last, log, unit)

    wrong: list[str] = []
    users, registered, locked_out, found, what_to_do, known = report(
        config, server, username, ip_group, last, now, in_log, wrong.append
    )
    for line in wrong:
        warn_of_user_info(line)
    if not (users or found):
        have_ip_group(context, ip_group)
    if as_json:
        print_json(
            {
                "users": None if wrong else users,
                "registered": [shown_registration(each)._asdict() for each in registered],
                "lockouts": locked_out and [public_lockout(each, now) for each in locked_out],
                "outcomes": [each._asdict() for each in found],
                "advice": what_to_do,
            }
        )
        return
    for line in (
        *_users(username, None if wrong else users, known),
        *_registrations(registered, now),
        *_locked_out(locked_out, now),
    ):
        print(line)
    if not found:
        print(
            f"The log has no outcome of it{_not_written(config.log)}; "
            "--log FILE or --unit NAME reads another, `sbcauth recent` shows what strangers tried."
        )
        return
    print_outcomes(found, with_user=False)
    print_advice(what_to_do)


def _not_written(log: LogDetail) -> str:
    """Say what a log of this detail leaves out."""
    return (
        "" if log is LogDetail.ALL else f" (log: {log} leaves out what is usual; log: all does not)"
    )


def _users(username: str, users: Sequence[dict[str, Any]] | None, known: Facts) -> Iterator[str]:
    if server := known.servers.get(username):
        yield f"{username} is username_as_server of the IP Group {server} (type server)."
    elif users is not None and not users:
        yield f"User Info has no {username}."
    for user in users or ():
        enabled = "enabled" if user["enabled"] else "disabled"
        address = f"sip:{user['local_user']}@{user['realm']}"
        known_by = ", ".join(user["algorithms"])
        yield f"User Info: {username} in {user['ip_group']}, {enabled}, for {address} ({known_by})."


def _registrations(found: Sequence[Registration], now: float) -> Iterator[str]:
    for each in found:
        agent = f" ({each.user_agent})" if each.user_agent else ""
        left = int(each.until - now)
        yield f"Registered from {each.source}/{each.transport}{agent}, for {left} seconds more."


def _locked_out(lockouts: Sequence[Lockout] | None, now: float) -> Iterator[str]:
    if lockouts is None:
        yield "Lockouts are not known: no server answers."
    for each in lockouts or ():
        yield (
            f"Locked out in {each.ip_group}: {each.username} from {each.source}, "
            f"for {int(each.until - now)} seconds more."
        )
