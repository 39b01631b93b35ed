"""What the doctor looks at in a cluster: the engine, and the other nodes."""

from collections.abc import Iterator

from sbcauth.config.load import Config
from sbcauth.exceptions import SbcAuthError
from sbcauth.monitoring.cluster import cluster_state, differences
from sbcauth.monitoring.doctor.finding import Finding, Grade

_SUBJECT = "cluster"
_SLOW = 0.5
"""Share of `engine_timeout` above which an answer is slow."""


def cluster(config: Config) -> Iterator[Finding]:
    """Yield what is found of the engine that the nodes share, where there is one."""
    if config.cluster is None or config.cluster.engine is None:
        return
    node, settings = config.cluster.node, config.cluster.engine
    try:
        state = cluster_state(config.cluster)
    except SbcAuthError as error:  # a package is missing
        yield Finding(Grade.ERROR, _SUBJECT, str(error))
        return
    if state is None or state.away:
        text = f"{state.away if state else ''}; strangers are refused until it answers"
        yield Finding(Grade.ERROR, _SUBJECT, text)
        return
    if state.maxmemory_policy != "noeviction":
        text = (
            f"maxmemory-policy of the engine is {state.maxmemory_policy or 'not told'}: a claim "
            "that is evicted would be a replay; set noeviction"
        )
        yield Finding(Grade.ERROR, _SUBJECT, text)
    if state.answered_in_ms > settings.engine_timeout * 1000 * _SLOW:
        text = f"the engine took {state.answered_in_ms} ms; engine_timeout allows less than twice"
        yield Finding(Grade.WARNING, _SUBJECT, text)
    there = [str(facts["node"]) for facts in state.nodes]
    if str(node) not in there:
        text = f"node {node}, this one, does not run, or is cut off from the engine"
        yield Finding(Grade.WARNING, _SUBJECT, text)
    if state.missing:
        text = f"{state.missing} of {settings.nodes} nodes are not there, or cut off"
        yield Finding(Grade.WARNING, _SUBJECT, text)
    for text in differences(state, node):
        yield Finding(Grade.ERROR, _SUBJECT, text)
    text = f"{state.kind} {state.version} at {state.primary}, {state.maxmemory_policy}"
    text += f", {state.replicas} replicas; nodes {', '.join(there) or 'none'}"
    yield Finding(Grade.OK, _SUBJECT, text)
