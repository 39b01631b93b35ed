"""SIP over WebSocket (RFC 7118): JsSIP and sip.js in Node, and in a real browser."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_phones import HERE, LIBRARIES, Browser
from kamailio import Server, StartServer, free_port, wait_for

REALM = "example.com"
USERS = {"1001": "secret-of-1001", "1002": "secret-of-1002"}
CONFIG = """
realm: example.com
websocket_origins: {origins}
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
    classification: [{{address: 127.0.0.0/8}}]
"""
SAID_HELLO = """\
GET / HTTP/1.1
Host: 127.0.0.1:{port}
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Protocol: {protocol}
Sec-WebSocket-Version: 13
{origin}
"""


@pytest.fixture
def serve(start_server: StartServer) -> StartServer:
    """Start a server with a WebSocket on its TCP port, and the two users."""

    def start(origins: str = "[]", algorithms: str = "[MD5]", **options: Any) -> Server:
        port = free_port()
        config = f"{CONFIG.format(origins=origins)}    auth_algorithms: {algorithms}\n"
        server = start_server(config, port=port, listen=[f"ws:127.0.0.1:{port}"], **options)
        for user, password in USERS.items():
            server.add_user(user, password, "Phones")
        return server

    return start


def shake_hands(server: Server, origin: str = "", protocol: str = "sip") -> str:
    """Return the first line that the server answers an opening handshake with."""
    origin = f"Origin: {origin}\n" if origin else ""
    hello = SAID_HELLO.format(port=server.port, origin=origin, protocol=protocol)
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(hello.replace("\n", "\r\n").encode())
        return connection.recv(1000).decode().splitlines()[0]


@pytest.mark.parametrize("algorithms", ["[MD5]", "[SHA-256, MD5]"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_library_registers_from_node(library: str, serve: StartServer, algorithms: str) -> None:
    server = serve(algorithms=algorithms)
    url = f"ws://127.0.0.1:{server.port}"
    command = ["node", str(HERE / "register.js"), library, url, "1001", REALM, USERS["1001"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["200", "200"], done.stdout + done.stderr


def test_page_of_a_listed_origin_may_open_a_websocket_and_no_other(serve: StartServer) -> None:
    server = serve(origins="[https://phone.example.com]")
    assert shake_hands(server, "https://phone.example.com").split()[1] == "101"
    assert shake_hands(server, "HTTPS://Phone.Example.Com").split()[1] == "101"
    assert shake_hands(server).split()[1] == "101"  # no browser
    for other in ("https://evil.example", "https://phone.example.com.evil.example", "null"):
        assert shake_hands(server, other).split()[1] == "403"
    assert wait_for(lambda: "https://evil.example may not open a WebSocket" in server.log())


def test_page_of_no_origin_may_open_a_websocket_by_default(serve: StartServer) -> None:
    assert shake_hands(serve(), "https://phone.example.com").split()[1] == "403"


def test_http_that_opens_no_websocket_is_not_found(serve: StartServer) -> None:
    assert shake_hands(serve(), protocol="xmpp").split()[1] == "404"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path) as browser:
        yield browser


@pytest.fixture
def secure(start_server: StartServer, browser: Browser, tls_config: Path) -> str:
    """Start a server that the browser's pages may open WebSockets of, over TLS; return its URL."""
    port = free_port()
    server = start_server(
        CONFIG.format(origins=f"[{browser.origin}]"),
        listen=[f"wss:127.0.0.1:{port}"],
        options=["--tls-config", str(tls_config)],
    )
    for user, password in USERS.items():
        server.add_user(user, password, "Phones")
    return f"wss://127.0.0.1:{port}"


@pytest.mark.parametrize("library", LIBRARIES)
def test_browser_registers_over_wss(library: str, browser: Browser, secure: str) -> None:
    phone = browser.phone(library, secure, "1001", REALM, USERS["1001"])
    assert phone.register() == 200
    assert phone.unregister() == 200


@pytest.mark.parametrize(("caller", "called"), [LIBRARIES, LIBRARIES[::-1]])
def test_browsers_call_hold_and_hang_up_over_wss(
    caller: str, called: str, browser: Browser, secure: str
) -> None:
    alice = browser.phone(caller, secure, "1001", REALM, USERS["1001"])
    bob = browser.phone(called, secure, "1002", REALM, USERS["1002"])
    assert (alice.register(), bob.register()) == (200, 200)
    assert alice.call("1002") == "confirmed"
    assert alice.hold() == "held"
    bob.hangUp()
    ended = ("ended", "Terminated")
    assert wait_for(lambda: any(state.startswith(ended) for state in alice.states()))
    assert wait_for(lambda: any(state.startswith(ended) for state in bob.states()))
    assert (alice.unregister(), bob.unregister()) == (200, 200)
