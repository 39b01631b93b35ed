"""Where the engine is that all nodes share: Redis or Valkey, alone or watched by Sentinels."""

from dataclasses import dataclass, field
from pathlib import Path

from sbcauth.digest.authorities import NonceAuthority

REDIS_PORT, SENTINEL_PORT = 6379, 26379


@dataclass(frozen=True, slots=True)
class EnginePlace:
    """Where the engine is: one of `hosts` (with ports), or the socket `path` on this machine.

    With a `name`, the hosts are Sentinels, which know by it where the primary is.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    name: str = ""
    database: int = 0
    tls: bool = False

    def __str__(self) -> str:
        """Return it as a URL."""
        scheme = "unix" if self.path else f"redi{'ss' if self.tls else 's'}"
        if self.path:
            return f"{scheme}://{self.path}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                         for host, port in self.hosts)  # fmt: skip
        sentinel = "+sentinel" if self.name else ""
        parts = (f"{scheme}{sentinel}://{hosts}", self.name, str(self.database or ""))
        return "/".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How a node works with the engine.

    `engine_timeout` (seconds) is the longest that a SIP worker waits. Without the engine, a node
    counts with its share of `nodes`.
    """

    nodes: int = 3
    engine: EnginePlace
    engine_username: str | None = None
    engine_password: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    engine_ca_file: Path | None = None
    engine_timeout: float = 0.05
    nonces: NonceAuthority = NonceAuthority.AUTO
