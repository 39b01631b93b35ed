"""Certificates of the server: those that Kamailio's tls module will load, and those it shows."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from sbcauth.monitoring.ports import Listen

_SECTION = re.compile(r"^\s*\[(.*)\]", re.MULTILINE)
_SETTING = re.compile(r"""^\s*(certificate|private_key)\s*=\s*["']?([^\s"']+)""", re.MULTILINE)
_PATIENCE = 5.0


class Trouble(NamedTuple):
    """What is wrong with a certificate; `fatal` is that Kamailio does not start with it."""

    text: str
    fatal: bool


def troubles(tls_config: Path, now: float) -> Iterator[Trouble]:
    """Yield what is wrong with the files that a configuration of the tls module names.

    Its values are read, and of them paths from the root on (Kamailio's documentation, module tls,
    "TLS Config"); `now` is in seconds since 1970.
    """
    text, complaint = _read(tls_config)
    if complaint:
        yield Trouble(complaint, fatal=True)
    for section in _SECTION.split(text)[2::2]:
        files: dict[str, str] = dict(_SETTING.findall(section))
        unread = [_read(Path(name))[1] for name in files.values() if name.startswith("/")]
        if any(unread):
            yield from (Trouble(each, fatal=True) for each in unread if each)
        elif certificate := files.get("certificate", ""):
            yield from _pair(certificate, files.get("private_key", certificate), now)


def _read(file: Path) -> tuple[str, str]:
    """Return what is in a file, and why it cannot be read."""
    try:
        return file.read_text("utf-8", "replace"), ""
    except OSError as error:
        return "", f"{file}: {error.strerror}"


def _pair(certificate: str, key: str, now: float) -> Iterator[Trouble]:
    if not (certificate.startswith("/") and key.startswith("/")):
        return  # Kamailio looks for them in a folder of its own
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        yield Trouble(f"{certificate} and its key {key} cannot be used: {why}", fatal=True)
        return
    if said := _age(Path(certificate).read_bytes(), now):
        yield Trouble(f"the certificate {certificate} {said}", fatal=False)


def shown(listen: Listen, now: float) -> str:
    """Return what is wrong with the certificate that a TLS socket shows; nothing if it is fine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((listen.address, listen.port), _PATIENCE) as connection,
            context.wrap_socket(connection) as secured,
        ):
            certificate = secured.getpeercert(binary_form=True)
    except ssl.SSLError:
        return ""  # it may want a certificate of ours
    except OSError as error:
        return f"does not answer: {error.strerror or error}"
    pem = ssl.DER_cert_to_PEM_cert(certificate).encode() if certificate else b""
    said = _age(pem, now)
    return f"shows a certificate that {said}" if said else ""


def _age(pem: bytes, now: float) -> str:
    """Say that a certificate is of no use at `now`; nothing where it is, or cannot be read."""
    at = datetime.fromtimestamp(now, UTC)
    with suppress(ValueError):
        certificate = x509.load_pem_x509_certificate(pem)
        if certificate.not_valid_after_utc < at:
            return f"has expired on {certificate.not_valid_after_utc:%Y-%m-%d}: phones refuse it"
        if certificate.not_valid_before_utc > at:
            begins = f"{certificate.not_valid_before_utc:%Y-%m-%d}"
            return f"is valid from {begins} on: phones refuse it until then; is the clock right?"
    return ""
