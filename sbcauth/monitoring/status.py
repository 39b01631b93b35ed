"""What a running server is doing and has done since it started, asked through its RPC socket."""

from datetime import datetime
from typing import Any, NamedTuple

from sbcauth.cluster.settings import ClusterSettings
from sbcauth.monitoring import counts, registrations, users_copy
from sbcauth.monitoring.cluster import ClusterState, cluster_state
from sbcauth.monitoring.counts import ExternalAnswers, Lockouts, Outcome
from sbcauth.monitoring.in_force import InForce, running
from sbcauth.monitoring.measures import Totals
from sbcauth.monitoring.rpc import Rpc, RpcError
from sbcauth.monitoring.users_copy import CopyState
from sbcauth.policy.shared_state import Table

TABLES = {
    "lockout_entries": Table.LOCKOUTS,
    "attempt_entries": Table.ATTEMPTS,
    "nonce_counts_used": Table.NONCE_COUNTS,
    "trusted_pairs": Table.TRUSTED,
}
"""The tables that all processes share, by what `status` calls their entries."""


class ExternalServerState(NamedTuple):
    """An external server that has been asked, by address and port.

    One that did not answer is left alone until `dead_until` (seconds since 1970); 0 for one
    that answers.
    """

    server: str
    dead_until: int


class Status(NamedTuple):
    """A running server: its version, times (seconds), sizes (bytes) and counts.

    `since` is in ISO 8601, with the zone. `configuration` is None where the server does not say;
    `measured` is there where its metrics are switched on. `failed_attempts` are those that were
    counted, one for each wrong answer; `entries` what the tables hold now. `outcomes_lost` have
    been decided and counted, but the log did not take them.
    `registered_users` have `registered_contacts` between them. `users_copy` is there where users
    are copied from PostgreSQL.
    """

    version: str
    since: str
    uptime: int
    configuration: InForce | None
    workers: int
    memory_used: int
    memory_total: int
    entries: dict[str, int]
    outcomes: tuple[Outcome, ...]
    lockouts: tuple[Lockouts, ...]
    external_answers: tuple[ExternalAnswers, ...]
    external_servers: tuple[ExternalServerState, ...]
    measured: Totals | None
    failed_attempts: int = 0
    outcomes_lost: int = 0
    registered_users: int = 0
    registered_contacts: int = 0
    cluster: ClusterState | None = None
    users_copy: CopyState | None = None


def status(rpc: Rpc, cluster: ClusterSettings | None = None) -> Status:
    """Return the status of the server, and of the `cluster` that it is a node of.

    Raises NotRunning, and RpcError where kamailio.cfg has no table for the counts.
    """
    uptime = rpc.call("core.uptime")
    memory = rpc.call("core.shmmem")
    sizes = {each["name"]: int(each["all"]) for each in rpc.call("htable.stats")}
    if counts.TABLE not in sizes:
        raise RpcError(
            f"kamailio.cfg has no htable {counts.TABLE}: see docs/existing-deployment.md"
        )
    processes: list[dict[str, Any]] = rpc.call("core.psx")
    counted = counts.read(rpc)
    users, contacts = registrations.count(rpc)
    servers = sorted({each.server for each in counted.external})
    measured = counts.value(rpc, counts.MEASURES)
    return Status(
        version=str(rpc.call("core.version")).strip(),
        since=_iso(uptime["up_since"]),
        uptime=int(uptime["uptime"]),
        configuration=running(rpc),
        workers=sum("receiver" in each["DSC"] for each in processes),
        memory_used=int(memory["used"]),
        memory_total=int(memory["total"]),
        entries={what: sizes.get(table, 0) for what, table in TABLES.items()},
        outcomes=counted.outcomes,
        lockouts=counted.lockouts,
        external_answers=counted.external,
        external_servers=tuple(
            ExternalServerState(server, int(counts.value(rpc, counts.dead_key(server)) or 0))
            for server in servers
        ),
        measured=Totals.decode(str(measured)) if measured else None,
        failed_attempts=counted.failed_attempts,
        outcomes_lost=int(counts.value(rpc, counts.LOST) or 0),
        registered_users=users,
        registered_contacts=contacts,
        cluster=cluster_state(cluster),
        users_copy=users_copy.running(rpc),
    )


def _iso(time: str) -> str:
    """Return a local time as C's ctime writes it in ISO 8601."""
    return datetime.strptime(time.strip(), "%a %b %d %H:%M:%S %Y").astimezone().isoformat()
