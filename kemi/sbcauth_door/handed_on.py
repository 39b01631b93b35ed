"""The routing functions between the nodes of a cluster; see docs/cluster.md."""

import time

import KSR

from sbcauth.exceptions import Unavailable
from sbcauth.policy.decision import Reason, Reject
from sbcauth.policy.targets import token_of_route
from sbcauth.service import Service
from sbcauth_door import dialogs, outcomes, replies
from sbcauth_door import request as ksr
from sbcauth_door.current import read_request
from sbcauth_door.dialog_seals import RECORD_ROUTED, record_route
from sbcauth_door.nodes import nodes
from sbcauth_door.parties import Bindings
from sbcauth_door.registering import answering
from sbcauth_door.route_block import ReturnCode

_FOREIGN = Reject(403, "Forbidden", Reason.NO_NODE)


class NodeRoutes:
    """The routing functions between nodes."""

    @answering
    def no_node(self, service: Service, _: str) -> int:
        """Refuse what only a node may send, or is sent to where only nodes are heard."""
        outcomes.report(_FOREIGN, read_request())
        if ksr.text("rm") != "ACK":
            replies.refuse(_FOREIGN)
        return ReturnCode.ANSWERED

    @answering
    def node_is_back(self, service: Service, _: str) -> int:
        """Ask the node that says that it sees us again who is registered."""
        if ksr.text("rb") == "back":
            nodes.ask_who_is_registered()
        return ReturnCode.PASSED

    @answering
    def watch_nodes(self, service: Service, _: str) -> int:
        """Look after nodes that were away."""
        nodes.watch(time.monotonic())
        return ReturnCode.PASSED

    @answering
    def from_node(self, service: Service, _: str) -> int:
        """Send on what another node has judged; returns a ReturnCode."""
        method = ksr.text("rm").upper()
        if ksr.has_totag() > 0 or method == "ACK":
            places = Bindings(service)
            passage = dialogs.find(service, method, places, int(time.time()))
            if passage:
                return dialogs.take_on(service, passage, method, places)
            if method != "ACK":
                KSR.sl.send_reply(481, "Call/Transaction Does Not Exist")
            return ReturnCode.ANSWERED
        return _take_on_first(service, method)


def _take_on_first(service: Service, method: str) -> int:
    """Send on a request outside of a dialog, to the phone that its token names."""
    text = token_of_route(ksr.first("Route"))
    token = service.dialogs.seals.open_token(text, ksr.text("ci"), int(time.time()))
    if token is None or not token.callee.ip_group or not token.caller.ip_group:
        raise Unavailable("the keys of dialogs or the IP Groups are others at another node")
    callee = token.callee
    nodes.take_on(text)
    if callee.place.node:
        KSR.sl.send_reply(480, "Temporarily Unavailable")
        return ReturnCode.ANSWERED
    if KSR.pv.sets("$du", callee.place.uri) != 1:
        raise Unavailable("shared memory is full")
    dialogs.face_to(service, callee, callee.place)
    KSR.pv.sets("$avp(sbcauth_ip_group)", token.caller.ip_group)
    if method in RECORD_ROUTED:
        KSR.pv.sets("$avp(sbcauth_token_0)", text)
        record_route(text, between_nodes=True)
    return ReturnCode.PASSED
