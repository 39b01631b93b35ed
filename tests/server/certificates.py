"""Certificates for servers of tests."""

import subprocess
from pathlib import Path

TLS_CFG = """\
[server:default]
method = TLSv1.2+
verify_certificate = no
require_certificate = no
private_key = {folder}/key.pem
certificate = {folder}/certificate.pem
"""


def make_tls_config(folder: Path, *before: str) -> Path:
    """Make a certificate in a folder, and the file for `run --tls-config` that names it.

    `before` is a command that runs the one that makes it, such as faketime.
    """
    subprocess.run(
        [*before, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "certificate.pem"],
        cwd=folder,
        check=True,
        capture_output=True,
    )  # fmt: skip
    file = folder / "tls.cfg"
    file.write_text(TLS_CFG.format(folder=folder))
    return file
