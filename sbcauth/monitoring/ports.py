"""Who holds a port of this machine, as Linux tells it in /proc.

Kamailio lets two servers bind the same UDP port, and the kernel then gives each of them some of
the requests. So whoever starts a server asks here first.
"""

import errno
import pwd
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

_NOBODY = ":0000"
"""The remote port of a socket that is connected to nobody: it takes requests (proc(5))."""
_UDP, _TCP = ("udp", "udp6"), ("tcp", "tcp6")
_PROC = Path("/proc")


class Listen(NamedTuple):
    """A socket of a server: `transport` is udp, or one that is over TCP: tcp, tls, ws or wss."""

    transport: str
    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Listen":
        """Return what `udp:ADDRESS:PORT` names; an IPv6 address is in brackets."""
        transport, _, rest = text.partition(":")
        address, _, port = rest.rpartition(":")
        return cls(transport, address.strip("[]"), int(port))

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.transport}:{address}:{self.port}"


class Owner(NamedTuple):
    """The process that has a port; `pid` is 0 where this user may not see which it is.

    `name` is the program's; `unit` is the unit of systemd that it belongs to, if any; `user` is
    whom it runs as.
    """

    pid: int
    name: str
    unit: str
    user: str

    def __str__(self) -> str:
        if not self.pid:
            return f"a process of the user {self.user}"
        unit = f", unit {self.unit}" if self.unit else ""
        return f"process {self.pid} ({self.name}{unit})"


def owner_of(listen: Listen) -> Owner | None:
    """Return the process that has this port at this address already; None where it is free."""
    wanted = _addresses(listen.address)
    for inode, uid, address, port in _bound(listen.transport):
        if port == listen.port and any(_collide(address, each) for each in wanted):
            return _owner(inode, uid)
    return None


def why_not(listen: Listen) -> str:
    """Return why nobody can listen there on this machine; nothing where somebody can, or does."""
    kind = socket.SOCK_DGRAM if listen.transport == "udp" else socket.SOCK_STREAM
    try:
        family, _, _, _, where = socket.getaddrinfo(listen.address, listen.port, type=kind)[0]
    except OSError as error:
        return f"{listen.address} cannot be resolved: {error.strerror}"
    with socket.socket(family, kind) as probe:
        try:
            probe.bind(where)
        except OSError as error:
            match error.errno:
                case errno.EADDRNOTAVAIL:
                    mine = "`ip -brief address` shows which it has"
                    return f"{listen.address} is no address of this machine: {mine}"
                case errno.EACCES:
                    return f"port {listen.port} is for root alone: take one from 1024 on"
    return ""


def _addresses(name: str) -> list[IPv4Address | IPv6Address]:
    with suppress(ValueError):
        return [ip_address(name)]
    try:
        found = socket.getaddrinfo(name, None)
    except OSError:
        return []  # Kamailio will say that it cannot resolve the name
    return [ip_address(each[4][0]) for each in found]


def _bound(transport: str) -> Iterator[tuple[str, int, IPv4Address | IPv6Address, int]]:
    """Yield inode, user, address and port of each socket that takes requests."""
    for table in _UDP if transport == "udp" else _TCP:
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[2].endswith(_NOBODY):
                    address, _, port = fields[1].partition(":")
                    yield fields[9], int(fields[7]), _unpacked(address), int(port, 16)


def _unpacked(digits: str) -> IPv4Address | IPv6Address:
    """Return an address that /proc/net has as words of 32 bits, in the machine's own order."""
    words = (bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8))
    return ip_address(b"".join(words))


def _collide(one: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address) -> bool:
    """Tell whether two sockets at these addresses would both be sent some request."""
    if one == other:
        return True
    return any(
        each.is_unspecified and (each.version == 6 or one.version == other.version)
        for each in (one, other)  # [::] takes IPv4 as well
    )


def _owner(inode: str, uid: int) -> Owner:
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    first = first_with(f"socket:[{inode}]")
    if not first:
        return Owner(0, "", "", user)
    return Owner(first, _read(first, "comm"), _unit(first), user)


def first_with(file: str) -> int:
    """Return the process that opened a file, not one that it forked; 0 where none is seen."""
    pids = sorted(processes_with(file))
    return next((pid for pid in pids if _parent(pid) not in pids), 0)


def processes_with(file: str) -> Iterator[int]:
    """Yield the processes that have a file open, of those that this user may look into."""
    for process in _PROC.glob("[0-9]*"):
        with suppress(OSError):
            if any(str(each.readlink()) == file for each in (process / "fd").iterdir()):
                yield int(process.name)


def _parent(pid: int) -> int:
    """Return the parent's process id (proc(5), /proc/PID/stat: the fourth field)."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _unit(pid: int) -> str:
    found = re.search(r"/([^/\n]+\.service)", _read(pid, "cgroup"))
    return found[1] if found else ""


def _read(pid: int, what: str) -> str:
    try:
        return (_PROC / str(pid) / what).read_text().strip()
    except OSError:
        return ""
