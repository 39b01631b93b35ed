"""`sbcauth status`: what runs, since when, and what it has decided."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from sbcauth.cli.output import print_json, print_table
from sbcauth.rpc import Rpc, rpc_socket
from sbcauth.status import Status, prometheus
from sbcauth.status import status as ask

_EVERY = 2.0
_MEBIBYTE = 1 << 20


def status(
    context: typer.Context,
    socket: Annotated[
        Path | None, typer.Option(help="Kamailio's RPC socket, if not that of `sbcauth run`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print metrics in Prometheus' text format.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Print it anew every two seconds, until Ctrl-C.")
    ] = False,
) -> None:
    """Show what runs, since when, and the outcomes by IP Group and reason.

    They are counted over all workers since Kamailio started.

    Example: sbcauth status --watch
    """
    rpc = Rpc(socket or rpc_socket(context.obj))
    while True:
        found = ask(rpc)
        if watch and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        if as_json:
            print_json({**found._asdict(), "outcomes": [each._asdict() for each in found.outcomes]})
        elif as_prometheus:
            print(*prometheus(found), sep="\n")
        else:
            _print(found)
        if not watch:
            return
        sys.stdout.flush()
        try:
            time.sleep(_EVERY)
        except KeyboardInterrupt:
            return


def _print(found: Status) -> None:
    print(f"{found.version}, since {found.since}, {found.workers} workers")
    used, total = found.memory_used // _MEBIBYTE, found.memory_total // _MEBIBYTE
    print(f"shared memory: {used} of {total} MB")
    print(", ".join(f"{what}: {count}" for what, count in found.entries.items()))
    print_table(("IP Group", "Reason", "Times"), found.outcomes)
