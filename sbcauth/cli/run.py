"""`sbcauth run`: Kamailio in the foreground, with the options that it needs."""

import ctypes
import fcntl
import os
import re
import shutil
import signal
import stat
import sys
from pathlib import Path
from typing import Annotated

import typer

from sbcauth.cli.options import MetricsAddress
from sbcauth.cli.run_checks import NotStarted, be_the_only_one, have_certificates, have_modules
from sbcauth.cluster.settings import ClusterSettings
from sbcauth.config.load import Config, load
from sbcauth.exceptions import DriverMissing, Unavailable
from sbcauth.files import make_folder
from sbcauth.installation import kamailio_cfg, script
from sbcauth.monitoring.registrations import beside
from sbcauth.monitoring.servers import SOCKET
from sbcauth.users.database import open_for_writing
from sbcauth.users.database_url import is_postgresql
from sbcauth.users.sealing import Seals

_LISTEN = re.compile(r"(udp|tcp|tls|ws|wss):(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+):([0-9]{1,5})")
_BELOW = {"ws": "tcp", "wss": "tls"}
_DEFAULT_LISTEN = ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]
_NOTIFIED = 4
"""So many other nodes kamailio.cfg has a line for; they know of the rest."""
_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that comes when the parent ends; it stays over exec."""


def command(
    config_file: Path,
    listen: list[str],
    *,
    runtime: Path | None = None,
    registered_in: Path | None = None,
    cfg: Path | None = None,
    workers: int = 4,
    shared_memory: int = 256,
    tls_config: Path | None = None,
    metrics: str = "",
    postgresql: bool = False,
    unproved_connection_lifetime: int = 30,
    cluster: ClusterSettings | None = None,
    verbose: bool = False,
) -> list[str]:
    """Return the command line that runs Kamailio; sizes are in megabytes.

    `runtime` is the folder of its socket, `run` beside the configuration where none is given;
    `registered_in` is the file in which registrations are kept, else one beside the configuration.
    Raises NotStarted where Kamailio is missing, and BadParameter where an address is not
    `udp|tcp|tls|ws|wss:ADDRESS:PORT`. A WebSocket is opened on a TCP address, a secure one on a TLS
    address (RFC 7118).
    """
    kamailio = shutil.which("kamailio", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if kamailio is None:
        raise NotStarted("kamailio is not installed: apt install kamailio kamailio-python3-modules")
    for address in listen:
        if not _LISTEN.fullmatch(address):
            message = f"{address!a} is not udp:ADDRESS:PORT, tcp:…, tls:…, ws:… or wss:…"
            raise typer.BadParameter(message, param_hint="--listen")
    runtime = runtime or config_file.parent / "run"
    registered_in = registered_in or beside(config_file)
    options = [kamailio, "-f", str(cfg or kamailio_cfg()), "-DD", "-E"]
    # TLSF: with Debian's default memory manager Kamailio spends most of its time in malloc.
    options += ["-x", "tlsf", "-X", "tlsf", "-m", str(shared_memory), "-n", str(workers)]
    options += ["-N", str(workers), "-w", str(runtime), "-Y", str(runtime)]
    options += ["-A", "LISTEN_BY_COMMAND_LINE"]
    if any(address.startswith(("ws:", "wss:")) for address in listen):
        options += ["-A", "WITH_WEBSOCKET"]
    listen = [_below_websocket(address) for address in listen]
    if any(address.startswith("tls:") for address in listen):
        options += ["-A", "WITH_TLS"]
    if metrics:
        options += ["-A", "WITH_METRICS"]
    if cluster and cluster.engine:
        options += ["-A", "WITH_ENGINE"]
    if cluster and cluster.address:
        listen = [*listen, f"udp:{cluster.address.socket}"]
        options += ["-A", "WITH_CLUSTER", "-A", f"CLUSTER_NODE={cluster.node}"]
    if postgresql:
        options += ["-A", "WITH_POSTGRESQL"]
    definitions: dict[str, object] = {
        "SBCAUTH_CONFIG": config_file,
        "SBCAUTH_SCRIPT": script(),
        "SBCAUTH_LOG": "stderr",  # as -E has Kamailio do
        "SBCAUTH_RPC_SOCKET": runtime / SOCKET,
        "SBCAUTH_REGISTRATIONS": f"sqlite:///{registered_in}",
    }
    if metrics:
        definitions["SBCAUTH_METRICS"] = metrics
    if cluster and cluster.address:
        definitions["CLUSTER_ADDRESS"] = cluster.address.uri
        definitions["CLUSTER_SOCKET"] = f"udp:{cluster.address.socket}"
        for number, peer in enumerate(cluster.peers[:_NOTIFIED], start=1):
            definitions[f"CLUSTER_PEER_{number}"] = peer.uri
    if tls_config:
        definitions["TLS_CONFIG"] = tls_config.resolve()
    for name, value in definitions.items():
        options += ["-A", f'{name}="{value}"']
    options += ["-A", f"UNPROVED_CONNECTION_LIFETIME={unproved_connection_lifetime}"]
    for address in dict.fromkeys(listen):
        options += ["-l", address]
    return [*options, "-ddd"] if verbose else options


def _below_websocket(address: str) -> str:
    """Return the address that Kamailio listens on: WebSockets have none of their own."""
    transport, _, rest = address.partition(":")
    return f"{_BELOW.get(transport, transport)}:{rest}"


def _append() -> None:
    """Have what is written to a file go to its end.

    After `> FILE 2>&1` Kamailio's log has a place of its own there, and would go over the outcomes.
    """
    for descriptor in (1, 2):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)


def _end_with_terminal() -> None:
    """Have a server that writes to a terminal end when the shell that started it does.

    Kamailio ignores the hang-up of a terminal: it would go on unseen, and hold its ports.
    """
    if os.isatty(sys.stderr.fileno()):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _make_users(config: Config) -> None:
    """Make User Info where there is none; PostgreSQL may be away, and come back later."""
    try:
        open_for_writing(config.database, Seals(config.ha1_key_file)).close()
    except DriverMissing:
        raise
    except Unavailable as error:
        if not is_postgresql(config.database):
            raise
        print(f"{error}; phones are served as last seen", file=sys.stderr)


def run(
    context: typer.Context,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            help="Where to listen: udp:ADDRESS:PORT, tcp:…, tls:…, ws:… or wss:…; may be repeated."
        ),
    ] = None,
    cfg: Annotated[
        Path | None, typer.Option(help="Another kamailio.cfg than the one that comes along.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes a socket.")] = 4,
    shared_memory: Annotated[int, typer.Option(min=16, help="Shared memory in megabytes.")] = 256,
    registrations: Annotated[
        Path | None,
        typer.Option(help="Where registrations survive a restart; else beside the database."),
    ] = None,
    tls_config: Annotated[
        Path | None,
        typer.Option(help="Certificates for tls: and wss:, as Kamailio's tls module reads them."),
    ] = None,
    metrics: MetricsAddress = "",
    verbose: Annotated[bool, typer.Option(help="Log everything that Kamailio does.")] = False,
) -> None:
    """Run Kamailio with the authentication server in the foreground; SIGTERM stops it.

    Example: sbcauth run --listen udp:127.0.0.1:5060 --listen tcp:127.0.0.1:5060
    """
    file: Path = context.obj.resolve()
    settings = load(file, os.environ)
    _make_users(settings)
    listen = listen or _DEFAULT_LISTEN
    runtime = Path(os.environ.get("RUNTIME_DIRECTORY", file.parent / "run"))  # systemd sets it
    make_folder(runtime)
    arguments = command(
        file,
        listen,
        runtime=runtime,
        registered_in=(registrations.resolve() if registrations else beside(settings.users_file)),
        cfg=cfg,
        workers=workers,
        shared_memory=shared_memory,
        tls_config=tls_config,
        metrics=metrics,
        postgresql=is_postgresql(settings.database),
        unproved_connection_lifetime=settings.unproved_connection_lifetime,
        cluster=settings.cluster,
        verbose=verbose,
    )
    if cfg is None:
        have_modules(arguments)
        have_certificates(listen, tls_config)
    be_the_only_one(file, runtime, listen)
    _end_with_terminal()
    _append()
    # Kamailio closes its standard output when it starts, and what is open below 32.
    outcomes = fcntl.fcntl(1, fcntl.F_DUPFD, 100)
    environment = dict(os.environ, SBCAUTH_CONFIG=str(file), SBCAUTH_STDOUT=str(outcomes))
    # Kamailio's interpreter looks for `python3` on PATH to find its library.
    environment["PATH"] = f"/usr/bin:{environment.get('PATH', '')}"
    os.execve(arguments[0], arguments, environment)  # noqa: S606 - no shell is wanted
