"""The routing functions of dialogs, for what leaves and what comes back.

`dialog_branch` seals what leaves, `dialog_reply` what comes back; `may_cancel` judges where a
CANCEL comes from, `late_reply` a 2xx whose transaction has ended. What one function leaves for the
next is kept in an AVP of the transaction.
"""

import time

import KSR

from sbcauth.policy.places import Place
from sbcauth.policy.targets import place_of_via, tokens
from sbcauth.policy.unproved import unescaped
from sbcauth.service import Service
from sbcauth_door import assertions, withheld
from sbcauth_door import request as ksr
from sbcauth_door.client import ClientRoutes, routing_function
from sbcauth_door.dialog_seals import (
    RECORD_ROUTED,
    callee,
    is_by_its_connection,
    mark_contact,
    seal_answer,
    seal_first,
    seal_within,
)
from sbcauth_door.nodes import nodes
from sbcauth_door.parties import Bindings, Known
from sbcauth_door.route_block import ReturnCode


class DialogRoutes(ClientRoutes):
    """The routing functions of dialogs; see docs/dialogs.md for where they stand."""

    @routing_function
    def dialog_branch(self, service: Service) -> int:
        """Seal what leaves: our Record-Route, and the sender's Contact."""
        method = ksr.text("rm").upper()
        known = Known.parse(ksr.text("avp(sbcauth_dialog)"))
        if known:
            assertions.assert_identity(ksr.text("avp(sbcauth_identity)"))
            return seal_within(service, known, method)
        to = callee(service)
        if ksr.has_totag() <= 0:
            assertions.tell_identity(service, to)
            if dialled := ksr.text("avp(sbcauth_dialled)"):
                KSR.pv.sets("$rU", dialled)  # a PBX is told which of its numbers is called
        if method in RECORD_ROUTED or to.place.node:
            return seal_first(service, method, to)
        return ReturnCode.PASSED

    @routing_function
    def dialog_reply(self, service: Service) -> int:
        """Seal what comes back, and withhold what must not."""
        status = int(ksr.text("rs"))
        for name in withheld.CHALLENGES:
            if KSR.hdr.is_present(name) > 0:
                withheld.withhold(service, name)
        if 100 < status < 300:
            seal_answer(service)
        if assertions.is_settled_in(status):
            assertions.settle_answer(service)
        return ReturnCode.PASSED

    @routing_function
    def may_cancel(self, service: Service) -> int:
        """Let a CANCEL pass that comes from where its INVITE came from, or may from elsewhere."""
        port = int(ksr.text("T_inv($sp)"))
        invited = Place.of(ksr.text("T_inv($pr)"), ksr.text("T_inv($si)"), port)
        account, bindings = unescaped(ksr.text("T_inv($fU)")), Bindings(service)
        may = service.dialogs.may_cancel(nodes.source(), invited, account, bindings)
        return ReturnCode.PASSED if may else ReturnCode.NOTHING_YET

    @routing_function
    def late_reply(self, service: Service) -> int:
        """Let a 2xx to an INVITE pass whose transaction has ended, from callee to caller."""
        source = nodes.source()
        found = service.dialogs.token_of_answer(
            tokens(ksr.fields("Record-Route")), ksr.text("ci"), source, int(time.time())
        )
        if found is None:
            return ReturnCode.NOTHING_YET
        _, token = found
        goes_to = place_of_via(ksr.fields("Via"), 1)
        goes_to = goes_to and nodes.as_node(goes_to)
        bindings = Bindings(service)
        if not service.dialogs.is_answer_between(token, ksr.text("ft"), source, goes_to, bindings):
            return ReturnCode.NOTHING_YET
        if goes_to and goes_to.transport != "udp" and not is_by_its_connection(service):
            return ReturnCode.NOTHING_YET
        mark_contact(service, token.callee, token.callee.place, token.callee.registered, "tt")
        return ReturnCode.PASSED
