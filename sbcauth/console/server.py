"""Serving the console: where it listens, and what a connection may cost."""

import asyncio
import signal
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from sbcauth.console.connections import MOST, MOST_OF_A_SOURCE, Listener
from sbcauth.exceptions import SbcAuthError

_PATIENCE = 10.0
"""Seconds in which a request has to begin, and its header to be complete."""
_LONGEST_HEADER = 32 << 10


class NoConsole(SbcAuthError):
    """The console cannot be served as asked for."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the console listens, and with which certificate and key; both or none.

    Or `behind_proxy`: a web server on this machine ends TLS, and says where requests come from.
    """

    address: str
    port: int
    certificate: Path | None = None
    key: Path | None = field(default=None, repr=False)
    behind_proxy: bool = False

    @property
    def has_tls(self) -> bool:
        """Tell whether browsers reach it over TLS."""
        return self.behind_proxy or self.certificate is not None

    @property
    def url(self) -> str:
        """Return where it is reached."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.certificate else 'http'}://{host}:{self.port}/"


def listen_at(
    text: str, certificate: Path | None, key: Path | None, *, behind_proxy: bool = False
) -> Listen:
    """Return what `127.0.0.1:8060` stands for.

    Raises NoConsole for what is none, and for an address that is not loopback without TLS.
    """
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
        number = int(port) if port.isascii() and port.isdecimal() else 0
    except ValueError:
        raise NoConsole(f"{text!a} is not ADDRESS:PORT, such as 127.0.0.1:8060") from None
    if not 0 < number < 1 << 16:
        raise NoConsole(f"{text!a}: the port must be within 1..65535")
    if (certificate is None) != (key is None):
        raise NoConsole("--certificate and --key go together")
    if behind_proxy and (certificate or not address.is_loopback):
        raise NoConsole(
            "--behind-proxy is for loopback, and the web server there has the certificate"
        )
    if not address.is_loopback and certificate is None:
        raise NoConsole(
            f"{text!a}: passwords would be sent in the clear: give --certificate and --key, or "
            "listen on 127.0.0.1 and reach it by ssh -L 8060:127.0.0.1:8060"
        )
    return Listen(str(address), number, certificate, key, behind_proxy)


class _Bounded(H11Protocol):
    """A connection that is closed where its request does not come."""

    listener: Listener
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        number = transport.get_extra_info("socket").fileno()
        self.app_state = {**self.app_state, "connection": self.listener.connection(number)}
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._late is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._late = self.loop.call_later(_PATIENCE, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._late:
            self._late.cancel()
        self._late = None


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that waits for the handshake of TLS no longer than for a request."""

    async def create_server(self, *where: Any, **how: Any) -> asyncio.Server:
        """Return a server, as every event loop does."""
        if how.get("ssl"):
            how["ssl_handshake_timeout"] = _PATIENCE
        return await super().create_server(*where, **how)


def serve(app: ASGIApp, listen: Listen) -> None:
    """Serve until SIGTERM or SIGINT; raises NoConsole where it cannot listen."""
    family = socket.AF_INET6 if ":" in listen.address else socket.AF_INET
    listener = Listener(family, MOST if listen.behind_proxy else MOST_OF_A_SOURCE)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((listen.address, listen.port))
    except OSError as error:
        listener.close()
        raise NoConsole(f"{listen.url}: cannot listen there: {error.strerror}") from error
    options: dict[str, Any] = {}
    if listen.certificate and listen.key:
        options = {"ssl_certfile": str(listen.certificate), "ssl_keyfile": str(listen.key)}
    config = uvicorn.Config(
        app,
        http=type("Protocol", (_Bounded,), {"listener": listener}),
        ws="none",
        log_level="error",  # what is no request is no line either
        access_log=False,
        proxy_headers=listen.behind_proxy,
        forwarded_allow_ips="127.0.0.0/8, ::1",
        server_header=False,
        date_header=True,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=_LONGEST_HEADER,
        **options,
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again once it has ended
        signal.signal(number, lambda *_: None)
    try:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(uvicorn.Server(config).serve([listener]))
    except OSError as error:
        raise NoConsole(f"{listen.certificate}: {error.strerror or error}") from error
    finally:
        listener.close()
