"""A real engine for a test: Redis or Valkey, on a free loopback port, in a temporary folder.

    with Engine(folder) as engine:
        engine.command("PING")

`kill` is kill -9, `freeze` SIGSTOP; `start` starts it again, as the same.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import redis

PROGRAM = shutil.which("valkey-server") or "redis-server"
"""Debian 12 has Redis, Debian 13 Valkey as well."""
_READY_WITHIN = 20.0


def free_tcp_port(address: str = "127.0.0.1") -> int:
    """Return a TCP port that nobody uses."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


class Engine:
    """One engine; `options` are further lines of its configuration."""

    def __init__(
        self,
        folder: Path,
        options: Sequence[str] = (),
        *,
        port: int = 0,
        address: str = "127.0.0.1",
    ) -> None:
        self.folder = folder
        self.address = address
        self.port = port or free_tcp_port()
        self.options = list(options)
        self.client_options: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.log_file = folder / f"engine-{self.port}.log"
        self._sentinel = False
        self.prefix: list[str] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Return the URL, as `cluster: engine` has it."""
        return f"redis://{self.address}:{self.port}"

    @property
    def pid(self) -> int:
        """Return the process id."""
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        config = self.folder / f"engine-{self.port}.conf"
        if not config.exists():  # a Sentinel writes it itself
            lines = [
                f"bind {self.address}",
                f"dir {self.folder}",
                "daemonize no",
                *self._where(),
                *self.options,
            ]
            config.write_text("\n".join(lines) + "\n")
        command = [*self.prefix, PROGRAM, str(config), *(["--sentinel"] if self._sentinel else [])]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _READY_WITHIN
        while not self._answers():
            assert self._process.poll() is None, self.log_file.read_text()
            assert time.monotonic() < deadline, self.log_file.read_text()
            time.sleep(0.02)

    def _where(self) -> list[str]:
        return [f"port {self.port}", 'save ""', "appendonly no"]

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def client(self) -> "redis.Redis":
        """Return a client with a connection of its own."""
        return redis.Redis(
            self.address,
            self.port,
            decode_responses=True,
            socket_timeout=2,
            single_connection_client=False,
            **self.client_options,
        )

    def command(self, *words: object) -> Any:
        """Return the answer to a command."""
        client = self.client()
        try:
            return client.execute_command(*words)  # type: ignore[no-untyped-call]
        finally:
            client.close()

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def freeze(self) -> None:
        """Have it stand still: it is connected, and says nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Sentinel(Engine):
    """One Sentinel, which watches the primary at an address under the name `sbcauth`."""

    def __init__(self, folder: Path, primary: Engine, quorum: int = 2) -> None:
        watched = [
            f"sentinel monitor sbcauth {primary.address} {primary.port} {quorum}",
            "sentinel down-after-milliseconds sbcauth 1000",
            "sentinel failover-timeout sbcauth 5000",
        ]
        super().__init__(folder, watched)
        self._sentinel = True

    def _where(self) -> list[str]:
        return [f"port {self.port}"]
