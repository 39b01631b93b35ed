"""What comes in: one SIP request, as far as authentication is concerned."""

import re
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

AUTHORIZATION, PROXY_AUTHORIZATION = "Authorization", "Proxy-Authorization"
"""The header fields that have credentials: the answers to 401 and to 407 (RFC 3261, 22.1)."""


_NOWHERE = "anonymous.invalid"
_ADDRESS = re.compile(r"sips?:(?:([^@<>\s]*)@)?(\[[^]]*\]|[^@:;?<>\s]*)", re.IGNORECASE)


def user_and_host(text: str) -> tuple[str, str]:
    """Return the user part and the host of the first SIP URI in `text`; empty where there is none.

    A password in the user part is left out (RFC 3261, 19.1.1).
    """
    found = _ADDRESS.search(text)
    return ((found[1] or "").partition(":")[0], found[2]) if found else ("", "")


_VIA = re.compile(
    r"\s*SIP\s*/\s*2\.0\s*/\s*(\w+)\s+(\[[^]]*\]|[^;:,\s]*)(?:\s*:\s*(\d{1,5}))?([^,]*)"
)
_RECEIVED = re.compile(r";\s*received\s*=\s*\[?([0-9A-Fa-f.:]+)")
_RPORT = re.compile(r";\s*rport\s*=\s*(\d{1,5})")


def phone_behind(vias: tuple[str, ...]) -> tuple[str, int, str]:
    """Return address, port and transport of who sent a request to the proxy of the first Via.

    The address is empty where no proxy stands between, or where it tells none.
    """
    found = _VIA.findall(", ".join(vias))
    if len(found) < 2:
        return "", 0, ""
    transport, host, port, parameters = found[1]
    received, rport = _RECEIVED.search(parameters), _RPORT.search(parameters)
    try:
        address = str(ip_address(received[1] if received else host.strip("[]")))
    except ValueError:
        return "", 0, ""
    number = int(rport[1] if rport else port or 5060)
    return address, number if number < 65536 else 0, transport.lower()


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

    `connection` is the number of the connection that it came by, 0 over UDP; `has_route` tells of a
    Route. `event`, `preferred_identity` and `user_agent` are header fields, empty where there are
    none; `asserted_identities` are those of P-Asserted-Identity, and `vias` those of Via.
    `edge` is the address of the edge proxy that it came by, if any.

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
    event: str = ""
    preferred_identity: str = ""
    connection: int = 0
    has_route: bool = False
    vias: tuple[str, ...] = ()
    edge: str = ""
    asserted_identities: tuple[str, ...] = ()
    user_agent: str = ""

    @property
    def claimed_user(self) -> str:
        """Return the user part of the address of record that the request speaks for."""
        return self.to_user if self.method == "REGISTER" else self.from_user

    @property
    def is_anonymous(self) -> bool:
        """Tell whether the From is nobody's (RFC 3323, 4.1): it may be anybody's call."""
        host = self.from_host.lower()
        anonymous = host in ("", _NOWHERE) or self.from_user.lower() == "anonymous"
        return anonymous and self.method != "REGISTER"

    @property
    def sender_user(self) -> str:
        """Return the user part of who sends the request, as far as it says so.

        An anonymous From is that of the P-Preferred-Identity (RFC 3325, 9.2); empty for nobody.
        """
        if not self.is_anonymous:
            return self.claimed_user
        return user_and_host(self.preferred_identity)[0]

    @property
    def sender_hosts(self) -> tuple[str, ...]:
        """Return the hosts by which the sender is classified, the first that fits any rule."""
        if not self.is_anonymous:
            return (self.from_host,)
        return (user_and_host(self.preferred_identity)[1], user_and_host(self.request_uri)[1])

    def fields(self, name: str) -> tuple[str, ...]:
        """Return the values of the header fields `name`, one of the two that have credentials."""
        return self.authorization if name == AUTHORIZATION else self.proxy_authorization

    def first(self, name: str) -> str | None:
        """Return the value of the first header field `name`, or None where there is none.

        May raise UnicodeDecodeError where it is no UTF-8: `fields` has it then.
        """
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

    def as_told_by_edge(self) -> "Request":
        """Return the request as of the phone behind the edge proxy that has relayed it.

        Where that is, the edge proxy's neighbour in Via says (RFC 3261, 18.2.1).
        """
        address, port, transport = phone_behind(self.vias)
        return self._replace(
            edge=self.source_address,
            source_address=address or self.source_address,
            source_port=port or self.source_port,
            transport=transport or self.transport,
        )

    def begin_transaction(self) -> None:
        """Have a transaction answer the request when it comes again, before it leaves a trace.

        Raises Retransmission where it has come again. A request of no server has no transaction.
        """

    def begin_registration(self, nonce_count: str) -> str | None:
        """Have it be known that a registration without a transaction is being carried out.

        It is called before the nonce count, which no other request has, is used up. Returns by
        which Contact and from where the registrar will show it, or None where it will not, and the
        request needs a transaction.
        """
        return "" if self.leaves_binding else None

    def usual_contact(self) -> str:
        """Return what `begin_registration` has returned, if that is nothing to look at twice.

        The phone has one Contact then, which is where it registers from; else this is empty.
        """
        return ""

    def absorb_repeat(self) -> None:
        """Raise Retransmission where the transaction of an earlier copy answers the request."""

    def repeat_as_query(self, local_user: str, realm: str) -> bool:
        """Tell whether the registrar has carried out this very request before.

        It then asks for the user's bindings and changes none (RFC 3261, 10.2.3), so that the
        phone gets the answer that it has lost. Raises Retransmission where it cannot be touched.
        """
        return False


def source_of(address: str) -> str:
    """Return what counts as one source: an IPv4 address, or an IPv6 prefix of 64 bits."""
    if ":" not in address:
        return address
    six = IPv6Address(address.strip("[]"))
    return str(six.ipv4_mapped or ip_network(f"{six}/64", strict=False))
