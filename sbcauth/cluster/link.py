"""One connection to the engine, on which every call has one deadline.

The deadline is of the whole call: connecting, saying who we are, and sending a script that the
engine does not know yet are part of it. Nothing is tried again, but what was asked on a connection
that the engine had closed: each script may be run twice without harm.
"""

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha1
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from sbcauth.cluster.engine_settings import EngineSettings
from sbcauth.exceptions import EngineAway, SbcAuthError

try:
    from redis.backoff import NoBackoff
    from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import NoScriptError, RedisError
    from redis.exceptions import TimeoutError as RedisTimeout
    from redis.retry import Retry
except ImportError as error:
    raise SbcAuthError(
        "`cluster: engine` needs the Python package redis: pip install 'sbcauth[cluster]'"
    ) from error


class Address(NamedTuple):
    """Where the engine is reached: an IP address and port, or the path of a socket and 0."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host} {self.port}"


class _Bounded:
    """A connection whose every wait ends at one deadline."""

    deadline = 0.0
    _sock: Any

    def _bound(self) -> None:
        left = self.deadline - monotonic()
        if left <= 0:
            raise RedisTimeout("no time is left")
        if self._sock:
            self._sock.settimeout(left)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        self._bound()
        super().send_packed_command(command, check_health)  # type: ignore[misc]

    def read_response(self, *arguments: Any, **named: Any) -> Any:
        self._bound()
        return super().read_response(*arguments, **named)  # type: ignore[misc]


class _Plain(_Bounded, Connection):
    pass


class _Unix(_Bounded, UnixDomainSocketConnection):
    pass


class _Tls(_Bounded, SSLConnection):
    """TLS to an address, with a certificate that is for the name `called`."""

    called = ""

    def _wrap_socket_with_ssl(self, sock: Any) -> Any:
        address, self.host = self.host, self.called or self.host
        try:
            return super()._wrap_socket_with_ssl(sock)  # type: ignore[no-untyped-call]
        finally:
            self.host = address


class Link:
    """A connection to the engine, or to a Sentinel; it is made when it is first needed.

    Every method raises EngineAway, and the link is closed then. `called` is the name by which a
    certificate knows the engine, where that is not its address.
    """

    def __init__(self, settings: EngineSettings, *, is_sentinel: bool = False) -> None:
        self._settings = settings
        self._is_sentinel = is_sentinel
        self._connection: Any = None
        self._address = Address("", 0)
        self.called = ""

    def call(self, address: Address, deadline: float, *command: Any) -> Any:
        """Return the answer to a command that is put to the engine at `address`.

        `deadline` is by the clock `time.monotonic`.
        """
        return self._ask(address, deadline, lambda connection: _answer(connection, *command))

    def run(self, address: Address, deadline: float, script: str, *arguments: Any) -> Any:
        """Return the answer of a script."""

        def ask(connection: Any) -> Any:
            try:
                return _answer(connection, "EVALSHA", _digest(script), 0, *arguments)
            except NoScriptError:
                return _answer(connection, "EVAL", script, 0, *arguments)

        return self._ask(address, deadline, ask)

    def _ask(self, address: Address, deadline: float, ask: Callable[[Any], Any]) -> Any:
        """Ask, and once more where it was on a connection that the engine has closed meanwhile."""
        was_open = self._connection is not None and address == self._address
        try:
            try:
                return ask(self._connected(address, deadline))
            except RedisConnectionError:
                if not was_open:
                    raise
                self.close()
                return ask(self._connected(address, deadline))
        except (RedisError, OSError) as error:
            self.close()
            raise EngineAway(f"the engine at {address}: {_said(error)}") from error

    def close(self) -> None:
        """Close the connection; the next call makes another."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None

    def _connected(self, address: Address, deadline: float) -> Any:
        if self._connection is None or address != self._address:
            self.close()
            self._connection = self._new(address)
            self._address = address
        connection = self._connection
        connection.deadline = deadline
        connection.socket_timeout = connection.socket_connect_timeout = max(
            deadline - monotonic(), 0.001
        )
        return connection

    def _new(self, address: Address) -> Any:
        settings = self._settings
        place, named = settings.engine, self._is_sentinel
        password = settings.sentinel_password if named else settings.engine_password
        options: dict[str, Any] = {
            "db": 0 if named else place.database,
            "username": (not named and settings.engine_username) or None,
            "password": password or None,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "decode_responses": True,
            "encoding_errors": "backslashreplace",
            "driver_info": None,
        }
        if place.path:
            return _Unix(path=address.host, **options)  # type: ignore[no-untyped-call, abstract]
        options |= {"host": address.host, "port": address.port, "socket_keepalive": True}
        if not place.tls:
            return _Plain(**options)  # type: ignore[no-untyped-call]
        options["ssl_ca_certs"] = _text(settings.engine_ca_file)
        connection = _Tls(ssl_cert_reqs="required", ssl_check_hostname=True, **options)
        connection.called = self.called
        return connection


def _answer(connection: Any, *command: Any) -> Any:
    connection.send_command(*command)
    return connection.read_response()


@lru_cache
def _digest(script: str) -> str:
    return sha1(script.encode()).hexdigest()  # noqa: S324 - the engine's name for the script


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def _said(error: Exception) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
