"""Digest over TLS: kamailio.cfg's WITH_TLS, with a certificate made for the test."""

import re
import subprocess

import pytest
from kamailio import free_port, wait_for
from phone import Phone
from repository import REPOSITORY

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
TLS_CFG = """\
[server:default]
method = TLSv1.2+
verify_certificate = no
require_certificate = no
private_key = {folder}/key.pem
certificate = {folder}/certificate.pem
"""


@pytest.fixture
def certified_cfg(tmp_path):
    """Return a kamailio.cfg whose TLS_CONFIG names a fresh certificate."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "certificate.pem"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )  # fmt: skip
    (tmp_path / "tls.cfg").write_text(TLS_CFG.format(folder=tmp_path))
    cfg = (REPOSITORY / "kamailio.cfg").read_text()
    changed = tmp_path / "kamailio.cfg"
    changed.write_text(cfg.replace("/etc/kamailio/tls.cfg", str(tmp_path / "tls.cfg")))
    return changed


def test_phones_register_over_tls_with_every_algorithm(start_server, certified_cfg):
    port = free_port()
    server = start_server(
        CONFIG, listen=[f"tls:127.0.0.1:{port}"], options=["--cfg", str(certified_cfg)]
    )
    for _ in range(5):
        with Phone(server, transport="tls", home=port, expires=0) as phone:
            for challenge in phone.request("REGISTER").challenges:
                assert phone.request("REGISTER", answering=challenge).status == 200
            assert "/tls" in server.outcomes(phone.call_id)[0]["source"]
    with Phone(server, transport="tcp") as phone:
        assert phone.request("REGISTER").status == 403


def test_baresip_registers_over_tls(start_server, certified_cfg, baresip):
    port = free_port()
    server = start_server(
        CONFIG.replace("[SHA-512-256, SHA-256, MD5]", "MD5"),
        listen=[f"tls:127.0.0.1:{port}"],
        options=["--cfg", str(certified_cfg)],
    )
    log = baresip("1001", "secret", transport="tls", home=port)
    assert wait_for(lambda: "200 OK" in log(), 10), log() + server.log()
    assert re.search(r"reason=accepted .*/tls username=1001", server.log())
