"""A console with cheap hashes, on a configuration and users of its own, and no server."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from starlette.types import ASGIApp

from sbcauth.console.accounts import Role
from sbcauth.console.app import application
from sbcauth.console.console import Console
from sbcauth.monitoring.log_line import Record
from sbcauth.users.table import UserTable

URL = "http://127.0.0.1:8060"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct horse battery"
CONFIG = """\
realm: example.com
database: sqlite:///users.db
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [register]
    classification:
      - address: 192.0.2.0/24
  - name: Branch
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [register]
    classification:
      - address: 198.51.100.0/24
        transport: tls
  - name: Carrier
    type: server
    proxy_set: [sip:203.0.113.5]
    authentication_mode: sbc-as-server
    authentication_method_list: [invite]
    username_as_server: carrier
    password_as_server: never-shown-to-anybody
"""


class Clock:
    """A clock that goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Client:
    """Sends requests to an application, without a socket between them."""

    def __init__(self, app: ASGIApp, source: str) -> None:
        self.app = app
        self.cookies = httpx.Cookies()
        self._source = source

    def get(self, path: str, **how: Any) -> httpx.Response:
        """Return the answer to GET."""
        return asyncio.run(self._send("GET", path, how))

    def post(self, path: str, **how: Any) -> httpx.Response:
        """Return the answer to POST."""
        return asyncio.run(self._send("POST", path, how))

    def request(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Return the answer to another method."""
        return asyncio.run(self._send(method, path, how))

    async def _send(self, method: str, path: str, how: Mapping[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(
            self.app, raise_app_exceptions=False, client=(self._source, 50000)
        )
        async with httpx.AsyncClient(
            transport=transport, base_url=URL, cookies=self.cookies
        ) as client:
            answer = await client.request(method, path, **how)
            self.cookies = client.cookies
            return answer


class Web:
    """A browser of the console: what it sends has the origin that a browser names."""

    def __init__(self, console: Console, source: str = "127.0.0.1") -> None:
        self.console = console
        self.client = Client(application(console, ["console.example"]), source)

    def get(self, path: str, **headers: str) -> str:
        """Return a page, which must be there."""
        answer = self.client.get(path, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.text

    def log_in(self, name: str = "admin", password: str = PASSWORD) -> int:
        """Log in and return the status of the answer: 303 where it worked."""
        form = {"name": name, "password": password}
        return self.client.post("/login", data=form, headers={"Origin": URL}).status_code

    @property
    def csrf(self) -> str:
        """Return what the forms of the session have."""
        token = self.client.cookies[self.console.cookie]
        session = self.console.sessions.find(token, self.console.clock())
        assert session
        return session.csrf

    def post(self, path: str, **form: str) -> tuple[int, str]:
        """Send a form as a page of ours does, and return the status and the text."""
        answer = self.client.post(path, data={"csrf": self.csrf, **form}, headers={"Origin": URL})
        return answer.status_code, answer.text


@pytest.fixture
def log() -> list[Record]:
    """Return what is written into the log."""
    return []


@pytest.fixture
def clock() -> Clock:
    """Return the clock of the console."""
    return Clock()


@pytest.fixture
def console(tmp_path: Path, log: list[Record], clock: Clock) -> Console:
    """Return a console with two accounts and two users."""
    file = tmp_path / "sbcauth.yaml"
    file.write_text(CONFIG)
    console = Console(file, {}, clock, log.append, tmp_path / "no.sock", hasher=CHEAP)
    console.accounts.add("admin", Role.CHANGE, PASSWORD)
    console.accounts.add("eye", Role.LOOK, PASSWORD)
    config = console.config()
    with UserTable(config.database, config.ha1_key_file) as table:
        for name in ("1001", "1002"):
            table.add("Phones", name, "example.com", "secret")
    return console


@pytest.fixture
def stranger(console: Console) -> Web:
    """Return a browser of somebody who is not logged in."""
    return Web(console)


@pytest.fixture
def admin(console: Console) -> Web:
    """Return a browser of somebody who may change things."""
    web = Web(console)
    assert web.log_in() == 303
    return web


@pytest.fixture
def eye(console: Console) -> Web:
    """Return a browser of somebody who may look."""
    web = Web(console)
    assert web.log_in("eye") == 303
    return web


@pytest.fixture
def users(console: Console) -> Callable[[], list[str]]:
    """Return what lists the names of all users."""

    def names() -> list[str]:
        config = console.config()
        with UserTable(config.database, config.ha1_key_file) as table:
            return [f"{row.ip_group}/{row.username}" for row in table.all()]

    return names
