"""The values of sbcauth.yaml that name hosts: addresses, prefixes, and URIs of servers."""

import re
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from sbcauth.config.values import shown
from sbcauth.policy.ip_groups import ProxyAddress

_SERVICE_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?(/[!-~]*)?", re.IGNORECASE | re.ASCII
)
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?", re.IGNORECASE)
_SOURCE_PREFIX = 64
_SIP_URI = re.compile(
    r"sips?:(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::([0-9]{1,5}))?(?:;transport=(udp|tcp|tls|ws|wss))?",
    re.IGNORECASE | re.ASCII,
)


def prefix(value: Any) -> IPv4Network | IPv6Network:
    """Return an address or prefix without host bits."""
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not an address or prefix, such as 192.0.2.0/24")
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not an address or prefix, such as 192.0.2.0/24") from None
    raise ValueError(f"{value} has host bits set; the prefix is {network}")


def sources(value: Any) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return addresses or prefixes that are whole sources; see `source_of`."""
    networks = tuple(map(prefix, value if isinstance(value, list) else [value]))
    for network in networks:
        if network.version == 6 and network.prefixlen > _SOURCE_PREFIX:
            raise ValueError(f"{network} is within a source, which is an IPv6 prefix of 64 bits")
    return networks


def networks(value: Any) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return addresses or prefixes; one may stand without a list."""
    return tuple(map(prefix, value if isinstance(value, list) else [value]))


def address(value: Any) -> str:
    """Return an IPv4 or IPv6 address in its one spelling."""
    if isinstance(value, str):
        with suppress(ValueError):
            return str(ip_address(value))
    raise ValueError(f"{shown(value)} is not an IPv4 or IPv6 address")


def proxy_set(value: Any) -> tuple[ProxyAddress, ...]:
    """Return the servers that SIP URIs name; one may stand without a list."""
    items = value if isinstance(value, list) else [value]
    return tuple(map(_proxy_address, items))


def _proxy_address(uri: Any) -> ProxyAddress:
    match = _SIP_URI.fullmatch(uri) if isinstance(uri, str) else None
    if match is None:
        example = "sip:192.0.2.1:5060;transport=tcp"
        raise ValueError(f"{shown(uri)} is not a SIP URI of a host, such as {example}")
    host, port = match[1].strip("[]"), int(match[2]) if match[2] else None
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"{uri!r}: {port} is not within 1..65535")
    if match[1][0] == "[" or host.replace(".", "").isdigit():
        try:
            ip_address(host)
        except ValueError:
            raise ValueError(f"{uri!r}: {host} is not an IPv4 or IPv6 address") from None
    return ProxyAddress(uri, host, port)


def service_urls(value: Any) -> tuple[str, ...]:
    """Return the URLs of services: https, or http to this very machine."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        match = _SERVICE_URL.fullmatch(item) if isinstance(item, str) else None
        if match is None:
            raise ValueError("must be URLs such as https://auth.example.com/sbcauth")
        if match[1].lower() == "http" and not match[2].startswith(("127.", "[::1]", "localhost")):
            raise ValueError("must be https (http is for services of this machine alone)")
    return tuple(items)


def origins(value: Any) -> tuple[str, ...]:
    """Return the origins of web pages as browsers send them (RFC 6454, 6.2); `*` is any."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        if item != "*" and not (isinstance(item, str) and _ORIGIN.fullmatch(item)):
            raise ValueError("must be origins such as https://phone.example.com")
    return tuple(item.lower() for item in items)
