"""A Debian of its own for a test: a folder that commands run in, as root.

    machine = Chroot.make("bookworm", folder)
    machine.run("apt-get install -y hello")

Network and loopback are this machine's; processes and mounts are not.
"""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from repository import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "chroot.sh"


@dataclass(frozen=True, slots=True)
class Chroot:
    """The Debian in the folder `root`."""

    root: Path

    @classmethod
    def make(cls, suite: str, root: Path) -> Self:
        """Return the Debian `suite` in `root`; one that was made before is left as it is."""
        subprocess.run([SCRIPT, "make", suite, root], check=True, stdout=subprocess.DEVNULL)
        return cls(root)

    def copy(self, root: Path) -> "Chroot":
        """Return a copy in `root`, in the place of what was there."""
        shutil.rmtree(root, ignore_errors=True)
        command = ["cp", "--archive", "--reflink=auto", str(self.root), str(root)]
        subprocess.run(command, check=True)
        return Chroot(root)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.root)

    def path(self, path: str) -> Path:
        """Return where a file of it is, seen from this machine."""
        return self.root / path.lstrip("/")

    def run(self, command: str, stdin: str = "") -> str:
        """Run a shell's command that must succeed; returns what it prints."""
        done = subprocess.run(
            [SCRIPT, "run", self.root, command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    @contextmanager
    def running(self, command: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run a shell's command, until the context ends."""
        with log.open("wb") as file:
            process = subprocess.Popen(
                [SCRIPT, "run", self.root, command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
            try:
                yield process
            finally:
                process.send_signal(signal.SIGKILL)  # --kill-child ends all that it has started
                process.wait()

    def install(self, *packages: str) -> None:
        """Install packages, by name or by file; dpkg's questions are answered by their defaults.

        That is, a configuration that was changed here is kept where the package has a new one.
        """
        options = "--yes --quiet --no-install-recommends -o Dpkg::Options::=--force-confold"
        install = f"DEBIAN_FRONTEND=noninteractive apt-get {options} install {' '.join(packages)}"
        self.run(f"apt-get --quiet update && {install} </dev/null")
