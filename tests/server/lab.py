"""A whole lab: three nodes, two engines behind Sentinels, PostgreSQL; and what goes wrong there.

    with Lab(folder, users) as lab:
        for fault in lab.faults():
            fault.happen(seconds=2.0)

After each fault all is mended, and `wait_until_well` waits until every node serves strangers.
"""

import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import redis
from counting_nodes import CONFIG, Roaming, addresses, start_engine
from engine import Engine, Sentinel
from kamailio import Server, free_port, wait_for
from postgresql import Postgresql

WELL_WITHIN = 90.0
"""Seconds in which a busy machine is well again; an idle one takes two or three."""
ENGINE_TIMEOUT = 0.5


class Fault(NamedTuple):
    """What goes wrong, and how it is mended; whether the engine may forget thereby what it has
    counted; and which node, if it is one, is not there meanwhile.
    """

    name: str
    begin: Callable[[], None]
    mend: Callable[[], None]
    forgets: bool = False
    node: int | None = None


class Lab:
    """What runs in it; `users` have their names as passwords, with `secret-of-` before."""

    def __init__(self, folder: Path, users: list[str]) -> None:
        self._folder, self._users = folder, users
        self._stack = ExitStack()
        self._strangers = 0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.postgresql = self._stack.enter_context(Postgresql())
        first = start_engine(self._stack, self._folder / "engine1")
        of = [f"replicaof {first.address} {first.port}"]
        self.engines = [first, start_engine(self._stack, self._folder / "engine2", of)]
        assert wait_for(self._replica_follows), "the replica does not follow"
        self.sentinels = [
            self._stack.enter_context(Sentinel(self._folder / f"sentinel{n}", first))
            for n in range(3)
        ]
        assert wait_for(self._sentinels_agree, WELL_WITHIN), "Sentinels do not find each other"
        self.nodes = self._nodes()
        first_node, *others = self.nodes
        for node in self.nodes:
            self._stack.push(node)
            node.start()
            if node is first_node:
                self._share_keys(node, others)
        self.wait_until_well()

    @staticmethod
    def _share_keys(first: Server, others: list[Server]) -> None:
        for name in ("sbcauth.keys", "sbcauth.dialog", "sbcauth.seal"):
            for node in others:
                shutil.copy2(first.folder / name, node.folder / name)

    def _nodes(self) -> list[Server]:
        port, private = free_port(), free_port()
        places = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        nodes: list[Server] = []
        for number in (1, 2, 3):
            home = self._folder / f"node{number}"
            home.mkdir()
            settings = f"engine_timeout: {ENGINE_TIMEOUT}s\n{addresses(number, private)}"
            text = CONFIG.format(
                node=number,
                engine=f"redis+sentinel://{places}/sbcauth",
                settings="\n".join(f"  {line}" for line in settings.splitlines()),
            )
            config = f"database: {self.postgresql.url()}\n{text}"
            nodes.append(Server(home, config, address=f"127.0.0.{10 + number}", port=port))
        self._fill(nodes[0])
        return nodes

    def _fill(self, node: Server) -> None:
        rows = (f"{user},{user},secret-of-{user},Phones" for user in self._users)
        file = self._folder / "users.csv"
        file.write_text("\n".join(("local_user,username,password,ip_group", *rows)) + "\n")
        node.administer("user", "import", str(file))

    # What is seen from outside.

    def stranger(self, user: str) -> Roaming:
        """Return a phone at an address from which nobody has come yet; it is to be closed."""
        self._strangers += 1
        high, low = divmod(self._strangers, 250)
        return Roaming(user, f"secret-of-{user}", f"127.{20 + high // 250}.{high % 250}.{1 + low}")

    def serves_strangers(self, node: Server) -> bool:
        """Tell whether a node lets in whom it has never seen."""
        phone = self.stranger(self._users[0])
        try:
            return phone.register(node)[-1] == 200
        except TimeoutError:
            return False
        finally:
            phone.close()

    def wait_until_well(self) -> float:
        """Wait until every node serves strangers; return how long that took."""
        began = time.monotonic()
        for node in self.nodes:
            assert wait_for(partial(self.serves_strangers, node), WELL_WITHIN), (
                f"node at {node.address} is not well again: {node.log()[-3000:]}"
            )
        return time.monotonic() - began

    @property
    def primary(self) -> Engine:
        """Return the engine that is the primary now."""
        return next(each for each in self.engines if _role(each) == "master")

    def _replica_follows(self) -> bool:
        replicas = [each for each in self.engines if _role(each) == "slave"]
        return bool(replicas) and all(
            each.command("INFO", "replication")["master_link_status"] == "up" for each in replicas
        )

    def _sentinels_agree(self) -> bool:
        """Tell whether all know where the primary is, each other, and its replica."""
        for sentinel in self.sentinels:
            found = sentinel.command("SENTINEL", "MASTER", "sbcauth")
            facts = (
                found
                if isinstance(found, dict)
                else dict(zip(found[::2], found[1::2], strict=True))
            )
            if int(facts["num-other-sentinels"]) != 2 or int(facts["num-slaves"]) != 1:
                return False
            if int(facts["port"]) != self.primary.port or facts["flags"] != "master":
                return False
        return True

    # What goes wrong.

    def faults(self) -> list[Fault]:
        """Return one of each kind; those of which all is well again within seconds come first."""
        return [
            self.frozen_engine(),
            self.frozen_node(1),
            self.emptied_engine(),
            self.killed_database(),
            self.killed_node(0),
            self.killed_engine(),
            self.killed_node(2),
            self.frozen_database(),
            self.killed_sentinel(),
        ]

    def killed_node(self, number: int) -> Fault:
        """kill -9 of all its processes."""
        node = self.nodes[number]

        def kill() -> None:
            os.killpg(node.pid, signal.SIGKILL)  # the session that we started
            node.stop()

        return Fault(f"node {number + 1} killed", kill, node.start, node=number)

    def frozen_node(self, number: int) -> Fault:
        """SIGSTOP of all its processes."""
        node = self.nodes[number]
        return Fault(
            f"node {number + 1} frozen",
            lambda: os.killpg(node.pid, signal.SIGSTOP),
            lambda: os.killpg(node.pid, signal.SIGCONT),
            node=number,
        )

    def killed_engine(self) -> Fault:
        """kill -9 of the primary: its replica takes over, and it becomes the replica."""
        killed: list[Engine] = []

        def kill() -> None:
            killed.append(self.primary)
            killed[0].kill()

        def mend() -> None:
            other = next(each for each in self.engines if each is not killed[0])
            assert wait_for(lambda: _role(other) == "master", WELL_WITHIN), "nobody took over"
            killed[0].start()
            assert wait_for(self._replica_follows, WELL_WITHIN)
            assert wait_for(self._sentinels_agree, WELL_WITHIN)

        return Fault("engine killed, its replica takes over", kill, mend, forgets=True)

    def frozen_engine(self) -> Fault:
        """SIGSTOP of the primary; where that lasts, its replica takes over."""
        frozen: list[Engine] = []

        def freeze() -> None:
            frozen.append(self.primary)
            frozen[0].freeze()

        def thaw() -> None:
            frozen[0].thaw()
            assert wait_for(
                lambda: self._replica_follows() and self._sentinels_agree(), WELL_WITHIN
            )

        return Fault("engine frozen", freeze, thaw, forgets=True)

    def emptied_engine(self) -> Fault:
        """FLUSHALL."""
        return Fault(
            "engine emptied", lambda: self.primary.command("FLUSHALL"), _nothing, forgets=True
        )

    def killed_sentinel(self) -> Fault:
        """kill -9 of one Sentinel."""
        sentinel = self.sentinels[0]
        return Fault("Sentinel killed", sentinel.kill, sentinel.start)

    def killed_database(self) -> Fault:
        """kill -9 of PostgreSQL."""
        return Fault("PostgreSQL killed", self.postgresql.kill, self.postgresql.start)

    def frozen_database(self) -> Fault:
        """SIGSTOP of PostgreSQL."""
        return Fault("PostgreSQL frozen", self.postgresql.freeze, self.postgresql.thaw)

    def change_is_seen(self, user: str) -> list[float]:
        """Disable a user at node 1; return after how many seconds each node knows so."""
        self.nodes[0].administer("user", "disable", user)
        began = time.monotonic()
        took = []
        for node in self.nodes:
            assert wait_for(partial(_is_disabled, node, user), WELL_WITHIN), node.address
            took.append(time.monotonic() - began)
        return took


def _is_disabled(node: Server, user: str) -> bool:
    """Tell whether a node's copy has a user as disabled; its workers look there."""
    with closing(sqlite3.connect(node.folder / "users-copy.db", timeout=5)) as copy:
        found = copy.execute("SELECT enabled FROM user_info WHERE username = ?", (user,))
        return bool(found.fetchone() == (0,))


def _role(engine: Engine) -> str:
    try:
        return str(engine.command("ROLE")[0])
    except redis.RedisError:  # it is away, or is just about to be
        return ""


def _nothing() -> None:
    """Mend what mends itself."""
