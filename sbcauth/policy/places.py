"""Places: where a party of a dialog is reached, and where a request comes from.

In a seal a place is, in bytes:

    transport 1 (with 128: IPv6, with 64: a node) · port 2 · address 4 or 16 · node 3
"""

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple, Self

_TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss", "sctp")
_IPV6, _AT_NODE = 128, 64
_NODE_SIZE = 3


class Place(NamedTuple):
    """Where a party is reached: an address in its one spelling, without brackets.

    `node` is the name of the node of a cluster that reaches it there, six hexadecimal digits; empty
    for this one.
    """

    transport: str
    address: str
    port: int
    node: str = ""

    @classmethod
    def of(cls, transport: str, address: str, port: int) -> Self:
        """Return the place; raises ValueError where it is none on this network."""
        lower = transport.lower()
        if lower not in _TRANSPORTS or not 0 < port < 1 << 16:
            raise ValueError("no place")
        return cls(lower, canonical(address), port)

    @property
    def uri(self) -> str:
        """Return the SIP URI that leads there."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        name = self.transport.replace("wss", "ws")  # a URI has one name for both (RFC 7118, 5.2)
        transport = "" if name == "udp" else f";transport={name}"
        return f"sip:{host}:{self.port}{transport}"

    def admits(self, source: "Place") -> bool:
        """Tell whether a request from `source` comes from here.

        Over UDP by address and port; a connection has a port of its own, and may be a new one.
        """
        if self.address != source.address:
            return False
        return source.transport != "udp" or (self.transport == "udp" and self.port == source.port)

    def __bytes__(self) -> bytes:
        """Return it as it is sealed."""
        packed = _packed(self.address)
        kind = _TRANSPORTS.index(self.transport) | (_IPV6 if len(packed) > 4 else 0)
        if self.node:
            kind |= _AT_NODE
        return bytes((kind, self.port >> 8, self.port & 255)) + packed + bytes.fromhex(self.node)


def place_at(content: bytes, start: int) -> tuple[Place, int]:
    """Return the place that begins at `start` of what was sealed, and where it ends.

    Raises IndexError or ValueError where there is none.
    """
    kind, after = content[start], start + 3
    port = int.from_bytes(content[start + 1 : after], "big")
    transport = _TRANSPORTS[kind & ~_IPV6 & ~_AT_NODE]
    if kind & _IPV6:
        end = after + 16
        address = str(IPv6Address(content[after:end]))
    else:
        end = after + 4
        a, b, c, d = content[after:end]
        address = f"{a}.{b}.{c}.{d}"
    if not kind & _AT_NODE:
        return Place(transport, address, port), end
    node = content[end : end + _NODE_SIZE].hex()
    return Place(transport, address, port, node), end + _NODE_SIZE


def canonical(address: str) -> str:
    """Return an IP address in its one spelling; raises ValueError where it is none."""
    if ":" in address:
        return _canonical_ipv6(address)
    _packed(address)  # an IPv4 address has one
    return address


@lru_cache(maxsize=2000)
def _canonical_ipv6(address: str) -> str:
    return str(ip_address(address.strip("[]")))


def _packed(address: str) -> bytes:
    if ":" in address:
        return ip_address(address).packed
    if not _IPV4(address):
        raise ValueError("no IP address")
    return bytes(map(int, address.split(".")))


_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}").fullmatch
"""An IPv4 address in its one spelling: `ipaddress` takes eight calls to say so."""
