"""Nonces in a cluster: each has one authority, which alone remembers its uses.

A node judges its own nonces by its own memory, at no cost. The nonces of the engine that all nodes
share are judged there, by one question. Another node's nonces are known by their MAC, and never
judged: whoever comes with one gets another.

All keys are derived from one file, which is the same on all nodes. Those of the engine's nonces
come from its epoch too, which changes whenever it may have forgotten something: an older nonce is
then stale, like one from before the restart of a server.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from hashlib import blake2s
from hmac import compare_digest

from sbcauth.digest.nonces import (
    AUTHORITY,
    BODY,
    CLOCK_DRIFT,
    KEY,
    MAC,
    TIME,
    NonceKey,
    NonceSigner,
    NonceState,
    begun,
)

MOST_NODES = 0x7F
_ENGINE_NUMBER = 0x80
ENGINE = f"{_ENGINE_NUMBER:02x}"
"""What the engine's nonces begin with."""


class NonceAuthority(StrEnum):
    """Who is the authority of new nonces."""

    AUTO = "auto"
    """The node, and the engine for whoever comes with the nonce of another node."""
    NODE = "node"
    ENGINE = "engine"


class Authorities:
    """The authorities of a cluster's nonces, as the node with the number `node` knows them.

    `keys` are those of the cluster, the newest first. `epoch` returns the last epoch of the engine
    that is known, empty for none, and `is_there` whether it answers. `own` are the keys that the
    node signs with, and `tagged` those whose tags its sources may have.
    """

    def __init__(
        self,
        keys: Sequence[NonceKey],
        node: int,
        epoch: Callable[[], str],
        is_there: Callable[[], bool],
        which: NonceAuthority = NonceAuthority.AUTO,
    ) -> None:
        self._keys = {f"{key.id:02x}": key for key in keys}
        self.own = tuple(_derived(key, node) for key in keys)
        self.tagged = (*self.own, *(_derived(key, _ENGINE_NUMBER) for key in keys))
        self.epoch, self.is_there = epoch, is_there
        self.prefers_engine = which is NonceAuthority.ENGINE
        self.may_ask_engine = which is not NonceAuthority.NODE

    def of_engine(self, epoch: str) -> tuple[NonceKey, ...]:
        """Return the keys of the engine's nonces, in one of its epochs."""
        return tuple(_derived(key, _ENGINE_NUMBER, epoch) for key in self._keys.values())

    def of_node(self, name: str) -> NonceKey | None:
        """Return the key of another node's nonces that begin with `name`, if it has such a key."""
        key = self._keys.get(name[2:])
        try:
            node = int(name[:2], 16)
        except ValueError:
            return None
        return _derived(key, node) if key and 1 <= node <= MOST_NODES else None


class ClusterSigner(NonceSigner):
    """Mints and judges the nonces of one challenge policy on one node of a cluster."""

    __slots__ = ("_authorities", "_engine", "_engine_before", "_epoch", "_others")

    def __init__(
        self,
        authorities: Authorities,
        policy: Sequence[str],
        lifetime: int,
        not_before: int = 0,
    ) -> None:
        super().__init__(authorities.own, policy, lifetime, not_before)
        self._authorities = authorities
        self._epoch = ""
        self._engine: dict[str, blake2s] = {}
        self._engine_before: dict[str, blake2s] = {}
        self._others: dict[str, blake2s] = {}

    def mint(self, source_tag: str, now: int) -> str:
        """Return a new nonce; the authority of the tag is meant, where the engine answers."""
        authorities = self._authorities
        if source_tag[AUTHORITY] != ENGINE and not authorities.prefers_engine:
            return super().mint(source_tag, now)
        own = super().mint(authorities.own[0].name[AUTHORITY] + source_tag[2:], now)
        if not authorities.may_ask_engine or not authorities.is_there():
            return own
        unfinished = self._of_engine().get(ENGINE + own[2:4])
        if unfinished is None:
            return own
        body = ENGINE + own[BODY][2:]
        mac = unfinished.copy()
        mac.update(body.encode())
        return body + mac.hexdigest()

    def _judge_of_others(self, nonce: str, now: int) -> NonceState:
        """Return what a nonce is that is none of this node's."""
        if not nonce.isascii():
            return NonceState.FOREIGN
        if nonce[AUTHORITY] != ENGINE:
            of_node = self._of_node(nonce[KEY])
            return NonceState.ELSEWHERE if _fits(of_node, nonce) else NonceState.FOREIGN
        if _fits(self._of_engine().get(nonce[KEY]), nonce):
            if not f"{now - self._lifetime:08x}" <= nonce[TIME] <= f"{now + CLOCK_DRIFT:08x}":
                return NonceState.STALE
            return NonceState.SHARED if self._authorities.is_there() else NonceState.ELSEWHERE
        before = self._engine_before.get(nonce[KEY])
        return NonceState.ELSEWHERE if _fits(before, nonce) else NonceState.FOREIGN

    def _of_engine(self) -> dict[str, blake2s]:
        """Return the MACs of the engine's nonces in its epoch; empty before any is known."""
        epoch = self._authorities.epoch()
        if epoch and epoch != self._epoch:
            keys = self._authorities.of_engine(epoch)
            self._engine_before = self._engine
            self._engine = {key.name: begun(key, self._stated) for key in keys}
            self._epoch = epoch
        return self._engine

    def _of_node(self, name: str) -> blake2s | None:
        found = self._others.get(name)
        if found is None and (key := self._authorities.of_node(name)):
            found = self._others[name] = begun(key, self._stated)
        return found


def _fits(unfinished: blake2s | None, nonce: str) -> bool:
    """Tell whether the MAC of a nonce is the one that this begins; never without one."""
    if unfinished is None:
        return False
    mac = unfinished.copy()
    mac.update(nonce[BODY].encode())
    return compare_digest(nonce[MAC], mac.hexdigest())


def _derived(key: NonceKey, authority: int, epoch: str = "") -> NonceKey:
    """Return the key that an authority has of one of the cluster's."""
    who = f"{authority} {epoch}".encode()
    secret = blake2s(who, key=key.secret, person=b"cluster").digest()
    tag_secret = blake2s(key=key.secret, person=b"tags").digest()
    return NonceKey(key.id, secret, authority, tag_secret)
