"""A real RADIUS server for a test: FreeRADIUS on a loopback port, in a folder of its own.

    with FreeRadius(folder, {"1001": "secret"}) as radius:
        ...

Its configuration is written here in full, as docs/radius.md explains it; only modules and
dictionaries are those of the package.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Self

from kamailio import free_port
from pyrad.packet import AuthPacket, StatusServer
from repository import REPOSITORY

DOCS = (REPOSITORY / "docs" / "radius.md").read_text("utf-8")
READY_WITHIN = 20.0

_MAIN = """\
name = test
prefix = {folder}
logdir = {folder}
run_dir = {folder}
raddbdir = {folder}
modconfdir = {folder}
libdir = /usr/lib/freeradius
pidfile = {folder}/radiusd.pid
max_requests = 65536
proxy_requests = no
log {{
    destination = stdout
    auth = yes
}}
security {{
    reject_delay = {reject_delay}
    status_server = yes
}}
thread pool {{
    start_servers = 2
    max_servers = 4
    min_spare_servers = 1
    max_spare_servers = 2
}}
modules {{
    digest {{
    }}
    files {{
        filename = {folder}/users
    }}
}}
"""


class FreeRadius:
    """One FreeRADIUS that knows `users` by their passwords.

    It holds an Access-Reject back for `reject_delay` seconds; as it comes, for one.
    """

    def __init__(
        self,
        folder: Path,
        users: Mapping[str, str],
        *,
        port: int = 0,
        secret: str = "",
        reject_delay: int = 0,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.secret = secret or token_hex(12)
        self.log_file = folder / "radius.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o750)
        lines = [f'"{name}" Cleartext-Password := "{word}"' for name, word in users.items()]
        self._write("users", "\n".join([*lines, ""]))
        self._write("dictionary", documented("raddb/dictionary"))
        site = documented("sites-available/sbcauth").replace("192.0.2.20", "127.0.0.1")
        site = site.replace("port = 1812", f"port = {self.port}").replace("192.0.2.1", "127.0.0.1")
        site = site.replace("a long secret of your own", self.secret)
        self._write("radiusd.conf", _MAIN.format(folder=folder, reject_delay=reject_delay) + site)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and wait until it answers."""
        program = shutil.which("freeradius", path="/usr/sbin:/usr/bin")
        assert program, "FreeRADIUS is not installed: scripts/setup.sh test"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-f", "-l", "stdout", "-d", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"FreeRADIUS does not answer:\n{self.log()[-4000:]}")

    def stop(self) -> None:
        """Stop, paused or not."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        os.kill(process.pid, signal.SIGCONT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Fall silent; the port stays in use."""
        assert self._process
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again, what came in the meantime as well."""
        assert self._process
        os.kill(self._process.pid, signal.SIGCONT)

    def log(self) -> str:
        """Return what it has written."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def verdicts(self, username: str) -> list[str]:
        """Return what it has logged of a user: `OK` or `incorrect`, in order."""
        lines = [line for line in self.log().splitlines() if f"[{username}" in line]
        return ["OK" if "Login OK" in line else "incorrect" for line in lines if "Login" in line]

    def _write(self, name: str, text: str) -> None:
        """Write a file that only its owner may change: FreeRADIUS reads no other."""
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o640)

    def _answers(self) -> bool:
        """Tell whether a Status-Server is answered (RFC 5997)."""
        request = AuthPacket(
            code=StatusServer, secret=self.secret.encode(), message_authenticator=True
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.1)
            client.connect(("127.0.0.1", self.port))
            try:
                client.send(request.RequestPacket())
                return bool(client.recv(4096))
            except OSError:
                time.sleep(0.02)
                return False


def documented(file: str) -> str:
    """Return a file of FreeRADIUS as docs/radius.md has it."""
    return DOCS.split(f"`{file}`:\n\n```\n")[1].split("```")[0]
