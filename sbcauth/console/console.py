"""What the page is made of: where the server is, who may log in, and what was seen recently."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from argon2 import PasswordHasher
from jinja2 import Environment
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from sbcauth.cluster.settings import ClusterSettings
from sbcauth.config.load import Config, load
from sbcauth.console.accounts import Accounts, accounts_file
from sbcauth.console.devices import Devices
from sbcauth.console.logins import Logins
from sbcauth.console.sessions import Sessions
from sbcauth.console.tokens import Tokens, given_token, tokens_file
from sbcauth.console.watch import Watch
from sbcauth.console.words import templates
from sbcauth.exceptions import ConfigError, SbcAuthError
from sbcauth.monitoring.log_line import Record
from sbcauth.monitoring.rpc import Rpc
from sbcauth.monitoring.servers import server_of
from sbcauth.users.table import UserTable

_REQUESTS = 100
"""So many requests with a token are judged at once; each takes some microseconds."""

_MANY = 100_000
_COUNTED_FOR = 60.0


class Total:
    """How many users there are; to count very many takes so long that it is not done each time."""

    def __init__(self) -> None:
        self._count, self._counted_at = 0, 0.0

    def of(self, table: UserTable, now: float) -> int:
        """Return the count; one of more than a hundred thousand may be a minute old."""
        if self._count < _MANY or not 0 <= now - self._counted_at < _COUNTED_FOR:
            self._count, self._counted_at = table.count(), now
        return self._count


class Console:
    """One console, of the server that works by the configuration `file`.

    `clock` returns seconds since 1970; `log` takes records of changes and logins; `socket` is the
    server's RPC socket, where it is not to be looked for; `hasher` hashes the passwords of
    accounts. Raises ConfigError, AccountError.
    """

    def __init__(
        self,
        file: Path,
        environment: Mapping[str, str],
        clock: Callable[[], float],
        log: Callable[[Record], None],
        socket: Path | None = None,
        *,
        tls: bool = False,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self.file = file
        self.environment = environment
        self.clock = clock
        self.log = log
        self.tls = tls
        self.cookie = "__Host-sbcauth" if tls else "sbcauth-console"
        self.device_cookie = "__Secure-sbcauth-device" if tls else "sbcauth-console-device"
        self._socket = socket
        self.accounts = Accounts(accounts_file(self.config()), hasher)
        self.sessions = Sessions(self.accounts)
        self.logins = Logins("console", self.accounts.verify)
        self.devices = Devices(self.accounts)
        self.device_logins = Logins("console-device", self.accounts.verify)
        self.tokens = Tokens(tokens_file(self.config()), clock)
        self.token_logins = Logins("console-token", self.tokens.verify, _REQUESTS)
        self.templates: Environment = templates()
        self.watch = Watch(self.server, self.cluster, clock)
        self.total = Total()
        self._users = Lock()
        self._cluster: ClusterSettings | None = None
        self._cluster_at = 0

    def config(self) -> Config:
        """Return the configuration as it stands in the file; raises ConfigError."""
        return load(self.file, self.environment)

    def cluster(self) -> ClusterSettings | None:
        """Return what the file says of a cluster, read again when it has changed."""
        with suppress(ConfigError, OSError):
            changed_at = self.file.stat().st_mtime_ns
            if changed_at != self._cluster_at:
                self._cluster = self.config().cluster
                self._cluster_at = changed_at
        return self._cluster

    def who(self, headers: Headers) -> str:
        """Return whose session or token a request has; nothing for a stranger's."""
        try:
            if given := given_token(headers):
                return f"token {given[0]}" if self.tokens.verify(*given) else ""
            cookie = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
            session = self.sessions.find(cookie, self.clock(), renews=False)
        except SbcAuthError:  # of a file that cannot be read: who is asked next says so
            return ""
        return f"account {session.account}" if session else ""

    def server(self) -> Rpc:
        """Return the running server."""
        return Rpc(self._socket) if self._socket else server_of(self.file)

    @contextmanager
    def users(self, config: Config) -> Iterator[UserTable]:
        """Yield User Info; one visit at a time has it."""
        with self.alone(), UserTable(config.database, config.ha1_key_file) as table:
            yield table

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other visit use User Info meanwhile: peewee's model is bound to one at a time."""
        with self._users:
            yield
