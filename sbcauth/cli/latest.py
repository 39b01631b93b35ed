"""Where `why` and `recent` find outcomes, and how they are shown."""

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from sbcauth.cli.output import print_table
from sbcauth.config.load import Config
from sbcauth.monitoring.latest import last_outcomes
from sbcauth.monitoring.rpc import Rpc
from sbcauth.monitoring.why import Outcome, Search

Log = Annotated[
    str | None,
    typer.Option(help="A file of outcomes, gzip's too, or - for stdin; else as log_to says."),
]
Unit = Annotated[
    str | None,
    typer.Option(help="The systemd unit whose journal alone is read; else sbcauth and the server."),
]


def warn_of_user_info(what: str) -> None:
    """Say on stderr what is wrong with User Info, where the log is shown without it."""
    print(f"User Info cannot be read: {what}", file=sys.stderr)


def outcomes(
    config: Config, server: Rpc, search: Search, most: int, log: str | None, unit: str | None
) -> list[Outcome]:
    """Return the last outcomes that fit; where there are none to be read, stderr says why."""
    return last_outcomes(
        config, server, search, most, log, unit, lambda line: print(line, file=sys.stderr)
    )


def print_outcomes(found: Sequence[Outcome], *, with_user: bool) -> None:
    """Print outcomes as a table; with the user that each is about, where that is not one."""
    columns = ["Time", "IP Group", "Source", "Method", "Outcome", "Why"]
    if with_user:
        columns.insert(3, "User")
    print_table(columns, (tuple(_row(each, with_user)) for each in found))


def print_advice(lines: Sequence[str]) -> None:
    """Print what to do, a line for each trouble."""
    for line in lines:
        print(f"What to do: {line}")


def _row(outcome: Outcome, with_user: bool) -> Iterator[str]:
    done = f"{outcome.decision} {outcome.status}".strip()
    if outcome.shadow:
        done = f"pass, in shadow of {done}"
    detail = f": {outcome.detail}" if outcome.detail else ""
    yield from (outcome.time or "-", outcome.ip_group, outcome.source)
    if with_user:
        yield outcome.username if outcome.username != "-" else outcome.from_user
    yield from (outcome.method, done, f"{outcome.reason}: {outcome.meaning()}{detail}")
