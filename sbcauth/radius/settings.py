"""The RADIUS servers that an IP Group asks: addresses, secrets, patience."""

from dataclasses import dataclass, field

from sbcauth.digest.credentials import Credentials
from sbcauth.policy.request import Request
from sbcauth.radius.attributes import RadiusAttributes, access_request


@dataclass(frozen=True, slots=True)
class RadiusServer:
    """A RADIUS server's address, UDP port and shared secret."""

    address: str
    port: int
    secret: str = field(repr=False)

    def __str__(self) -> str:
        """Return the address and port, as the log has them."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RadiusSettings:
    """The servers in the order in which they are asked; `timeout` and `dead_time` in seconds."""

    servers: tuple[RadiusServer, ...]
    attributes: RadiusAttributes = RadiusAttributes.DRAFT_STERMAN
    timeout: float = 1.0
    tries: int = 2
    dead_time: int = 30

    def question(self, request: Request, credentials: Credentials) -> bytes:
        """Return the attributes of an Access-Request, as they are on the wire.

        Raises BadCredentials where RADIUS cannot carry a value.
        """
        return access_request(self.attributes, request, credentials)

    @property
    def patience(self) -> float:
        """Return how long it takes until no server has answered, in seconds."""
        return len(self.servers) * self.tries * self.timeout
