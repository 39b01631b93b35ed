"""`sbcauth reload`: a changed configuration, loaded by the running server."""

import os
import sys
import time

import typer

from sbcauth.cli.options import AsJSON, Socket, rpc
from sbcauth.cli.output import counted, print_json
from sbcauth.config.load import load
from sbcauth.monitoring.in_force import is_in_force
from sbcauth.monitoring.reloading import NotReloaded, ask_for_reload


def reload(context: typer.Context, socket: Socket = None, as_json: AsJSON = False) -> None:
    """Have the running server load the configuration again, and say what changes.

    Where it has a mistake, nothing changes. Exits 1 where it does not come into force.

    Example: sbcauth reload
    """
    for warning in load(context.obj, os.environ).warnings:
        print(f"warning: {warning}", file=sys.stderr)
    server = rpc(context, socket)
    asked_at = int(time.time())
    config, (version, lines) = ask_for_reload(context.obj, os.environ, server)
    if not as_json:
        groups = counted(len(config.ip_groups), "IP Group")
        print(f"{context.obj}: {groups}, version {version}")
        _print_changes(lines)
    in_force = is_in_force(server, version, asked_at)
    if as_json:
        found = {"version": version, "changes": lines, "in_force": in_force}
        print_json({"file": str(context.obj), **found})
    elif in_force:
        print("in force")
    if not in_force:
        raise NotReloaded(
            "not in force so far: the server's log says why, or no request has come yet"
        )


def _print_changes(lines: list[str] | None) -> None:
    if lines is None:
        print("what changes is not known: the server started with another version, or none")
        return
    for line in lines or ["nothing changes"]:
        print(line)
