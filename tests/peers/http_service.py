"""A service that is asked by HTTP(S), written from docs/http.md and without our code.

    with Service({"1001": "secret"}) as service:
        service.url, service.asked

It may be told to answer otherwise: by `status`, `delay` (seconds), `says` (a body in place of the
verdict), `secret`, or `gives_ha1`.
"""

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

SECRET = "a long shared secret"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100


class Service:
    """A service that knows the passwords of some users; over TLS where it has a certificate."""

    def __init__(
        self,
        passwords: Mapping[str, str],
        *,
        port: int = 0,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self.passwords = passwords
        self.asked: list[dict[str, Any]] = []
        self.secret = SECRET
        self.status = 200
        self.delay = 0.0
        self.says: bytes | None = None
        self.gives_ha1 = False
        self.connections: list[socket.socket] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                service.connections.append(self.connection)

            def do_POST(self) -> None:
                service.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}/judge"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in self.connections:
            with suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a question, if it is signed."""
        body = handler.rfile.read(int(handler.headers["content-length"]))
        head = f"{handler.headers['webhook-id']}.{handler.headers['webhook-timestamp']}.".encode()
        if not hmac.compare_digest(self._sign(SECRET, head + body), self._given(handler)):
            handler.send_error(401)
            return
        asked = json.loads(body)
        self.asked.append(asked)
        time.sleep(self.delay)
        reply = self.says if self.says is not None else json.dumps(self._judge(asked)).encode()
        handler.send_response(self.status)
        handler.send_header("webhook-signature", self._sign(self.secret, head + reply))
        handler.send_header("content-length", str(len(reply)))
        handler.end_headers()
        handler.wfile.write(reply)

    def _given(self, handler: BaseHTTPRequestHandler) -> str:
        return str(handler.headers["webhook-signature"])

    def _sign(self, secret: str, content: bytes) -> str:
        digest = hmac.digest(secret.encode(), content, "sha256")
        return "v1," + base64.b64encode(digest).decode()

    def _judge(self, asked: dict[str, Any]) -> dict[str, str]:
        """Return what it says; the response is measured as RFC 7616, 3.4.1 has it."""

        def h(text: str) -> str:
            return hashlib.new(asked["algorithm"].replace("-", ""), text.encode()).hexdigest()

        password = self.passwords.get(asked["username"])
        if password is None:
            return {"verdict": "reject"}
        ha1 = h(f"{asked['username']}:{asked['realm']}:{password}")
        if self.gives_ha1:
            return {"ha1": ha1}
        a2 = ":".join(
            [asked["method"], asked["uri"]] + [asked[k] for k in asked if k == "body_hash"]
        )
        middle = f"{asked['nc']}:{asked['cnonce']}:{asked['qop']}:" if asked["qop"] else ""
        right = h(f"{ha1}:{asked['nonce']}:{middle}{h(a2)}")
        return {"verdict": "accept" if right == asked["response"] else "reject"}
