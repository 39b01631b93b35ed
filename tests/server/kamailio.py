"""A real server for a test: `sbcauth run` in a folder of its own, on a free loopback port.

    with Server(folder, CONFIG) as server:
        server.add_user("1001", "secret")

Everything goes the way that an administrator goes: the YAML is a file, users are added by the
command line, SIGTERM stops it.
"""

import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

SBCAUTH = Path(sys.executable).with_name("sbcauth")
READY_WITHIN = 60.0
"""Seconds that a start may take; it is under two on an idle machine."""

running: list["Server"] = []
"""The servers that run now; their logs are shown when a test fails."""


class Server:
    """One server: Kamailio with the authentication server, configured by the text `config`.

    Outcomes go to standard output, and so into the same file as Kamailio's log, unless they are
    to be `separate`, or go into a `pipe` that nobody reads.
    """

    def __init__(
        self,
        folder: Path,
        config: str,
        *,
        workers: int = 2,
        port: int = 0,
        listen: Sequence[str] = (),
        options: Sequence[str] = (),
        user: int | None = None,
        separate: bool = False,
        pipe: bool = False,
        address: str = "127.0.0.1",
    ) -> None:
        self.folder = folder
        self._separate, self._pipe = separate, pipe
        self.outcomes_file = folder / "outcomes.log"
        self._user = user
        self.address = address
        self.port = port or free_port()
        self.workers = workers
        listen = [f"{each}:{address}:{self.port}" for each in ("udp", "tcp")] + list(listen)
        self.options = [*options, *(word for each in listen for word in ("--listen", each))]
        self._process: subprocess.Popen[bytes] | None = None
        self.config_file = folder / "sbcauth.yaml"
        self.config_file.write_text(with_all_outcomes(config))
        self.log_file = folder / "kamailio.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Return the process id of Kamailio's main process."""
        assert self._process
        return self._process.pid

    def sbcauth(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command line on this server's configuration."""
        return subprocess.run(
            [str(SBCAUTH), "--config", str(self.config_file), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else (),
        )

    def administer(self, *arguments: str, stdin: str = "") -> str:
        """Run a command that must succeed; returns what it prints."""
        done = self.sbcauth(*arguments, stdin=stdin)
        assert done.returncode == 0, f"sbcauth {shlex.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def add_user(
        self, username: str, password: str, ip_group: str = "Phones", local_user: str | None = None
    ) -> None:
        """Add a user to the User Info table."""
        options = ("--local-user", local_user) if local_user else ()
        self.administer(
            "user", "add", username, "--ip-group", ip_group, *options, "--password-stdin",
            stdin=f"{password}\n",
        )  # fmt: skip

    def start(self) -> None:
        """Start, and wait until SIP is answered over UDP and TCP: all processes are there."""
        self.launch()
        running.append(self)
        deadline = time.monotonic() + READY_WITHIN
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            while not (self._answers(kind) or self._says_that_it_serves()):
                assert self._process
                assert self._process.poll() is None, f"the server did not start:\n{self.log()}"
                assert time.monotonic() < deadline, f"the server does not answer:\n{self.log()}"

    def launch(self) -> subprocess.Popen[bytes]:
        """Start, without waiting for anything."""
        command = [str(SBCAUTH), "--config", str(self.config_file), "run", *self.options]
        command += ["--workers", str(self.workers)]
        with ExitStack() as files:
            log = files.enter_context(self.log_file.open("ab"))
            out: IO[bytes] | int = log
            if self._separate:
                out = files.enter_context(self.outcomes_file.open("ab"))
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._pipe else out,
                stderr=log,
                start_new_session=True,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else (),
            )
        return self._process

    def stop(self) -> int:
        """Stop by SIGTERM and return the exit code."""
        if self in running:
            running.remove(self)
        assert self._process
        if self._process.stdout:
            self._process.stdout.close()
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # the session that we started
            self._process.wait()
            raise

    def wait(self, seconds: float) -> int:
        """Wait until Kamailio's main process has ended by itself; return its exit status."""
        assert self._process
        return self._process.wait(seconds)

    def restart(self) -> None:
        """Stop, and start again at the same addresses."""
        self.stop()
        self.start()

    def log(self, start: int = 0) -> str:
        """Return what the server has written, from the byte `start` on."""
        if not self.log_file.exists():
            return ""
        return self.log_file.read_bytes()[start:].decode(errors="replace")

    def log_size(self) -> int:
        """Return how much the server has written, in bytes."""
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    def outcomes(self, call_id: str) -> list[dict[str, str]]:
        """Return the fields of the log lines on the requests of one Call-ID, in order."""
        found = []
        file = self.outcomes_file
        apart = file.read_text() if file.exists() else ""
        for line in (self.log() + apart).splitlines():
            outcome = _OUTCOME.search(line)
            fields = dict(_FIELD.findall(outcome[1])) if outcome else {}
            if fields.get("call_id") == call_id:
                found.append(fields)
        return found

    def reasons(self, call_id: str) -> list[str]:
        """Return the reasons in the log lines on the requests of one Call-ID, in order.

        Waits until there is one: the line may come after the answer.
        """
        wait_for(lambda: self.outcomes(call_id))
        return [fields["reason"] for fields in self.outcomes(call_id)]

    def processes(self) -> set[int]:
        """Return the process ids of all of Kamailio's processes."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return {self.pid, *map(int, children)}

    def _says_that_it_serves(self) -> bool:
        """Tell whether a server that answers no stranger says that it serves."""
        drops = "unclassified_requests: drop" in self.config_file.read_text()
        return drops and "sbcauth: serves by" in self.log()

    def _answers(self, kind: socket.SocketKind) -> bool:
        """Ask what no policy stands before: a request that has gone too far gets 483."""
        transport = "TCP" if kind is socket.SOCK_STREAM else "UDP"
        question = (
            f"OPTIONS sip:{self.address}:{self.port} SIP/2.0\r\n"
            f"Via: SIP/2.0/{transport} 127.0.0.1;rport;branch=z9hG4bK-ready\r\n"
            "Max-Forwards: 0\r\nFrom: <sip:ready@127.0.0.1>;tag=1\r\nTo: <sip:127.0.0.1>\r\n"
            "Call-ID: ready\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        with socket.socket(socket.AF_INET, kind) as phone:
            phone.settimeout(0.2)
            try:
                phone.connect((self.address, self.port))
                phone.send(question.encode())
                return phone.recv(65535).startswith(b"SIP/2.0 483 ")
            except OSError:
                time.sleep(0.02)
                return False


StartServer = Callable[..., Server]
"""What the fixture `start_server` is: arguments are those of Server, without the folder."""


_OUTCOME = re.compile(r"[-0-9T:+]{24} (decision=.*)")
"""An outcome, at the end of a line: Kamailio 6.0 may have begun one of its own before."""
_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)')


def with_all_outcomes(config: str) -> str:
    """Have every outcome in the log, unless the test says which."""
    says = re.search(r"^(log:|ip_groups: \[\])", config, re.MULTILINE)
    return config if says else f"{config.rstrip()}\nlog: all\n"


_PORTS = range(10_000, 20_000)
"""Below those that the kernel gives to sockets: one that is free now is still free at its use."""
_given: set[int] = set()


def free_port() -> int:
    """Return a port that nobody uses on loopback, neither UDP nor TCP, and none twice."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - no secret
        if port in _given:
            continue
        _given.add(port)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        ):
            try:
                udp.bind(("", port))
                tcp.bind(("", port))
            except OSError:
                continue
            return port


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """Wait until `condition` holds; tell whether it came to hold in time.

    Whatever another party, a log or a file is to receive goes by this: an answer to one party says
    nothing of when another worker's message reaches the next. The deadline is long because the
    machine may be busy; what must happen within a time says so.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
