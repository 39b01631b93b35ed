"""All checks of a file."""

from collections.abc import Iterator

from sbcauth.config.checks.challenges import check_as_server, check_shadow
from sbcauth.config.checks.classification import (
    check_classification,
    check_named,
    check_overlaps,
    check_rules,
)
from sbcauth.config.checks.cluster import check_cluster
from sbcauth.config.checks.credentials import check_client_realms, check_credentials
from sbcauth.config.checks.finding import Finding
from sbcauth.config.checks.routes import check_as_client, check_emergency, check_route
from sbcauth.config.checks.trust import check_trust
from sbcauth.config.inheritance import setting
from sbcauth.config.schema import FileSettings
from sbcauth.config.source import Path
from sbcauth.policy.ip_groups import AuthenticationMode, IPGroupType
from sbcauth.users.database_url import is_postgresql


def check(file: FileSettings) -> Iterator[Finding]:
    """Yield what is wrong between the keys of the file."""
    seen: set[str] = set()
    if not file.ip_groups:
        yield Finding(("ip_groups",), "is empty: every request is unclassified", False)
    servers = {g.name: g for g in file.ip_groups if g.type is IPGroupType.SERVER}
    if file.database.startswith("sqlite:///"):
        if file.database_copy:
            message = "has no effect: users in SQLite need no copy"
            yield Finding(("database_copy",), message, False)
    elif not is_postgresql(file.database):
        message = "must be sqlite:///PATH, or postgresql://USER@HOST/DATABASE"
        yield Finding(("database",), message, True)
    if file.cluster:
        yield from check_cluster(file.cluster)
    if file.emergency:
        yield from check_emergency(("emergency", "route_to"), file.emergency, servers)
    for place, group in enumerate(file.ip_groups):
        path: Path = ("ip_groups", place)
        if group.name in seen:
            yield Finding((*path, "name"), f"another IP Group is named {group.name!r}", True)
        seen.add(group.name)
        if setting(group, file, "realm") is None:
            yield Finding((*path, "realm"), "is required, here or at the top of the file", True)
        yield from check_route(path, group, servers)
        yield from check_credentials(path, group)
        yield from check_classification(path, group)
        yield from check_rules(path, group)
        yield from check_trust(path, group, file, servers)
        yield from check_client_realms(path, group, file)
        if group.authentication_mode is AuthenticationMode.SBC_AS_CLIENT:
            yield from check_as_client(path, group)
        if group.authentication_mode is AuthenticationMode.SBC_AS_SERVER:
            yield from check_as_server(path, group, file)
        if group.shadow:
            yield from check_shadow((*path, "shadow"), group, file)
    yield from check_overlaps(file)
    yield from check_named(file)
