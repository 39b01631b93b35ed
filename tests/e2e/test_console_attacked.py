"""The console of a real server under attack: by raw sockets, and by what phones are named."""

import os
import re
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from kamailio import Server, free_port
from phone import Phone
from playwright.sync_api import Browser
from web_console import PASSWORD, browser, console_of, listens, log_in, url

__all__ = ["browser", "url"]  # fixtures

HOSTILE = "<img/src=x/onerror=hit()>"
CONFIG = f"""\
realm: example.com
ip_groups:
  - name: "Phones"
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [register]
    classification: [{{address: 127.0.0.0/8}}]
  - name: "{HOSTILE}"
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [register]
    classification: [{{address: 198.51.100.0/24}}]
"""
USERS = {"1001": "secret-of-1001"}
FORM = "Content-Type: application/x-www-form-urlencoded"


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def sent(url: str, request: bytes) -> bytes:
    """Return all that comes for bytes, until the connection ends or nothing more comes."""
    with socket.create_connection(("127.0.0.1", port_of(url)), timeout=30) as connection:
        connection.sendall(request)
        found = b""
        while received := connection.recv(1 << 16):
            found += received
        return found


def request_of(url: str, line: str, *headers: str, body: str = "") -> bytes:
    """Return a request as it is sent."""
    lines = [line, f"Host: {url.partition('//')[2]}", "Connection: close", *headers, "", body]
    return "\r\n".join(lines).encode("latin1")


ODD = [
    ("TRACE / HTTP/1.1", "404"),
    ("OPTIONS * HTTP/1.1", "404"),
    ("DELETE /users HTTP/1.1", "404"),
    ("GET http://evil.example/users HTTP/1.1", "404"),
    ("GET //evil.example/users HTTP/1.1", "404"),
    ("GET /static HTTP/1.1", "404"),
    ("GET /static/../console.py HTTP/1.1", "404"),
    ("GET /static/%2e%2e/console.py HTTP/1.1", "404"),
    ("GET /static/..%2f..%2fconsole.py HTTP/1.1", "404"),
    ("GET /static//etc/passwd HTTP/1.1", "404"),
    ("GET /static/%00 HTTP/1.1", "404"),
    (f"GET /{'x' * 30_000} HTTP/1.1", "404"),
    ("GET /user?name=%00%0d%0aSet-Cookie:a HTTP/1.1", "303"),
    ("GET /log in HTTP/1.1", "400"),
    ("\x16\x03\x01\x00\xff", "400"),
]


@pytest.mark.parametrize(("line", "status"), ODD, ids=[line[:40] for line, _ in ODD])
def test_odd_request_is_refused(server: Server, url: str, line: str, status: str) -> None:
    found = sent(url, request_of(url, line))
    assert found.split(maxsplit=2)[1] == status.encode()
    assert b"\nset-cookie" not in found.lower()
    assert b"root:" not in found
    assert listens(port_of(url))
    log = (server.folder / "console.log").read_text()
    assert "Traceback" not in log


def test_request_of_two_lengths_is_refused_and_nothing_follows(url: str) -> None:
    """Nobody smuggles a request past a web server in front that reads the other length."""
    smuggled = request_of(url, "GET /static/icon.svg HTTP/1.1").decode()
    lengths = ("Transfer-Encoding: chunked", f"Content-Length: {5 + len(smuggled)}", FORM)
    line = "POST /login HTTP/1.1"
    request = request_of(url, line, *lengths, body=f"0\r\n\r\n{smuggled}")
    found = sent(url, request.replace(b"Connection: close\r\n", b"", 1))
    assert found.split(maxsplit=2)[1] == b"400"
    assert found.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("headers", [("Content-Length: 4", "Content-Length: 5"),
                                     ("Content-Length: +4",), ("Transfer-Encoding: xchunked",),
                                     ("Transfer-Encoding: chunked, chunked",)])  # fmt: skip
