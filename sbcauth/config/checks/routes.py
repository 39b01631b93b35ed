"""Checks of where an IP Group's requests go."""

from collections.abc import Iterator, Mapping

from sbcauth.config.checks.finding import Finding
from sbcauth.config.mappings import EmergencySettings
from sbcauth.config.schema import IPGroupSettings
from sbcauth.config.source import Path
from sbcauth.policy.ip_groups import IPGroupType


def check_route(
    path: Path, group: IPGroupSettings, servers: Mapping[str, IPGroupSettings]
) -> Iterator[Finding]:
    """Find a `route_to` that leads to no server."""
    if group.route_to is None:
        return
    target = servers.get(group.route_to)
    if target is None:
        known = ", ".join(servers) or "there is none"
        message = f"{group.route_to!r} is no IP Group of type server ({known})"
        yield Finding((*path, "route_to"), message, True)
    elif target is group:
        yield Finding((*path, "route_to"), "leads back to this IP Group", True)
    elif not target.proxy_set:
        yield Finding((*path, "route_to"), f"{group.route_to!r} has no proxy_set", True)


def check_emergency(
    where: Path, emergency: EmergencySettings, servers: Mapping[str, IPGroupSettings]
) -> Iterator[Finding]:
    """Find a `route_to` of emergency calls that leads to no server."""
    if not getattr(servers.get(emergency.route_to), "proxy_set", ()):
        message = f"{emergency.route_to!r} is no IP Group of type server with a proxy_set"
        yield Finding(where, message, True)


def check_as_client(path: Path, group: IPGroupSettings) -> Iterator[Finding]:
    """Warn of an IP Group in mode sbc-as-client that no server challenges."""
    where = (*path, "authentication_mode")
    if group.type is IPGroupType.USER and group.route_to is None:
        yield Finding(where, "has no effect without route_to: no server is asked", False)
    if group.type is IPGroupType.SERVER and not group.proxy_set:
        message = "has no effect without proxy_set: a peer is known by its address"
        yield Finding(where, message, False)
