"""What a running server has done since it started, asked through its RPC socket.

Every outcome is counted in the htable `sbcauth_outcomes`, by IP Group and reason, by whichever
process decides: the sum over all workers is there at any time.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sbcauth.decision import Reason
from sbcauth.rpc import Rpc, RpcError

OUTCOMES = "sbcauth_outcomes"
_NO_GROUP = "-"
_WRAPS_AT = 1 << 32
_TABLES = {
    "locked out, or of late": "sbcauth_lockouts",
    "failed attempts": "sbcauth_attempts",
    "nonces in use": "sbcauth_nonce_counts",
    "trusted pairs": "sbcauth_trusted",
}


def outcome_key(ip_group: str, reason: str) -> str:
    """Return the key under which outcomes are counted; no IP Group is `-`."""
    return f"{reason} {ip_group or _NO_GROUP}"


class Outcome(NamedTuple):
    """How often requests of an IP Group were decided for one reason."""

    ip_group: str
    reason: str
    times: int


class Status(NamedTuple):
    """A running server: its version, times (seconds), sizes (bytes) and counts."""

    version: str
    since: str
    uptime: int
    workers: int
    memory_used: int
    memory_total: int
    entries: dict[str, int]
    outcomes: tuple[Outcome, ...]


def status(rpc: Rpc, ip_groups: Iterable[str]) -> Status:
    """Return the status of the server, with the outcomes of these IP Groups.

    Raises NotRunning, and RpcError where kamailio.cfg has no table for the outcomes.
    """
    uptime = rpc.call("core.uptime")
    memory = rpc.call("core.shmmem")
    sizes = {each["name"]: int(each["all"]) for each in rpc.call("htable.stats")}
    if OUTCOMES not in sizes:
        raise RpcError(f"kamailio.cfg has no htable {OUTCOMES}: see docs/existing-deployment.md")
    processes: list[dict[str, Any]] = rpc.call("core.psx")
    return Status(
        str(rpc.call("core.version")).strip(),
        uptime["up_since"],
        int(uptime["uptime"]),
        sum("receiver" in each["DSC"] for each in processes),
        int(memory["used"]),
        int(memory["total"]),
        {what: sizes.get(table, 0) for what, table in _TABLES.items()},
        tuple(_outcomes(rpc, [*ip_groups, _NO_GROUP])),
    )


def _outcomes(rpc: Rpc, ip_groups: Iterable[str]) -> Iterator[Outcome]:
    """Ask for one count after the other: a dump of them all may not fit into an answer."""
    for ip_group in ip_groups:
        for reason in Reason:
            try:
                item = rpc.call("htable.get", OUTCOMES, outcome_key(ip_group, reason))
            except RpcError:
                continue  # there was none
            yield Outcome(ip_group, reason, int(item["item"]["value"]) % _WRAPS_AT)


def prometheus(found: Status) -> Iterator[str]:
    """Yield the lines of Prometheus' text format, for the textfile collector of node_exporter."""
    yield "# HELP sbcauth_outcomes_total Requests that were decided, by IP Group and reason."
    yield "# TYPE sbcauth_outcomes_total counter"
    for ip_group, reason, times in found.outcomes:
        labels = f'ip_group="{_escaped(ip_group)}",reason="{reason}"'
        yield f"sbcauth_outcomes_total{{{labels}}} {times}"
    yield "# HELP sbcauth_entries Entries in the tables that all workers share."
    yield "# TYPE sbcauth_entries gauge"
    for what, table in _TABLES.items():
        yield f'sbcauth_entries{{table="{table.removeprefix("sbcauth_")}"}} {found.entries[what]}'
    for name, value, help_text in (
        ("uptime_seconds", found.uptime, "Seconds since Kamailio started."),
        ("workers", found.workers, "Processes that take SIP requests."),
        ("shared_memory_used_bytes", found.memory_used, "Shared memory in use."),
        ("shared_memory_total_bytes", found.memory_total, "Shared memory there is."),
    ):
        yield f"# HELP sbcauth_{name} {help_text}"
        yield f"# TYPE sbcauth_{name} gauge"
        yield f"sbcauth_{name} {value}"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
