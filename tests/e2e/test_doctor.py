"""`sbcauth doctor` beside a real server, and on machines with something wrong."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from kamailio import Server, StartServer, free_port, wait_for

from sbcauth.cli.run import command

CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    classification: [{address: 127.0.0.0/8}]
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
"""


def findings(server: Server, code: int = 0) -> set[tuple[str, str, str]]:
    done = server.sbcauth("doctor", "--json")
    assert done.returncode == code, done.stderr + done.stdout
    return {(each["grade"], each["subject"], each["text"]) for each in json.loads(done.stdout)}


@pytest.fixture
def idle(tmp_path: Path) -> Server:
    """Return a server that does not run, with a user."""
    server = Server(tmp_path, CONFIG)
    server.add_user("1001", "secret")
    return server


def test_running_server_is_well(start_server: StartServer) -> None:
    server = start_server(CONFIG)
    server.add_user("1001", "secret")
    found = findings(server)
    assert {grade for grade, _, _ in found} == {"ok"}
    assert {subject for _, subject, _ in found} == {
        *("Python", "configuration", "User Info", "permissions"),
        *("nonce keys", "sealing keys", "server"),
    }
    assert ("ok", "User Info", f"{server.folder}/sbcauth.db: 1 user") in found


def test_changed_configuration_that_is_not_in_force_is_told(start_server: StartServer) -> None:
    server = start_server(CONFIG)
    config = server.config_file.read_text()
    server.config_file.write_text(f"{config}# a comment changes nothing\n")
    assert {grade for grade, _, _ in findings(server)} == {"ok"}
    server.config_file.write_text(f"max_auth_attempts: 5\n{config}")
    expected = f"{server.config_file} has changed since the server loaded it: sbcauth reload"
    assert ("warning", "server", expected) in findings(server)


def test_slow_memory_manager_is_told(idle: Server) -> None:
    (idle.folder / "run").mkdir()
    line = command(idle.config_file, [f"udp:127.0.0.1:{free_port()}"], workers=1)
    slow = [word for word in line if word not in ("-x", "-X", "tlsf")]
    environment = {**os.environ, "PATH": f"/usr/bin:{os.environ['PATH']}"}
    with (idle.folder / "log").open("wb") as log:
        process = subprocess.Popen(slow, stdout=log, stderr=log, env=environment)
    try:
        expected = (
            "warning",
            "server",
            "runs with a slow memory manager: start Kamailio with -x tlsf -X tlsf",
        )
        assert wait_for(lambda: expected in findings(idle))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_server_that_does_not_run_is_no_error(idle: Server) -> None:
    (text,) = (text for _, subject, text in findings(idle) if subject == "server")
    assert text.startswith("no server answers on")


def test_process_that_has_the_port_is_named(idle: Server) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 5060))
        texts = [text for _, subject, text in findings(idle, code=1) if subject == "server"]
    assert any(f"process {os.getpid()} (" in text and "has port 5060" in text for text in texts)


def test_mistakes_in_the_configuration_are_errors(idle: Server) -> None:
    idle.config_file.write_text("realm: example.com\nip_groups: 7\n")
    found = findings(idle, code=1)
    assert any(grade == "error" and "ip_groups" in text for grade, _, text in found)


def test_user_of_another_realm_is_an_error(idle: Server) -> None:
    idle.config_file.write_text(CONFIG.replace("example.com", "other.example"))
    found = findings(idle, code=1)
    assert any("the password is bound to the realm example.com" in text for _, _, text in found)


def test_files_that_are_open_to_others_are_told(idle: Server) -> None:
    keys = idle.folder / "sbcauth.keys"
    keys.write_text("0 00\n")
    keys.chmod(0o644)
    (idle.folder / "sbcauth.db").chmod(0o644)
    idle.config_file.write_text(
        CONFIG + "    username_as_server: all\n    password_as_server: in-the-open\n"
    )
    idle.config_file.chmod(0o644)
    subjects = {subject for grade, subject, text in findings(idle, 1) if "open to others" in text}
    assert subjects == {"configuration", "User Info", "nonce keys"}


def test_secret_in_a_file_of_its_own_is_fine(idle: Server) -> None:
    (idle.folder / "secret").write_text("hidden")
    idle.config_file.write_text(
        CONFIG + "    username_as_server: all\n    password_as_server: ${file:secret}\n"
    )
    idle.config_file.chmod(0o644)
    assert not any("open to others" in text for _, _, text in findings(idle))


def test_file_that_the_servers_user_cannot_read_is_an_error(idle: Server) -> None:
    os.chown(idle.folder, 1, 1)
    closed = next(each for each in idle.folder.parents[::-1] if not each.stat().st_mode & 1)
    text = f"daemon, whom the server runs as, may not enter {closed}: chmod o+x {closed}"
    assert ("error", "permissions", text) in findings(idle, code=1)
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        server = Server(Path(name), CONFIG)
        server.add_user("1001", "secret")
        os.chown(name, 1, 1)
        text = f"daemon, whom the server runs as, may not read and write {name}/sbcauth.db: chown"
        assert any(each[2].startswith(text) for each in findings(server, code=1))


def test_first_user_that_root_adds_belongs_to_the_service(tmp_path: Path) -> None:
    os.chown(tmp_path, 1, 1)
    server = Server(tmp_path, CONFIG)
    server.add_user("1001", "secret")
    made = {path.name for path in tmp_path.iterdir() if path.stat().st_uid == 1}
    assert {"sbcauth.db", "sbcauth.seal"} <= made


def test_clock_that_is_behind_is_an_error(idle: Server) -> None:
    keys = idle.folder / "sbcauth.keys"
    keys.write_text("0 00\n")
    keys.chmod(0o600)
    tomorrow = time.time() + 86400
    os.utime(keys, (tomorrow, tomorrow))
    assert any(subject == "clock" for _, subject, _ in findings(idle, code=1))


def test_database_that_is_none_is_an_error(idle: Server) -> None:
    (idle.folder / "sbcauth.db").write_bytes(b"no database" * 1000)
    grades = {(grade, subject) for grade, subject, _ in findings(idle, code=1)}
    assert ("error", "User Info") in grades


def test_what_is_found_is_a_table_for_people(idle: Server) -> None:
    printed = idle.administer("doctor")
    assert "ok\tPython\t3." in printed
