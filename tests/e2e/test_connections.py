"""TCP and TLS connections: those without a word end, and an address has a share of them."""

import json
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from kamailio import StartServer, free_port, wait_for
from phone import PATIENCE, Dialog, Endpoint, Phone
from repository import REPOSITORY

ERRORS_MEANT = ("hit the limit of connections per source IP",)  # by Kamailio 6.0 itself
CONFIG = """
realm: example.com
unproved_connection_lifetime: 5s
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{address: 127.0.0.1}]
  - name: Roaming trunk
    type: server
    authentication_mode: sbc-as-server
    authentication_method_list: [setup-invite]
    username_as_server: roaming
    password_as_server: secret
    classification: [{digest_username: roaming}]
    reaches: [Phones]
  - name: Carrier
    type: server
    authentication_mode: sbc-as-server
    authentication_method_list: [INVITE]
    username_as_server: carrier
    password_as_server: secret
    classification: [{address: 127.0.0.2}]
"""
LIFETIME = 5
NOTICED = 12
"""Seconds until Kamailio has ended them: the process that reads one keeps it for five more."""


def is_open(endpoint: Endpoint) -> bool:
    """Tell whether the server has not closed the connection."""
    readable, _, _ = select.select([endpoint.socket], [], [], 0)
    return not readable


def calls(trunk: Phone, callee: Phone) -> Dialog:
    """Have a trunk call a phone, which answers; return the phone's side of the call."""
    challenge = trunk.request("INVITE", callee.uri)
    trunk.send(trunk.build("INVITE", callee.uri, answering=challenge))
    invite = callee.incoming("INVITE")
    callee.reply(invite, 200)
    Dialog.opened_by(trunk, trunk.response(trunk.last_branch)).acknowledge()
    assert callee.incoming("ACK")
    return Dialog.joined_by(callee, invite)


def test_connection_without_a_word_ends_and_others_do_not(
    start_server: StartServer, tls_config: Path
) -> None:
    tls = free_port()
    server = start_server(
        CONFIG, listen=[f"tls:127.0.0.1:{tls}"], options=["--tls-config", str(tls_config)]
    )
    server.add_user("1001", "secret")
    with ExitStack() as stack:

        def phone(*who: str, **how: Any) -> Phone:
            return stack.enter_context(Phone(server, *who, **how))

        silent = {
            "tcp": stack.enter_context(Endpoint(server, transport="tcp")),
            "tls": stack.enter_context(Endpoint(server, transport="tls", home=tls)),
            "unclassified": stack.enter_context(Endpoint(server, "127.0.0.3", transport="tcp")),
        }
        challenged = phone("1001", "secret", transport="tcp")
        assert challenged.request("REGISTER").status == 401
        registered = phone("1001", "secret", transport="tcp")
        assert registered.register().status == 200
        server.add_user("1002", "secret")
        over_tls = phone("1002", "secret", transport="tls", home=tls)
        assert over_tls.register().status == 200
        carrier = phone("carrier", "secret", address="127.0.0.2", transport="tcp")
        assert carrier.request("INVITE").status == 401
        by_name = [
            phone("roaming", "secret", address="127.0.0.3", transport="tcp"),
            phone("roaming", "secret", address="127.0.0.3", transport="tls", home=tls),
        ]
        guessing = phone("roaming", "wrong", address="127.0.0.4", transport="tcp")
        assert guessing.authenticate("INVITE", over_tls.uri).status == 401
        dialogs = [calls(trunk, over_tls) for trunk in by_name]
        time.sleep(LIFETIME)
        unproved = [*silent.values(), challenged, guessing]
        assert wait_for(lambda: not any(map(is_open, unproved)), 2 * NOTICED), silent
        assert is_open(carrier)
        for kept in (registered, over_tls):
            assert is_open(kept)
            assert kept.register().status == 200
        for trunk, dialog in zip(by_name, dialogs, strict=True):
            for method in ("UPDATE", "BYE"):  # by the connection that the trunk has called by
                dialog.send(method)
                trunk.reply(trunk.incoming(method), 200)
                assert over_tls.response().status == 200


BUSY: dict[str, Callable[[Phone], bytes]] = {
    "line breaks": lambda phone: b"\r\n\r\n",
    "requests without credentials": lambda phone: phone.build("REGISTER"),
    "keep-alives": lambda phone: phone.build("OPTIONS"),
    "a message that never ends": lambda phone: b"x",
}
"""What somebody who never shows a word sends all the time."""


def test_connection_without_a_word_ends_however_busy_it_is(
    start_server: StartServer, tls_config: Path
) -> None:
    tls = free_port()
    server = start_server(
        CONFIG, listen=[f"tls:127.0.0.1:{tls}"], options=["--tls-config", str(tls_config)]
    )
    server.add_user("1001", "secret")
    with ExitStack() as stack:

        def phone(transport: str) -> Phone:
            home = tls if transport == "tls" else server.port
            made = Phone(server, "1001", "secret", transport=transport, home=home)
            return stack.enter_context(made)

        overs = ("tcp", "tls") if KAMAILIO < "6" else ("tcp",)
        opened_after = time.monotonic()
        busy = {(what, over): phone(over) for what in BUSY for over in overs}
        kept = phone("tls")
        assert kept.register().status == 200
        ended = dict.fromkeys(busy, 0.0)
        began = time.monotonic()
        while not all(ended.values()) and time.monotonic() - began < LIFETIME + BUSY_AT_MOST:
            for (what, over), each in busy.items():
                if not ended[what, over] and not goes_on(each, BUSY[what](each)):
                    ended[what, over] = time.monotonic() - opened_after
            assert goes_on(kept, b"\r\n\r\n")
            time.sleep(0.5)
        assert all(ended.values()), ended
        assert min(ended.values()) >= LIFETIME - 1
        assert goes_on(kept, b"\r\n\r\n")


