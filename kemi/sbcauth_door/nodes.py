"""The other nodes of a cluster: who they are, and what is handed on between them.

A phone is reached by the node that holds its connection, or by whose address its router lets it be
reached. Any node judges a request, and that node sends it. What is handed on has one Route to the
node, with the token of the dialog, which nodes alone can seal (docs/cluster.md).
"""

import json
import re
from ipaddress import ip_address
from typing import Any, NamedTuple

import KSR

from sbcauth.cluster.settings import ClusterSettings, NodeAddress
from sbcauth.exceptions import Unavailable
from sbcauth.policy.places import Place
from sbcauth.policy.shared_state import Table
from sbcauth.policy.targets import place_of
from sbcauth_door import request as ksr

_AT_NODE = re.compile(r";n=([0-9a-f]{6})$")
_ROUTE = re.compile(r"<[^<>]*>")
_MOST_ROUTES = 20
_TELL_ALL = '{"action":3}'
"""What dmq_usrloc is asked for all registrations by."""
_PING, _PING_OF_AWAY = 2, 5
"""Seconds between two questions whether a node is there. Each without an answer is a line of
Kamailio's log, five seconds later."""
_STOPPED = 3.0
"""Seconds between two looks after which this node was stopped, or had no time."""
_set = KSR.pv.sets


class Handed(NamedTuple):
    """What the Routes of a request say that another node has handed on.

    `face` is the address of ours that the party was told before, `further` the URI of a Route that
    is none of ours.
    """

    face: Place | None
    further: str


