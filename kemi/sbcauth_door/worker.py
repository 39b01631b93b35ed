"""The routing functions, as Kamailio calls them in each of its worker processes.

Kamailio leaves a request unanswered after an uncaught exception, and loses the next one after
a routing function that returns no int. So each function here catches everything and returns
an int: above zero, the request goes on; zero, it has been answered and the route ends.
"""

import gc
import locale
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import KSR

from sbcauth.config import versions
from sbcauth.config.load import Config, load
from sbcauth.config.reload import Reloaded, stamp
from sbcauth.dialog_keys import ciphers
from sbcauth.exceptions import ConfigError, Retransmission, SbcAuthError, Unavailable
from sbcauth.external_process import Question, Ticket, Waiting
from sbcauth.monitoring.in_force import InForce
from sbcauth.monitoring.log_line import NOTICE, record
from sbcauth.monitoring.measures import Measures
from sbcauth.nonce_keys import dialog_key, load_or_create, of_server
from sbcauth.policy.decision import (
    Accept,
    Ask,
    Challenge,
    Decision,
    Drop,
    Pass,
    Reason,
    Reject,
    Reply,
)
from sbcauth.policy.external_server import LONGEST_WAIT, ExternalServer, Verdict
from sbcauth.policy.ip_groups import FromScreening, IPGroupType
from sbcauth.policy.passages import Passage
from sbcauth.policy.request import Request
from sbcauth.policy.shared_state import SharedState
from sbcauth.policy.words import Word
from sbcauth.service import Route, Service
from sbcauth.users.directory import FRESHNESS
from sbcauth_door import (
    bindings,
    connections,
    dialogs,
    outcomes,
    ready,
    registration_limits,
    registrations,
)
from sbcauth_door import log as sbcauth_log
from sbcauth_door import registrar as sbcauth_registrar
from sbcauth_door import request as ksr
from sbcauth_door.connections import Overdue
from sbcauth_door.current import KEPT_HERE, read_request, take_place
from sbcauth_door.dialog_routes import DialogRoutes
from sbcauth_door.registering import RegistrarRoutes
from sbcauth_door.request import ReturnCode
from sbcauth_door.state import (
    ExternalRecord,
    KamailioState,
    check_nonce_counts,
    is_told_first,
    set_dialog_key,
    set_in_force,
    turn,
)
from sbcauth_door.websocket import may_open

if TYPE_CHECKING:
    from sbcauth_door.metrics import Metrics


