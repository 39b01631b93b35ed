"""Starting: what a worker process is made of, before Kamailio forks it."""

import gc
import locale
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import KSR

from sbcauth.config import versions
from sbcauth.config.load import Config, load
from sbcauth.config.reload import Reloaded, stamp
from sbcauth.dialog_keys import ciphers
from sbcauth.exceptions import ConfigError, SbcAuthError
from sbcauth.external_process import Waiting
from sbcauth.monitoring.in_force import InForce
from sbcauth.monitoring.log_line import NOTICE, record
from sbcauth.monitoring.measures import Measures
from sbcauth.nonce_keys import dialog_key, load_or_create, of_server
from sbcauth.policy.learned import Learned
from sbcauth.policy.shared_state import SharedState
from sbcauth.service import Service
from sbcauth_door import bindings, outcomes, registration_limits, registrations, route_block
from sbcauth_door import log as sbcauth_log
from sbcauth_door import registrar as sbcauth_registrar
from sbcauth_door.cluster import Node
from sbcauth_door.nodes import nodes
from sbcauth_door.routing import Worker as Worker
from sbcauth_door.state import (
    ExternalRecord,
    KamailioState,
    check_nonce_counts,
    is_told_first,
    set_dialog_key,
    set_in_force,
    turn,
)

if TYPE_CHECKING:
    from sbcauth_door.metrics import Metrics

_started: list[Worker] = []


def start() -> Worker:
    """Return the routing functions; called once before the fork, and again by a reload.

    A configuration that cannot be used is named line by line and keeps Kamailio from starting.
    """
    if not _started:
        # Python has set that of the environment. In UTF-8, Kamailio's regular expressions take
        # three times as long: 3 µs a registration.
        locale.setlocale(locale.LC_CTYPE, "C")
        file = route_block.definition("SBCAUTH_CONFIG") or os.environ.get("SBCAUTH_CONFIG")
        file = file or "/etc/sbcauth/sbcauth.yaml"
        try:
            route_block.check_modules()
            check_nonce_counts()
            sbcauth_registrar.check()
            registrations.prepare()
            config = load(Path(file), os.environ)
            metrics = _metrics()
            measures = metrics.measures if metrics else None
            shared, now = KamailioState(), int(time.time())
            nodes.belong_to(config.cluster)
            outcomes.follow(config)
            node = Node(config, shared)
            learned = Learned()
            services = Reloaded(
                config,
                os.environ,
                lambda config: _service(config, shared, now, measures, node, learned),
                lambda text: _tell_reload(text, stamp(config)),
                turn,
            )
            set_dialog_key(dialog_key(config.nonce_key_file))
            waiting = Waiting(time.time, ExternalRecord(measures))
            _started.append(Worker(services, config.file, waiting, metrics, node))
            gc.freeze()  # what is made up to here stays: no worker need look through it again
        except SbcAuthError as error:
            for line in str(error).splitlines():
                KSR.crit(f"sbcauth: {line}\n")
            sys.exit("sbcauth: not started")
    return _started[0]


def _metrics() -> "Metrics | None":
    """Return the metrics, where kamailio.cfg switches them on; else nothing is even imported."""
    listen = route_block.definition("SBCAUTH_METRICS")
    if not listen:
        return None
    from sbcauth_door.metrics import Metrics

    return Metrics(listen)


def _service(
    config: Config,
    shared: SharedState,
    started_at: int,
    measures: Measures | None,
    node: Node,
    learned: Learned,
) -> Service:
    counting = node.counting(config)
    keys = (
        counting.authorities.own
        if counting
        else of_server(load_or_create(config.nonce_key_file), config.file)
    )
    looked_up = measures.looked_up if measures else None
    values = versions.values(config)
    _tell_what_is_in_force(config, values, keys[0].id)
    registered = bindings.KamailioRegistrations()
    if bindings.TABLE:
        registration_limits.tell_limits(config.ip_groups)
    sealing = ciphers(config.nonce_key_file)
    service = Service(
        config,
        shared,
        keys,
        started_at,
        looked_up,
        sealing,
        registered,
        nodes.cluster,
        counting,
        learned,
        versions.name(values),
    )
    outcomes.follow(config)
    return service


def _tell_what_is_in_force(config: Config, values: versions.Values, nonce_key: int) -> None:
    """Have `sbcauth reload` know what it changes; nothing else depends on it."""
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
