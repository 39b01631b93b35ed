"""Where the server listens, and whether those can come there whom the configuration names."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from sbcauth.config.load import Config
from sbcauth.monitoring.doctor.finding import Finding, Grade
from sbcauth.monitoring.ports import Listen
from sbcauth.monitoring.rpc import Rpc, RpcError
from sbcauth.policy.ip_groups import IPGroup, RuleAction


def sockets(rpc: Rpc) -> list[Listen]:
    """Return where a running server listens; nothing where it does not tell."""
    try:
        found = [each["socket"] for each in rpc.call("core.sockets_list")]
    except RpcError:
        return []
    return [listen for each in found if (listen := _listen(each))]


def _listen(told: Mapping[str, Any]) -> Listen | None:
    """Return what core.sockets_list tells of a socket; None for one without one address.

    Kamailio names the address `ipaddress` where the socket has a name, too.
    """
    address = str(told.get("ipaddress") or told.get("address", "")).strip("[]")
    try:
        ip_address(address)
    except ValueError:
        return None
    return Listen(told["proto"], address, int(told["port"]))


def unreachable(config: Config, where: list[Listen]) -> Iterator[Finding]:
    """Yield IP Groups none of whose requests can come to the addresses of the server."""
    if not where:
        return
    heard = {version for each in where for version in _versions(each.address)}
    places = ", ".join(map(str, where))
    for group in config.ip_groups:
        networks = [each for each in _networks(group) if not each.is_loopback]
        if networks and not any(each.version in heard for each in networks):
            version = networks[0].version
            text = (
                f"listens at {places} alone, where nothing comes from {networks[0]} "
                f"({group.name}): add `--listen udp:ADDRESS:5060` with an IPv{version} address of "
                "this machine to `sbcauth run` (ExecStart of the service)"
            )
            yield Finding(Grade.WARNING, "server", text)


def _versions(address: str) -> tuple[int, ...]:
    """Return the versions of IP by which other machines reach an address of this one."""
    found = ip_address(address)
    if found.is_loopback:
        return ()
    return (4, 6) if found.version == 6 and found.is_unspecified else (found.version,)


def _networks(group: IPGroup) -> Iterator[IPv4Network | IPv6Network]:
    if group.edge_proxies:
        return  # requests come from those, which may be beside this server
    yield from (rule.address for rule in group.classification if rule.action is RuleAction.ALLOW)
    for peer in group.proxy_set:
        try:
            yield ip_network(peer.host.strip("[]"))
        except ValueError:
            continue  # a name, which may have addresses of both versions
