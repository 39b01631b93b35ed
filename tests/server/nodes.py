"""Several real servers as the nodes of one cluster: each with a private address of its own.

    with Cluster(folder, CONFIG, 3) as nodes:
        nodes.add_user("1001", "secret")

They have the same users and keys, in files of their own. Phones reach them at ports of 127.0.0.1.
"""

import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

from kamailio import Server, free_port, wait_for

from sbcauth.monitoring.rpc import NotRunning, Rpc, RpcError
from sbcauth.monitoring.servers import SOCKET

SEEN_WITHIN = 10.0
"""Seconds within which a test waits for what one node tells another; it takes milliseconds."""


class Node(Server):
    """One node, and where the others speak to it."""

    number: int
    private: tuple[str, int]
    tls: int

    @property
    def rpc(self) -> Rpc:
        """Return how to ask this node's Kamailio."""
        return Rpc(self.folder / "run" / SOCKET)

    def contacts(self, user: str) -> list[dict[str, Any]]:
        """Return the Contacts of a user, as this node's Kamailio knows them."""
        try:
            found = self.rpc.call("ul.lookup", "location", f"{user}@example.com")
        except (RpcError, NotRunning):
            return []
        return [each["Contact"] for each in found["Contacts"]]

    @property
    def registrations_file(self) -> Path:
        """Return the file in which this node's registrations survive a restart."""
        return self.folder / "sbcauth-registrations.db"

    def kill(self) -> None:
        """End all of its processes at once, as a crash of the machine would."""
        os.killpg(self.pid, signal.SIGKILL)  # the session that we started
        self.stop()

    def sees(self, other: "Node") -> bool:
        """Tell whether another node answers, as far as this one's Kamailio knows."""
        found = self.rpc.call("dmq.list_nodes")
        return any(
            each["host"] == other.private[0] and each["status"] == "active" for each in found
        )

    def has_newest(self, other: "Node", user: str) -> bool:
        """Tell whether this node knows of a user's last registration at another node."""
        here, there = (
            [(each["Call-ID"], each["CSeq"]) for each in node.contacts(user)]
            for node in (self, other)
        )
        return here == there

    def forget(self, user: str) -> None:
        """Have this node's Kamailio forget a user's Contacts."""
        with suppress(RpcError):
            self.rpc.call("ul.rm", "location", f"{user}@example.com")

    def knows(self, user: str, contact: str) -> bool:
        """Wait until this node knows that a user is registered at an address; tell whether."""
        return wait_for(
            lambda: any(contact in each["Address"] for each in self.contacts(user)), SEEN_WITHIN
        )


class Cluster:
    """Nodes that run, the first of which is `nodes[0]`."""

    def __init__(
        self,
        folder: Path,
        config: str,
        count: int = 3,
        *,
        tls_config: Path | None = None,
        users: dict[str, str],
        options: Sequence[str] = (),
    ) -> None:
        port = free_port()
        addresses = [(f"127.0.1.{number}", port) for number in range(1, count + 1)]
        self.nodes: list[Node] = []
        dialog_key = token_hex(32)
        for number, (host, _) in enumerate(addresses, start=1):
            home = folder / f"node{number}"
            home.mkdir()
            peers = [f"sip:{other}:{port}" for other, _ in addresses if other != host]
            cluster = f"{{node: {number}, address: 'sip:{host}:{port}', peers: {peers}}}"
            tls = free_port()
            listen = [f"tls:127.0.0.1:{tls}"] if tls_config else []
            extra = ["--tls-config", str(tls_config)] if tls_config else []
            node = Node(
                home, f"{config}\ncluster: {cluster}\n", listen=listen, options=[*extra, *options]
            )
            node.number, node.private, node.tls = number, (host, port), tls
            (home / "sbcauth.dialog").write_text(f"{dialog_key}\n")
            self.nodes.append(node)
        first, *others = self.nodes
        for user, password in users.items():
            first.add_user(user, password)
        for node in others:
            for name in ("sbcauth.db", "sbcauth.seal"):
                shutil.copy(first.folder / name, node.folder / name)

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.start()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.stop()

    def __getitem__(self, number: int) -> Node:
        return self.nodes[number]
