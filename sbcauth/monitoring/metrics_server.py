"""Metrics over HTTP, for Prometheus to scrape: `GET /metrics` on a loopback address.

One process of Kamailio's does nothing else (`rtimer` in kamailio.cfg), so that a scrape keeps no
SIP worker busy. Who may read metrics is not asked; so nobody but this machine can.
"""

import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from socketserver import TCPServer
from typing import NamedTuple, Self

from sbcauth.exceptions import SbcAuthError
from sbcauth.monitoring.prometheus import CONTENT_TYPE

_PATIENCE = 1.0
"""Seconds that a client may be silent; others wait with us."""


class NoMetrics(SbcAuthError):
    """Metrics cannot be served as asked for."""


class Endpoint(NamedTuple):
    """Where metrics are served: a loopback address and a TCP port."""

    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `127.0.0.1:9464` or `[::1]:9464` stands for; raises NoMetrics."""
        host, _, port = text.rpartition(":")
        try:
            address = ip_address(host.removeprefix("[").removesuffix("]"))
            number = int(port) if port.isascii() and port.isdecimal() else 0
        except ValueError:
            raise NoMetrics(f"{text!a} is not ADDRESS:PORT, such as 127.0.0.1:9464") from None
        if not 0 < number < 1 << 16:
            raise NoMetrics(f"{text!a}: the port must be within 1..65535")
        if not address.is_loopback:
            raise NoMetrics(
                f"{text!a}: metrics are served on loopback only, such as 127.0.0.1:9464; "
                "for another machine, have a web server of this one pass them on"
            )
        return cls(str(address), number)

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


class MetricsServer:
    """Serves what `render` returns. It listens at once; raises NoMetrics where it cannot."""

    def __init__(self, endpoint: Endpoint, render: Callable[[], str]) -> None:
        class Listener(TCPServer):
            address_family = AF_INET6 if ":" in endpoint.address else AF_INET
            allow_reuse_address = True
            timeout = _PATIENCE

            def handle_error(self, *_: object) -> None:
                if not isinstance(sys.exception(), OSError):  # a client that has gone
                    raise

        try:
            self._listener = Listener((endpoint.address, endpoint.port), _handler(render))
        except OSError as error:
            raise NoMetrics(f"metrics cannot listen on {endpoint}: {error.strerror}") from error

    def serve(self) -> None:
        """Answer a client, or return after a second without one."""
        self._listener.handle_request()

    def close(self) -> None:
        """Listen no more."""
        self._listener.server_close()


def _handler(render: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE
        server_version = "sbcauth"
        sys_version = ""

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self._answer(404, "text/plain", "metrics are at /metrics\n")
                return
            try:
                body = render()
            except SbcAuthError as error:
                self._answer(503, "text/plain", f"{error}\n")
                return
            self._answer(200, CONTENT_TYPE, body)

        def _answer(self, status: int, kind: str, body: str) -> None:
            content = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass  # a scrape each few seconds is no event

    return Handler
