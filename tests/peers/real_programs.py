"""Fixtures that start SIPp and baresip at the server of a test module, whatever runs there."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from kamailio import Server, free_port

SCENARIOS = Path(__file__).with_name("scenarios")

Process = subprocess.Popen[bytes]


@pytest.fixture
def sipp(server: Server, tmp_path: Path) -> Callable[..., Process]:
    """Run SIPp to its end; `users` are triples of address of record, user name and password."""

    def run(
        scenario: str,
        users: Sequence[tuple[str, str, str]],
        *,
        transport: str = "udp",
        calls: int = 1,
        rate: int = 10,
        port: int = 0,
    ) -> Process:
        fields = tmp_path / f"{scenario}.csv"
        lines = [
            f"{user};[authentication username={username} password={password}]"
            for user, username, password in users
        ]
        fields.write_text("\n".join(["SEQUENTIAL", *lines, ""]))
        command = ["sipp", f"127.0.0.1:{server.port}", "-sf", str(SCENARIOS / f"{scenario}.xml")]
        command += ["-inf", str(fields), "-m", str(calls), "-r", str(rate), "-i", "127.0.0.1"]
        command += ["-p", str(port or free_port()), "-t", f"{transport[0]}1", "-nostdin"]
        command += ["-timeout", "100", "-timeout_error"]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    return run


def succeeds(process: Process) -> str:
    """Wait for a program to end; it must be content."""
    output: str = process.communicate(timeout=120)[0].decode(errors="replace")
    assert process.returncode == 0, output[-3000:]
    return output


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipp_registers_with_digest(sipp: Callable[..., Process], transport: str) -> None:
    succeeds(sipp("register", [("1001", "1001", "secret1001")], transport=transport))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipp_with_a_wrong_password_fails(sipp: Callable[..., Process], transport: str) -> None:
    process = sipp("register", [("guessed", "guessed", "wrong")], transport=transport)
    process.communicate(timeout=120)
    assert process.returncode == 1


BARESIP = """\
sip_listen 127.0.0.1:{port}
module_path /usr/lib/baresip/modules
module account.so
module g711.so
module aubridge.so
module_app menu.so
audio_source aubridge,nowhere
audio_player aubridge,nowhere
audio_alert aubridge,nowhere
rtp_ports 20000-30000
net_interface 127.0.0.1
sip_verify_server no
"""


@pytest.fixture
def baresip(server: Server, tmp_path: Path) -> Iterator[Callable[..., Callable[[], str]]]:
    """Start real phones without a screen or a sound card; each logs into its own folder."""
    phones: list[Process] = []

    def start(
        user: str,
        password: str,
        *,
        transport: str = "udp",
        home: int = server.port,
        more: str = "",
        commands: Sequence[str] = (),
    ) -> Callable[[], str]:
        folder = tmp_path / user
        folder.mkdir()
        (folder / "config").write_text(BARESIP.format(port=free_port()))
        (folder / "accounts").write_text(
            f"<sip:{user}@example.com;transport={transport}>;auth_user={user};"
            f'auth_pass="{password}";outbound="sip:127.0.0.1:{home};transport={transport}";'
            f"regint=60{more}\n"
        )
        command = ["baresip", "-f", str(folder), "-v", "-t", "300"]
        for each in commands:
            command += ["-e", each]
        log = folder / "log"
        with log.open("wb") as out:
            phones.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            )
        return lambda: log.read_text(errors="replace")

    yield start
    for each in phones:
        each.terminate()
    for each in phones:
        try:
            each.wait(10)
        except subprocess.TimeoutExpired:  # it waits for an answer from a phone that is gone
            each.kill()
            each.wait()
