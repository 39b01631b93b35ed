"""The connections to the console: which one gives way where there are too many.

They are counted as they are accepted, before a TLS handshake. Where a source has more than its
share, or all together are too many, the oldest one of whoever holds the most gives way to the new
one. Connections on which somebody is logged in never do: so whoever holds connections holds none
of others for long.
"""

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from sbcauth.policy.request import source_of

MOST = 200
MOST_OF_A_SOURCE = 60


def source(address: str) -> str:
    """Return what counts as one source; what a proxy says is one, too, if it is no address."""
    try:
        return source_of(address)
    except ValueError:
        return "-"


class Connection(socket.socket):
    """An accepted connection; `is_known` while its requests are of a session or a token."""

    source = ""
    is_known = False
    listener: "Listener | None" = None

    def close(self) -> None:
        """Close it, and count it no more."""
        if self.listener:
            self.listener.forget(self)
        super().close()


class Listener(socket.socket):
    """A listening socket; a source has a `share` of its connections. One thread alone uses it."""

    def __init__(self, family: int, share: int = MOST_OF_A_SOURCE) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._share = share
        self._connections: dict[int, Connection] = {}  # the oldest first

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection; raises ConnectionAbortedError where there is no place."""
        accepted, address = super().accept()
        connection = Connection(fileno=accepted.detach())
        connection.source = source(str(address[0]))
        if not self._make_place(connection.source):
            connection.close()
            raise ConnectionAbortedError("too many connections")
        connection.listener = self
        self._connections[connection.fileno()] = connection
        return connection, address

    def forget(self, connection: Connection) -> None:
        """Count a connection no more."""
        if self._connections.get(connection.fileno()) is connection:
            del self._connections[connection.fileno()]

    def connection(self, number: int) -> Connection | None:
        """Return the connection with this file descriptor, unless it had to give way."""
        return self._connections.get(number)

    def _make_place(self, source: str) -> bool:
        """Tell whether there is a place for one more of a source, after one has given way."""
        if len([*self._of(source)]) >= self._share:
            return self._end_one_of(source)
        if len(self._connections) >= MOST:
            sources = {each.source for each in self._connections.values()}
            strangers = {each: len([*self._strangers_of(each)]) for each in sources}
            return self._end_one_of(max(strangers, key=lambda each: strangers[each]))
        return True

    def _end_one_of(self, source: str) -> bool:
        oldest = next(self._strangers_of(source), None)
        if oldest is None:
            return False
        self.forget(oldest)
        with suppress(OSError):
            oldest.shutdown(socket.SHUT_RDWR)  # whoever reads from it closes it
        return True

    def _of(self, source: str) -> Iterator[Connection]:
        return (each for each in self._connections.values() if each.source == source)

    def _strangers_of(self, source: str) -> Iterator[Connection]:
        return (each for each in self._of(source) if not each.is_known)
