"""What comes in: one SIP request, as far as authentication is concerned."""

from ipaddress import IPv6Address, ip_network
from typing import NamedTuple

AUTHORIZATION, PROXY_AUTHORIZATION = "Authorization", "Proxy-Authorization"
"""The header fields that have credentials: the answers to 401 and to 407 (RFC 3261, 22.1)."""


class Party(NamedTuple):
    """Who sends a request within a dialog, as the dialog's own seals say.

    `account` is its address of record's user part, without escapes; empty for a server. Such a
    request is of `ip_group`, whatever its From says. `must_answer` where it comes from another
    place than its party's, so that the account has to be proved whatever its method.
    """

    ip_group: str
    account: str = ""
    must_answer: bool = False


class Request(NamedTuple):
    """A SIP request, read once at the door.

    Text is decoded from UTF-8 with `surrogateescape`, so that bytes that are no
    UTF-8 survive and can be hashed as they were sent. `method` is in upper case, as
    Kamailio routes it whatever its case. `from_user` and `to_user` are as on the wire,
    escapes included. Several header fields of one name are
    several values. `body` holds the exact bytes where the credentials ask for
    `auth-int`, and is empty otherwise. `party` is known of requests within a dialog.

    `leaves_binding` tells of a REGISTER that this server's own registrar keeps: its repetition is
    known by the binding.
    """

    method: str
    request_uri: str
    source_address: str
    source_port: int
    transport: str
    from_user: str
    from_host: str
    to_user: str
    in_dialog: bool
    call_id: str
    authorization: tuple[str, ...] = ()
    proxy_authorization: tuple[str, ...] = ()
    body: bytes = b""
    party: Party | None = None
    leaves_binding: bool = False

    @property
    def claimed_user(self) -> str:
        """Return the user part of the address of record that the request speaks for."""
        return self.to_user if self.method == "REGISTER" else self.from_user

    def fields(self, name: str) -> tuple[str, ...]:
        """Return the values of the header fields `name`, one of the two that have credentials."""
        return self.authorization if name == AUTHORIZATION else self.proxy_authorization

    def first(self, name: str) -> str | None:
        """Return the value of the first header field `name`, or None where there is none."""
        return next(iter(self.fields(name)), None)

    def has_second(self, name: str) -> bool:
        """Tell whether there is more than one header field `name`."""
        return len(self.fields(name)) > 1

    @property
    def flow(self) -> str:
        """Return by which way it came: address, port and transport."""
        return f"{self.source_address}:{self.source_port}/{self.transport}"

    def comes_from_where_registered(self, local_user: str, realm: str) -> bool:
        """Tell whether it comes by the very flow from which a user is registered.

        `local_user` is without escapes. A request of no server comes from nowhere.
        """
        return False

    def begin_transaction(self) -> None:
        """Have the request absorbed when it comes again; called before any of it is remembered.

        Raises Absorbed where it has come again. A request of no server has no transaction.
        """

    def begin_registration(self, nonce_count: str) -> None:
        """Have it be known that a registration without a transaction is being carried out.

        It is called before the nonce count, which no other request has, is used up.
        """

    def absorb_repeat(self) -> None:
        """Raise Absorbed where the request has come before, and its transaction answers it."""

    def repeat_as_query(self, local_user: str, realm: str) -> bool:
        """Tell whether the registrar has carried out this very request before.

        It then asks for the user's bindings and changes none (RFC 3261, 10.2.3), so that the
        phone gets the answer that it has lost. Raises Absorbed where it cannot be touched.
        """
        return False


def source_of(address: str) -> str:
    """Return what counts as one source: an IPv4 address, or an IPv6 prefix of 64 bits."""
    if ":" not in address:
        return address
    six = IPv6Address(address.strip("[]"))
    return str(six.ipv4_mapped or ip_network(f"{six}/64", strict=False))
