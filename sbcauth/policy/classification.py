"""Classification: which IP Group a request comes from, and where those of an IP Group go.

The order in which rules are tried is that of rules.py.
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    IPGroup,
    IPGroupType,
)
from sbcauth.policy.request import Request, phone_behind
from sbcauth.policy.rules import Candidate, RuleTable, Tried, tried
from sbcauth.policy.targets import host_and_port, usual_port


class IPGroups:
    """The IP Groups by name, and the classification table."""

    def __init__(self, groups: Iterable[IPGroup]) -> None:
        self.by_name = {group.name: group for group in groups}
        self._rules = RuleTable(self.by_name.values())
        self._peers = {
            (_canonical(server.host), server.port or usual_port(server.uri)): group
            for group in reversed(self.by_name.values())
            for server in group.proxy_set
        }

    def classify(self, request: Request) -> IPGroup | None:
        """Return the IP Group that the request comes from, or None where it is unclassified."""
        candidates = self._rules.at(request.source_address)
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
        for each in self._rules.at(address):
            ours = each.group is None or each.group in behind
            if ours and each.fits_place(port, transport) and each.fits_hosts(request):
                return each.group
        return None

    def is_of_no_rule(self, request: Request) -> bool:
        """Tell whether no rule fits a request, not even one that denies."""
        return not any(each.fits(request) for each in self._rules.at(request.source_address))

    def of_all_from(self, address: str) -> IPGroup | None:
        """Return the IP Group that all requests from an address come from.

        None where that depends on more than the address.
        """
        candidates = self._rules.find(address)  # whoever asks remembers the answer
        if not candidates or candidates[0].has_conditions:
            return None
        if candidates[0].is_edge and len(_groups_behind(candidates)) > 1:
            return None
        return candidates[0].group

    def in_order(self) -> list[Tried]:
        """Return all that is tried, in the order in which it is, the first that fits counts."""
        return self._rules.in_order()

    def tried_at(self, address: str, port: int, transport: str) -> list[Tried]:
        """Return what may fit requests from here, in its order, up to the one that always does."""
        found = []
        for candidate in self._rules.at(address):
            if candidate.fits_place(port, transport):
                found.append(tried(ip_network(address), candidate))
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
        found = host_and_port(uri)
        return self.peer_at(*found) if found else None

    def fits(self, name: str, address: str, port: int, transport: str) -> bool:
        """Tell whether the IP Group `name` may send from here, whatever its requests say."""
        for candidate in self._rules.at(address):
            if candidate.fits_place(port, transport):
                if candidate.group is not None and candidate.group.name == name:
                    return True
                if not candidate.names_hosts:  # all from here are another's, or denied
                    return False
        return False

    def likely_at(self, address: str, port: int, transport: str) -> IPGroup | None:
        """Return the IP Group that requests from here are of, going by the place alone."""
        candidates = self._rules.at(address)
        found = (each for each in candidates if each.fits_place(port, transport))
        return next((candidate.group for candidate in found), None)


def _groups_behind(candidates: Iterable[Candidate]) -> list[IPGroup]:
    """Return the IP Groups whose edge proxy this is, in the order of the file."""
    return [each.group for each in candidates if each.is_edge and each.group]


def _canonical(host: str) -> str:
    """Return an address in its one spelling, or a name in lower case."""
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return host.lower()
