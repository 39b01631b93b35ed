"""Finding the engine: by its name in DNS, or by asking Sentinels where the primary is.

This may take longer than a SIP worker can wait: the process that follows the news does it.
"""

import socket
from collections.abc import Iterator

from sbcauth.cluster.engine_settings import EngineSettings
from sbcauth.cluster.link import Address, Link
from sbcauth.exceptions import EngineAway


def addresses(settings: EngineSettings, deadline: float) -> Iterator[Address]:
    """Yield the addresses at which the primary may be; raises EngineAway.

    `deadline` (by `time.monotonic`) is that of each question to a Sentinel.
    """
    place = settings.engine
    if place.path:
        yield Address(place.path, 0)
        return
    hosts = [_primary(settings, deadline)] if place.name else place.hosts
    for host, port in hosts:
        yield from _resolved(host, port)


def check_primary(link: Link, address: Address, deadline: float) -> None:
    """Raise EngineAway where what answers at an address is no primary."""
    role = link.call(address, deadline, "ROLE")[0]
    if role != "master":
        raise EngineAway(f"the engine at {address} is a {role}, not the primary")


def check_still_primary(settings: EngineSettings, address: Address, deadline: float) -> None:
    """Raise EngineAway where the Sentinels have made another engine the primary.

    One that was killed and came back is a primary until they have told it otherwise, and so is one
    that the network has cut off. Without Sentinels that answer nothing is known.
    """
    if not settings.engine.name:
        return
    try:
        host, port = _primary(settings, deadline)
        found = list(_resolved(host, port))
    except EngineAway:
        return
    if address not in found:
        raise EngineAway(f"the engine at {address} is the primary no more: {host} {port} is")


def _primary(settings: EngineSettings, deadline: float) -> tuple[str, int]:
    """Return where the primary is, as the first Sentinel says that knows."""
    said = []
    for host, port in settings.engine.hosts:
        link = Link(settings, is_sentinel=True)
        link.called = host
        try:
            for address in _resolved(host, port):
                found = link.call(
                    address, deadline, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings.engine.name
                )
                if found:
                    return str(found[0]), int(found[1])
                said.append(f"the Sentinel at {address} knows no {settings.engine.name}")
        except EngineAway as away:
            said.append(str(away))
        finally:
            link.close()
    raise EngineAway("; ".join(said) or "no Sentinel answers")


def _resolved(host: str, port: int) -> Iterator[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise EngineAway(f"the engine at {host}: {error.strerror}") from error
    for address in dict.fromkeys(str(each[4][0]) for each in found):
        yield Address(address, port)
