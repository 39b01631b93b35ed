"""Which server a command is about, and that one folder has one."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sbcauth.monitoring import servers
from sbcauth.monitoring.in_force import KEY, InForce
from sbcauth.monitoring.rpc import NotRunning
from sbcauth.monitoring.servers import RunsAlready, lock, refuse_a_second, server_of

Serve = Callable[[Path, str], None]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "elsewhere.sock"
    monkeypatch.setattr(servers, "ELSEWHERE", (path,))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "sbcauth.yaml"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answer on a socket as a server does that works by a file; empty for one that says nothing."""
    with ExitStack() as stack:

        def begin(path: Path, file: str) -> None:
            bound = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            bound.bind(str(path))
            thread = threading.Thread(target=answer, args=(bound, file), daemon=True)
            thread.start()
            stack.callback(end, path, thread)

        yield begin


def answer(bound: socket.socket, file: str) -> None:
    while (question := bound.recvfrom(65536))[0] != b"end":
        asked = json.loads(question[0])
        reply: dict[str, object] = {"id": asked["id"], "error": {"message": "no such key exists"}}
        if file and asked["params"][1] == KEY:
            value = InForce("5d0c1a9e", 0, 0, (), file).encode()
            reply = {"id": asked["id"], "result": {"item": {"value": value}}}
        bound.sendto(json.dumps(reply).encode(), question[1])


def end(path: Path, thread: threading.Thread) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
        last.sendto(b"end", str(path))
    thread.join(5)


def leave_a_dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(path))


def test_server_beside_the_configuration_is_meant(
    config: Path, elsewhere: Path, serve: Serve
) -> None:
    beside = config.parent / "run" / "rpc.sock"
    serve(beside, str(config))
    serve(elsewhere, str(config))
    assert server_of(config).path == beside


def test_dead_socket_does_not_hide_the_service(config: Path, elsewhere: Path, serve: Serve) -> None:
    leave_a_dead_socket(config.parent / "run" / "rpc.sock")
    serve(elsewhere, str(config))
    assert server_of(config).path == elsewhere


def test_server_of_another_configuration_is_not_taken_but_named(
    config: Path, elsewhere: Path, serve: Serve
) -> None:
    serve(elsewhere, "/etc/other.yaml")
    with pytest.raises(NotRunning, match=r"run/rpc\.sock.*works by another file.*/etc/other\.yaml"):
        server_of(config).call("core.version")


def test_kamailio_without_sbcauth_is_not_taken(config: Path, elsewhere: Path, serve: Serve) -> None:
    serve(elsewhere, "")
    with pytest.raises(NotRunning, match=r"elsewhere\.sock is not sbcauth's"):
        server_of(config).call("core.version")


def test_folder_is_locked_for_one_server_and_free_when_it_ends(tmp_path: Path) -> None:
    held = lock(tmp_path)
    with pytest.raises(RunsAlready, match=rf"already, process {os.getpid()}: "):
        lock(tmp_path)
    os.close(held)
    os.close(lock(tmp_path))


def test_lock_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic link"):
        lock(tmp_path)
    assert not (tmp_path / "precious").exists()


def test_second_server_by_the_same_configuration_is_refused(
    config: Path, elsewhere: Path, serve: Serve
) -> None:
    refuse_a_second(config)
    serve(elsewhere, str(config))
    refuse_a_second(config.with_name("other.yaml"))
    with pytest.raises(RunsAlready, match=r"works by .*sbcauth\.yaml already"):
        refuse_a_second(config)
