"""What can be wrong between the addresses of nodes."""

from collections.abc import Iterator

from sbcauth.config.checks.finding import Finding
from sbcauth.config.cluster import ClusterFileSettings
from sbcauth.config.source import Path

_OF_ENGINE = {
    "nodes",
    "engine_username",
    "engine_password",
    "sentinel_password",
    "engine_ca_file",
    "engine_timeout",
    "nonces",
}


def check_cluster(cluster: ClusterFileSettings) -> Iterator[Finding]:
    """Yield what is wrong between the keys of `cluster`."""
    path: Path = ("cluster", "peers")
    if cluster.engine is None:
        for key in sorted(cluster.model_fields_set & _OF_ENGINE):
            yield Finding(("cluster", key), "is of use with an engine alone", True)
    elif cluster.engine_username and not cluster.engine_password:
        yield Finding(("cluster", "engine_password"), "is required with engine_username", True)
    if cluster.engine and cluster.sentinel_password and not cluster.engine.name:
        yield Finding(("cluster", "sentinel_password"), "is of use with Sentinels alone", True)
    if cluster.engine and cluster.engine_ca_file and not cluster.engine.tls:
        yield Finding(("cluster", "engine_ca_file"), "is of use with rediss:// alone", True)
    if cluster.peers and cluster.address is None:
        yield Finding(("cluster", "address"), "is required where there are peers", True)
    seen = {cluster.address.name: cluster.address} if cluster.address else {}
    for place, peer in enumerate(cluster.peers):
        other = seen.get(peer.name)
        if other == peer:
            what = "is this node's own" if peer == cluster.address else "is there twice"
            yield Finding((*path, place), f"{peer.uri} {what}", True)
        elif other:
            message = f"{peer.uri} and {other.uri} have one name: give one another port"
            yield Finding((*path, place), message, True)
        seen[peer.name] = peer
