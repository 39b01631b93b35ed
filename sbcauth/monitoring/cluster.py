"""The cluster as one of its nodes sees it: the engine, the nodes that are there, what differs."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sbcauth.cluster.settings import ClusterSettings
from sbcauth.digest.nonces import CLOCK_DRIFT
from sbcauth.exceptions import EngineAway

_LAGS = 1000.0
"""Milliseconds of lag above which a node is said to lag behind."""


class ClusterState(NamedTuple):
    """The engine and its nodes; `away` says why the engine does not answer, if it does not.

    `nodes` have facts that each node has told last. `missing` is how many of those that there
    should be are not there.
    """

    engine: str
    away: str = ""
    kind: str = ""
    version: str = ""
    primary: str = ""
    maxmemory_policy: str = ""
    replicas: int = 0
    answered_in_ms: float = 0.0
    nodes: tuple[dict[str, Any], ...] = ()
    missing: int = 0


def cluster_state(cluster: ClusterSettings | None) -> ClusterState | None:
    """Return how the cluster is; None where the configuration has no engine."""
    if cluster is None or cluster.engine is None:
        return None
    from sbcauth.cluster.administration import report  # needs a package that others do without

    settings = cluster.engine
    try:
        found = report(settings)
    except EngineAway as away:
        return ClusterState(str(settings.engine), str(away))
    return ClusterState(
        engine=str(settings.engine),
        kind=found.kind,
        version=found.version,
        primary=found.address,
        maxmemory_policy=found.policy,
        replicas=found.replicas,
        answered_in_ms=round(found.answered_in * 1000, 1),
        nodes=tuple({"node": each.node, **each.facts} for each in found.nodes),
        missing=max(settings.nodes - len(found.nodes), 0),
    )


def in_words(state: ClusterState) -> Iterator[str]:
    """Yield what `status` says of the cluster, line by line."""
    if state.away:
        yield f"engine {state.engine}: does not answer ({state.away})"
        return
    yield f"engine {state.engine}: {state.kind} {state.version}, {state.answered_in_ms} ms"
    for facts in state.nodes:
        yield (
            f"node {facts['node']}: {facts.get('lag_ms', 0)} ms behind the news, "
            f"{facts.get('trip_ms', 0)} ms from the engine"
        )
    if state.missing:
        yield f"{state.missing} of the nodes are not there, or cut off from the engine"


def differences(state: ClusterState, node: int) -> Iterator[str]:
    """Yield what is not well between the nodes, as node `node` sees it."""
    own = next((facts for facts in state.nodes if facts["node"] == node), None)
    for facts in state.nodes:
        ahead = float(facts.get("clock_ahead_s", 0.0))
        if abs(ahead) > CLOCK_DRIFT / 2:
            yield (
                f"the clock of node {facts['node']} is {abs(ahead):g} s "
                f"{'ahead of' if ahead > 0 else 'behind'} the engine's: set it (chrony)"
            )
        if float(facts.get("lag_ms", 0)) > _LAGS:
            yield f"node {facts['node']} is {facts['lag_ms']} ms behind the news"
        for name, what in _SAME.items():
            if own and name in own and name in facts and facts[name] != own[name]:
                yield (
                    f"{what} of node {facts['node']} differ from those of this one, node {node}: "
                    "copy the file, and restart"
                )
        if own and facts.get("version") != own.get("version"):
            yield f"node {facts['node']} runs version {facts.get('version')}"


_SAME = {
    "nonce_keys": "the nonce keys",
    "dialog_keys": "the keys of dialogs",
    "sealing_keys": "the sealing keys",
}
"""The facts that are to be the same on all nodes."""
