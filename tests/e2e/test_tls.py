"""Digest over TLS: kamailio.cfg's WITH_TLS, with a certificate made for the test."""

import re
import subprocess
from itertools import product

import pytest
from kamailio import REPOSITORY, free_port
from phone import Phone
from real_programs import SCENARIOS, succeeds

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


SIPP = subprocess.run(["sipp", "-v"], capture_output=True, text=True, check=False).stdout
"""What SIPp says of itself: 3.7.3, of Debian 13, has TLS and SHA-256; 3.6.1, of Debian 12, not."""
TRANSPORTS = ["udp", "tls"] if "TLS" in SIPP else ["udp"]
ALGORITHMS = ["MD5", "SHA-256"] if "SHA256" in SIPP else ["MD5"]


def test_sipp_is_of_a_version_that_we_know():
    version = re.search(r"SIPp v(\d+)\.(\d+)", SIPP)
    assert version, SIPP
    is_new = (int(version[1]), int(version[2])) >= (3, 7)
    assert [len(TRANSPORTS), len(ALGORITHMS)] == ([2, 2] if is_new else [1, 1])


@pytest.mark.parametrize(("transport", "algorithm"), list(product(TRANSPORTS, ALGORITHMS)))
def test_sipp_registers(start_server, certified_cfg, tmp_path, transport, algorithm):
    port = free_port()
    server = start_server(
        CONFIG.replace(", transport: tls", "").replace("[SHA-512-256, SHA-256, MD5]", algorithm),
        listen=[f"tls:127.0.0.1:{port}"],
        options=["--cfg", str(certified_cfg)],
    )
    fields = "SEQUENTIAL\n1001;[authentication username=1001 password=secret]\n"
    (tmp_path / "register.csv").write_text(fields)
    command = ["sipp", f"127.0.0.1:{port if transport == 'tls' else server.port}"]
    command += ["-sf", str(SCENARIOS / "register.xml"), "-inf", "register.csv", "-m", "20"]
    command += ["-i", "127.0.0.1", "-p", str(free_port()), "-nostdin"]
    command += ["-timeout", "30", "-timeout_error", "-t", "l1" if transport == "tls" else "u1"]
    if transport == "tls":  # what TLS 1.3 sends after the handshake has SIPp wait for ever
        command += ["-tls_version", "1.2", "-tls_cert", "certificate.pem", "-tls_key", "key.pem"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    succeeds(process)
    assert server.log().count("reason=accepted") == 20
    assert server.log().count(f"/{transport} username=1001") == 20
