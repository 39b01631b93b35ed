"""What the server needs around it: names, room on the disk, external servers, certificates."""

import shutil
import socket
from collections.abc import Iterator
from datetime import datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from sbcauth.config.load import Config
from sbcauth.http.settings import HttpSettings
from sbcauth.monitoring import counts
from sbcauth.monitoring.certificates import shown
from sbcauth.monitoring.doctor.finding import Finding, Grade
from sbcauth.monitoring.ports import Listen
from sbcauth.monitoring.rpc import Rpc

_LEAST_ROOM = 16 << 20
"""Bytes that should be free where users and registrations are written."""


def names(config: Config) -> Iterator[Finding]:
    """Look up the names of peers and services that the configuration has."""
    for name, where in dict(_names(config)).items():
        try:
            socket.getaddrinfo(name, None)
        except OSError as error:
            text = f"{name} ({where}) cannot be resolved: {error.strerror}; see /etc/resolv.conf"
            yield Finding(Grade.WARNING, "DNS", text)


def _names(config: Config) -> Iterator[tuple[str, str]]:
    for group in config.ip_groups:
        for peer in group.proxy_set:
            if not _is_address(peer.host):
                yield peer.host, f"Proxy Set of {group.name}"
        if isinstance(group.external_server, HttpSettings):
            for url in group.external_server.urls:
                host = urlsplit(url).hostname or ""
                if not _is_address(host):
                    yield host, "http.urls"


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def room(config: Config) -> Iterator[Finding]:
    """See whether users and registrations can still be written."""
    folder = config.users_file.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return  # the finding on permissions says why
    if free < _LEAST_ROOM:
        text = (
            f"the disk of {folder} is full ({free >> 20} MB are free): phones are served, but no "
            "change of users and no registration is kept"
        )
        yield Finding(Grade.ERROR, "disk", text)


def external_servers(rpc: Rpc) -> Iterator[Finding]:
    """Tell of external servers that did not answer when they were asked last."""
    answered = counts.read(rpc).external
    for server in sorted({each.server for each in answered}):
        dead_until = int(counts.value(rpc, counts.dead_key(server)) or 0)
        if dead_until:
            at = datetime.fromtimestamp(dead_until).astimezone().strftime("%H:%M:%S")
            text = (
                f"{server} did not answer, and is not asked before {at}: is it down, out of "
                "reach, or has it another secret? `sbcauth recent --reason unavailable` has more"
            )
            yield Finding(Grade.ERROR, "external server", text)


def certificates(where: list[Listen], now: float) -> Iterator[Finding]:
    """Look at the certificates that are shown at these addresses at `now` (seconds since 1970)."""
    for listen in where:
        if listen.transport == "tls" and (trouble := shown(listen, now)):
            yield Finding(Grade.ERROR, "TLS", f"{listen} {trouble}")
