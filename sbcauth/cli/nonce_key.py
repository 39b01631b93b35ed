"""`sbcauth nonce-key`: the keys that nonces are signed with."""

import os
import time
from typing import Annotated

import typer

from sbcauth.cli.help import WithWholeSentences
from sbcauth.cli.output import counted
from sbcauth.config.load import load
from sbcauth.config.reload import LOOKS_EVERY, request_reload
from sbcauth.nonce_keys import replace, rotate

commands = typer.Typer(
    cls=WithWholeSentences,
    help="Change the keys that nonces are signed with.",
    no_args_is_help=True,
)

_TAKEN_UP = 5 * LOOKS_EVERY
"""Seconds after which every process works by a short file."""
_PROCESSES = 16
"""So many processes may read a long one, each in its turn."""


@commands.callback()
def _group() -> None:
    """Keep `rotate` a command of a group while it is the only one."""


@commands.command("rotate")
def rotate_(
    context: typer.Context,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Have older keys verify no more: one has been read."),
    ] = False,
) -> None:
    """Sign nonces with a new key; older ones verify on, so that no phone notices.

    Example: sbcauth nonce-key rotate
    """
    began = time.monotonic()
    config = load(context.obj, os.environ)
    patience = _TAKEN_UP + _PROCESSES * (time.monotonic() - began)

    def reload() -> None:
        request_reload(config)
        time.sleep(patience)

    if forget:
        keys = replace(config.nonce_key_file)
    else:
        keys = rotate(config.nonce_key_file, time.time(), reload)
    reload()
    print(f"key {keys[0].id} signs; {counted(len(keys) - 1, 'older key')} kept")
