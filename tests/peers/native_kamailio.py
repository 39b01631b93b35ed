"""A second Kamailio, that is none of ours: it authenticates by the module `auth`."""

import socket
import subprocess
import time
from pathlib import Path
from typing import Self

CONFIGURATION = Path(__file__).with_name("native.cfg")


class NativeKamailio:
    """A registrar and proxy that knows one user; `callee` is the address of whom it calls.

    It challenges everybody but the callee, within dialogs too.
    """

    address = "127.0.0.1"

    def __init__(
        self, folder: Path, port: int, user: str, password: str, callee: tuple[str, int]
    ) -> None:
        self.port = port
        self.callee = callee
        self.log_file = folder / "native.log"
        definitions = {
            "USER": user,
            "PASSWORD": password,
            "CALLEE": callee[0],
            "CALLEE_URI": f"sip:{callee[0]}:{callee[1]}",
        }
        self._command = ["/usr/sbin/kamailio", "-f", str(CONFIGURATION), "-DD", "-E", "-m", "32"]
        self._command += ["-w", str(folder), "-Y", str(folder)]
        self._command += ["-l", f"udp:{self.address}:{self.port}"]
        for name, value in definitions.items():
            self._command += ["-A", f'{name}="{value}"']

    def __enter__(self) -> Self:
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)

    def log(self) -> str:
        """Return what it has written."""
        return self.log_file.read_text(errors="replace")

    def _answers(self) -> bool:
        question = (
            f"OPTIONS sip:{self.address} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK"
            "-ready\r\nMax-Forwards: 0\r\nFrom: <sip:r@127.0.0.1>;tag=1\r\nTo: <sip:r@127.0.0.1>"
            "\r\nCall-ID: ready\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.2)
            asking.sendto(question.encode(), (self.address, self.port))
            try:
                return asking.recv(65535).startswith(b"SIP/2.0 483")
            except OSError:
                time.sleep(0.02)
                return False
