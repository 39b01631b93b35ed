"""baresip without a screen or a sound card, told what to do by its control socket.

with Baresip(folder, "1001", "secret", "127.0.0.1:5060", "tcp") as phone:
    phone.shows("200 OK")
    phone.say("dial", "sip:1002@example.com")
"""

import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Self

from kamailio import free_port, wait_for

PATIENCE = 30.0  # seconds
SETTINGS = """\
sip_listen {address}:{port}
module_path /usr/lib/baresip/modules
module account.so
module g711.so
module aubridge.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
audio_source aubridge,nowhere
audio_player aubridge,nowhere
audio_alert aubridge,nowhere
rtp_ports 20000-30000
net_interface {interface}
sip_verify_server no
"""


class Baresip:
    """One phone; it calls its server at `home`, an address with a port, and answers by itself."""

    def __init__(
        self,
        folder: Path,
        user: str,
        password: str,
        home: str,
        transport: str,
        realm: str = "example.com",
    ) -> None:
        self.user = user
        self._control = free_port()
        self._folder = folder
        folder.mkdir()
        address = home.rpartition(":")[0]
        settings = SETTINGS.format(
            address=address, port=free_port(), control=self._control, interface=address.strip("[]")
        )
        (folder / "config").write_text(settings)
        (folder / "accounts").write_text(
            f"<sip:{user}@{realm};transport={transport}>;auth_pass={password};"
            f'outbound="sip:{home};transport={transport}";regint=60;answermode=auto\n'
        )

    def __enter__(self) -> Self:
        with (self._folder / "log").open("wb") as out:
            self._process = subprocess.Popen(
                ["baresip", "-f", str(self._folder), "-v", "-t", "300"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:  # it waits for an answer from a phone that is gone
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        """Return all that it has written."""
        return (self._folder / "log").read_text(errors="replace")

    def shows(self, pattern: str, times: int = 1) -> bool:
        """Wait until it has written what fits so many times."""
        return wait_for(lambda: len(re.findall(pattern, self.log())) >= times, PATIENCE)

    def say(self, command: str, params: str = "") -> None:
        """Give it a command of its menu, and wait until it has taken that up.

        What it says of that is no measure: 1.1 resumes a call, and calls it an error.
        """
        text = json.dumps({"command": command, "params": params})
        answer = b""
        with socket.create_connection(("127.0.0.1", self._control), PATIENCE) as control:
            control.sendall(f"{len(text)}:{text},".encode())
            while b'"ok"' not in answer and (more := control.recv(65536)):
                answer += more
