"""Classification: which IP Group a request comes from, and where those of an IP Group go.

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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from operator import itemgetter
from typing import NamedTuple

from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    ClassificationRule,
    IPGroup,
    IPGroupType,
    RuleAction,
)
from sbcauth.policy.request import Request, phone_behind
from sbcauth.policy.user_agents import star_pattern


@dataclass(frozen=True, slots=True)
class _Candidate:
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
        conditions = (self.port, self.transport, self.from_host, self.request_uri_host)
        return any(condition is not None for condition in conditions)

    @property
    def names_hosts(self) -> bool:
        return self.from_host is not None or self.request_uri_host is not None

    def fits_place(self, port: int, transport: str) -> bool:
        return (self.port is None or self.port == port) and (
            self.transport is None or self.transport == transport
        )

    def fits(self, request: Request) -> bool:
        return self.fits_place(request.source_port, request.transport) and self.fits_hosts(request)

    def fits_hosts(self, request: Request) -> bool:
        return (
            self.from_host is None or any(map(self.from_host.match, request.sender_hosts))
        ) and (
            self.request_uri_host is None
            or bool(self.request_uri_host.match(host_of(request.request_uri)))
        )


class Tried(NamedTuple):
    """What is tried in its turn: requests from `network` that fit are of `ip_group`.

    `rule` is that of the file; None for a server of a Proxy Set, or a proxy at the edge, of which
    `port` alone may count. An empty `ip_group` denies them.
    """

    network: str
    ip_group: str
    port: int | None
    rule: ClassificationRule | None


_Rank = tuple[int, ...]
_REMEMBERED_SOURCES = 10_000


class IPGroups:
    """The IP Groups by name, and the classification table."""

    def __init__(self, groups: Iterable[IPGroup]) -> None:
        self.by_name = {group.name: group for group in groups}
        self._prefixes: dict[tuple[int, int], dict[int, list[tuple[_Rank, _Candidate]]]] = {}
        for group in self.by_name.values():
            self._add(group)
        self._known: dict[str, tuple[_Candidate, ...]] = {}
        self._peers = {
            (_canonical(server.host), server.port or _usual_port(server.uri)): group
            for group in reversed(self.by_name.values())
            for server in group.proxy_set
        }

    def classify(self, request: Request) -> IPGroup | None:
        """Return the IP Group that the request comes from, or None where it is unclassified."""
        candidates = self._candidates(request.source_address)
        for candidate in candidates:
            if candidate.fits(request):
                behind = _groups_behind(candidates) if candidate.is_edge else ()
                return self._told(request, behind) if len(behind) > 1 else candidate.group
        return None

    def _told(self, request: Request, behind: Sequence[IPGroup]) -> IPGroup | None:
        """Return which IP Group a request is of that came by an edge proxy of several.

        What the edge proxy sends itself is of the first.
        """
        address, port, transport = phone_behind(request.vias)
        if not address:
            return behind[0]
        for each in self._candidates(address):
            ours = each.group is None or each.group in behind
            if ours and each.fits_place(port, transport) and each.fits_hosts(request):
                return each.group
        return None

    def is_of_no_rule(self, request: Request) -> bool:
        """Tell whether no rule fits a request, not even one that denies."""
        return not any(each.fits(request) for each in self._candidates(request.source_address))

    def of_all_from(self, address: str) -> IPGroup | None:
        """Return the IP Group that all requests from an address come from.

        None where that depends on more than the address.
        """
        candidates = self._find_candidates(address)  # whoever asks remembers the answer
        if not candidates or candidates[0].has_conditions:
            return None
        if candidates[0].is_edge and len(_groups_behind(candidates)) > 1:
            return None
        return candidates[0].group

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
        return [_tried(network, candidate) for _, network, candidate in found]

    def tried_at(self, address: str, port: int, transport: str) -> list[Tried]:
        """Return what may fit requests from here, in its order, up to the one that always does."""
        found = []
        for candidate in self._candidates(address):
            if candidate.fits_place(port, transport):
                found.append(_tried(ip_network(address), candidate))
                if not candidate.names_hosts:
                    break
        return found

    def realms_reached(self, name: str) -> tuple[str, ...]:
        """Return the realms in which requests of the IP Group `name` find users, its own first.

        A `user` group reaches its own and those that it names, a `server` group those of the IP
        Groups that are routed to it.
        """
        return tuple(dict.fromkeys(each.realm for each in self._reached(name)))

    def out_of_reach(self, name: str) -> frozenset[str]:
        """Return the IP Groups of phones that share a realm with what `name` reaches, and are not.

        A `user` group reaches all of its own realm.
        """
        group, reached = self.by_name[name], self._reached(name)
        own = group.realm if group.type is IPGroupType.USER else None
        realms = {each.realm for each in reached} - {own}
        return frozenset(
            each.name
            for each in self.by_name.values()
            if each.type is IPGroupType.USER and each.realm in realms and each not in reached
        )

    def _reached(self, name: str) -> list[IPGroup]:
        group = self.by_name[name]
        if group.type is IPGroupType.SERVER:
            routed = [each for each in self.by_name.values() if each.route_to == name]
        else:
            routed = [group]
        return routed + [self.by_name[each] for each in group.reaches if each in self.by_name]

    def next_hops(self, name: str) -> tuple[str, ...]:
        """Return the URIs of the servers that requests of the IP Group `name` are routed to."""
        group = self.by_name[name]
        return self.servers_of(group.route_to) if group.route_to else ()

    def servers_of(self, name: str) -> tuple[str, ...]:
        """Return the URIs of the servers of the IP Group `name`."""
        return tuple(server.uri for server in self.by_name[name].proxy_set)

    def peer_answered(self, name: str) -> IPGroup | None:
        """Return the IP Group whose challenges we answer for senders of `name`, if any.

        It is where `name` is routed to, where one of both is in mode sbc-as-client.
        """
        group = self.by_name[name]
        if group.route_to is None:
            return None
        peer = self.by_name[group.route_to]
        modes = (group.authentication_mode, peer.authentication_mode)
        return peer if AuthenticationMode.SBC_AS_CLIENT in modes else None

    def peer_at(self, address: str, port: int) -> IPGroup | None:
        """Return the IP Group whose Proxy Set has a server at this address and port."""
        return self._peers.get((_canonical(address), port))

    def peer_of(self, uri: str) -> IPGroup | None:
        """Return the IP Group whose Proxy Set has the server that a SIP URI leads to."""
        match = _URI_HOST.match(uri)
        if not match:
            return None
        port = _URI_PORT.match(uri, match.end())
        return self.peer_at(match[1], int(port[1]) if port else _usual_port(uri))

    def fits(self, name: str, address: str, port: int, transport: str) -> bool:
        """Tell whether the IP Group `name` may send from here, whatever its requests say."""
        for candidate in self._candidates(address):
            if candidate.fits_place(port, transport):
                if candidate.group is not None and candidate.group.name == name:
                    return True
                if not candidate.names_hosts:  # all from here are another's, or denied
                    return False
        return False

    def likely_at(self, address: str, port: int, transport: str) -> IPGroup | None:
        """Return the IP Group that requests from here are of, going by the place alone."""
        candidates = self._candidates(address)
        found = (each for each in candidates if each.fits_place(port, transport))
        return next((candidate.group for candidate in found), None)

    def _candidates(self, source: str) -> tuple[_Candidate, ...]:
        """Return what may fit requests from `source`, the most specific first."""
        candidates = self._known.get(source)
        if candidates is None:
            candidates = self._find_candidates(source)
            if len(self._known) >= _REMEMBERED_SOURCES:
                self._known.clear()
            self._known[source] = candidates
        return candidates

    def _find_candidates(self, source: str) -> tuple[_Candidate, ...]:
        version, bits, address = _as_number(source)
        found: list[tuple[_Rank, _Candidate]] = []
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
            peer = _Candidate(group, None, server.port, None, None, None)
            self._insert(host, (0, server.port is None), peer)
            if server.port is not None:
                any_port = _Candidate(group, None, None, None, None, None)
                self._insert(host, (1, -host.prefixlen, 1), any_port)
        for edge in group.edge_proxies:
            behind = _Candidate(group, None, None, None, None, None, is_edge=True)
            self._insert(edge, (1, -edge.prefixlen, 1), behind)
        for rule in group.classification:
            allowed = group if rule.action is RuleAction.ALLOW else None
            candidate = _Candidate(
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
        self, network: IPv4Network | IPv6Network, rank: _Rank, candidate: _Candidate
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


def _tried(network: IPv4Network | IPv6Network, candidate: _Candidate) -> Tried:
    named = candidate.rule.address if candidate.rule else network
    group = candidate.group.name if candidate.group else ""
    return Tried(str(named), group, candidate.port, candidate.rule)


def _groups_behind(candidates: Iterable[_Candidate]) -> list[IPGroup]:
    """Return the IP Groups whose edge proxy this is, in the order of the file."""
    return [each.group for each in candidates if each.is_edge and each.group]


def _host_pattern(pattern: str | None) -> re.Pattern[str] | None:
    return star_pattern(pattern) if pattern else None  # `[` begins an IPv6 address


_URI_HOST = re.compile(r"sips?:(?:[^@]*@)?(\[[^]]*\]|[^:;?>]*)", re.IGNORECASE)


def host_of(uri: str) -> str:
    """Return the host part of a SIP URI, or nothing where it is another URI (RFC 3261, 19.1.1)."""
    match = _URI_HOST.match(uri)
    return match[1] if match else ""


_URI_PORT = re.compile(r":(\d{1,5})(?![\d])")


def _usual_port(uri: str) -> int:
    """Return the port of a SIP URI that names none (RFC 3261, 19.1.2)."""
    lower = uri.lower()
    return 5061 if lower.startswith("sips:") or ";transport=tls" in lower else 5060


def _canonical(host: str) -> str:
    """Return an address in its one spelling, or a name in lower case."""
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return host.lower()
