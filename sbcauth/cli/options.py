"""Options that several commands have, in the same words."""

from pathlib import Path
from typing import Annotated

import typer

from sbcauth.monitoring.metrics_server import Endpoint, NoMetrics
from sbcauth.monitoring.rpc import Rpc
from sbcauth.monitoring.servers import server_of

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Socket = Annotated[
    Path | None,
    typer.Option("--socket", help="Kamailio's RPC socket, if not found by itself."),
]


def rpc(context: typer.Context, socket: Path | None) -> Rpc:
    """Return the server that a command is about."""
    return Rpc(socket) if socket else server_of(context.obj)


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
