"""`sbcauth reload`: a changed configuration, loaded by the running server."""

import os
import sys
import time

import typer

from sbcauth.cli.options import AsJSON, Socket, rpc
from sbcauth.cli.output import counted, print_json
from sbcauth.config.load import Config, load
from sbcauth.config.reload import request_reload
from sbcauth.config.versions import changes, kept, values, version
from sbcauth.exceptions import SbcAuthError
from sbcauth.monitoring.environment import unseen
from sbcauth.monitoring.in_force import is_in_force, running
from sbcauth.monitoring.rpc import Rpc


def reload(context: typer.Context, socket: Socket = None, as_json: AsJSON = False) -> None:
    """Have the running server load the configuration again, and say what changes.

    Where it has a mistake, nothing changes. Exits 1 where it does not come into force.

    Example: sbcauth reload
    """
    config = load(context.obj, os.environ)
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    server = rpc(context, socket)
    _see_the_same_variables(config, server)
    new = values(config)
    before, old = running(server), kept(config)
    asked_at = int(time.time())
    request_reload(config)
    known = before is not None and old is not None and version(old) == before.version
    lines = list(changes(old, new)) if known and old is not None else None
    if not as_json:
        groups = counted(len(config.ip_groups), "IP Group")
        print(f"{context.obj}: {groups}, version {version(new)}")
        _print_changes(lines)
    in_force = is_in_force(server, version(new), asked_at)
    if as_json:
        found = {"version": version(new), "changes": lines, "in_force": in_force}
        print_json({"file": str(context.obj), **found})
    elif in_force:
        print("in force")
    if not in_force:
        raise NotReloaded(
            "not in force so far: the server's log says why, or no request has come yet"
        )


class NotReloaded(SbcAuthError):
    """The configuration is not in force after a reload."""


def _see_the_same_variables(config: Config, server: Rpc) -> None:
    """Raise NotReloaded where `${env:…}` means something else to the server."""
    if names := unseen(config.file, server):
        raise NotReloaded(
            "not reloaded: the server has the environment that it was started with, in which "
            f"{', '.join(names)} is another or missing; restart it, or write ${{file:…}} in place "
            "of ${env:…}"
        )


def _print_changes(lines: list[str] | None) -> None:
    if lines is None:
        print("what changes is not known: the server started with another version, or none")
        return
    for line in lines or ["nothing changes"]:
        print(line)
