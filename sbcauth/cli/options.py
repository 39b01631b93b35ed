"""Options that several commands have, in the same words."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from sbcauth.cluster.settings import ClusterSettings
from sbcauth.config.load import load
from sbcauth.exceptions import ConfigError
from sbcauth.monitoring.metrics_server import Endpoint, NoMetrics
from sbcauth.monitoring.rpc import Rpc
from sbcauth.monitoring.servers import server_of
from sbcauth.users.membership import ip_group_named

_CONFIG = Path("sbcauth.yaml")
_SERVICE_CONFIG = Path("/etc/sbcauth/sbcauth.yaml")


def default_config() -> Path:
    """Return the configuration in the current folder, or the service's where there is none."""
    return _SERVICE_CONFIG if not _CONFIG.exists() and is_there(_SERVICE_CONFIG) else _CONFIG


def overlooked_config(file: Path) -> Path | None:
    """Return the service's configuration where `file`, of the current folder, is read instead."""
    if file != _CONFIG or not file.exists() or not is_there(_SERVICE_CONFIG):
        return None
    return None if file.resolve() == _SERVICE_CONFIG.resolve() else _SERVICE_CONFIG


def is_there(path: Path) -> bool:
    """Tell whether there is a file; one that may not be looked for is there, too."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Socket = Annotated[
    Path | None,
    typer.Option("--socket", help="Kamailio's RPC socket, if not found by itself."),
]


def rpc(context: typer.Context, socket: Path | None) -> Rpc:
    """Return the server that a command is about."""
    return Rpc(socket) if socket else server_of(context.obj)


def have_ip_group(context: typer.Context, name: str | None) -> None:
    """Raise UserInfoError for a name that no IP Group has: nothing could be found under it."""
    if name is not None:
        ip_group_named(load(context.obj, os.environ).ip_groups, name)


def cluster_of(context: typer.Context) -> ClusterSettings | None:
    """Return what the configuration says of a cluster; nothing where it cannot be read."""
    with suppress(ConfigError):
        return load(context.obj, os.environ).cluster
    return None


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
