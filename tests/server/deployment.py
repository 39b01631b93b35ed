"""A Kamailio that was there before sbcauth: it runs a kamailio.cfg of its own."""

import os
import re
import subprocess
from pathlib import Path

from kamailio import Server, free_port


def stock_cfg() -> Path:
    """Return the kamailio.cfg that Debian's package installs, whatever its version."""
    done = subprocess.run(
        ["dpkg-query", "-L", "kamailio"], capture_output=True, text=True, check=True
    )
    (found,) = re.findall(r"^/etc/.*/kamailio\.cfg$", done.stdout, re.MULTILINE)
    return Path(found)


class Deployment(Server):
    """The Kamailio of `folder`/kamailio.cfg, which sbcauth is loaded into."""

    def __init__(self, folder: Path, config: str, *definitions: str) -> None:
        log_to = folder / "outcomes.log"  # a Kamailio of its own closes standard output
        super().__init__(folder, f"{config.rstrip()}\nlog_to: {log_to}\n", port=free_port())
        self.cfg = folder / "kamailio.cfg"
        self.rpc_socket = folder / "kamailio_rpc.sock"
        self._definitions = [word for each in definitions for word in ("-A", each)]

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start as a unit of systemd would, without waiting for anything."""
        command = ["/usr/sbin/kamailio", "-f", str(self.cfg), "-DD", "-E", "-m", "128"]
        command += ["-w", str(self.folder), "-Y", str(self.folder), *self._definitions]
        for transport in ("udp", "tcp"):
            command += ["-l", f"{transport}:127.0.0.1:{self.port}"]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PATH": f"/usr/bin:{os.environ['PATH']}"},
            )
        return self._process
