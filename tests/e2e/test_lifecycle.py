"""Starting, stopping, and a database that goes away and comes back (SPEC 3 step 9, SPEC 7)."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kamailio import Server, StartServer, wait_for
from phone import Phone

CONFIG = """\
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/8}]
"""


def test_sigterm_stops_it_promptly_with_exit_code_0(start_server: StartServer) -> None:
    server = start_server(CONFIG)
    processes = server.processes()
    before = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - before < 10
    assert len(processes) > 4
    assert not any(is_alive(pid) for pid in processes)


def test_sigint_stops_it_as_well(start_server: StartServer) -> None:
    server = start_server(CONFIG)
    os.kill(server.pid, signal.SIGINT)
    assert server.wait(30) == 0


def is_alive(pid: int) -> bool:
    """Tell whether a process is there; one that has ended may wait for its parent."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_it_starts_again_where_it_was_stopped(start_server: StartServer) -> None:
    server = start_server(CONFIG)
    server.add_user("1001", "secret")
    for _ in range(2):
        with Phone(server, expires=0) as phone:
            assert phone.register().status == 200
        assert server.stop() == 0
        server.start()


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (CONFIG.replace("realm: example.com", "realms: example.com"), "sbcauth.yaml:1:"),
        (CONFIG.replace("type: user", "type: users"), "sbcauth.yaml:4:"),
        (CONFIG + "auth_nonce_duration: 5\n", "sbcauth.yaml:8:"),
        (CONFIG.replace("ip_groups:", "ip_groups: ["), "sbcauth.yaml:"),
        ("", "sbcauth.yaml:"),
    ],
    ids=["unknown-key", "unknown-type", "out-of-range", "not-yaml", "empty"],
)
def test_broken_yaml_keeps_it_from_starting_and_is_named(
    tmp_path: Path, config: str, complaint: str
) -> None:
    server = Server(tmp_path, config)
    assert server.launch().wait(60) == 1
    assert complaint in server.log()
    assert "Traceback" not in server.log()


def test_port_that_is_taken_is_named(start_server: StartServer, tmp_path: Path) -> None:
    first = start_server(CONFIG)
    second = Server(tmp_path, CONFIG, port=first.port)
    assert second.launch().wait(60) == 1
    assert f"is used by process {first.pid} (kamailio): end that" in second.log()


@pytest.fixture
def database(start_server: StartServer) -> tuple[Server, Path]:
    """A server with a registered user, and its database file."""
    server = start_server(CONFIG, workers=2)
    server.add_user("1001", "secret")
    with Phone(server, expires=0) as phone:
        assert phone.register().status == 200
    return server, server.folder / "sbcauth.db"


def unavailable(server: Server) -> bool:
    """Tell whether a right password gets 503 with Retry-After."""
    with Phone(server, expires=0) as phone:
        reply = phone.register()
        if reply.status != 503:
            return False
        assert int(reply.header("Retry-After")) > 0
        assert server.reasons(phone.call_id)[-1] == "unavailable"
        assert "sbcauth.db: " in server.outcomes(phone.call_id)[-1]["detail"]
        return True


def accepted(server: Server) -> bool:
    with Phone(server, expires=0) as phone:
        return phone.register().status == 200


def damage(database: Path, how: Callable[[Path], object]) -> None:
    for path in database.parent.glob(f"{database.name}*"):
        how(path)


@pytest.mark.parametrize(
    "how",
    [lambda path: path.unlink(), lambda path: path.write_bytes(b"this is no database" * 500)],
    ids=["deleted", "overwritten"],
)
def test_database_that_is_gone_means_503_and_nobody_gets_in_until_it_is_back(
    database: tuple[Server, Path], how: Callable[[Path], object]
) -> None:
    server, file = database
    kept = server.folder / "kept.db"
    server.stop()  # so that the file is whole
    kept.write_bytes(file.read_bytes())
    server.start()
    assert accepted(server)
    damage(file, how)
    assert wait_for(lambda: all(unavailable(server) for _ in range(6)))
    damage(file, lambda path: path.unlink())
    draft = server.folder / "draft.db"
    draft.write_bytes(kept.read_bytes())
    draft.rename(file)
    assert wait_for(lambda: all(accepted(server) for _ in range(6)))


def test_unauthenticated_requests_are_challenged_while_the_database_is_gone(
    database: tuple[Server, Path],
) -> None:
    server, file = database
    damage(file, lambda path: path.unlink())
    with Phone(server) as phone:
        assert phone.request("REGISTER").status == 401


def test_second_server_in_the_folder_is_refused_and_the_first_serves_on(
    start_server: StartServer,
) -> None:
    first = start_server(CONFIG)
    second = Server(first.folder, CONFIG)
    second.log_file = first.folder / "second.log"
    assert second.launch().wait(60) == 1
    assert f"already, process {first.pid}: `sbcauth status` shows it" in second.log()
    assert "workers" in first.administer("status")


def test_second_server_on_udp_alone_is_refused_by_the_port(
    start_server: StartServer, tmp_path: Path
) -> None:
    first = start_server(CONFIG)
    done = Server(tmp_path, CONFIG).sbcauth("run", "--listen", f"udp:127.0.0.1:{first.port}")
    assert done.returncode == 1
    assert f"udp:127.0.0.1:{first.port} is used by process {first.pid} (kamailio)" in done.stderr
    assert not list((tmp_path / "run").glob("*.sock"))


def test_killed_server_leaves_a_socket_that_does_no_harm(start_server: StartServer) -> None:
    server = start_server(CONFIG)
    processes = server.processes()
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: not any(map(is_alive, processes)))
    server.wait(60)
    assert (server.folder / "run" / "rpc.sock").is_socket()
    assert "no server answers" in server.sbcauth("status").stderr
    server.start()
    assert "workers" in server.administer("status")