KAMAILIO = subprocess.run(
    ["kamailio", "-v"], capture_output=True, text=True, check=True, env={"PATH": "/usr/sbin"}
).stdout.split()[2]
"""The version; with 6.0 a TLS connection that is never silent is let be."""
BUSY_AT_MOST = 30
"""Seconds that ending them may take; ten on an idle machine."""


def goes_on(phone: Phone, sent: bytes) -> bool:
    """Send by a connection, and tell whether it is still there; what is answered is let go."""
    try:
        phone.send(sent)
        phone.socket.settimeout(0.1)
        return bool(phone.socket.recv(65535))
    except (TimeoutError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    finally:
        phone.socket.settimeout(PATIENCE)


def test_one_source_has_a_share_of_the_connections_without_a_word(
    start_server: StartServer,
) -> None:
    server = start_server(CONFIG.replace("5s", "60s"))
    server.add_user("1001", "secret")
    with ExitStack() as stack:
        kept = stack.enter_context(Phone(server, "1001", "secret", transport="tcp"))
        assert kept.register().status == 200
        other = stack.enter_context(Endpoint(server, "127.0.0.8", transport="tcp"))
        held = []
        for _ in range(SHARE + 20):
            with suppress(ConnectionError):  # Kamailio 6.0 has counted them itself
                held.append(stack.enter_context(Endpoint(server, "127.0.0.7", transport="tcp")))
        assert wait_for(lambda: sum(map(is_open, held)) <= SHARE, NOTICED + 10)
        assert sum(map(is_open, held)) == SHARE
        assert is_open(other)
        assert kept.register().status == 200


SHARE = 256


def test_connection_that_we_opened_is_kept(start_server: StartServer) -> None:
    with socket.create_server(("127.0.0.2", 0)) as listening:
        port = listening.getsockname()[1]
        config = CONFIG.replace("[REGISTER, INVITE]", "[REGISTER, MESSAGE]\n    route_to: Carrier")
        server = start_server(f'{config}    proxy_set: ["sip:127.0.0.2:{port};transport=tcp"]\n')
        server.add_user("1001", "secret")
        opened: list[socket.socket] = []
        peer = threading.Thread(target=lambda: opened.append(answered(listening)))
        peer.start()
        with Phone(server, "1001", "secret") as phone:
            challenge = phone.request("MESSAGE")
            assert phone.request("MESSAGE", answering=challenge).status == 200
        peer.join()
        (connection,) = opened
        time.sleep(LIFETIME + NOTICED)
        readable, _, _ = select.select([connection], [], [], 0)
        connection.close()
        assert not readable


def answered(listening: socket.socket) -> socket.socket:
    """Accept a connection, and answer the request that comes by it, 200."""
    listening.settimeout(60)
    connection, _ = listening.accept()
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(65535)
    head = request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    wanted = (b"via", b"from", b"to", b"call-id", b"cseq")
    echoed = [line for line in head if line.partition(b":")[0].strip().lower() in wanted]
    lines = [b"SIP/2.0 200 OK", *echoed, b"Content-Length: 0", b"", b""]
    connection.sendall(b"\r\n".join(lines))
    return connection


KERNEL = """
import json, socket, sys, time
sys.path[:0] = json.loads(sys.argv[1])

def listen(kind):
    listening = socket.socket(socket.AF_INET, kind)
    listening.bind(("127.0.0.1", 5060))
    return listening

tcp, udp = listen(socket.SOCK_STREAM), listen(socket.SOCK_DGRAM)
tcp.listen(1000)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)

def connected(source, wanted):
    made = []
    for _ in range(wanted):
        client = socket.socket()
        client.bind((source, 0))
        client.settimeout(2)
        try:
            client.connect(("127.0.0.1", 5060))
        except OSError:
            continue
        made.append(client)
    return made

def arrived(source, wanted):
    began = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((source, 0))
        for _ in range(wanted):
            client.sendto(b"OPTIONS", ("127.0.0.1", 5060))
    found, took = 0, time.monotonic() - began
    udp.settimeout(0.5)
    try:
        while udp.recvfrom(100):
            found += 1
    except TimeoutError:
        return found, took

guilty = connected("127.0.0.2", 300)
other = connected("127.0.0.3", 10)
spared = connected("127.0.0.4", 300)
packets = [arrived(source, 1000) for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4")]
for each in guilty:
    each.close()
time.sleep(0.2)
print(json.dumps([len(guilty), len(other), len(spared), packets]))
"""


def test_kernel_bounds_the_connections_and_packets_of_an_address(tmp_path: Path) -> None:
    """Loaded twice, as at a restart of the firewall, in a network namespace of its own."""
    rules = REPOSITORY / "contrib" / "nftables" / "sbcauth.nft"
    script = (
        'ip link set lo up; nft -f "$0"; nft -f "$0";'
        "nft add element inet sbcauth spared4 '{ 127.0.0.4 }';"
        'exec "$@"'
    )
    done = subprocess.run(
        [
            *("unshare", "--net", "sh", "-ec", script, str(rules)),
            *(sys.executable, "-c", KERNEL, json.dumps(sys.path)),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    guilty, other, spared, packets = json.loads(done.stdout)
    assert (guilty, other, spared) == (256, 10, 300)
    for found, took in packets[:2]:
        assert 400 <= found < min(1000, 500 + 200 * took)  # the burst, and 200 a second
    assert packets[2][0] == 1000
