"""Options that several commands have, in the same words."""

from pathlib import Path
from typing import Annotated

import typer

from sbcauth.monitoring.metrics_server import Endpoint, NoMetrics
from sbcauth.monitoring.rpc import Rpc, rpc_socket

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Socket = Annotated[
    Path | None,
    typer.Option("--socket", help="Kamailio's RPC socket, if not that of `sbcauth run`."),
]


def rpc(context: typer.Context, socket: Path | None) -> Rpc:
    """Return the server that a command is about."""
    return Rpc(socket or rpc_socket(context.obj))


def _endpoint(text: str) -> str:
    try:
        return str(Endpoint.parse(text)) if text else ""
    except NoMetrics as error:
        raise typer.BadParameter(str(error)) from None


MetricsAddress = Annotated[
    str,
    typer.Option(
        "--metrics",
        callback=_endpoint,
        metavar="ADDRESS:PORT",
        help="Serve metrics there, on loopback.",
    ),
]
