"""An address translator (NAT) for UDP, as a home router is: strict about who may answer.

with Translator(("127.0.0.1", node.port)) as router:
    phone = Phone(node, "1001", "secret", home=router.inside)
"""

import select
import socket
import threading
from contextlib import suppress
from typing import Self

Address = tuple[str, int]


class Translator:
    """Lets one phone through to one server, under another address, and only that server back.

    RFC 4787 calls that address- and port-dependent filtering. `outside` is what the server sees.
    """

    def __init__(self, server: Address) -> None:
        self._server = server
        self._phone: Address | None = None
        self._inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._inner.bind(("127.0.0.1", 0))
        self._outer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._outer.bind(("127.0.0.77", 0))
        self.inside: int = self._inner.getsockname()[1]
        self.outside: Address = self._outer.getsockname()
        self.kept_out: list[Address] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._translate, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._inner.close()
        self._outer.close()

    def _translate(self) -> None:
        while not self._ended.is_set():
            readable, _, _ = select.select([self._inner, self._outer], [], [], 0.1)
            with suppress(OSError):
                if self._inner in readable:
                    raw, self._phone = self._inner.recvfrom(65535)
                    self._outer.sendto(raw, self._server)
                if self._outer in readable:
                    self._let_in(*self._outer.recvfrom(65535))

    def _let_in(self, raw: bytes, sender: Address) -> None:
        if sender == self._server and self._phone:
            self._inner.sendto(raw, self._phone)
        else:
            self.kept_out.append(sender)
