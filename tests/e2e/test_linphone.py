"""Linphone registers, calls, holds, transfers and hangs up, over UDP, TCP and TLS."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kamailio import Server, StartServer, free_port, wait_for
from linphone import Linphone

CONFIG = """
realm: example.com
auth_challenge_method: auto
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE, SUBSCRIBE]
    classification: [{address: 127.0.0.0/8}]
"""


@pytest.fixture(params=[("udp", "tcp", "udp"), ("tcp", "udp", "tcp"), ("tls", "tls", "tls")])
def phones(
    request: pytest.FixtureRequest, start_server: StartServer, tls_config: Path, tmp_path: Path
) -> Iterator[tuple[Server, list[Linphone]]]:
    """Three registered phones, over several transports, and their server."""
    secure = free_port()
    server = start_server(
        CONFIG,
        listen=[f"tls:127.0.0.1:{secure}"],
        options=["--tls-config", str(tls_config)],
    )
    with ExitStack() as stack:
        phones = []
        for user, transport in zip(("1001", "1002", "1003"), request.param, strict=True):
            server.add_user(user, f"secret-of-{user}", "Phones")
            phone = Linphone(
                tmp_path / user,
                server,
                user,
                f"secret-of-{user}",
                transport=transport,
                home=secure if transport == "tls" else server.port,
            )
            phones.append(stack.enter_context(phone))
        accepted = re.compile("reason=accepted .*method=REGISTER")
        assert wait_for(lambda: len(accepted.findall(server.log())) >= 3, 60)
        yield server, phones


def resumes(caller: Linphone) -> bool:
    """Take a call up again; Linphone refuses to until its pause has been answered."""
    before = len(caller.shown())
    caller.say("resume 1")
    return wait_for(lambda: "Resuming" in caller.shown()[before:], 1)


def test_linphone_calls_holds_transfers_and_hangs_up(
    phones: tuple[Server, list[Linphone]],
) -> None:
    server, (caller, callee, other) = phones
    caller.say("call sip:1002@example.com")
    assert callee.shows("incoming call"), caller.shown()
    callee.say("answer")
    assert caller.shows("Media streams established"), caller.shown()
    caller.say("pause 1")
    assert callee.shows("Call 1 has been paused by"), callee.shown()
    assert wait_for(lambda: resumes(caller), 30), caller.shown()
    assert callee.shows("(?s)paused by.*(resumed|established)"), callee.shown()
    assert caller.shows("(?s)Resuming.*established"), caller.shown()
    caller.say("transfer 1 sip:1003@example.com")
    assert other.shows("incoming call"), caller.shown() + callee.shown()
    other.say("answer")
    assert other.shows("Media streams established"), other.shown()
    assert caller.shows("Call 1 .* ended"), caller.shown()
    other.say("terminate")
    assert callee.shows("Call 2 .* ended"), callee.shown()
    assert "IO error" not in caller.shown() + callee.shown()
    assert " ERROR: " not in server.log()