class Worker(DialogRoutes, RegistrarRoutes):
    """Kamailio's view of the authentication server; every process has its own copy."""

    def __init__(
        self,
        services: Reloaded[Service],
        file: Path,
        waiting: Waiting,
        metrics: "Metrics | None" = None,
    ) -> None:
        super().__init__(services)
        self._file = file
        self._waiting = waiting
        self._metrics = metrics
        if metrics:  # switched on once, so that it costs nothing where it is off
            self.authenticate = metrics.timed(self.authenticate)  # type: ignore[method-assign]
        self._verdict: tuple[Ticket, Verdict]
        self._service: Service
        self._decide: Callable[[Request, int], Decision]
        self._next_look = 0.0
        self._overdue = Overdue()

    def child_init(self, rank: int) -> int:
        """Start in a process of its own; the database opens with the first request."""
        if self._metrics:
            self._metrics.begin()
        take_place(rank)
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
            if isinstance(decision, Ask):
                return self._ask(decision, request, now)
            ksr.log(decision, request)
            if isinstance(decision, Accept):  # without a detour: a phone that registers again
                return _let_in(decision, request, self._service)
            return _apply(decision, request, self._service)
        except Retransmission:
            return ReturnCode.ANSWERED
        except Unavailable as cause:
            return _refuse(cause)
        except Exception:
            return _fail()

    def within_dialog(self, msg: object = None, *_: object) -> int:
        """Decide on a request within a dialog, and on an ACK; returns a ReturnCode.

        Above zero it goes to the other party, which is set; else it ends here.
        """
        try:
            now = _now()
            if not 0 <= self._next_look - now <= FRESHNESS:
                self._look(now)
            service = self._service
            method = ksr.text("rm").upper()
            passage = dialogs.find(service, int(now))
            if passage is None:
                return _unknown_dialog(service, method)
            by_seals = method == "BYE" and not passage.is_at_home
            if by_seals and dialogs.is_one_too_many(service, passage, now):
                return _unknown_dialog(service, method)
            if method == "ACK" and dialogs.was_refused(service):
                return ReturnCode.ANSWERED
            party = dialogs.party_of(passage, method)
            if not dialogs.needs_decision(service, party, method):
                dialogs.count_pass(party, method)
                return dialogs.send_on(service, passage, method)
            request = read_request(msg, party=party)
            decision = service.decide(request, now)
            if isinstance(decision, Ask):
                return self._ask(decision, request, now)
            return _apply_within(decision, request, service, passage)
        except Retransmission:
            return ReturnCode.ANSWERED
        except Unavailable as cause:
            return _refuse(cause)
        except Exception:
            return _fail()

    def _look(self, now: float) -> None:
        """Take up what has changed, in the configuration and in User Info."""
        self._next_look = now + FRESHNESS
        self._service = service = self.services.value(now)
        self._decide = service.server.decide
        service.refresh(now)

    def websocket_origin(self, msg: object = None, *_: object) -> int:
        """Tell whether a web page may open a WebSocket: 1 where it may, -1 where it may not."""
        try:
            return 1 if may_open(self.services.value(_now())) else -1
        except Exception:
            ksr.complain()
            return -1

    def next_verdict(self, msg: object = None, *_: object) -> int:
        """Wait for an external server, and say which request its verdict is on.

        Called by the process that asks, alone, which has nothing else to do.
        """
        try:
            now = time.time()
            self._waiting.show_life(now)
            self.services.value(now)  # a reload is taken up without a request, too
            self._overdue.end(now)
            found = self._waiting.process.next_verdict(self._settings)
            if found is None:
                return ReturnCode.NOTHING_YET
            self._verdict = found
            ksr.name_suspended(found[0].index, found[0].label)
            return ReturnCode.PASSED
        except Exception:
            ksr.complain()
            time.sleep(1)  # a bug that lasts must not fill the log
            return ReturnCode.NOTHING_YET

    def verdict(self, msg: object = None, *_: object) -> int:
        """Decide again, with the verdict, on the request that waited for it."""
        try:
            ksr.resume()
            ticket, verdict = self._verdict
            service = self.services.value(time.time())
            if ksr.has_totag() > 0:
                return self._verdict_within(service, ticket, verdict, msg)
            request = read_request(msg, has_transaction=True)
            decision = service.decide(request, ticket.arrived_at, verdict)
            ksr.log(decision, request)
            return _apply(decision, request, service, waited=True)
        except Unavailable as cause:
            return _refuse(cause)
        except Exception:
            return _fail()

    def _verdict_within(
        self, service: Service, ticket: Ticket, verdict: Verdict, msg: object
    ) -> int:
        """Decide again on a request within a dialog."""
        method = ksr.text("rm").upper()
        passage = dialogs.find(service, int(ticket.arrived_at))
        if passage is None:
            return _unknown_dialog(service, method)
        party = dialogs.party_of(passage, method)
        request = read_request(msg, has_transaction=True, party=party)
        decision = service.decide(request, ticket.arrived_at, verdict)
        return _apply_within(decision, request, service, passage)

    def serve_metrics(self, msg: object = None, *_: object) -> int:
        """Answer a scrape; called by the process for metrics, which has nothing else to do."""
        try:
            if self._metrics:
                self._metrics.serve(time.time())
        except Exception:
            ksr.complain()
            time.sleep(1)  # as above
        return ReturnCode.PASSED

    def _ask(self, decision: Ask, request: Request, now: float) -> int:
        """Have the request wait for the verdict of an external server.

        Its credentials go now: Kamailio keeps what is changed later for the first branch only.
        """
        try:
            self._waiting.check(now)
            request.begin_transaction()
            ksr.log(decision, request)
            ksr.remove_credentials(request, decision.realm)
            if _is_of_users(self._service, decision.ip_group):
                ksr.remove_assertions()
                _remove_diversions_of_others(decision, request, self._service)
            connections.keep_while_waiting(request, self._service.unproved_connection_lifetime)
            ticket = Ticket(*ksr.suspend(LONGEST_WAIT + _MARGIN), now)
            self._waiting.put(Question(ticket, decision.ip_group, decision.attributes))
        except BaseException as cause:
            self._service.give_back(decision, now)
            if isinstance(cause, Unavailable):
                return _refuse(cause, decision.ip_group, decision.username)
            raise
        return ReturnCode.ANSWERED

    def _settings(self, ip_group: str) -> ExternalServer | None:
        group = self.services.value(time.time()).ip_groups.by_name.get(ip_group)
        return group.external_server if group else None


