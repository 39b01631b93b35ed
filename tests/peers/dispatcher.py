"""A real Kamailio that spreads phones' requests over nodes, with its module dispatcher."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

CFG = Path(__file__).with_name("dispatcher.cfg")
BY_CALL_ID, ROUND_ROBIN = "0", "4"
"""Values of `alg` (the module's ds_select_dst)."""


class Dispatcher:
    """Spreads over `nodes` (SIP URIs) what it gets at `address` over UDP."""

    def __init__(
        self, folder: Path, address: tuple[str, int], nodes: Sequence[str], algorithm: str
    ) -> None:
        self.address = address
        self._folder = folder
        self._algorithm = algorithm
        self._list = folder / "nodes.list"
        self._list.write_text("".join(f"1 {node}\n" for node in nodes))
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        kamailio = shutil.which("kamailio", path="/usr/sbin")
        assert kamailio
        host, port = self.address
        definitions = (f'NODES="{self._list}"', f'ALGORITHM="{self._algorithm}"')
        command = [kamailio, "-f", str(CFG), "-DD", "-E", "-n", "2"]
        command += ["-w", str(self._folder), "-Y", str(self._folder), "-l", f"udp:{host}:{port}"]
        for each in definitions:
            command += ["-A", each]
        with (self._folder / "dispatcher.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "dispatcher.log").read_text()
            assert time.monotonic() < deadline
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)

    def _answers(self) -> bool:
        host, port = self.address
        question = (
            f"OPTIONS sip:{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport"
            ";branch=z9hG4bK-ready\r\nMax-Forwards: 0\r\nFrom: <sip:r@127.0.0.1>;tag=1\r\n"
            "To: <sip:127.0.0.1>\r\n"
            "Call-ID: r\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.settimeout(0.3)
            try:
                phone.connect(self.address)
                phone.send(question.encode())
                return phone.recv(65535).startswith(b"SIP/2.0 483 ")
            except OSError:
                time.sleep(0.05)
                return False
