"""docs/cluster.md is played: its three nodes run, call each other's phones, and survive one."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dialogs import Call
from kamailio import SBCAUTH, free_port, wait_for
from phone import Phone
from repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "cluster.md").read_text("utf-8")


class PlayedNode:
    """A node that the page has started, as far as phones need to know it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port, self.address = folder, port, "127.0.0.1"

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def serves(self) -> bool:
        return (self.folder / "log").exists() and "serves by" in self.log()


def block() -> str:
    """Return what the page has to be pasted into a shell."""
    (found,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S)
    return str(found)


@pytest.fixture
def played(tmp_path: Path) -> Iterator[list[PlayedNode]]:
    """Run the page's block, at ports that are free."""
    base = next(port for port in iter(lambda: free_port() // 10 * 10, 0) if 10_000 < port < 60_000)
    text = block().replace("506", str(base // 10)).replace("6399", str(free_port()))
    text = text.replace("5090", str(free_port()))
    path = f"{SBCAUTH.parent}:/usr/sbin:{os.environ['PATH']}"
    out = (tmp_path / "out").open("wb")
    shell = subprocess.Popen(
        ["bash", "-ec", f"{text}\nwait"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        stdout=out,
        stderr=out,
        start_new_session=True,
    )
    nodes = [PlayedNode(tmp_path / "cluster" / f"node{n}", base + n) for n in (1, 2, 3)]
    try:
        said = (tmp_path / "out").read_text
        assert wait_for(lambda: all(node.serves() for node in nodes), 90), said()
        yield nodes
    finally:
        pids = [*(node.folder / "pid" for node in nodes), tmp_path / "cluster" / "engine.pid"]
        for pid in pids:
            if pid.exists():
                end(int(pid.read_text()))
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(20)
        out.close()


def end(pid: int) -> None:
    """End a process that the page has started, and wait until it has."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    assert wait_for(lambda: not is_running(pid), 20)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_three_nodes_of_the_page_are_one(played: list[PlayedNode]) -> None:
    first, second, third = played
    with (
        Phone(first, "1001", "secret-of-1001", expires=600) as one,
        Phone(second, "1002", "secret-of-1002", expires=600) as other,
    ):
        # Under load a first question to the engine may take longer than a node waits: 503.
        assert wait_for(lambda: one.register().status == 200, 60)
        assert wait_for(lambda: other.register().status == 200, 60)

        def registered(node: PlayedNode) -> str:
            return command(node, "registered")

        assert wait_for(lambda: other.host in registered(first), 30)
        call = Call.between(one, other, "sip:1002@example.com")
        call.callee.says("BYE")
        call.caller.hears("BYE")
        assert other.response(call.callee.branch).status == 200
        with Phone(third, "1001", "wrong", expires=600) as guesser:
            assert wait_for(lambda: guesser.register().status == 403, 60)
        assert wait_for(lambda: "127.0.0.1" in command(first, "lockout", "list"), 30)


def command(node: PlayedNode, *arguments: str) -> str:
    done = subprocess.run(
        [str(SBCAUTH), "--config", str(node.folder / "sbcauth.yaml"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_make_runs_what_the_page_has() -> None:
    script = (REPOSITORY / "scripts" / "run_cluster.sh").read_text()
    assert "docs/cluster.md" in script
    taken = subprocess.run(
        ["sed", "-n", r"/^```sh$/,/^```$/{/^```/!p}", str(REPOSITORY / "docs" / "cluster.md")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert taken.stdout == block()
