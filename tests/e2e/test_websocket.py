"""SIP over WebSocket (RFC 7118): JsSIP and sip.js in Node, and in a real browser."""

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_phones import HERE, LIBRARIES, Browser
from kamailio import Server, StartServer, free_port, wait_for

REALM = "example.com"
USERS = {user: f"secret-of-{user}" for user in ("1001", "1002", "1003")}
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


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


Secure = Callable[[str, str], str]
"""Starts a server that offers these algorithms and this qop; returns its URL."""


@pytest.fixture
def secure(start_server: StartServer, browser: Browser, tls_config: Path) -> Secure:
    """Start servers that the browser's pages may open WebSockets of, over TLS; return the URL."""

    def start(algorithms: str, qop: str) -> str:
        port = free_port()
        config = CONFIG.format(origins=f"[{browser.origin}]")
        server = start_server(
            f"{config}    auth_algorithms: {algorithms}\n    auth_qop: {qop}\n",
            listen=[f"wss:127.0.0.1:{port}"],
            options=["--tls-config", str(tls_config)],
        )
        for user, password in USERS.items():
            server.add_user(user, password, "Phones")
        return f"wss://127.0.0.1:{port}"

    return start


@pytest.mark.parametrize(
    ("algorithms", "qop"),
    [("[MD5]", "none"), ("[MD5]", "auth-int"), ("[SHA-256, MD5]", "both")],
)
def test_browser_registers_over_wss_whatever_is_offered(
    algorithms: str, qop: str, browser: Browser, secure: Secure
) -> None:
    url = secure(algorithms, qop)
    for library in LIBRARIES:
        phone = browser.phone(library, url, "1001", REALM, USERS["1001"])
        assert phone.register() == 200
        assert phone.unregister() == 200


def ended(phone: Any) -> bool:
    """Tell whether the last call has ended, or does so."""
    ends = ("ended", "Terminated")
    return wait_for(lambda: any(state.startswith(ends) for state in phone.states()))


@pytest.mark.parametrize(
    ("caller", "called", "offer"),
    [(*LIBRARIES, ("[MD5]", "auth")), (*LIBRARIES[::-1], ("[SHA-256, MD5]", "both"))],
)
def test_browsers_call_hold_transfer_and_hang_up_over_wss(
    caller: str, called: str, offer: tuple[str, str], browser: Browser, secure: Secure
) -> None:
    url = secure(*offer)
    alice = browser.phone(caller, url, "1001", REALM, USERS["1001"])
    bob = browser.phone(called, url, "1002", REALM, USERS["1002"])
    carol = browser.phone(caller, url, "1003", REALM, USERS["1003"])
    assert [phone.register() for phone in (alice, bob, carol)] == [200, 200, 200]
    assert alice.call("1002") == "confirmed"
    assert alice.hold() == "held"
    assert alice.transfer("1003") == "transferred"
    alice.hangUp()
    assert ended(alice)
    carol.hangUp()
    assert ended(carol)
    assert ended(bob)
    assert [phone.unregister() for phone in (alice, bob, carol)] == [200, 200, 200]
