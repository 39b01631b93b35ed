"""Requests within a dialog: who sends one, whether it comes from there, and where it goes.

A party's place is where the dialog's seals say it is; an account's is also where it is registered
now; a server's is any address that its Proxy Set or rules fit (a Contact of its may name another of
them). Nothing else that a request says leads anywhere.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from sbcauth.policy.classification import IPGroups
from sbcauth.policy.ip_groups import AuthenticationMode, IPGroup, IPGroupType
from sbcauth.policy.places import Place
from sbcauth.policy.seals import Mark, OpenToken, Seals, Side
from sbcauth.policy.targets import base, host_of, part, place_of, token_of_route, with_inner

Bindings = Callable[[Side], Sequence[Place]]
"""Returns the places at which an account is registered now, the newest first."""

_NOWHERE = Place("udp", "0.0.0.0", 0)  # noqa: S104 - nobody listens there
"""The place of a server that is known by name alone."""


class Claims(NamedTuple):
    """What a request within a dialog says of itself; nothing of it is believed.

    `route` is its first Route header field. A `source` at another node is that node, which has
    judged the request and handed it on.
    """

    method: str
    route: str
    call_id: str
    from_tag: str
    to_tag: str
    request_uri: str
    source: Place


class Passage(NamedTuple):
    """A request on its way from one party of a dialog to the other.

    `is_at_home` tells that it comes from its party's place, `is_marked` that its Request-URI bears
    the mark of the other; `uri` is the Request-URI without it. `registered` tells of `place`, where
    the other is reached.
    """

    token: str
    sender: Side
    other: Side
    from_caller: bool
    is_at_home: bool
    is_marked: bool
    comes_from_user: bool
    goes_to_server: bool
    uri: str
    place: Place
    registered: bool


class Dialogs:
    """Judges requests within dialogs by their seals."""

    def __init__(self, seals: Seals, ip_groups: IPGroups) -> None:
        self.seals = seals
        self._ip_groups = ip_groups

    def judge(self, claims: Claims, bindings: Bindings, now: int) -> Passage | None:
        """Return the way of a request at `now` (seconds); None where we know no such dialog."""
        text = token_of_route(claims.route)
        token = self.seals.open_token(text, claims.call_id, now) if text else None
        if token is None:
            return None
        by_caller = token.is_of(claims.from_tag)
        if by_caller and claims.from_tag == claims.to_tag:  # as SIPp has it: the source tells
            by_caller = (
                not token.callee.place.node
                if claims.source.node
                else self.is_from(token.caller, claims.source, bindings)
            )
        elif not by_caller and not token.is_of(claims.to_tag):
            return None
        sender, other = (token.caller, token.callee) if by_caller else (token.callee, token.caller)
        if not sender.ip_group or not other.ip_group:
            return None  # removed since
        uri, sealed = part(claims.request_uri)
        mark = self._open_mark(sealed, claims)
        place, registered = other.place, other.registered
        if mark:
            place, registered, uri = mark.place, mark.registered, with_inner(uri, mark.inner)
        elif sealed:
            uri = claims.request_uri
        return Passage(
            text,
            sender,
            other,
            by_caller,
            bool(claims.source.node) or self.is_from(sender, claims.source, bindings),
            mark is not None,
            not self._is_server(sender),
            self._is_server(other),
            uri,
            place,
            registered,
        )

    def way(self, passage: Passage, next_route: str, bindings: Bindings) -> str | None:
        """Return the URI of the next hop; None where there is none.

        `next_route` is the URI of the Route after ours, if any. A server's own is followed where it
        leads to that server; a phone that has registered elsewhere is reached there.
        """
        other, place = passage.other, passage.place
        if passage.goes_to_server:
            further = self._server_at(other, next_route) if next_route else None
            if further:
                return further
            if place.port == 0:
                servers = self._ip_groups.by_name[other.ip_group].proxy_set
                return servers[0].uri if servers else None
            return place.uri
        place = self._place_of_phone(passage, bindings)
        return place.uri if place.port else None

    def node(self, passage: Passage, bindings: Bindings) -> str:
        """Return the name of the node that reaches the other party; empty for this one."""
        if not self.seals.is_of_cluster:
            return ""
        if passage.goes_to_server:
            return passage.other.place.node
        return self._place_of_phone(passage, bindings).node

    def _place_of_phone(self, passage: Passage, bindings: Bindings) -> Place:
        """Return where the other party is reached now, which is a phone."""
        place = passage.place
        if passage.registered or place.port == 0:
            places = bindings(passage.other)
            if places and place not in places:
                return places[0]
        return place

    def is_from(self, side: Side, source: Place, bindings: Bindings) -> bool:
        """Tell whether `source` is a place of this party."""
        if self._is_server(side):
            return self._fits(side, source)
        return side.place.admits(source) or any(place.admits(source) for place in bindings(side))

    def home(self, side: Side, contact: str, place: Place) -> Place:
        """Return where a party is reached whose Contact is this, and who is at `place`.

        A phone is there. A server may name another place that its Proxy Set or rules fit.
        """
        if not self._is_server(side):
            return place
        named = place_of(contact)
        if named and self._fits(side, named):
            return named
        if place.transport != "udp":  # its connection may be gone by then
            servers = map(place_of, (s.uri for s in self._group(side).proxy_set))
            known = (each for each in servers if each and each.address == place.address)
            return next(known, place)
        return place

    def callee_at(self, uri: str, route_to: str, account: str, realm: str) -> Side:
        """Return whom a request goes to that has been routed to `uri`.

        `route_to` is the IP Group whose servers it was to go to, if any, and `account` the user
        of `realm` that it is for.
        """
        place = place_of(uri) or _NOWHERE
        groups = self._ip_groups
        named = groups.by_name.get(route_to)
        if named and any(server.uri == uri for server in named.proxy_set):
            return Side(named.name, "", place)
        peer = groups.peer_of(uri)
        if peer:
            return Side(peer.name, "", place)
        likely = groups.likely_at(place.address, place.port, place.transport)
        if likely is None or (likely.type is IPGroupType.USER and likely.realm != realm):
            users = (g for g in groups.by_name.values() if g.type is IPGroupType.USER)
            likely = next((group for group in users if group.realm == realm), likely)
        if likely is None:
            return Side("", account, place)
        is_server = likely.type is IPGroupType.SERVER
        return Side(likely.name, "" if is_server else account, place)

    def token_of_answer(
        self, texts: Sequence[str], call_id: str, source: Place, now: int
    ) -> tuple[str, OpenToken] | None:
        """Return the token among these that an answer from `source` belongs to.

        A call that comes by here twice has two.
        """
        opened = ((text, self.seals.open_token(text, call_id, now)) for text in texts)
        found = [(text, token) for text, token in opened if token]
        theirs = ((text, token) for text, token in found if self._may_answer(token, source))
        return next(theirs, found[0] if found else None)

    def is_answer_between(
        self, token: OpenToken, tag: str, source: Place, goes_to: Place | None, bindings: Bindings
    ) -> bool:
        """Tell whether an answer that comes late is the callee's, and goes to the caller."""
        return (
            goes_to is not None
            and token.is_of(tag)
            and self._is_at(token.callee, source, bindings)
            and self._is_at(token.caller, goes_to, bindings)
        )

    def may_cancel(self, source: Place, invited: Place, account: str, bindings: Bindings) -> bool:
        """Tell whether a CANCEL from `source` may end a call that `account` began at `invited`.

        It comes from the same place, over UDP its port too (a connection may be a new one). From
        elsewhere it may where both are of one server group, or are edge proxies of one IP Group,
        and where the caller is registered by now.
        """
        if source.transport == invited.transport and invited.admits(source):
            return True
        for group in self._ip_groups.by_name.values():
            if group.type is IPGroupType.SERVER:
                is_at = partial(self._fits, Side(group.name, "", _NOWHERE))
            else:
                is_at = partial(_is_edge, group)
            if is_at(source) and is_at(invited):
                return True
        caller = self._ip_groups.likely_at(invited.address, invited.port, invited.transport)
        if caller is None:
            return False
        places = bindings(Side(caller.name, account, invited))
        return any(place.transport == source.transport and place.admits(source) for place in places)

    def _is_at(self, side: Side, place: Place, bindings: Bindings) -> bool:
        """Tell whether a party is at this place, or at this node where it is one."""
        if not place.node:
            return self.is_from(side, place, bindings)
        places = (side.place, *bindings(side))
        return any(each.node == place.node for each in places)

    def withholds_from(self, name: str) -> str | None:
        """Return the realm in which the IP Group `name` answers us alone, if there is one."""
        group = self._ip_groups.by_name.get(name)
        return group.realm if group and proves(group) else None

    def _open_mark(self, sealed: str, claims: Claims) -> Mark | None:
        if not sealed:
            return None
        target = base(claims.request_uri)
        return self.seals.open_mark(sealed, claims.call_id, claims.to_tag, target)

    def _group(self, side: Side) -> IPGroup:
        return self._ip_groups.by_name[side.ip_group]

    def _is_server(self, side: Side) -> bool:
        group = self._ip_groups.by_name.get(side.ip_group)
        return group is not None and group.type is IPGroupType.SERVER

    def _fits(self, side: Side, place: Place) -> bool:
        """Tell whether a server may be here; one known by name is where it has proved itself."""
        if self._group(side).digest_username and side.place.port and side.place.admits(place):
            return True
        return self._ip_groups.fits(side.ip_group, place.address, place.port, place.transport)

    def _server_at(self, side: Side, uri: str) -> str | None:
        """Return the URI, in our own words, of the server that a Route leads to.

        Whoever sends it may have spelled it so that another reads something else in it.
        """
        place = place_of(uri)
        if place:
            return place.uri if self._fits(side, place) else None
        peer = self._ip_groups.peer_of(uri)
        if peer is None or peer.name != side.ip_group:
            return None
        named = host_of(uri).lower()
        return next((s.uri for s in peer.proxy_set if s.host.lower() == named), None)

    def _may_answer(self, token: OpenToken, source: Place) -> bool:
        callee = token.callee
        if self._is_server(callee):
            return self._fits(callee, source)
        return callee.place.admits(source)


def _is_edge(group: IPGroup, place: Place) -> bool:
    return group.is_edge(place.address)


def proves(group: IPGroup) -> bool:
    """Tell whether requests of the IP Group are challenged by us, and not in shadow."""
    return group.authentication_mode is AuthenticationMode.SBC_AS_SERVER and not group.shadow
