"""Net::SIP, a phone in Perl, registers, calls and hangs up."""

import subprocess
from pathlib import Path

import pytest
from kamailio import Server, free_port, wait_for
from repository import REPOSITORY

PHONE = REPOSITORY / "tests" / "peers" / "net_sip.pl"
CONFIG = """
realm: example.com
auth_challenge_method: auto
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{address: 127.0.0.0/8}]
"""
USERS = {"1001": "secret", "1002": "secret"}


def command(server: Server, transport: str, user: str, *called: str) -> list[str]:
    return [
        *("perl", str(PHONE), f"127.0.0.1:{server.port}", transport, str(free_port())),
        *("example.com", user, USERS[user], *called),
    ]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_net_sip_calls_net_sip(server: Server, tmp_path: Path, transport: str) -> None:
    said = tmp_path / "called"
    with said.open("w") as output:
        called = subprocess.Popen(command(server, transport, "1002"), stdout=output, stderr=output)
    try:
        assert wait_for(lambda: "registered" in said.read_text()), said.read_text()
        caller = subprocess.run(
            command(server, transport, "1001", "1002"),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert caller.stdout.split() == ["registered", "called", "ended"], caller.stderr
        called.wait(60)
        first, *_, last = said.read_text().split()  # the ACK may come after the BYE
        assert (first, last) == ("registered", "ended")
    finally:
        called.kill()
        called.wait()
