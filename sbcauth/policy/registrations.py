"""Who is registered, and where: what the registrar knows, as far as a decision needs it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from sbcauth.policy.request import Request


class Binding(NamedTuple):
    """A registered Contact: where its owner is reached.

    `connection` is the number of the connection by which it registered, 0 over UDP. Behind an edge
    proxy (`by_path`) many are reached by one address.
    """

    address: str
    port: int
    transport: str
    connection: int = 0
    by_path: bool = False

    def is_flow_of(self, request: Request) -> bool:
        """Tell whether the request comes by the very flow that the Contact was registered by."""
        if self.by_path or self.transport != request.transport or self.address != _address(request):
            return False
        if request.transport == "udp":
            return self.port == request.source_port
        return self.connection == request.connection != 0

    def shares_address(self, request: Request) -> bool:
        """Tell whether the request comes from the address of a Contact that has a connection."""
        streams = self.transport != "udp" and request.transport != "udp"
        return streams and not self.by_path and self.address == _address(request)


class Registrations(Protocol):
    """The registrar's bindings. A user is the user part of an address of record, unescaped."""

    def of(self, user: str, realm: str) -> Sequence[Binding]:
        """Return the Contacts of an address of record."""

    def owner_of(self, address: str, port: int, transport: str) -> tuple[str, str]:
        """Return the address of record that registered from there last, and its IP Group.

        Over UDP that is a flow, else an address. Both are empty where nobody did, or several did.
        """


class Nobody:
    """No registrar is known: nobody is registered."""

    def of(self, user: str, realm: str) -> Sequence[Binding]:
        """Return no Contact."""
        return ()

    def owner_of(self, address: str, port: int, transport: str) -> tuple[str, str]:
        """Return nobody."""
        return "", ""


def _address(request: Request) -> str:
    return request.source_address.strip("[]")
