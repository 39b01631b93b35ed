"""A real PostgreSQL server for a test: Debian's, with a cluster of its own in a folder of its own.

    with Postgresql() as server:
        url = server.url()

It refuses to run as root, so that root starts it as Debian's user `postgres`.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psycopg
from kamailio import free_port

USER = "sbcauth"
"""The role that owns the databases; it may log in without a password."""
READY_WITHIN = 30.0
_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
max_wal_senders = 4
wal_level = replica
hot_standby = on
shared_buffers = 16MB
"""


def programs() -> Path:
    """Return the folder of the newest PostgreSQL that is installed."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))


class Postgresql:
    """One server, with the database `sbcauth`; a `standby` copies what another one has."""

    def __init__(self, *, of: "Postgresql | None" = None, tls: bool = False) -> None:
        self.port = free_port()
        self._user = "postgres" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="sbcauth-postgresql-"))
        self.data = self.folder / "data"
        if self._user:
            shutil.chown(self.folder, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        if of:
            self._run(
                "pg_basebackup",
                "-D",
                self.data,
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
                "-d",
                of.url("postgres", "postgres"),
            )
        else:
            self._run(
                "initdb",
                "-D",
                self.data,
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--no-sync",
                "--locale=C",
            )
        settings = f"{_SETTINGS}port = {self.port}\n"
        if tls:
            self._make_certificate()
            settings += "ssl = on\n"
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(settings)
        self.start()
        if of is None:
            self.execute(f"CREATE ROLE {USER} LOGIN", database="postgres")
            self.execute(f"CREATE DATABASE sbcauth OWNER {USER}", database="postgres")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "sbcauth", user: str = USER) -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def execute(
        self, statement: str, values: Sequence[object] = (), database: str = "sbcauth"
    ) -> list[tuple[Any, ...]]:
        """Execute a statement as the administrator, and return its rows."""
        with psycopg.connect(self.url(database, "postgres"), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        """Remove everything from the database."""
        self.execute("DROP SCHEMA public CASCADE")
        self.execute(f"CREATE SCHEMA public AUTHORIZATION {USER}")

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [programs() / "postgres", "-D", self.data], stdout=log, stderr=log, user=self._user,
                group=self._user, extra_groups=None if self._user is None else (), cwd=self.folder,
            )  # fmt: skip
        deadline = time.monotonic() + READY_WITHIN
        while not self._answers():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return bool(self.execute("SELECT 1", database="postgres"))
        except psycopg.OperationalError:
            return False

    def stop(self) -> None:
        """Stop as an administrator does, without waiting for anybody's connection."""
        self.thaw()
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End every process at once, as a power failure does."""
        for pid in self._children():
            _signal(pid, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Have no process answer any more, or refuse."""
        for pid in (self._pid(), *self._children()):
            _signal(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Have all go on."""
        if self._process and self._process.poll() is None:
            for pid in (*self._children(), self._pid()):
                _signal(pid, signal.SIGCONT)

    def promote(self) -> None:
        """Make a standby the primary, and wait until it is."""
        self._run("pg_ctl", "promote", "-D", self.data, "-w")

    def log(self) -> str:
        """Return what the server has written."""
        return (self.folder / "log").read_text(errors="replace")

    def _pid(self) -> int:
        assert self._process
        return self._process.pid

    def _children(self) -> list[int]:
        try:
            text = Path(f"/proc/{self._pid()}/task/{self._pid()}/children").read_text()
        except OSError:
            return []
        return [int(pid) for pid in text.split()]

    def _end(self, how: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run(
            [programs() / program, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else (),
            cwd=self.folder,
            timeout=120,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def _make_certificate(self) -> None:
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.crt"]
        subprocess.run(command, cwd=self.data, check=True, capture_output=True)
        for name in ("server.key", "server.crt"):
            (self.data / name).chmod(0o600)
            if self._user:
                shutil.chown(self.data / name, self._user)


def _signal(pid: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, how)


def urls_of(servers: Iterable[Postgresql], database: str = "sbcauth") -> str:
    """Return one URL for several servers, of which the primary is meant."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://{USER}@{hosts}/{database}?target_session_attrs=read-write"
