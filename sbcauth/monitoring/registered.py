"""Who of the users is registered, and forgetting where one is."""

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address, ip_network

from sbcauth.config.load import Config
from sbcauth.monitoring.registrations import Registration, registrations
from sbcauth.monitoring.registrations import drop as drop_address
from sbcauth.monitoring.rpc import Rpc
from sbcauth.monitoring.user_table import table_to_read


def registered(
    config: Config,
    server: Rpc,
    now: float,
    user: str | None = None,
    ip_group: str | None = None,
    source: str | None = None,
) -> list[Registration]:
    """Return the registrations at `now` that fit in everything that is given; raises as they do.

    `user` is a user name or the user part of the address, `source` an address or a prefix.
    """
    with table_to_read(config) as table:
        owners = table.owners()
    names = {user, *(local for local, _ in _addresses(config, user, None))} if user else set()
    return [
        each
        for each in registrations(server, owners, now)
        if ip_group in (None, each.ip_group)
        and (user is None or each.user in names)
        and (source is None or _is_from(source, each))
    ]


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
