"""`sbcauth kamailio-snippet`: the lines that an existing kamailio.cfg needs."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from sbcauth.cli.options import MetricsAddress
from sbcauth.config.load import load
from sbcauth.installation import script
from sbcauth.kamailio_snippet import RPC_SOCKET, snippet


def kamailio_snippet(
    context: typer.Context,
    radius_route: Annotated[
        str,
        typer.Option(
            help="For `server_auth_mode: radius`: the route in which the requests go on.",
            metavar="ROUTE",
        ),
    ] = "",
    metrics: MetricsAddress = "",
    rpc_socket: Annotated[
        Path, typer.Option(help="For metrics: the socket of Kamailio's module jsonrpcs.")
    ] = RPC_SOCKET,
    registrar: Annotated[
        str,
        typer.Option(
            help="The table in which your route block keeps each accepted registration by save(): "
            "it then needs no transaction.",
            metavar="TABLE",
        ),
    ] = "",
    dialogs: Annotated[
        bool,
        typer.Option("--dialogs", help="Seal dialogs, and relay nothing else within them."),
    ] = False,
    cluster: Annotated[
        bool,
        typer.Option("--cluster", help="Be a node of the cluster that the configuration names."),
    ] = False,
    postgresql: Annotated[
        bool,
        typer.Option("--postgresql", help="Copy users from PostgreSQL, in a process besides."),
    ] = False,
) -> None:
    """Print what an existing kamailio.cfg has to include, with the paths of this installation.

    Example: sbcauth --config /etc/sbcauth/sbcauth.yaml kamailio-snippet > sbcauth.cfg
    """
    if radius_route and not re.fullmatch(r"\w+", radius_route):
        raise typer.BadParameter(f"{radius_route!a} is no name of a route")
    if registrar and not re.fullmatch(r"\w+", registrar):
        raise typer.BadParameter(f"{registrar!a} is no name of a table")
    nodes = load(context.obj.resolve(), os.environ).cluster if cluster else None
    if cluster and (nodes is None or not (nodes.address or nodes.engine)):
        raise typer.BadParameter("the configuration has no cluster.address, and no cluster.engine")
    text = snippet(
        context.obj.resolve(),
        script(),
        radius_route=radius_route,
        metrics=metrics,
        rpc_socket=rpc_socket,
        registrar=registrar,
        dialogs=dialogs,
        cluster=nodes,
        postgresql=postgresql,
    )
    print(text, end="")
