"""The services that an IP Group asks by HTTPS: addresses, secret, patience."""

from dataclasses import dataclass, field
from pathlib import Path

from sbcauth.digest.credentials import Credentials
from sbcauth.http.messages import question
from sbcauth.policy.request import Request


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The services in the order in which they are asked; `timeout` and `dead_time` in seconds.

    Questions and replies are signed with `secret`. `ca_file` has the certificates that a service's
    is checked against, in PEM; those of the system where there is none.
    """

    urls: tuple[str, ...]
    secret: str = field(repr=False)
    timeout: float = 1.0
    tries: int = 2
    dead_time: int = 30
    ca_file: Path | None = None

    def question(self, request: Request, credentials: Credentials) -> bytes:
        """Return what a service is asked, as JSON; raises BadCredentials where it cannot be."""
        return question(request, credentials)

    @property
    def patience(self) -> float:
        """Return how long it takes until no service has answered, in seconds."""
        return len(self.urls) * self.tries * self.timeout
