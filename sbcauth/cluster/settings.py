"""Who the nodes of a cluster are, and where they speak to each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2s

from sbcauth.cluster.engine_settings import EngineSettings


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """The private UDP address at which a node hears the others; `host` has no brackets."""

    host: str
    port: int

    @property
    def uri(self) -> str:
        """Return it as a SIP URI."""
        return f"sip:{self.socket}"

    @property
    def socket(self) -> str:
        """Return it as ADDRESS:PORT, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """Return the short name by which registrations and dialogs know the node.

        Six hexadecimal digits: a registered address has room for no more.
        """
        return blake2s(self.socket.encode(), digest_size=3).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """What `cluster` says: `node` is this node's number, `address` where the others reach it.

    Without an `engine`, each node counts for itself.
    """

    node: int
    address: NodeAddress | None = None
    peers: tuple[NodeAddress, ...] = ()
    engine: EngineSettings | None = None

    @property
    def others(self) -> Mapping[str, NodeAddress]:
        """Return the other nodes, by their names."""
        return {peer.name: peer for peer in self.peers}
