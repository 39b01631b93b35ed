"""`sbcauth reload`: a changed configuration, taken up by the running server."""

import os
import sys
import time

import typer

from sbcauth.cli.options import Socket, rpc
from sbcauth.cli.output import counted
from sbcauth.config.load import load
from sbcauth.config.reload import request_reload
from sbcauth.config.versions import changes, kept, values, version
from sbcauth.monitoring.environment import unseen
from sbcauth.monitoring.in_force import is_taken_up, running


def reload(context: typer.Context, socket: Socket = None) -> None:
    """Have the running server take up the configuration, and say what changes.

    Where it has a mistake, nothing changes. Exits 1 where no server takes it up.

    Example: sbcauth reload
    """
    config = load(context.obj, os.environ)
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    server = rpc(context, socket)
    if names := unseen(config.file, server):
        print(
            f"not taken up: the server has the environment that it was started with, in which "
            f"{', '.join(names)} is another or missing; restart it, or write ${{file:…}} in place "
            "of ${env:…}",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    new = values(config)
    before, old = running(server), kept(config)
    asked_at = int(time.time())
    request_reload(config)
    print(f"{context.obj}: {counted(len(config.ip_groups), 'IP Group')}, version {version(new)}")
    if before is None or old is None or version(old) != before.version:
        print("what changes is not known: the server started with another version, or none")
    else:
        for line in list(changes(old, new)) or ["nothing changes"]:
            print(line)
    if is_taken_up(server, version(new), asked_at):
        print("taken up")
        return
    print(
        "not taken up so far: the server's log says why, or no request has come yet",
        file=sys.stderr,
    )
    raise typer.Exit(1)
