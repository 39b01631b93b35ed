"""The part of a node in a cluster whose nodes share an engine."""

import time
from typing import TYPE_CHECKING

import KSR

import sbcauth
from sbcauth.config.load import Config
from sbcauth.monitoring.log_line import NOTICE, record
from sbcauth.nonce_keys import dialog_keys, fingerprint, load_or_create, server_name
from sbcauth.policy.cluster import Cluster
from sbcauth.policy.shared_state import SharedState, Table
from sbcauth_door import log as sbcauth_log
from sbcauth_door import outcomes

if TYPE_CHECKING:
    from sbcauth.cluster.follower import Follower
    from sbcauth.cluster.member import Member

_PAUSE = 0.2
"""Seconds between two looks for an engine that does not answer."""


class Node:
    """The server as a node of a cluster; made before the fork."""

    def __init__(self, config: Config, shared: SharedState) -> None:
        self._member: Member | None = None
        self._follower: Follower | None = None
        settings = config.cluster.engine if config.cluster else None
        if config.cluster is None or settings is None:
            return
        # Nothing of it is even imported where it is not used.
        from sbcauth.cluster import follower, member

        self._facts: dict[str, object] = {
            "version": sbcauth.__version__,
            "since": int(time.time()),
            **_fingerprints(config),
        }
        identity = follower.Identity(config.cluster.node, server_name(config.file), self._facts)
        self._member = member.Member(settings, identity, shared)
        self._follower = self._member.follower(time.time, _say, _forget_all)
        self._follower.start()

    def counting(self, config: Config) -> Cluster | None:
        """Return what a server decides with that is a node; None for one that stands alone.

        It is called at each reload, too: then the other nodes are told of other keys.
        """
        if self._member is None:
            return None
        self._facts.update(_fingerprints(config))
        return self._member.cluster(load_or_create(config.nonce_key_file))

    def follow_news(self) -> None:
        """Follow the engine's news for a moment; called by the process that does nothing else."""
        if self._follower is None or not self._follower.follow():
            time.sleep(_PAUSE)


def _fingerprints(config: Config) -> dict[str, object]:
    """Return what tells this node's keys from another's, and nothing else of them."""
    nonce_keys = load_or_create(config.nonce_key_file)
    found: dict[str, object] = {
        "nonce_keys": fingerprint(key.secret for key in nonce_keys),
        "dialog_keys": fingerprint(key.encode() for key in dialog_keys(config.nonce_key_file)),
    }
    if not config.database.startswith("sqlite:") and config.ha1_key_file.exists():
        found["sealing_keys"] = fingerprint([config.ha1_key_file.read_bytes()])
    return found


def _say(text: str) -> None:
    sbcauth_log.notice(f"sbcauth: {text}\n")
    outcomes.log.write(record(NOTICE, event="cluster", detail=text))


def _forget_all() -> None:
    for table in (Table.ATTEMPTS, Table.LOCKOUTS):
        KSR.htable.sht_reset(table)
