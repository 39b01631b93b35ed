"""Who of the users is registered, and forgetting where one is."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, suppress
from ipaddress import IPv4Network, ip_address, ip_network
from itertools import islice
from typing import NamedTuple

from sbcauth.config.load import Config
from sbcauth.monitoring.registrations import Place, Registration, place_of, registrations
from sbcauth.monitoring.registrations import drop as drop_address
from sbcauth.monitoring.rpc import Rpc
from sbcauth.monitoring.user_table import table_to_read

_AT_ONCE = 200
"""The IP Groups of so many are looked up at a time."""
_MOST_LOOKED_AT = 10_000


class Wanted(NamedTuple):
    """Which registrations: those that fit in everything that is not None.

    `user` is a user name or the user part of the address, `source` an address or a prefix.
    """

    user: str | None = None
    ip_group: str | None = None
    source: str | None = None


def registered(
    config: Config, server: Rpc, now: float, wanted: Wanted
) -> Generator[Registration, None, None]:
    """Yield the registrations at `now` that fit; raises as `registrations` does."""
    return (each for each, fits in _looked_at(config, server, now, wanted, None) if fits)


def page_of_registered(
    config: Config, server: Rpc, now: float, wanted: Wanted, after: Place | None, most: int
) -> tuple[list[Registration], Place | None]:
    """Return up to `most` registrations that fit, and after which the next page begins, or None.

    A page has fewer where few fit: so many at most are looked at for it.
    """
    found: list[Registration] = []
    last = after
    with closing(_looked_at(config, server, now, wanted, after)) as all_of_them:
        for number, (each, fits) in enumerate(all_of_them):
            if len(found) == most or number == _MOST_LOOKED_AT:
                return found, last
            last = place_of(each)
            if fits:
                found.append(each)
    return found, None


def _looked_at(
    config: Config, server: Rpc, now: float, wanted: Wanted, after: Place | None
) -> Generator[tuple[Registration, bool], None, None]:
    """Yield registrations with their IP Groups, and whether they fit."""
    user, ip_group, source = wanted
    names = {user, *(local for local, _ in _addresses(config, user, None))} if user else set()
    found = registrations(server, now, names, _text_of(source), after)
    groups = [each.name for each in config.ip_groups]
    with table_to_read(config) as table:
        while some := list(islice(found, _AT_ONCE)):
            owners = table.owners(groups, {each.user for each in some})
            for each in some:
                owner = owners.get((each.user, each.realm)) or _only_owner(each, owners)
                fits = ip_group in (None, owner) and (source is None or _is_from(source, each))
                yield each._replace(ip_group=owner), fits


def _only_owner(each: Registration, owners: Mapping[tuple[str, str], str]) -> str:
    """Return the IP Group of who is registered without a realm, where it can be only one's."""
    found = {group for (user, _), group in owners.items() if user == each.user}
    return found.pop() if not each.realm and len(found) == 1 else ""


def _text_of(source: str | None) -> str:
    """Return what is in each address of an IPv4 prefix, as text."""
    with suppress(ValueError):
        network = IPv4Network(source or "", strict=False)
        octets = str(network.network_address).split(".")[: network.prefixlen // 8]
        return ".".join(octets) + ("." if 0 < len(octets) < 4 else "")
    return ""


def drop(config: Config, server: Rpc, user: str, ip_group: str | None) -> list[tuple[str, str]]:
    """Forget where a user is registered; return its addresses, as user part and realm.

    Only those that were registered. Raises NotRunning.
    """
    return [each for each in _addresses(config, user, ip_group) if drop_address(server, *each)]


def _addresses(config: Config, user: str, ip_group: str | None) -> Iterator[tuple[str, str]]:
    """Yield the addresses of record of a user, and those that a group of other users may have."""
    with table_to_read(config) as table:
        rows = list(table.all(ip_group, user))
    if rows:
        yield from {(row.local_user, row.realm): None for row in rows}
        return
    for realm in dict.fromkeys(group.realm for group in config.ip_groups):
        yield user, realm


def _is_from(source: str, registration: Registration) -> bool:
    with suppress(ValueError):
        address = ip_address(registration.source.rpartition(":")[0].strip("[]"))
        return address in ip_network(source, strict=False)
    return False
