"""Linphone on its console, without a sound card: a real phone that registers, calls and holds.

with Linphone(folder, server, "1001", "secret", transport="tcp") as phone:
    phone.shows("Registration on .* successful")
    phone.say("call sip:1002@example.com")
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Self

from kamailio import Server, free_port, wait_for

SETTINGS = """\
[sip]
sip_port={udp}
sip_tcp_port={tcp}
sip_tls_port={tls}
use_ipv6=0
verify_server_certs=0
verify_server_cn=0
guess_hostname=0
contact="Linphone" <sip:{user}@127.0.0.1>
[rtp]
audio_rtp_port={rtp}
video_rtp_port=-1
[sound]
use_files=1
[video]
enabled=0
capture=0
display=0
automatically_initiate=0
automatically_accept=0
[proxy_0]
reg_proxy=<sip:127.0.0.1:{home};transport={transport}>
reg_route=<sip:127.0.0.1:{home};transport={transport};lr>
reg_identity=sip:{user}@{realm}
reg_expires=60
reg_sendregister=1
publish=0
[auth_info_0]
username={user}
passwd={password}
realm={realm}
domain={realm}
"""


class Linphone:
    """One phone; it is told what to do as on its console, and shows what happens."""

    def __init__(
        self,
        folder: Path,
        server: Server,
        user: str,
        password: str,
        *,
        realm: str = "example.com",
        transport: str = "udp",
        home: int = 0,
    ) -> None:
        for below in (".local/share/linphone", ".config/linphone"):  # it makes none itself
            (folder / below).mkdir(parents=True)
        ports = dict.fromkeys(("udp", "tcp", "tls"), -1)
        ports[transport] = free_port()
        self.settings = folder / "settings"
        self.settings.write_text(
            SETTINGS.format(
                **ports,
                user=user,
                password=password,
                realm=realm,
                transport=transport,
                home=home or server.port,
                rtp=free_port(),
            )
        )
        self._folder = folder
        self._log = folder / "shown"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["linphonec", "-c", str(self.settings)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(self._folder)},
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def say(self, command: str) -> None:
        """Type a command."""
        assert self._process.stdin
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()

    def shown(self) -> str:
        """Return all that it has shown."""
        return self._log.read_text(errors="replace")

    def shows(self, pattern: str, patience: float = 30.0) -> bool:
        """Wait until it has shown what fits; `patience` is in seconds."""
        return wait_for(lambda: bool(re.search(pattern, self.shown())), patience)
