"""The routing functions, as Kamailio calls them in each of its worker processes.

Kamailio leaves a request unanswered after an uncaught exception, and loses the next one after
a routing function that returns no int. So each function here catches everything and returns
an int: above zero, the request goes on; zero, it has been answered and the route ends.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sbcauth.config.reload import Reloaded
from sbcauth.exceptions import Retransmission, Unavailable
from sbcauth.external_process import Waiting
from sbcauth.policy.decision import Accept, Ask, Decision
from sbcauth.policy.request import Request
from sbcauth.service import Service
from sbcauth.users.directory import FRESHNESS
from sbcauth_door import dialogs, outcomes, ready
from sbcauth_door import log as sbcauth_log
from sbcauth_door import request as ksr
from sbcauth_door.applying import apply, apply_within, fail, let_in, refuse, renew, unknown_dialog
from sbcauth_door.asking import AskingRoutes
from sbcauth_door.cluster import Node
from sbcauth_door.connections import Overdue
from sbcauth_door.copying import CopyingRoutes
from sbcauth_door.current import read_request, set_rank
from sbcauth_door.dialog_routes import DialogRoutes
from sbcauth_door.handed_on import NodeRoutes
from sbcauth_door.parties import Bindings
from sbcauth_door.registering import RegistrarRoutes
from sbcauth_door.route_block import ReturnCode
from sbcauth_door.websocket import may_open

if TYPE_CHECKING:
    from sbcauth_door.metrics import Metrics


class Worker(AskingRoutes, CopyingRoutes, DialogRoutes, NodeRoutes, RegistrarRoutes):
    """Kamailio's view of the authentication server; every process has its own copy."""

    def __init__(
        self,
        services: Reloaded[Service],
        file: Path,
        waiting: Waiting,
        metrics: "Metrics | None" = None,
        node: Node | None = None,
    ) -> None:
        super().__init__(services)
        self._node = node
        self._file = file
        self._waiting = waiting
        self._metrics = metrics
        if metrics:  # switched on once, so that it costs nothing where it is off
            self.authenticate = metrics.timed(self.authenticate)  # type: ignore[method-assign]
        self._service: Service
        self._decide: Callable[[Request, int], Decision]
        self._renewal: Accept
        self._next_look = 0.0
        self._overdue = Overdue()

    def child_init(self, rank: int) -> int:
        """Start in a process of its own; the database opens with the first request."""
        if self._metrics:
            self._metrics.begin()
        set_rank(rank)
        if rank == ready.MAIN:
            ready.tell(self._file)
        return 0

    def ksr_reply_route(self, msg: object) -> int:
        """Let replies pass."""
        return 1

    def ksr_onsend_route(self, msg: object) -> int:
        """Let messages leave."""
        return 1

    def authenticate(self, msg: object = None, *_: object) -> int:
        """Decide on the request and answer it, or let it go on; returns a ReturnCode."""
        try:
            now = _now()
            if not 0 <= self._next_look - now <= FRESHNESS:
                self._look(now)
            request = read_request(msg)
            decision = self._decide(request, int(now))
            if isinstance(decision, Accept) and decision.is_renewal:
                self._renewal = decision
                return renew(decision, request)
            if isinstance(decision, Ask):
                return self._ask(decision, request, now)
            outcomes.report(decision, request)
            return apply(decision, request, self._service)
        except Retransmission:
            return ReturnCode.ANSWERED
        except Unavailable as cause:
            return refuse(cause)
        except Exception:
            return fail()

    def admit(self, msg: object = None, *_: object) -> int:
        """Tell the route block all of a renewal that it will not carry out as one."""
        try:
            return let_in(self._renewal, read_request(msg), self._service)
        except Exception:
            return fail()

    def within_dialog(self, msg: object = None, *_: object) -> int:
        """Decide on a request within a dialog, and on an ACK; returns a ReturnCode.

        Above zero it goes to the other party, which is set; else it ends here.
        """
        try:
            now = _now()
            if not 0 <= self._next_look - now <= FRESHNESS:
                self._look(now)
            service = self._service
            method, places = ksr.text("rm").upper(), Bindings(service)
            passage = dialogs.find(service, method, places, int(now))
            if passage is None:
                return unknown_dialog(service, method)
            by_seals = method == "BYE" and not passage.is_at_home
            if by_seals and dialogs.is_one_too_many(service, passage, now):
                return unknown_dialog(service, method)
            if method == "ACK" and dialogs.was_refused(service):
                return ReturnCode.ANSWERED
            party = dialogs.party_of(passage, method)
            if not dialogs.needs_decision(service, party, method):
                dialogs.count_pass(party, method)
                return dialogs.send_on(service, passage, method, places)
            request = read_request(msg, party=party)
            decision = service.decide(request, now)
            if isinstance(decision, Ask):
                return self._ask(decision, request, now)
            return apply_within(decision, request, service, passage, places)
        except Retransmission:
            return ReturnCode.ANSWERED
        except Unavailable as cause:
            return refuse(cause)
        except Exception:
            return fail()

    def _look(self, now: float) -> None:
        """Load what has changed in the configuration and in User Info."""
        self._next_look = now + FRESHNESS
        self._service = service = self.services.value(now)
        self._decide = service.server.decide
        service.refresh(now)

    def websocket_origin(self, msg: object = None, *_: object) -> int:
        """Tell whether a web page may open a WebSocket: 1 where it may, -1 where it may not."""
        try:
            return 1 if may_open(self.services.value(_now())) else -1
        except Exception:
            sbcauth_log.bug()
            return -1

    def follow_news(self, msg: object = None, *_: object) -> int:
        """Follow what the other nodes count; called by the process that does nothing else."""
        try:
            if self._node:
                self.services.value(_now())  # reloads, as workers do when a request comes
                self._node.follow_news()
        except Exception:
            sbcauth_log.bug()
            time.sleep(1)  # a bug that lasts must not fill the log
        return ReturnCode.PASSED

    def serve_metrics(self, msg: object = None, *_: object) -> int:
        """Answer a scrape; called by the process for metrics, which has nothing else to do."""
        try:
            if self._metrics:
                self._metrics.serve(time.time())
        except Exception:
            sbcauth_log.bug()
            time.sleep(1)  # as above
        return ReturnCode.PASSED


_now = time.time
