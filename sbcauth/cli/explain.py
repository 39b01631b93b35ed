"""`sbcauth explain`: why a request is decided as it is."""

import os
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from sbcauth.cli.options import AsJSON
from sbcauth.cli.output import print_json, print_table
from sbcauth.config.load import load
from sbcauth.monitoring.explain import explain as decide_and_tell


def explain(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="A file with a raw SIP request, or - for stdin.")],
    source: Annotated[
        str | None,
        typer.Option(help="The address that it came from, if not the one in its Via."),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Print the steps by which a request is decided; nothing is sent or counted.

    Example: sbcauth explain register.sip --source 192.0.2.7
    """
    config = load(context.obj, os.environ)
    raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    text = raw.decode("utf-8", "surrogateescape")
    found = decide_and_tell(config, text, _address(source) if source else None, time.time())
    if as_json:
        way = [each._asdict() for each in found.steps]
        print_json({"steps": way, "reason": found.reason, "answer": found.answer})
        return
    print_table(("Step", "Name", "Outcome"), ((s.number, s.name, s.outcome) for s in found.steps))
    print(f"Answer: {found.answer}")


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise typer.BadParameter(f"{text!a} is no IP address", param_hint="--source") from None