def test_request_of_an_odd_length_is_refused(url: str, headers: tuple[str, ...]) -> None:
    found = sent(url, request_of(url, "POST /login HTTP/1.1", *headers, body="abcd"))
    assert found.split(maxsplit=2)[1] in (b"400", b"501")
    assert found.count(b"HTTP/1.1 ") == 1


@contextmanager
def silent(port: int, *addresses: str, each: int) -> Iterator[list[socket.socket]]:
    """Hold so many connections from each address, on which nothing is ever sent."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", port), 30, source_address=(address, 0))
            )
            for address in addresses
            for _ in range(each)
        ]


def at(url: str, address: str) -> httpx.Client:
    """Return a browser at an address of its own."""
    transport = httpx.HTTPTransport(local_address=address)
    return httpx.Client(base_url=url, transport=transport, timeout=60)


def log_in_at(client: httpx.Client, name: str = "admin", password: str = PASSWORD) -> int:
    """Log in, and return the status: 303 where it worked."""
    headers = {"Origin": str(client.base_url)}
    form = {"name": name, "password": password}
    return client.post("/login", data=form, headers=headers).status_code


def test_who_holds_all_connections_keeps_nobody_out(url: str) -> None:
    """And none that is in use is lost: not even to those of the same address."""
    with at(url, "127.0.0.1") as client:
        assert log_in_at(client) == 303
        with client.stream("GET", "/live") as events:
            lines = events.iter_lines()
            assert next(lines).startswith("data:")
            with silent(port_of(url), *(f"127.0.0.{n}" for n in range(1, 7)), each=100):
                for _ in range(5):
                    assert client.get("/users").status_code == 200
                assert listens(port_of(url))
                assert any(line == "" for line in lines)  # the event is whole
                assert any(line.startswith("data:") for line in lines)  # and there is another


def test_who_asks_too_often_keeps_nobody_out_at_the_same_address(url: str) -> None:
    address = f"127.8.{secrets.randbelow(250)}.{secrets.randbelow(250) + 1}"  # of this run alone
    with at(url, address) as client, at(url, address) as flood:
        assert log_in_at(client) == 303
        codes = [flood.get("/nothing").status_code for _ in range(450)]
        assert {*codes} <= {404, 429}
        assert client.get("/users").status_code == 200


def test_guesses_keep_nobody_out_who_is_logged_in_or_was(server: Server, url: str) -> None:
    name = f"guessed-{secrets.token_hex(4)}"  # another run has its own
    address = f"127.9.{secrets.randbelow(250)}.{secrets.randbelow(250) + 1}"
    server.administer("console-user", "add", name, "--password-stdin", stdin=f"{PASSWORD}\n")

    def guess(number: int) -> None:
        with at(url, address) as client:
            assert log_in_at(client, name, f"guess number {number}") == 403

    with at(url, address) as known, at(url, address) as other:
        assert log_in_at(known, name) == 303
        for number in range(5):
            guess(number)
        guessing = [threading.Thread(target=guess, args=(number,)) for number in range(20)]
        for each in guessing:
            each.start()
        assert known.get("/users").status_code == 200
        for each in guessing:
            each.join()
        assert log_in_at(other, name) == 403
        assert log_in_at(known, name) == 303


def seconds_of(server: Server) -> float:
    """Return the processor time of all processes of a server so far."""
    ticks = 0
    for process in server.processes():
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime, stime (proc_pid_stat(5))
    return ticks / os.sysconf("SC_CLK_TCK")


def test_console_that_is_looked_at_and_attacked_costs_the_sip_server_nothing(
    server: Server, url: str
) -> None:
    over = threading.Event()

    def look(cookies: httpx.Cookies) -> None:
        with httpx.stream("GET", f"{url}/live", cookies=cookies, timeout=60) as events:
            for _ in events.iter_raw():
                if over.is_set():
                    return

    def attack(address: str, path: str) -> None:
        with at(url, address) as client:
            while not over.is_set():
                if path == "/login":
                    log_in_at(client, f"name-of-{address}", secrets.token_hex(8))
                else:
                    client.get(path)

    with at(url, "127.0.0.1") as client:
        assert log_in_at(client) == 303
        busy = [threading.Thread(target=look, args=(client.cookies,)) for _ in range(20)]
        for path in ("/login", "/users", "/static/console.js"):
            busy.append(threading.Thread(target=attack, args=(f"127.0.1.{len(busy)}", path)))
        for each in busy:
            each.start()
        try:
            before, began = seconds_of(server), time.monotonic()
            time.sleep(5)
            used, took = seconds_of(server) - before, time.monotonic() - began
        finally:
            over.set()
            for each in busy:
                each.join()
    assert used / took < 0.1  # of one core; it is 0.005


def test_handshakes_that_are_never_made_keep_nobody_out(
    server: Server, url: str, tls_config: Path
) -> None:
    port, folder = free_port(), tls_config.parent
    files = ("--certificate", f"{folder}/certificate.pem", "--key", f"{folder}/key.pem")
    with (
        console_of(server, "--listen", f"127.0.0.1:{port}", *files, port=port),
        silent(port, *(f"127.0.0.{n}" for n in range(1, 7)), each=100) as held,
    ):
        trusted = ssl.create_default_context(cafile=folder / "certificate.pem")
        answer = httpx.get(f"https://localhost:{port}/login", verify=trusted, timeout=60)
        assert answer.status_code == 200
        held[-1].settimeout(60)
        assert held[-1].recv(1) == b""


def test_web_server_in_front_says_where_requests_come_from(server: Server, url: str) -> None:
    port = free_port()
    with console_of(server, "--listen", f"127.0.0.1:{port}", "--behind-proxy", port=port):
        headers = {
            "X-Forwarded-For": "203.0.113.66, 192.0.2.77",  # the first is what the sender says
            "X-Forwarded-Proto": "https",
            "Origin": f"https://127.0.0.1:{port}",
        }
        form = {"name": "admin", "password": PASSWORD}
        there = f"http://127.0.0.1:{port}/login"
        answer = httpx.post(there, data=form, headers=headers, timeout=60)
        assert answer.status_code == 303
        assert re.match("__Host-sbcauth=.*Secure", answer.headers["set-cookie"])
    log = (server.folder / "console.log").read_text()
    assert "change=login by=- source=192.0.2.77 account=admin" in log


def test_hostile_text_runs_no_script_on_any_page(
    server: Server, browser: Browser, url: str
) -> None:
    """Names, a Call-ID, a User-Agent, a Contact and an IP Group that are script."""
    server.sbcauth("user", "remove", HOSTILE)  # of a run before
    server.add_user(HOSTILE, "secret", local_user="5005")
    with Phone(server, HOSTILE, "secret", local_user="5005") as phone:
        phone.call_id = f"{HOSTILE}{phone.call_id}"
        agent = f"User-Agent: {HOSTILE}"
        assert phone.authenticate("REGISTER", headers=[agent]).status == 200
        phone.password = "wrong"
        assert phone.authenticate("REGISTER", headers=[agent]).status in (401, 403)
    page = log_in(browser, url)
    said: list[str] = []
    page.add_init_script(
        "window.hit = () => { window.wasHit = true; };"
        "addEventListener('securitypolicyviolation', e => console.error('CSP ' + e.blockedURI));"
    )
    page.on("console", lambda each: said.append(each.text) if each.type == "error" else None)
    query = f"name={HOSTILE}&q={HOSTILE[:5]}&user={HOSTILE}&address={HOSTILE}&ip_group={HOSTILE}"
    for path in ("/", "/users", "/user", "/users/add", "/refusals", "/ip-groups", "/explain",
                 "/configuration"):  # fmt: skip
        for address in (path, f"{path}?{query}", f"{path}?name={HOSTILE}"):
            page.goto(url + address)
            assert page.evaluate("window.wasHit") is None, address
            assert page.locator("img[src=x]").count() == 0
    page.context.close()
    assert [each for each in said if "404" not in each] == []
