"""The engine as the command line asks it: who is there, how it is set up; and forgetting."""

import json
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from sbcauth.cluster import scripts
from sbcauth.cluster.engine import host_of
from sbcauth.cluster.engine_settings import EngineSettings
from sbcauth.cluster.finding import addresses, check_primary
from sbcauth.cluster.link import Address, Link
from sbcauth.exceptions import EngineAway

_PATIENCE = 3.0
"""Seconds for one question."""
_AT_ONCE = 1000
T = TypeVar("T")


class NodeReport(NamedTuple):
    """What a node has told last: its number, and facts by their names."""

    node: int
    facts: dict[str, Any]


class EngineReport(NamedTuple):
    """The engine: its kind and version, where it is, and the nodes that are there.

    `policy` is its maxmemory-policy; times are in seconds.
    """

    kind: str
    version: str
    address: str
    policy: str
    uptime: int
    replicas: int
    answered_in: float
    nodes: tuple[NodeReport, ...]


def report(settings: EngineSettings) -> EngineReport:
    """Return how the engine is, and who is there; raises EngineAway."""
    return _with_engine(settings, _report)


def forget(settings: EngineSettings, keys: Iterable[str]) -> None:
    """Have all nodes forget failures and lockouts, by their keys; raises EngineAway."""
    found = list(keys)

    def ask(link: Link, address: Address) -> None:
        for start in range(0, len(found), _AT_ONCE):
            some = found[start : start + _AT_ONCE]
            link.run(address, monotonic() + _PATIENCE, scripts.FORGET, 0, *some)

    _with_engine(settings, ask)


def forget_all(settings: EngineSettings) -> None:
    """Have all nodes forget all failures and lockouts; raises EngineAway."""

    def ask(link: Link, address: Address) -> None:
        for pattern in ("lock:*", "count:*"):
            for keys in _scanned(link, address, f"{scripts.PREFIX}{pattern}"):
                link.call(address, monotonic() + _PATIENCE, "DEL", *keys)
        link.run(address, monotonic() + _PATIENCE, scripts.FORGET_ALL, 0)

    _with_engine(settings, ask)


def _report(link: Link, address: Address) -> EngineReport:
    began = monotonic()
    info = _facts(link.call(address, began + _PATIENCE, "INFO"))
    answered_in = monotonic() - began
    nodes = []
    for keys in _scanned(link, address, f"{scripts.PREFIX}node:*"):
        for key in keys:
            told = link.call(address, monotonic() + _PATIENCE, "HGET", key, "facts")
            if told:
                nodes.append(NodeReport(int(key.rsplit(":", 1)[1]), json.loads(told)))
    is_valkey = "valkey_version" in info
    return EngineReport(
        "Valkey" if is_valkey else "Redis",
        info["valkey_version" if is_valkey else "redis_version"],
        f"{address.host}:{address.port}" if address.port else address.host,
        info.get("maxmemory_policy", ""),
        int(info.get("uptime_in_seconds", 0)),
        int(info.get("connected_slaves", 0)),
        answered_in,
        tuple(sorted(nodes, key=lambda each: each.node)),
    )


def _with_engine(settings: EngineSettings, ask: Callable[[Link, Address], T]) -> T:
    """Return what `ask` returns of the first address that is the primary's."""
    link, away = Link(settings), EngineAway("the engine has no address")
    try:
        for address in addresses(settings, monotonic() + _PATIENCE):
            link.called = host_of(settings) or address.host
            try:
                check_primary(link, address, monotonic() + _PATIENCE)
                return ask(link, address)
            except EngineAway as this:
                away = this
        raise away
    finally:
        link.close()


def _scanned(link: Link, address: Address, pattern: str) -> Iterable[Sequence[str]]:
    cursor = "0"
    while True:
        cursor, keys = link.call(
            address, monotonic() + _PATIENCE, "SCAN", cursor, "MATCH", pattern, "COUNT", _AT_ONCE
        )
        if keys:
            yield keys
        if cursor == "0":
            return


def _facts(info: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
