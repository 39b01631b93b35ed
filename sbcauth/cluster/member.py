"""A node as a member of its cluster: what its processes share, and what each has of its own."""

from collections.abc import Callable, Sequence

from sbcauth.cluster.attempts import ClusterAttempts, ClusterReservations
from sbcauth.cluster.board import Board
from sbcauth.cluster.engine import Engine
from sbcauth.cluster.engine_settings import EngineSettings
from sbcauth.cluster.follower import Follower, Identity
from sbcauth.digest.authorities import Authorities
from sbcauth.digest.nonces import NonceKey
from sbcauth.policy.cluster import Cluster
from sbcauth.policy.shared_state import SharedState


class Member:
    """A node of a cluster whose nodes share an engine; made before the fork."""

    def __init__(self, settings: EngineSettings, identity: Identity, shared: SharedState) -> None:
        self._settings, self._identity, self._shared = settings, identity, shared
        self._board = Board(shared)
        self.engine = Engine(settings, self._board, identity.node)

    def cluster(self, keys: Sequence[NonceKey]) -> Cluster:
        """Return what the server decides with; `keys` are those of the cluster's nonces."""
        board, engine, nodes = self._board, self.engine, self._settings.nodes
        authorities = Authorities(
            keys, self._identity.node, board.epoch, board.is_there, self._settings.nonces
        )
        attempts = ClusterAttempts(self._shared, engine, nodes)
        return Cluster(
            authorities, attempts, ClusterReservations(self._shared, attempts, engine, nodes)
        )

    def follower(
        self, clock: Callable[[], float], say: Callable[[str], None], forget_all: Callable[[], None]
    ) -> Follower:
        """Return what follows the news; see Follower."""
        return Follower(
            self._settings, self._identity, self._board, self._shared, clock, say, forget_all
        )
