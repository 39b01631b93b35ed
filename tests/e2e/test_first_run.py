"""The first run: the server tells when it serves, and ends with its terminal."""

import os
import pty
import re
import socket
import subprocess
from pathlib import Path

import pytest
from kamailio import SBCAUTH, Server, StartServer, free_port, wait_for
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


def test_systemd_is_told_when_requests_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"sbcauth-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}")
        systemd.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        server = Server(tmp_path, CONFIG)
        process = server.launch()
        try:
            told = systemd.recv(1000).decode().splitlines()
            assert told == ["READY=1", f"STATUS=serves by {server.config_file}"]
            assert server._answers(socket.SOCK_DGRAM)
        finally:
            assert server.stop() == 0
        assert f"sbcauth: serves by {server.config_file}, process {process.pid}" in server.log()


def test_log_in_one_file_with_the_outcomes_goes_over_none_of_them(tmp_path: Path) -> None:
    server = Server(tmp_path, CONFIG)
    server.add_user("1001", "secret")
    line = f"{SBCAUTH} --config {server.config_file} run {' '.join(server.options)}"
    with subprocess.Popen(["sh", "-c", f"exec {line} >{server.log_file} 2>&1"]) as process:
        try:
            assert wait_for(lambda: "serves by" in server.log(), 60), server.log()
            for _ in range(2):
                with Phone(server) as phone:
                    assert phone.register().status == 200
                server.administer("reload")  # each worker tells of it with its next request
        finally:
            process.terminate()
    told = re.findall(r"^[-0-9T:+]{24} decision=.* reason=accepted ", server.log(), re.MULTILINE)
    assert len(told) == 2, server.log()


def test_server_ends_with_its_terminal(tmp_path: Path) -> None:
    (tmp_path / "sbcauth.yaml").write_text(CONFIG)
    listen = f"udp:127.0.0.1:{free_port()}"
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        # `; true` keeps the shell, which is what a person has
        os.execv("/bin/sh", ["sh", "-c", f"{SBCAUTH} run --listen {listen}; true"])  # noqa: S606
    printed = ""
    while "serves by" not in printed:
        printed += os.read(terminal, 4096).decode()
    (pid,) = re.findall(r"process (\d+)", printed)
    os.close(terminal)  # as a window that is closed
    os.waitpid(child, 0)
    assert wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_reload_tells_of_a_variable_that_the_server_does_not_have(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server(CONFIG)
    trunk = """\
  - name: Carrier
    type: server
    proxy_set: [sip:192.0.2.1]
    authentication_mode: sbc-as-server
    authentication_method_list: [INVITE]
    username_as_server: carrier
    password_as_server: ${env:CARRIER_PASSWORD}
"""
    server.config_file.write_text(CONFIG + trunk)
    monkeypatch.setenv("CARRIER_PASSWORD", "only-in-this-shell")
    done = server.sbcauth("reload")
    assert done.returncode == 1
    assert "in which CARRIER_PASSWORD is another or missing; restart it" in done.stderr
    server.stop()
    server.start()
    assert wait_for(lambda: server.sbcauth("reload").returncode == 0)
