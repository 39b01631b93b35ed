"""SIPp registers by the strongest algorithm that it knows: SHA-256 from 3.7 on (Debian 13)."""

import re
import subprocess
from collections.abc import Callable

import pytest
from kamailio import Server
from phone import MakePhone
from real_programs import Process, succeeds

SIPP = subprocess.run(["sipp", "-v"], capture_output=True, text=True, check=False).stdout
ALGORITHM = "SHA-256" if "SHA256" in SIPP else "MD5"
CONFIG = f"""
realm: example.com
auth_algorithms: {ALGORITHM}
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{{address: 127.0.0.0/8}}]
"""
USERS = {"1001": "secret"}


def test_sipp_is_of_a_version_that_we_know() -> None:
    version = re.search(r"SIPp v(\d+)\.(\d+)", SIPP)
    assert version, SIPP
    assert (ALGORITHM == "SHA-256") == ((int(version[1]), int(version[2])) >= (3, 7))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipp_registers(
    sipp: Callable[..., Process], server: Server, phone: MakePhone, transport: str
) -> None:
    (challenge,) = phone("1001", "secret").request("REGISTER").challenges
    assert challenge.algorithm == ALGORITHM
    before = server.log_size()
    succeeds(sipp("register", [("1001", "1001", "secret")], transport=transport, calls=20))
    assert server.log(before).count("reason=accepted") == 20
