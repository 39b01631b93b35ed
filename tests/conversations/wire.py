"""Messages as they arrive, and sockets that send and receive them over UDP and TCP."""

import re
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

_COMPACT = {
    "v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length",
    "c": "content-type", "k": "supported", "r": "refer-to", "o": "event", "s": "subject",
}  # fmt: skip


@dataclass(frozen=True)
class Message:
    """A SIP message and where it came from: `channel` takes the answer to it."""

    raw: bytes
    sender: tuple[str, int] = ("", 0)
    channel: socket.socket | None = field(default=None, compare=False)

    @cached_property
    def text(self) -> str:
        """Return the message as text, with line feeds alone."""
        return self.raw.decode("utf-8", "surrogateescape").replace("\r\n", "\n")

    @cached_property
    def first_line(self) -> str:
        """Return the request line or the status line."""
        return self.text.partition("\n")[0]

    @property
    def status(self) -> int:
        """Return the status code; 0 for a request."""
        found = re.match(r"SIP/2\.0 (\d{3})", self.first_line)
        return int(found[1]) if found else 0

    @property
    def method(self) -> str:
        """Return the method; for an answer, the method that it answers."""
        return self.header("cseq").split()[-1] if self.status else self.first_line.split(" ")[0]

    @property
    def branch(self) -> str:
        """Return the branch of the topmost Via."""
        found = re.search(r";\s*branch\s*=\s*([^;,\s]+)", self.header("via"))
        return found[1] if found else ""

    @property
    def to_tag(self) -> str:
        """Return the tag of To; empty where there is none."""
        return self.tag("to")

    @property
    def body(self) -> bytes:
        """Return what follows the header."""
        return self.raw.partition(b"\r\n\r\n")[2]

    @cached_property
    def fields(self) -> list[tuple[str, str]]:
        """Return the header fields in order: names long and in lower case, values unfolded."""
        head = re.sub(r"\n[ \t]+", " ", self.text.partition("\n\n")[0])
        parts = (line.partition(":") for line in head.split("\n")[1:])
        named = ((name.strip().lower(), value.strip()) for name, _, value in parts)
        return [(_COMPACT.get(name, name), value) for name, value in named]

    def header(self, name: str) -> str:
        """Return a header field's first value; empty where there is none."""
        return next((value for found, value in self.fields if found == name.lower()), "")

    def values(self, name: str) -> list[str]:
        """Return all values of a header field, apart at the commas between them."""
        fields = (value for found, value in self.fields if found == name.lower())
        return [value for each in fields for value in _apart(each)]

    def tag(self, name: str) -> str:
        """Return the tag of From or To."""
        found = re.search(r";\s*tag\s*=\s*([^;\s]+)", self.header(name))
        return found[1] if found else ""

    def uri(self, name: str = "contact") -> str:
        """Return the URI in a header field."""
        value = next(iter(self.values(name)), "")
        found = re.search(r"<([^>]*)>", value)
        return found[1] if found else value.partition(";")[0].strip()


def _apart(value: str) -> list[str]:
    """Return a field's values, apart at commas outside quotes and angle brackets."""
    return [
        found.strip()
        for found in re.findall(r'(?:"(?:[^"\\]|\\.)*"|<[^>]*>|[^,"<])+', value)
        if found.strip()
    ]


class Socket:
    """A place from which a conversation speaks; over TCP it listens at its own address, too."""

    def __init__(
        self, address: str, port: int, transport: str, server: tuple[str, int], *, phone: bool
    ) -> None:
        self.transport = transport
        self._server = server
        self._streams: dict[socket.socket, bytes] = {}
        self._arrived: list[Message] = []
        self.pongs = (
            0  # line breaks alone that have arrived: answers to keep-alives (RFC 5626, 4.4.1)
        )
        kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
        self._own = socket.socket(socket.AF_INET, kind)
        if transport == "tcp":
            self._own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._own.bind((address, port))
        self.address, self.port = self._own.getsockname()
        self._phone = phone
        self._home: socket.socket | None = None
        if transport == "tcp":
            self._own.listen(8)

    @property
    def host(self) -> str:
        """Return address:port."""
        return f"{self.address}:{self.port}"

    def close(self) -> None:
        """Close everything; what follows needs another socket."""
        for each in (*self._streams, self._own):
            each.close()
        self._streams.clear()

    def send(self, raw: bytes) -> None:
        """Send these bytes to the server."""
        if self.transport == "udp":
            self._own.sendto(raw, self._server)
            return
        if self._home not in self._streams:
            self._home = self._connect()
        assert self._home
        self._home.sendall(raw)

    def answer(self, request: Message, raw: bytes) -> None:
        """Send these bytes where a request came from."""
        if self.transport == "udp":
            self._own.sendto(raw, request.sender)
        elif request.channel in self._streams:
            assert request.channel
            request.channel.sendall(raw)
        else:
            self.send(raw)

    def receive(self, until: float) -> Message | None:
        """Return the next message; None where none arrives before that moment (monotonic)."""
        while not self._arrived:
            wait = until - time.monotonic()
            ready, _, _ = select.select([self._own, *self._streams], [], [], max(0.0, wait))
            for each in ready:
                self._read(each)
            if not ready and wait <= 0:
                return None
        return self._arrived.pop(0)

    def _connect(self) -> socket.socket:
        """Connect from the port that we listen at: what is in Via and Contact is the truth."""
        home = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        home.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        home.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        home.bind((self.address, self.port if self._phone else 0))
        home.settimeout(20)
        home.connect(self._server)
        self._streams[home] = b""
        return home

    def _read(self, ready: socket.socket) -> None:
        if self.transport == "udp":
            raw, sender = ready.recvfrom(65535)
            if not raw.strip(b"\r\n\0"):
                self.pongs += 1
            else:
                self._arrived.append(Message(raw, sender))
        elif ready is self._own:
            stream, _ = ready.accept()
            stream.settimeout(20)
            self._streams[stream] = b""
        else:
            try:
                more = ready.recv(65535)
            except ConnectionError:
                more = b""
            if not more:
                ready.close()
                del self._streams[ready]
                return
            buffer = self._streams[ready] + more
            for raw, rest in _messages(buffer):
                buffer = rest
                if not raw:
                    self.pongs += 1
                else:
                    self._arrived.append(Message(raw, ready.getpeername(), ready))
            self._streams[ready] = buffer


def _messages(buffer: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give each whole message that came over a connection, with what follows it."""
    while True:
        pings = len(buffer) - len(buffer.lstrip(b"\r\n"))
        if pings:
            buffer = buffer[pings:]
            yield b"", buffer
        head, end, rest = buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = re.search(rb"(?im)^(?:content-length|l)\s*:\s*(\d+)", head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return
        buffer = rest[size:]
        yield head + end + rest[:size], buffer
