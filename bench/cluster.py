"""What it costs to be a node of a cluster: nothing for a phone that stays, a question else."""

import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Series, Settings, beds, compare
from bench.phones import Phones, Start
from bench.report import Result
from bench.servers import CONFIG, Ours, Server

_KNOWN = range(5_000)
_STRANGERS = range(5_000, 15_000)
_WRONG = range(15_000, 25_000)
_USERS = 25_000
_CPU = "µs"


def cluster(settings: Settings) -> Result:
    """Register at a server that stands alone, and at nodes: known, strangers, and wrong."""
    with _engine(settings.folder) as engine:
        servers = _servers(settings, engine)
        # Half of the strangers are spare, for rounds that are run again.
        few = min(settings.rounds, max(1, len(_STRANGERS) // settings.pairs // 2))
        first = settings._replace(rounds=few)
        with beds(servers, _KNOWN) as running:
            series = _named("known phone", compare(running, Phones.register, _KNOWN, settings))
            found = compare(running, Phones.register, _STRANGERS, first, once=True)
            series += _named("stranger", found)
            series += _named("wrong", compare(running, _wrong, _WRONG, first, once=True))
    return Result("cluster", f"as a node of a cluster, {_USERS} users", _CPU, series, "alone")


def _servers(settings: Settings, engine: str) -> list[Server]:
    """Return a server that stands alone, and nodes by whose nonces are whose."""
    servers: list[Server] = [
        Ours(settings.folder / "alone", _USERS, settings.workers, name="alone")
    ]
    for number, nonces in enumerate(("node", "engine"), start=1):
        keys = f"node: {number}, engine: '{engine}/{number}', nonces: {nonces}, engine_timeout: 1s"
        lines = f"cluster: {{{keys}}}\n"
        servers.append(
            _Node(
                settings.folder / nonces,
                _USERS,
                settings.workers,
                name=f"node, nonces of the {nonces}",
                config=lines + CONFIG,
            )
        )
    return servers


class _Node(Ours):
    """Our server as a node, with the process that follows the news."""

    def command(self) -> list[str]:
        """Return what `sbcauth run` would run."""
        return self.options(self.folder / "kamailio.cfg", "WITH_ENGINE")


def _wrong(phones: Phones, users: Iterable[int]) -> Iterator[Start]:
    return phones.register(users, lambda _: True)


def _named(what: str, found: list[Series]) -> list[Series]:
    return [Series(f"{each.name}, {what}", each.values) for each in found]


@contextmanager
def _engine(folder: Path) -> Iterator[str]:
    """Run an engine, and yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = shutil.which("valkey-server") or "redis-server"
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    engine = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        engine.kill()
        engine.wait()
