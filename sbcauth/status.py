"""What a running server has done since it started, asked through its RPC socket.

Every outcome is counted in the htable `sbcauth_outcomes`, by IP Group and reason, by whichever
process decides: the sum over all workers is there at any time.

Kamailio's answer to `htable.dump` must fit into a datagram, and its numbers have 32 bits. So the
process that counts a key to 1 also enters the key in a list, in the same table: `#` is how long
the list is, `#1` its first key. A key that stands there twice has been counted past 2^32 once.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from sbcauth.rpc import Rpc, RpcError

OUTCOMES = "sbcauth_outcomes"
LISTED = "#"
"""The key of how many keys are listed; followed by a number, that of a listed key."""
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


def status(rpc: Rpc) -> Status:
    """Return the status of the server.

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
        tuple(sorted(_outcomes(rpc))),
    )


def _outcomes(rpc: Rpc) -> Iterator[Outcome]:
    listed = range(1, int(_value(rpc, LISTED) or 0) + 1)
    keys = (_value(rpc, f"{LISTED}{number}") for number in listed)
    for key, rounds in Counter(filter(None, keys)).items():
        reason, _, ip_group = str(key).partition(" ")
        count = int(_value(rpc, str(key)) or 0)
        yield Outcome(ip_group, reason, max(count, count % _WRAPS_AT + (rounds - 1) * _WRAPS_AT))


def _value(rpc: Rpc, key: str) -> int | str | None:
    """Return what is kept under `key`: nothing yet, where it is being entered at this moment."""
    try:
        value: int | str = rpc.call("htable.get", OUTCOMES, key)["item"]["value"]
    except RpcError as error:
        if "exist" in str(error):
            return None
        raise
    return value


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