_now = time.time
_MARGIN = 5.0
"""Seconds that a verdict may wait in turn before the request is given up."""
_BUG = Reject(500, "Server Internal Error", Reason.INTERNAL_ERROR)
_started: list[Worker] = []


def start() -> Worker:
    """Return the routing functions; called once before the fork, and again by a reload.

    A configuration that cannot be used is named line by line and keeps Kamailio from starting.
    """
    if not _started:
        # Python has set that of the environment. In UTF-8, Kamailio's regular expressions take
        # three times as long: 3 µs a registration.
        locale.setlocale(locale.LC_CTYPE, "C")
        file = ksr.definition("SBCAUTH_CONFIG") or os.environ.get("SBCAUTH_CONFIG")
        file = file or "/etc/sbcauth/sbcauth.yaml"
        try:
            ksr.check_modules()
            check_nonce_counts()
            sbcauth_registrar.check()
            registrations.prepare()
            config = load(Path(file), os.environ)
            metrics = _metrics()
            measures = metrics.measures if metrics else None
            shared, now = KamailioState(), int(time.time())
            services = Reloaded(
                config,
                os.environ,
                lambda config: _service(config, shared, now, measures),
                lambda text: _tell_reload(text, stamp(config)),
                turn,
            )
            set_dialog_key(dialog_key(config.nonce_key_file))
            _started.append(
                Worker(services, config.file, Waiting(time.time, ExternalRecord(measures)), metrics)
            )
            gc.freeze()  # what is made up to here stays: no worker need look through it again
        except SbcAuthError as error:
            for line in str(error).splitlines():
                KSR.crit(f"sbcauth: {line}\n")
            sys.exit("sbcauth: not started")
    return _started[0]


def _metrics() -> "Metrics | None":
    """Return the metrics, where kamailio.cfg switches them on; else nothing is even imported."""
    listen = ksr.definition("SBCAUTH_METRICS")
    if not listen:
        return None
    from sbcauth_door.metrics import Metrics

    return Metrics(listen)


def _service(
    config: Config, shared: SharedState, started_at: int, measures: Measures | None
) -> Service:
    keys = of_server(load_or_create(config.nonce_key_file), config.file)
    looked_up = measures.looked_up if measures else None
    _tell_what_is_in_force(config, keys[0].id)
    registered = bindings.KamailioRegistrations()
    if bindings.TABLE:
        registration_limits.tell_limits(config.ip_groups)
    sealing = ciphers(config.nonce_key_file)
    service = Service(config, shared, keys, started_at, looked_up, sealing, registered)
    outcomes.follow(config)
    return service


def _tell_what_is_in_force(config: Config, nonce_key: int) -> None:
    """Have `sbcauth reload` know what it changes; nothing else depends on it."""
    values = versions.values(config)
    in_shadow = tuple(group.name for group in config.ip_groups if group.shadow)
    version, now = versions.version(values), int(time.time())
    set_in_force(InForce(version, now, nonce_key, in_shadow, str(config.file)))
    try:
        versions.keep(config, values)
    except ConfigError as error:
        _note(f"`sbcauth reload` will not know what it changes: {error}")


def _tell_reload(text: str, renewed: Path) -> None:
    """Write that the configuration was reloaded, or not: each process for itself, all once."""
    _note(text)
    if is_told_first("reload", str(renewed.stat().st_mtime_ns)):
        outcomes.log.write(record(NOTICE, event="reload", detail=text))


def _note(text: str) -> None:
    for line in text.splitlines():
        sbcauth_log.notice(f"sbcauth: {line}\n")


def _apply(decision: Decision, request: Request, service: Service, *, waited: bool = False) -> int:
    """Do with the request what was decided; returns a ReturnCode.

    One that has `waited` for a verdict has lost its credentials already.
    """
    if isinstance(decision, Accept):
        return _let_in(decision, request, service, waited=waited)
    if isinstance(decision, Challenge):
        if decision.ip_group in service.server_groups:
            connections.keep_of_server_group(request)
        ksr.challenge(decision.status, decision.headers)
        return ReturnCode.ANSWERED
    match decision:
        case Pass(ip_group=ip_group):
            found = _route_of(decision, service)
            if found:
                ksr.clean(service.ip_groups.by_name[ip_group])
                ksr.set_word(decision.word)
                ksr.set_local_user(decision.local_user)
                ksr.set_origin(found.ip_group, found.realm)
                ksr.set_route(found)
            return ReturnCode.PASSED
        case Reply():
            ksr.keep_alive()
        case Reject(ip_group=ip_group):
            if ip_group in service.server_groups:
                connections.keep_of_server_group(request)
            ksr.refuse(decision)
        case Drop():
            pass
    return ReturnCode.ANSWERED


