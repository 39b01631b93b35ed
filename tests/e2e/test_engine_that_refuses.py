"""An engine that answers, and refuses: each way in which an administrator or a disk has it so."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count
from threading import Thread
from typing import NamedTuple

import pytest
import redis
from counting_nodes import USERS, Roaming, start_engine, three
from engine import Engine
from kamailio import Server, wait_for
from log_of_kamailio import check_log

GUESSED = iter(name for name in USERS if name >= "2000")
HOSTS = count(1)


class Trouble(NamedTuple):
    """What has the engine refuse, and what ends that."""

    begin: Callable[[Engine], object]
    end: Callable[[Engine], object]


def config(name: str, value: str) -> Callable[[Engine], object]:
    return lambda engine: engine.command("CONFIG", "SET", name, value)


def other_password(engine: Engine) -> None:
    """Have the nodes' connections end, and no other let in."""
    engine.command("CONFIG", "SET", "requirepass", "another")
    engine.client_options = {"password": "another"}
    engine.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def no_password(engine: Engine) -> None:
    engine.command("CONFIG", "SET", "requirepass", "")
    engine.client_options = {}


def is_busy(engine: Engine) -> None:
    """Have a script of somebody else run without end: all else gets BUSY."""
    engine.command("CONFIG", "SET", "busy-reply-threshold", "1")

    def run() -> None:
        with suppress(redis.RedisError):
            engine.command("EVAL", "while true do end", 0)

    def refuses() -> bool:
        try:
            engine.command("PING")
        except redis.ResponseError:
            return True
        return False

    Thread(target=run).start()
    assert wait_for(refuses)


TROUBLES = {
    "its memory is full": Trouble(config("maxmemory", "1"), config("maxmemory", "0")),
    "a replica of nobody": Trouble(
        lambda engine: engine.command("REPLICAOF", "127.0.0.1", "1"),
        lambda engine: engine.command("REPLICAOF", "NO", "ONE"),
    ),
    "too few replicas": Trouble(
        config("min-replicas-to-write", "3"), config("min-replicas-to-write", "0")
    ),
    "another password": Trouble(other_password, no_password),
    "busy": Trouble(is_busy, lambda engine: engine.command("SCRIPT", "KILL")),
    "it may not run scripts": Trouble(
        lambda engine: engine.command("ACL", "SETUSER", "default", "-@scripting"),
        lambda engine: engine.command("ACL", "SETUSER", "default", "+@all"),
    ),
}


class Nodes(NamedTuple):
    """Three nodes, and their engine."""

    nodes: list[Server]
    engine: Engine


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("refusing")
    with ExitStack() as stack:
        engine = start_engine(stack, folder / "engine")
        nodes = three(stack, folder, engine.url, settings="engine_timeout: 1s")
        yield Nodes(nodes, engine)
        for node in nodes:
            check_log(node)


@pytest.fixture
def phone(cluster: Nodes) -> Iterator[Callable[..., Roaming]]:
    with ExitStack() as stack:

        def make(username: str = "1001") -> Roaming:
            number = next(HOSTS)
            made = Roaming(username, address=f"127.0.{40 + number // 250}.{1 + number % 250}")
            stack.callback(made.close)
            return made

        yield make


def gets_in(node: Server, make: Callable[..., Roaming]) -> bool:
    return make().register(node)[-1] == 200


@pytest.mark.parametrize("trouble", TROUBLES)
def test_engine_that_refuses_is_as_good_as_away(
    trouble: str, cluster: Nodes, phone: Callable[..., Roaming]
) -> None:
    nodes, engine = cluster
    for node in nodes:
        assert wait_for(partial(gets_in, node, phone), 60), node.log()[-2000:]
    known, roaming = phone(), phone()
    assert known.register(nodes[0])[-1] == 200
    assert roaming.register(nodes[0])[-1] == roaming.register(nodes[1])[-1] == 200
    used = roaming.build(roaming.challenge, nc=roaming.nc)
    begin, end = TROUBLES[trouble]
    begin(engine)
    try:
        for node in nodes:
            stranger = phone(next(GUESSED))
            challenge = stranger.challenge_from(node)
            for password in ("wrong", None):
                answer = stranger.ask(node, stranger.build(challenge, password=password))
                assert answer.status == 503, (password, answer)
                assert answer.header("retry-after")
            assert roaming.register(node)[-1] == 200
            assert roaming.ask(node, used).status == 401
        assert known.register(nodes[0]) == [200]
        assert nodes[0].sbcauth("lockout", "clear", "--all").returncode == 1
    finally:
        end(engine)
    for node in nodes:
        assert wait_for(partial(gets_in, node, phone), 60), node.log()[-2000:]
        assert roaming.ask(node, used).status == 401
    guesser = phone(next(GUESSED))
    challenges = [guesser.challenge_from(node) for node in nodes]
    for _ in range(3):
        for node, challenge in zip(nodes, challenges, strict=True):
            guesser.send(node, guesser.build(challenge, password="wrong"))
    assert [guesser.receive().status for _ in range(9)].count(401) == 2
