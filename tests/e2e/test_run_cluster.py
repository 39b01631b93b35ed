"""`make run-cluster` in a real terminal: however it is ended, it leaves no process behind."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from kamailio import free_port, wait_for
from repository import REPOSITORY


class Terminal:
    """A terminal in which the script runs, at ports of its own, in a copy of what it needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("scripts", "docs"):
            (folder / name).mkdir()
        shutil.copy(REPOSITORY / "scripts" / "run_cluster.sh", folder / "scripts")
        page = (REPOSITORY / "docs" / "cluster.md").read_text("utf-8")
        base = next(p for p in iter(lambda: free_port() // 10 * 10, 0) if 10_000 < p < 60_000)
        page = page.replace("506", str(base // 10)).replace("6399", str(free_port()))
        (folder / "docs" / "cluster.md").write_text(page.replace("5090", str(free_port())))
        (folder / ".venv").symlink_to(REPOSITORY / ".venv")
        self.ours, theirs = os.openpty()
        self.is_open = True
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "sh", str(folder / "scripts" / "run_cluster.sh")],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "PATH": f"/usr/sbin:{os.environ['PATH']}"},
        )
        os.close(theirs)
        os.set_blocking(self.ours, False)
        self.said = ""

    def serves(self) -> bool:
        """Tell whether all nodes serve; a terminal that nobody reads would stop the script."""
        with suppress(BlockingIOError):
            self.said += os.read(self.ours, 65536).decode(errors="replace")
        logs = [each.read_text() for each in self.folder.glob("build/cluster/node*/log")]
        return "Ctrl-C ends them" in self.said and sum("serves by" in log for log in logs) == 3

    def type(self, text: bytes) -> None:
        """Type something."""
        os.write(self.ours, text)

    def close(self) -> None:
        """Close the window."""
        if self.is_open:
            self.is_open = False
            os.close(self.ours)

    def processes(self) -> set[int]:
        """Return the processes that run: the script, the engine and nodes, and their children."""
        pids = {self.process.pid}
        for file in (*self.folder.glob("build/cluster/node*/pid"), self._engine):
            if file.exists() and file.read_text().strip():
                pids.add(int(file.read_text()))
        return pids | {child for pid in pids for child in children(pid)}

    @property
    def _engine(self) -> Path:
        return self.folder / "build" / "cluster" / "engine.pid"

    def clear(self) -> None:
        """End whatever is left."""
        self.close()
        for pid in self.processes():
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(20)


def children(pid: int) -> set[int]:
    """Return the children of a process."""
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return set()


def is_running(pid: int) -> bool:
    """Tell whether a process is there, and has not ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    try:
        yield terminal
    finally:
        terminal.clear()


@pytest.mark.parametrize("how", ["Ctrl-C", "closed"])
def test_no_process_is_left_when_it_ends(terminal: Terminal, how: str) -> None:
    assert wait_for(terminal.serves, 120), terminal.said
    processes = terminal.processes()
    assert len(processes) > 20  # three Kamailios with their workers, and an engine
    if how == "Ctrl-C":
        terminal.type(b"\x03")
    else:
        terminal.close()
    assert wait_for(lambda: terminal.process.poll() is not None, 60)
    assert wait_for(lambda: not any(map(is_running, processes)), 60)
