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
from sbcauth.monitoring.explain import answer, steps
from sbcauth.monitoring.sip_message import parse_request
from sbcauth.nonce_keys import load_or_make_up, of_server
from sbcauth.policy.shared_state import LocalState
from sbcauth.service import Service


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
    request = parse_request(raw.decode("utf-8", "surrogateescape"))
    if source:
        request = request._replace(source_address=_address(source))
    keys = of_server(load_or_make_up(config.nonce_key_file), config.file)
    service = Service(config, LocalState(), keys, started_at=0)
    decision = service.decide(request, time.time())
    if as_json:
        way = [each._asdict() for each in steps(service.ip_groups, request, decision)]
        print_json({"steps": way, "reason": decision.reason, "answer": answer(decision)})
        return
    print_table(
        ("Step", "Name", "Outcome"),
        ((s.number, s.name, s.outcome) for s in steps(service.ip_groups, request, decision)),
    )
    print(f"Answer: {answer(decision)}")


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise typer.BadParameter(f"{text!a} is no IP address", param_hint="--source") from None