class Nodes:
    """The nodes of the cluster that this one belongs to, if it does to any."""

    def __init__(self) -> None:
        self.cluster: ClusterSettings | None = None
        self.mark = ""
        """What says in a registered address that this node reaches it; empty for no node."""
        self._own: NodeAddress | None = None
        self._others: dict[str, NodeAddress] = {}
        self._names: dict[tuple[str, int], str] = {}
        self._away: set[str] = set()
        self._looked, self._looks = 0.0, 0
        self._sockets: list[Place] = []

    def belong_to(self, cluster: ClusterSettings | None) -> None:
        """Belong to a cluster; called before Kamailio starts its processes."""
        if cluster is None or cluster.address is None or not hasattr(KSR, "dmq"):
            return
        self.cluster, self._own = cluster, cluster.address
        self.mark = f";n={cluster.address.name}"
        self._others = dict(cluster.others)
        self._names = {(peer.host, peer.port): name for name, peer in self._others.items()}
        KSR.htable.sht_sets(Table.KEYS, "node", cluster.address.name)
        for peer in cluster.peers:
            KSR.htable.sht_sets(Table.KEYS, f"node/{peer.host}:{peer.port}", peer.name)

    def at(self, uri: str) -> str:
        """Return the name of the other node that reaches a registered address; empty for none."""
        found = _AT_NODE.search(uri) if self._others else None
        return found[1] if found and found[1] in self._others else ""

    def as_node(self, place: Place) -> Place:
        """Return a place, and the node whose address it is, if it is one's."""
        if not self._names:
            return place
        return place._replace(node=self._names.get((place.address, place.port), ""))

    def source(self) -> Place:
        """Return where the message at hand comes from, and from which node if from one."""
        place = Place.of(KSR.kx.get_proto(), KSR.kx.get_srcip(), KSR.kx.get_srcport())
        return self.as_node(place) if self._own and self._heard_privately(self._own) else place

    @staticmethod
    def _heard_privately(own: NodeAddress) -> bool:
        here = ksr.text("Ri").strip("[]")
        return ksr.text("Rp") == str(own.port) and ip_address(here) == ip_address(own.host)

    def hand_on(self, name: str, token: str, *, within: bool) -> None:
        """Have the request at hand, or this branch of it, go to another node.

        `within` a dialog it has Routes, of which those that are not this node's go along.
        """
        if self._own is None:
            raise Unavailable("this server is no node")
        node = self._others[name]
        routes = [f"<{node.uri};lr;sb={token}>"]
        if within:
            routes += [each for each in _routes() if not _is_own(each, token)]
            KSR.hdr.remove("Route")
        KSR.hdr.insert_before(f"Route: {', '.join(routes)}\r\n", "CSeq")
        if _set("$du", node.uri) != 1 or _set("$fs", f"udp:{self._own.socket}") != 1:
            raise Unavailable("shared memory is full")

    def take_on(self, token: str) -> Handed:
        """Take the Routes of this dialog out of a request that another node has handed on."""
        routes = _routes()
        ours = [each.strip("<>") for each in routes if f";sb={token}" in each]
        others = [each for each in routes if f";sb={token}" not in each]
        KSR.hdr.remove("Route")
        if others:
            KSR.hdr.insert_before(f"Route: {', '.join(others)}\r\n", "CSeq")
        told = (place_of(uri) for uri in ours if KSR.is_myself(uri) > 0)
        private = (self._own.host, self._own.port) if self._own else ()
        faces = (each for each in told if each and (each.address, each.port) != private)
        return Handed(next(faces, None), others[0].strip("<>") if others else "")

    def face(self, transport: str, address: str) -> Place | None:
        """Return our first public address by which `address` can be reached so."""
        if not self._sockets:
            self._sockets = list(self._listening())
        version = ip_address(address).version
        kind = {"ws": "tcp", "wss": "tls"}.get(transport, transport)
        for each in self._sockets:
            if each.transport == kind and ip_address(each.address).version == version:
                return each._replace(transport=transport)
        return None

    def _listening(self) -> list[Place]:
        """Return where we listen, but for the private address."""
        private = (self._own.host, self._own.port) if self._own else ()
        found = _asked("core.sockets_list") or {}
        sockets = found.get("socket", []) if isinstance(found, dict) else []
        places = []
        for each in sockets:
            try:
                place = Place.of(str(each["PROTO"]), str(each["ADDRESS"]), int(each["PORT"]))
            except (KeyError, ValueError):
                continue
            if (place.address, place.port) != private:
                places.append(place)
        return places

    def watch(self, now: float) -> None:
        """Look after the other nodes; called each second by a process of its own.

        `now` is of a clock that nobody sets. Kamailio would ask only each minute whether they are
        there. When one is back, or this one was stopped itself, both tell each other who is
        registered: they have missed what happened meanwhile.
        """
        was_stopped = self._looked and now - self._looked > _STOPPED
        self._looked, self._looks = now, self._looks + 1
        for name, is_there in self._are_there().items():
            uri, was_away = self._others[name].uri, name in self._away
            if self._looks % (_PING if is_there else _PING_OF_AWAY) == 0:
                KSR.dmq.send_message("sbcauth", uri, "ping", "text/plain")
            if not is_there:
                self._away.add(name)
            elif was_away or was_stopped:
                self._away.discard(name)
                KSR.dmq.send_message("usrloc", uri, _TELL_ALL, "application/json")
                KSR.dmq.send_message("sbcauth", uri, "back", "text/plain")

    def _are_there(self) -> dict[str, bool]:
        """Tell of each other node whether it answers, as far as Kamailio knows."""
        known = {}
        for each in _asked("dmq.list_nodes") or []:
            address = str(ip_address(str(each["host"]).strip("[]"))), int(each["port"])
            known[address] = each["status"] == "active"
        return {name: known.get(address, True) for address, name in self._names.items()}

    @staticmethod
    def ask_who_is_registered() -> None:
        """Ask the node that the request at hand comes from who is registered."""
        host, port = ksr.text("si"), ksr.text("sp")
        uri = f"sip:[{host}]:{port}" if ":" in host else f"sip:{host}:{port}"
        KSR.dmq.send_message("usrloc", uri, _TELL_ALL, "application/json")


def _asked(method: str) -> Any:
    """Return what Kamailio's RPC answers, None where it does not."""
    if KSR.jsonrpcs.exec(f'{{"jsonrpc":"2.0","method":"{method}","id":1}}') < 0:
        return None
    return json.loads(KSR.pv.get("$jsonrpl(body)") or "{}").get("result")


def _routes() -> list[str]:
    return _ROUTE.findall(", ".join(ksr.fields("Route", _MOST_ROUTES)))


def _is_own(route: str, token: str) -> bool:
    """Tell whether a Route is one of ours in this dialog, to an address of this node."""
    return f";sb={token}" in route and bool(KSR.is_myself(route.strip("<>")) > 0)


nodes = Nodes()
