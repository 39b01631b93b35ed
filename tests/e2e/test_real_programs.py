"""Real programs register and call: SIPp, sipsak and baresip, each with a digest of its own."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable

import pytest
from kamailio import Server, free_port, wait_for
from real_programs import Process, succeeds

WORKERS = 4
CONFIG = """
realm: example.com
auth_challenge_method: auto
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    username_as_server: everybody
    password_as_server: sharedsecret
    classification: [{address: 127.0.0.0/8}]
"""
USERS = {"1001": "secret1001", "1002": "secret1002"}


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_all_registrations_succeed_under_load(
    sipp: Callable[..., Process], server: Server, transport: str
) -> None:
    calls = 1000
    users = [(f"load{number}", "everybody", "sharedsecret") for number in range(calls)]
    before = server.log_size()
    succeeds(sipp("register", users, transport=transport, calls=calls, rate=250))
    assert server.log(before).count("reason=accepted") == calls


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipp_calls_sipp(sipp: Callable[..., Process], transport: str) -> None:
    port = free_port()
    callee = [("1002", "1002", "secret1002")]
    succeeds(sipp("register", callee, port=port))
    answering = sipp("callee", callee, port=port)
    caller = [("1001", "1001", "secret1001")]
    succeeds(sipp("caller", caller, transport=transport))
    succeeds(answering)


def test_many_calls_at_the_same_time(sipp: Callable[..., Process]) -> None:
    port, calls = free_port(), 100
    callee = [("1002", "1002", "secret1002")]
    succeeds(sipp("register", callee, port=port))
    answering = sipp("callee", callee, port=port, calls=calls)
    caller = [("1001", "1001", "secret1001")]
    succeeds(sipp("caller", caller, calls=calls, rate=50))
    succeeds(answering)


@pytest.mark.parametrize(
    ("user", "password", "content"), [("1001", "secret1001", True), ("guessed", "wrong", False)]
)
def test_sipsak_registers(server: Server, user: str, password: str, content: bool) -> None:
    done = subprocess.run(
        ["sipsak", "-H", "127.0.0.1", "-U", "-i", "-s", f"sip:{user}@127.0.0.1:{server.port}",
         "-u", user, "-a", password, "-x", "60", "-vv"],
        capture_output=True,
        timeout=30,
        check=False,
    )  # fmt: skip
    assert (done.returncode == 0) is content, done.stdout + done.stderr


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_baresip_registers(baresip: Callable[..., Callable[[], str]], transport: str) -> None:
    log = baresip("1001", "secret1001", transport=transport)
    assert wait_for(lambda: "200 OK" in log()), log()


def test_baresip_with_a_wrong_password_is_refused(
    baresip: Callable[..., Callable[[], str]], server: Server
) -> None:
    before = server.log_size()
    log = baresip("stranger", "wrong")
    assert wait_for(lambda: "reason=unknown-user" in server.log(before)), log()
    assert "200 OK" not in log()


def outcomes(server: Server) -> Counter[str]:
    """Return what was decided up to now, by reason; lines of the log may be torn on Debian 13."""
    found = json.loads(server.administer("status", "--json"))["outcomes"]
    return Counter({each["reason"]: each["times"] for each in found})


def test_baresip_calls_baresip(baresip: Callable[..., Callable[[], str]], server: Server) -> None:
    before = outcomes(server)
    callee = baresip("1002", "secret1002", more=";answermode=auto")
    assert wait_for(lambda: "200 OK" in callee()), callee()
    caller = baresip("1001", "secret1001", commands=["/dial sip:1002@example.com"])
    assert wait_for(lambda: "Call established" in caller()), caller() + callee()
    assert wait_for(lambda: "Call established" in callee()), callee()
    time.sleep(0.5)
    assert "terminated" not in caller()
    assert outcomes(server) - before == {"challenged": 3, "accepted": 3}  # two REGISTER, one INVITE
