"""`sbcauth doctor`: what commonly goes wrong, and what to do about it."""

import os
import time
from pathlib import Path

import typer

from sbcauth.cli.options import AsJSON, Socket, rpc
from sbcauth.cli.output import print_json, print_table
from sbcauth.monitoring.doctor.examine import examine
from sbcauth.monitoring.doctor.finding import Grade


def doctor(
    context: typer.Context,
    socket: Socket = None,
    as_json: AsJSON = False,
) -> None:
    """Look for what commonly goes wrong, and say what to do; nothing is changed.

    Example: sbcauth doctor
    """
    file: Path = context.obj.resolve()
    server = rpc(context, socket)
    findings = list(examine(file, os.environ, server, time.time()))
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(("Grade", "Subject", "Finding"), findings)
    if any(finding.grade is Grade.ERROR for finding in findings):
        raise typer.Exit(1)
