"""Servers under load: ours, and its peers, which share all of kamailio.cfg but authentication.

Every server runs by the command line that `sbcauth run` makes: the same memory manager, the
same number of workers, the same size of shared memory.
"""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from bench.phones import REALM
from bench.users import fill_subscriber, fill_user_info, make_registrations
from sbcauth.cli.run import command
from sbcauth.installation import kamailio_cfg
from sbcauth.monitoring.registrations import beside
from sbcauth.monitoring.rpc import Rpc

SHARED_MEMORY = 2048
_PEERS = Path(__file__).resolve().parent / "peers"
_READY_WITHIN = 20.0
_LONGEST_START_LOG = 1_000_000  # a Kamailio that fails half way may go on complaining for ever
_ports = iter(range(24000, 25000))

# The server and the load have a processor each, so that neither cools the other's cache.
_CPUS = sorted(os.sched_getaffinity(0))
_SERVER_CPUS = set(_CPUS[: (len(_CPUS) + 1) // 2])
LOAD_CPUS = set(_CPUS[(len(_CPUS) + 1) // 2 :]) or _SERVER_CPUS

CONFIG = f"""\
realm: {REALM}
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    classification:
      - address: 127.0.0.0/8
"""


def many_groups(count: int) -> str:
    """Return a configuration of `count` IP Groups with ten rules each, the phones' the last."""
    lines = [CONFIG.rstrip()]
    lines += [f"      - address: 10.0.{rule}.0/24" for rule in range(9)]
    for group in range(1, count):
        lines += [
            f"  - name: Trunk{group}",
            "    type: user",
            "    authentication_mode: sbc-as-server",
            "    authentication_method_list: [REGISTER]",
            "    classification:",
        ]
        for rule in range(10):
            number = group * 10 + rule
            lines.append(f"      - address: 10.{1 + number // 256}.{number % 256}.0/24")
    return "\n".join(lines) + "\n"


class Server:
    """A Kamailio of its own, in `folder`, on a free loopback port."""

    def __init__(self, name: str, folder: Path, users: int, workers: int) -> None:
        self.name = name
        self.folder = folder
        self.users = users
        self.workers = workers
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = dict(os.environ)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        self.prepare()
        (self.folder / "run").mkdir(mode=0o700)
        with (self.folder / "kamailio.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, _SERVER_CPUS),
            )
        self._wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # the session that we started
            self._process.wait()

    def prepare(self) -> None:
        """Write the server's files into its folder."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the command line that runs it."""
        raise NotImplementedError

    def options(self, cfg: Path | None, *definitions: str) -> list[str]:
        """Return the command line of `sbcauth run`, with another kamailio.cfg."""
        line = command(
            self.folder / "sbcauth.yaml",
            [f"udp:127.0.0.1:{self.port}"],
            cfg=cfg,
            workers=self.workers,
            shared_memory=SHARED_MEMORY,
        )
        for definition in definitions:
            line += ["-A", definition]
        return line

    @property
    def pids(self) -> list[int]:
        """Return the ids of all of its processes, the main one first."""
        assert self._process
        main = self._process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [main, *map(int, children)]

    @property
    def worker_pids(self) -> list[int]:
        """Return the ids of the processes that serve UDP."""
        listing = self.rpc("core.psx")
        return [each["PID"] for each in listing if "udp" in each["DSC"]]

    def cpu(self) -> float:
        """Return the CPU time that all of its processes have taken, in µs.

        /proc/PID/schedstat counts nanoseconds, where utime and stime count ticks.
        """
        return (
            sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in self.pids)
            / 1000
        )

    def private_memory(self) -> list[int]:
        """Return what each UDP worker keeps to itself, in KiB."""
        return [_private(pid) for pid in self.worker_pids]

    def proportional_memory(self) -> int:
        """Return what all of its processes take, shared pages counted once (PSS), in KiB."""
        return sum(_proportional(pid) for pid in self.pids)

    def used_shared_memory(self) -> int:
        """Return how much of Kamailio's shared memory is in use, in bytes."""
        used: int = self.rpc("core.shmmem", "b")["used"]
        return used

    def rpc(self, method: str, *parameters: str | int) -> Any:
        """Ask the running server."""
        return Rpc(self.folder / "run" / "rpc.sock").call(method, *parameters)

    def log(self) -> str:
        """Return what it has written."""
        return (self.folder / "kamailio.log").read_text(errors="replace")

    def _log_size(self) -> int:
        return (self.folder / "kamailio.log").stat().st_size

    def _wait_until_ready(self) -> None:
        question = (
            f"OPTIONS sip:127.0.0.1:{self.port} SIP/2.0\r\n"
            "Via: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK-ready\r\n"
            "Max-Forwards: 0\r\nFrom: <sip:ready@127.0.0.1>;tag=1\r\nTo: <sip:127.0.0.1>\r\n"
            "Call-ID: ready\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        deadline = time.monotonic() + _READY_WITHIN
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.settimeout(0.1)
            phone.connect(("127.0.0.1", self.port))
            while True:
                try:
                    phone.send(question)
                    phone.recv(65535)
                    return
                except OSError:
                    time.sleep(0.05)
                assert self._process
                failed = self._process.poll() is not None or self._log_size() > _LONGEST_START_LOG
                if failed or time.monotonic() > deadline:
                    self.__exit__()
                    raise RuntimeError(f"{self.name} did not start:\n{self.log()[-4000:]}")


class Ours(Server):
    """Our server, as it is shipped; the peers log no outcome of theirs.

    One that is not `quiet` logs each outcome.
    """

    def __init__(
        self,
        folder: Path,
        users: int,
        workers: int,
        *,
        name: str = "ours",
        config: str = CONFIG,
        quiet: bool = True,
    ) -> None:
        super().__init__(name, folder, users, workers)
        self._config = config
        self._quiet = quiet
        self.environment["SBCAUTH_CONFIG"] = str(folder / "sbcauth.yaml")
        self.environment["PATH"] = f"/usr/bin:{self.environment.get('PATH', '')}"

    def prepare(self) -> None:
        """Write the configuration and fill User Info."""
        detail = "" if self._quiet else "\nlog: all\n"
        (self.folder / "sbcauth.yaml").write_text(self._config + detail)
        (self.folder / "kamailio.cfg").write_text(_cfg())
        fill_user_info(self.folder / "sbcauth.db", self.users)

    def command(self) -> list[str]:
        """Return what `sbcauth run` would run."""
        return self.options(self.folder / "kamailio.cfg")


class Native(Server):
    """Kamailio's `auth` and `auth_db` on SQLite; by default with replay protection, as ours."""

    def __init__(
        self, folder: Path, users: int, workers: int, *, name: str = "native", define: str = ""
    ) -> None:
        super().__init__(name, folder, users, workers)
        self._define = define

    def prepare(self) -> None:
        """Write kamailio.cfg and fill `subscriber`."""
        (self.folder / "kamailio.cfg").write_text(_peer_cfg("native"))
        make_registrations(beside(self.folder / "sbcauth.yaml"))
        fill_subscriber(self.folder / "kamailio.db", self.users)

    def command(self) -> list[str]:
        """Return the command line, with the database's place."""
        return self.options(
            self.folder / "kamailio.cfg",
            f'BENCH_DATABASE="sqlite:///{self.folder / "kamailio.db"}"',
            f'BENCH_REALM="{REALM}"',
            *filter(None, [self._define]),
        )


class Plain(Native):
    """Kamailio's `auth` and `auth_db` as their documentation shows them, and no more."""

    def prepare(self) -> None:
        """Write kamailio.cfg and fill `subscriber`."""
        super().prepare()
        (self.folder / "kamailio.cfg").write_text((_PEERS / "plain.cfg").read_text())


class Unprotected(Server):
    """The same route without authentication."""

    def __init__(self, folder: Path, users: int, workers: int, *, name: str = "none") -> None:
        super().__init__(name, folder, users, workers)

    def prepare(self) -> None:
        """Write kamailio.cfg."""
        (self.folder / "kamailio.cfg").write_text(_peer_cfg("none"))
        make_registrations(beside(self.folder / "sbcauth.yaml"))

    def command(self) -> list[str]:
        """Return the command line."""
        return self.options(self.folder / "kamailio.cfg", f'BENCH_REALM="{REALM}"')


_OUR_MODULES = re.compile(
    r'^(?:loadmodule "(?:app_python3|rtimer)\.so"|modparam\("(?:app_python3|rtimer)",.*)\n',
    re.MULTILINE,
)
_OUR_ROUTES = re.compile(
    r"^route\[(?:AUTHENTICATION|WITHIN_DIALOG|SBCAUTH_RADIUS|SBCAUTH_VERDICT)\] \{\n.*?^\}\n",
    re.MULTILINE | re.DOTALL,
)
_OUR_CALLS = re.compile(r"^[ \t]*python_exec\(.*?\);.*\n", re.MULTILINE)
_OUR_REFUSAL = re.compile(r'!python_exec\("(?:refuse_early|registration)"[^)]*\)(?:"\))?')
_OUR_CONDITION = re.compile(r'python_exec\((?:"[^"]*"|[^")])*\)')
_ROUTING = "####### Routing #######\n"


def _cfg() -> str:
    return kamailio_cfg().read_text()


def _peer_cfg(peer: str) -> str:
    """Return kamailio.cfg with the modules and the route[AUTHENTICATION] of a peer."""
    shared = _OUR_MODULES.sub("", _cfg())
    shared, routes = _OUR_ROUTES.subn("", shared)
    shared = _OUR_REFUSAL.sub("!1", shared)
    shared = _OUR_CONDITION.sub("0", _OUR_CALLS.sub("$var(none) = 0;\n", shared))
    if routes != 4 or shared.count(_ROUTING) != 1 or "python" in _code(shared):
        raise RuntimeError("kamailio.cfg is not as this benchmark knows it")
    return shared.replace(_ROUTING, (_PEERS / f"{peer}.cfg").read_text())


def _code(cfg: str) -> str:
    return re.sub(r"#.*", "", cfg)


def _private(pid: int) -> int:
    """Return what a process has of its own, in KiB; shared memory that it alone has used is not."""
    found, own = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if mapping := _MAPPING.match(line):
            own = mapping[1] == "p"
        elif own and line.startswith("Private_"):
            found += int(line.split()[1])
    return found


def _proportional(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ ...(.) ")


def _free_port() -> int:
    """Return a port of our range that nobody uses, and that was not given before."""
    for port in _ports:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")
