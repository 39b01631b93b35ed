"""`sbcauth doctor`: what commonly goes wrong, and what to do about it."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from sbcauth.cli.output import print_json, print_table
from sbcauth.doctor import Grade, examine
from sbcauth.rpc import Rpc, rpc_socket


def doctor(
    context: typer.Context,
    socket: Annotated[
        Path | None, typer.Option(help="Kamailio's RPC socket, if not that of `sbcauth run`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for what commonly goes wrong, and say what to do; nothing is changed.

    Example: sbcauth doctor
    """
    file: Path = context.obj.resolve()
    rpc = Rpc(socket or rpc_socket(file))
    findings = list(examine(file, os.environ, rpc, time.time()))
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(("Grade", "Subject", "Finding"), findings)
    if any(finding.grade is Grade.ERROR for finding in findings):
        raise typer.Exit(1)
