"""Digest over TLS: kamailio.cfg's WITH_TLS, with a certificate made for the test."""

import re
from collections.abc import Callable
from pathlib import Path

from kamailio import StartServer, free_port, wait_for
from phone import Phone

CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    auth_algorithms: [SHA-512-256, SHA-256, MD5]
    username_as_server: "1001"
    password_as_server: secret
    classification: [{address: 127.0.0.0/8, transport: tls}]
"""


def test_phones_register_over_tls_with_every_algorithm(
    start_server: StartServer, tls_config: Path
) -> None:
    port = free_port()
    server = start_server(
        CONFIG, listen=[f"tls:127.0.0.1:{port}"], options=["--tls-config", str(tls_config)]
    )
    for _ in range(5):
        with Phone(server, transport="tls", home=port, expires=0) as phone:
            for challenge in phone.request("REGISTER").challenges:
                assert phone.request("REGISTER", answering=challenge).status == 200
            assert "/tls" in server.outcomes(phone.call_id)[0]["source"]
    with Phone(server, transport="tcp") as phone:
        assert phone.request("REGISTER").status == 403


def test_baresip_registers_over_tls(
    start_server: StartServer, tls_config: Path, baresip: Callable[..., Callable[[], str]]
) -> None:
    port = free_port()
    server = start_server(
        CONFIG.replace("[SHA-512-256, SHA-256, MD5]", "MD5"),
        listen=[f"tls:127.0.0.1:{port}"],
        options=["--tls-config", str(tls_config)],
    )
    log = baresip("1001", "secret", transport="tls", home=port)
    assert wait_for(lambda: "200 OK" in log()), log() + server.log()
    assert re.search(r"reason=accepted .*/tls username=1001", server.log())
