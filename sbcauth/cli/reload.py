"""`sbcauth reload`: a changed configuration, taken up by the running server."""

import os
import sys

import typer

from sbcauth.cli.output import counted
from sbcauth.config import load
from sbcauth.reload import request_reload


def reload(context: typer.Context) -> None:
    """Check the configuration, and have the running server take it up within a second.

    Where it has a mistake, nothing changes.

    Example: sbcauth reload
    """
    config = load(context.obj, os.environ)
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    request_reload(config)
    print(f"{context.obj}: {counted(config.ip_groups, 'IP Group')}, to be taken up within a second")
