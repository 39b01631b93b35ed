"""Another Kamailio beside the server: a peer that knows nothing of ours."""

import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from kamailio import READY_WITHIN


class PeerKamailio:
    """A Kamailio that runs the configuration `text`, which listens on `address`."""

    def __init__(self, folder: Path, text: str, address: tuple[str, int]) -> None:
        self._folder = folder
        self._address = address
        (folder / "peer.cfg").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = ["/usr/sbin/kamailio", "-f", str(self._folder / "peer.cfg"), "-DD", "-E"]
        command += ["-w", str(self._folder), "-Y", str(self._folder), "-m", "64"]
        with (self._folder / "peer.log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_WITHIN
        while not self._answers():
            assert self._process.poll() is None, f"the peer did not start:\n{self.log()}"
            assert time.monotonic() < deadline, f"the peer does not answer:\n{self.log()}"
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process
        self._process.terminate()
        self._process.wait(20)

    def log(self) -> str:
        """Return what the peer has written."""
        return (self._folder / "peer.log").read_text(errors="replace")

    def _answers(self) -> bool:
        """Tell whether TCP is accepted: it comes after UDP."""
        try:
            socket.create_connection(self._address, 0.2).close()
        except OSError:
            return False
        return True
