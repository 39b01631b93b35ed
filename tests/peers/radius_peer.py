"""A RADIUS server that does as a test says, written from RFC 2865 and 3579 without pyrad."""

import hmac
import socket
from hashlib import md5
from typing import Self

SECRET = "sécret"
REQUEST, ACCEPT, REJECT, CHALLENGE = 1, 2, 3, 11


def signed(
    question: bytes, code: int, attributes: bytes = b"", *, secret: str = SECRET, ma: bool = True
) -> bytes:
    """Return a server's reply (RFC 2865, 3; RFC 3579, 3.2), made without pyrad."""
    key, identifier, authenticator = secret.encode(), question[1], question[4:20]
    rest = (b"\x50\x12" + bytes(16) if ma else b"") + attributes
    head = bytes((code, identifier)) + (20 + len(rest)).to_bytes(2, "big")
    if ma:
        proof = hmac.new(key, head + authenticator + rest, "md5").digest()
        rest = b"\x50\x12" + proof + attributes
    response = md5(head + authenticator + rest + key, usedforsecurity=False).digest()
    return head + response + rest


class Peer:
    """A UDP port on loopback; it answers when it is told to."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self._socket.setblocking(False)
        self.address = address
        self.port: int = self._socket.getsockname()[1]
        self._asked: list[tuple[bytes, tuple[str, int]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def questions(self) -> list[bytes]:
        """Return every datagram that has arrived so far."""
        while True:
            try:
                self._asked.append(self._socket.recvfrom(4096))
            except BlockingIOError:
                return [datagram for datagram, _ in self._asked]

    def send(self, datagram: bytes, to: int = -1) -> None:
        """Send a datagram to whoever sent the question number `to`."""
        assert self.questions
        self._socket.sendto(datagram, self._asked[to][1])

    def answer(self, code: int, to: int = -1, **how: object) -> None:
        """Answer the question number `to`, as `signed` does."""
        self.send(signed(self.questions[to], code, **how), to)  # type: ignore[arg-type]
