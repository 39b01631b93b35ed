"""The rules of classification: what is tried for requests from an address, in which order.

A rule's address is an IPv4 or IPv6 prefix; rules that fit are tried from the most specific to the
least:

1. the address and port of a server in a Proxy Set, or its address where the URI has no port
2. rules by the length of their prefix; among equals those that also name a port, a
   transport, a host, then the order of the file
3. an address in a Proxy Set whose URI has a port, from another port (peers send over TCP from
   any), ranks after the rules that name that very address
4. where several IP Groups have one edge proxy (a load balancer), the address that it tells of the
   phone decides between them, by the same rules

The table is built once. A look-up costs a dictionary access for each prefix length in use, and
the answer for a source address is remembered.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from operator import itemgetter
from typing import NamedTuple

from sbcauth.policy.ip_groups import ClassificationRule, IPGroup, RuleAction
from sbcauth.policy.request import Request
from sbcauth.policy.targets import host_of
from sbcauth.policy.user_agents import star_pattern


class Tried(NamedTuple):
    """What is tried in its turn: requests from `network` that fit are of `ip_group`.

    `rule` is that of the file; None for a server of a Proxy Set, or a proxy at the edge, of which
    `port` alone may count. An empty `ip_group` denies them.
    """

    network: str
    ip_group: str
    port: int | None
    rule: ClassificationRule | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule made ready to be tried; it leads to `group`, or to nothing where it denies."""

    group: IPGroup | None
    rule: ClassificationRule | None
    port: int | None
    transport: str | None
    from_host: re.Pattern[str] | None
    request_uri_host: re.Pattern[str] | None
    is_edge: bool = False

    @property
    def has_conditions(self) -> bool:
        """Tell whether more than the address decides."""
        conditions = (self.port, self.transport, self.from_host, self.request_uri_host)
        return any(condition is not None for condition in conditions)

    @property
    def names_hosts(self) -> bool:
        """Tell whether the hosts in a request decide."""
        return self.from_host is not None or self.request_uri_host is not None

    def fits_place(self, port: int, transport: str) -> bool:
        """Tell whether it fits by what is known before a request is read."""
        return (self.port is None or self.port == port) and (
            self.transport is None or self.transport == transport
        )

    def fits(self, request: Request) -> bool:
        """Tell whether it fits a request from its address."""
        return self.fits_place(request.source_port, request.transport) and self.fits_hosts(request)

    def fits_hosts(self, request: Request) -> bool:
        """Tell whether it fits by the hosts in From and Request-URI."""
        return (
            self.from_host is None or any(map(self.from_host.match, request.sender_hosts))
        ) and (
            self.request_uri_host is None
            or bool(self.request_uri_host.match(host_of(request.request_uri)))
        )


_Rank = tuple[int, ...]
_REMEMBERED_SOURCES = 10_000


class RuleTable:
    """The rules of all IP Groups, by prefix."""

    def __init__(self, groups: Iterable[IPGroup]) -> None:
        self._prefixes: dict[tuple[int, int], dict[int, list[tuple[_Rank, Candidate]]]] = {}
        for group in groups:
            self._add(group)
        self._known: dict[str, tuple[Candidate, ...]] = {}

    def at(self, source: str) -> tuple[Candidate, ...]:
        """Return what may fit requests from `source`, the most specific first."""
        candidates = self._known.get(source)
        if candidates is None:
            candidates = self.find(source)
            if len(self._known) >= _REMEMBERED_SOURCES:
                self._known.clear()
            self._known[source] = candidates
        return candidates

    def in_order(self) -> list[Tried]:
        """Return all that is tried, in the order in which it is, the first that fits counts."""
        found = [
            (rank, ip_network((prefix << bits - length, length)), candidate)
            for (version, length), networks in self._prefixes.items()
            for bits in [32 if version == 4 else 128]
            for prefix, candidates in networks.items()
            for rank, candidate in candidates
        ]
        found.sort(key=lambda each: each[0])
        return [tried(network, candidate) for _, network, candidate in found]

    def find(self, source: str) -> tuple[Candidate, ...]:
        """Return what `at` returns, and remember nothing."""
        version, bits, address = _as_number(source)
        found: list[tuple[_Rank, Candidate]] = []
        for (its, length), networks in self._prefixes.items():
            if its == version:
                found += networks.get(address >> bits - length, ())
        if len(found) > 1:
            found.sort(key=itemgetter(0))
        return tuple(candidate for _, candidate in found)

    def _add(self, group: IPGroup) -> None:
        for server in group.proxy_set:
            try:
                host = ip_network(server.host)
            except ValueError:
                continue  # a name: classified by rules
            peer = Candidate(group, None, server.port, None, None, None)
            self._insert(host, (0, server.port is None), peer)
            if server.port is not None:
                any_port = Candidate(group, None, None, None, None, None)
                self._insert(host, (1, -host.prefixlen, 1), any_port)
        for edge in group.edge_proxies:
            behind = Candidate(group, None, None, None, None, None, is_edge=True)
            self._insert(edge, (1, -edge.prefixlen, 1), behind)
        for rule in group.classification:
            allowed = group if rule.action is RuleAction.ALLOW else None
            candidate = Candidate(
                allowed,
                rule,
                rule.port,
                rule.transport,
                _host_pattern(rule.from_host),
                _host_pattern(rule.request_uri_host),
            )
            conditions = (rule.port, rule.transport, rule.from_host, rule.request_uri_host)
            rank = (1, -rule.address.prefixlen, 0, *(value is None for value in conditions))
            self._insert(rule.address, rank, candidate)

    def _insert(
        self, network: IPv4Network | IPv6Network, rank: _Rank, candidate: Candidate
    ) -> None:
        networks = self._prefixes.setdefault((network.version, network.prefixlen), {})
        prefix = int(network.network_address) >> network.max_prefixlen - network.prefixlen
        networks.setdefault(prefix, []).append((rank, candidate))


def _as_number(source: str) -> tuple[int, int, int]:
    """Return the IP version of an address, how many bits it has, and itself as a number."""
    if ":" not in source:
        return 4, 32, int(IPv4Address(source))
    address = IPv6Address(source.strip("[]"))
    mapped = address.ipv4_mapped
    return (4, 32, int(mapped)) if mapped else (6, 128, int(address))


def tried(network: IPv4Network | IPv6Network, candidate: Candidate) -> Tried:
    """Return a candidate as the configuration has it, for requests from `network`."""
    named = candidate.rule.address if candidate.rule else network
    group = candidate.group.name if candidate.group else ""
    return Tried(str(named), group, candidate.port, candidate.rule)


def _host_pattern(pattern: str | None) -> re.Pattern[str] | None:
    return star_pattern(pattern) if pattern else None  # `[` begins an IPv6 address