def _let_in(decision: Accept, request: Request, service: Service, *, waited: bool = False) -> int:
    """Tell the route block who the sender is, and where the request may go."""
    ip_group, username, user, realm = decision[:4]
    method = request.method
    registers = method == "REGISTER"
    if not waited and (method != KEPT_HERE or decision.word is not Word.DIGEST):
        ksr.remove_credentials(request, realm)
        if not registers and _is_of_users(service, ip_group):
            ksr.remove_assertions()
            _remove_diversions_of_others(decision, request, service)
    if not registers and _is_of_users(service, ip_group):
        ksr.set_identity(service.server.asserted_number(decision, request), realm)
    route = service.routes[ip_group, registers]
    local_user = user if user.isalnum() and user.isascii() else ksr.escaped(user)
    ksr.admit(username, local_user, route.ip_group, route.realm, decision.word)
    if route.route_to or route.apart:
        ksr.set_route(route)
    return ReturnCode.ACCEPTED


def _remove_diversions_of_others(
    decision: Accept | Ask, request: Request, service: Service
) -> None:
    """Take out who has diverted a call, where that is not the account itself (RFC 5806, 7044)."""
    group = service.ip_groups.by_name[decision.ip_group]
    if group.from_screening is FromScreening.OFF:
        return
    for name in ksr.diversions():
        numbers = ksr.diverting(name)
        username, said = decision.username, request.from_user
        if not numbers or not service.server.are_own(group.name, username, said, numbers):
            KSR.hdr.remove(name)


def _unknown_dialog(service: Service, method: str) -> int:
    """Answer a request within a dialog that we do not know; an ACK has no answer."""
    if method != "ACK":
        request = read_request()
        decision = service.unknown_dialog(request)
        ksr.log(decision, request)
        _apply(decision, request, service)
    return ReturnCode.ANSWERED


def _apply_within(decision: Decision, request: Request, service: Service, passage: Passage) -> int:
    """Do with a request within a dialog what was decided; returns a ReturnCode.

    It is refused without a transaction: whoever has been in a call has its seals. The ACK to it is
    known by what is noted.
    """
    method = request.method
    if isinstance(decision, Pass | Accept):
        ksr.log(decision, request)
        if method == "INVITE":
            dialogs.forget_refusal(service)
        return dialogs.send_on(service, passage, method)
    if method == "INVITE":
        dialogs.note_refusal(service)
    ksr.log(decision, request)
    return _apply(decision, request, service)


def _route_of(decision: Pass, service: Service) -> Route | None:
    """Return where a request goes that passes; None for one of no IP Group."""
    if decision.reason is Reason.EMERGENCY:
        return service.emergency_routes.get(decision.ip_group)
    return service.routes.get((decision.ip_group, False))


def _is_of_users(service: Service, ip_group: str) -> bool:
    return service.ip_groups.by_name[ip_group].type is IPGroupType.USER


def _refuse(cause: Unavailable, ip_group: str = "", username: str = "") -> int:
    """Answer 503 to a request that cannot go on, whatever was decided."""
    return _answer(
        Reject(
            cause.status,
            cause.phrase,
            Reason.UNAVAILABLE,
            ip_group,
            username,
            cause.retry_after,
            str(cause),
        )
    )


def _fail() -> int:
    """Answer 500 to a request that met a bug, and leave its trace in the log."""
    ksr.complain()
    return _answer(_BUG)


def _answer(refusal: Reject) -> int:
    """Log a refusal that is no decision, and answer with it, whatever else fails."""
    steps: tuple[Callable[[], object], ...] = (
        lambda: ksr.log(refusal, read_request()),
        lambda: ksr.refuse(refusal),
    )
    for step in steps:
        try:
            step()
        except Exception as error:
            sbcauth_log.err(f"sbcauth: another bug, while it was answered: {error!r}\n")
    return ReturnCode.ANSWERED
