"""Requests that wait for the verdict of an external server."""

import time

from sbcauth.config.reload import Reloaded
from sbcauth.exceptions import Unavailable
from sbcauth.external_process import Question, Ticket, Waiting
from sbcauth.policy.decision import Ask
from sbcauth.policy.external_server import LONGEST_WAIT, ExternalServer, Verdict
from sbcauth.policy.request import Request
from sbcauth.service import Service
from sbcauth_door import assertions, connections, dialogs, outcomes, removing, suspended
from sbcauth_door import log as sbcauth_log
from sbcauth_door import request as ksr
from sbcauth_door.applying import (
    apply,
    apply_within,
    fail,
    is_of_users,
    refuse,
    unknown_dialog,
)
from sbcauth_door.connections import Overdue
from sbcauth_door.current import read_request
from sbcauth_door.parties import Bindings
from sbcauth_door.route_block import ReturnCode

_MARGIN = 5.0
"""Seconds that a verdict may wait in turn before the request is given up."""


class AskingRoutes:
    """The routing functions that ask an external server, and that wait for it."""

    services: Reloaded[Service]
    _service: Service
    _overdue: Overdue
    _waiting: Waiting
    _verdict: tuple[Ticket, Verdict]

    def next_verdict(self, msg: object = None, *_: object) -> int:
        """Wait for an external server, and say which request its verdict is on.

        Called by the process that asks, alone, which has nothing else to do.
        """
        try:
            now = time.time()
            self._waiting.show_life(now)
            self.services.value(now)  # a reload is noticed without a request, too
            self._overdue.end(now)
            found = self._waiting.process.next_verdict(self._settings)
            if found is None:
                return ReturnCode.NOTHING_YET
            self._verdict = found
            suspended.name_suspended(found[0].index, found[0].label)
            return ReturnCode.PASSED
        except Exception:
            sbcauth_log.bug()
            time.sleep(1)  # a bug that lasts must not fill the log
            return ReturnCode.NOTHING_YET

    def verdict(self, msg: object = None, *_: object) -> int:
        """Decide again, with the verdict, on the request that waited for it."""
        try:
            suspended.resume()
            ticket, verdict = self._verdict
            service = self.services.value(time.time())
            if ksr.has_totag() > 0:
                return self._verdict_within(service, ticket, verdict, msg)
            request = read_request(msg, has_transaction=True)
            decision = service.decide(request, ticket.arrived_at, verdict)
            outcomes.report(decision, request)
            return apply(decision, request, service, waited=True)
        except Unavailable as cause:
            return refuse(cause)
        except Exception:
            return fail()

    def _verdict_within(
        self, service: Service, ticket: Ticket, verdict: Verdict, msg: object
    ) -> int:
        """Decide again on a request within a dialog."""
        method = ksr.text("rm").upper()
        places = Bindings(service)
        passage = dialogs.find(service, method, places, int(ticket.arrived_at))
        if passage is None:
            return unknown_dialog(service, method)
        party = dialogs.party_of(passage, method)
        request = read_request(msg, has_transaction=True, party=party)
        decision = service.decide(request, ticket.arrived_at, verdict)
        return apply_within(decision, request, service, passage, places)

    def _ask(self, decision: Ask, request: Request, now: float) -> int:
        """Have the request wait for the verdict of an external server.

        Its credentials go now: Kamailio keeps what is changed later for the first branch only.
        """
        try:
            self._waiting.check(now)
            request.begin_transaction()
            outcomes.report(decision, request)
            removing.remove_credentials(request, decision.realm)
            if is_of_users(self._service, decision.ip_group):
                removing.remove_assertions()
                assertions.keep_own_diversions(decision, request, self._service)
            connections.keep_while_waiting(request, self._service.unproved_connection_lifetime)
            ticket = Ticket(*suspended.suspend(LONGEST_WAIT + _MARGIN), now)
            self._waiting.put(Question(ticket, decision.ip_group, decision.attributes))
        except BaseException as cause:
            self._service.give_back(decision, now)
            if isinstance(cause, Unavailable):
                return refuse(cause, decision.ip_group, decision.username)
            raise
        return ReturnCode.ANSWERED

    def _settings(self, ip_group: str) -> ExternalServer | None:
        group = self.services.value(time.time()).ip_groups.by_name.get(ip_group)
        return group.external_server if group else None
