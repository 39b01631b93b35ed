"""Three nodes of one cluster, on 127.0.0.11 to 127.0.0.13, and the engine that they share."""

import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

import sip
from engine import Engine
from kamailio import Server, free_port
from sip import Challenge, Response

CONFIG = """\
realm: example.com
cluster:
  node: {node}
  nodes: 3
  engine: {engine}
{settings}
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [address: 127.0.0.0/8]
"""
USERS = {str(number): "secret" for number in (*range(1001, 1008), *range(2000, 2300))}
"""Those from 2000 are guessed at, each once: a hundred failures lock a name out."""


def node(
    stack: ExitStack,
    folder: Path,
    number: int,
    engine: str,
    *,
    settings: str = "",
    keys: Path | None = None,
    port: int = 0,
    private: int = 0,
    workers: int = 2,
    config: str = CONFIG,
) -> Server:
    """Start a node; `keys` is the folder of another one, whose keys and users it gets.

    With a `private` port, the three tell each other who is registered, at 127.0.1.1 to 127.0.1.3.
    """
    place = folder / f"node{number}"
    place.mkdir()
    if private:
        settings += "\n" + addresses(number, private)
    lines = "\n".join(f"  {line}" for line in settings.splitlines())
    text = config.format(node=number, engine=engine, settings=lines)
    address = f"127.0.0.{10 + number}"
    server = Server(place, text, workers=workers, address=address, port=port or free_port())
    if keys:
        for name in ("sbcauth.db", "sbcauth.keys", "sbcauth.dialog", "sbcauth.seal"):
            shutil.copy2(keys / name, place / name)
    else:
        rows = [f"{username},{password},Phones" for username, password in USERS.items()]
        table = place / "users.csv"
        table.write_text("\n".join(("username,password,ip_group", *rows)))
        server.administer("user", "import", str(table))
    return stack.enter_context(server)


def addresses(number: int, port: int) -> str:
    """Return what a node's `cluster` says of its own address, and of the others'."""
    peers = [f"sip:127.0.1.{other}:{port}" for other in (1, 2, 3) if other != number]
    return f"address: sip:127.0.1.{number}:{port}\npeers: {peers}"


def three(stack: ExitStack, folder: Path, engine: str, **how: Any) -> list[Server]:
    """Start three nodes with the same keys and users, which know of each other's phones."""
    how = {"private": free_port(), **how}
    first = node(stack, folder, 1, engine, **how)
    how = {**how, "port": first.port}
    return [first, *(node(stack, folder, n, engine, keys=first.folder, **how) for n in (2, 3))]


Source = tuple[str, int]
_BRANCH = len("z9hG4bK") + 16


class Place(NamedTuple):
    """Where something listens that is no node."""

    address: str
    port: int


class Roaming:
    """A phone that sends each request to whichever node it is told to, from one UDP socket."""

    def __init__(
        self, username: str = "1001", password: str = USERS["1001"], address: str = "127.0.0.1"
    ) -> None:
        self.username, self.password = username, password
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.host = "{}:{}".format(*self.socket.getsockname())
        self.call_id = f"{token_hex(8)}@roaming"
        self.cseq = 0
        self.challenge: Challenge | None = None
        self.nc = 0
        self._answered: set[tuple[str, Source]] = set()

    def close(self) -> None:
        self.socket.close()

    def build(
        self, challenge: Challenge | None = None, *, nc: int = 1, password: str | None = None
    ) -> bytes:
        """Return a REGISTER that answers a challenge, if one is given."""
        self.cseq += 1
        uri = f"sip:{self.username}@example.com"
        headers = ["Expires: 60"]
        if challenge:
            headers.append(
                sip.answer(
                    challenge, "REGISTER", "sip:example.com", self.username,
                    self.password if password is None else password, nc=nc, cnonce=token_hex(8),
                )
            )  # fmt: skip
        return sip.request(
            "REGISTER", "sip:example.com", uri, uri, via=f"UDP {self.host}",
            contact=f"<sip:{self.username}@{self.host}>", cseq=self.cseq, call_id=self.call_id,
            branch=f"z9hG4bK{token_hex(8)}", from_tag="1", headers=headers,
        )  # fmt: skip

    def send(self, to: Server | Place, raw: bytes) -> None:
        self.socket.sendto(raw, (to.address, to.port))

    def receive(self, seconds: float = 10.0) -> Response:
        """Return the next answer; what a node answers once more, it has been asked once more."""
        return self._receive(seconds)[0]

    def _receive(self, seconds: float) -> tuple[Response, tuple[str, Source]]:
        deadline = time.monotonic() + seconds
        while True:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            raw, source = self.socket.recvfrom(65535)
            response = sip.parse_response(raw)
            key = response.header("via").partition("branch=")[2][:_BRANCH], source
            if key not in self._answered:
                self._answered.add(key)
                return response, key

    def ask(self, to: Server | Place, raw: bytes, seconds: float = 10.0) -> Response:
        """Send a request, again where no answer comes, and return the answer to it."""
        deadline = time.monotonic() + seconds
        wanted = raw.decode().partition("branch=")[2][:_BRANCH], (to.address, to.port)
        self._answered.discard(wanted)
        while True:
            self.send(to, raw)
            resend_at = min(time.monotonic() + 1.0, deadline)
            try:
                while True:
                    response, key = self._receive(max(0.0, resend_at - time.monotonic()))
                    if key == wanted:
                        return response
            except TimeoutError:
                if time.monotonic() >= deadline:
                    raise

    def challenge_from(self, to: Server | Place) -> Challenge:
        response = self.ask(to, self.build())
        assert response.status == 401, response
        return response.challenges[0]

    def register(self, to: Server | Place, tries: int = 4) -> list[int]:
        """Register as a phone does, with the nonce that it has; return all answers' status."""
        seen = []
        for _ in range(tries):
            self.nc += 1
            response = self.ask(to, self.build(self.challenge, nc=self.nc))
            seen.append(response.status)
            if response.status != 401:
                break
            self.challenge, self.nc = response.challenges[0], 0
        return seen


def answers(phones: Sequence[Roaming], seconds: float = 10.0) -> Iterator[Response]:
    """Yield the next answer that each phone gets."""
    for phone in phones:
        yield phone.receive(seconds)


def start_engine(stack: ExitStack, folder: Path, options: Sequence[str] = ()) -> Engine:
    """Start an engine."""
    folder.mkdir(exist_ok=True)
    return stack.enter_context(Engine(folder, options))
