"""What can be wrong between the keys of sbcauth.yaml, each of which is right by itself."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from sbcauth.config.schema import (
    EmergencySettings,
    FileSettings,
    HttpFileSettings,
    IPGroupSettings,
    RadiusFileSettings,
    at_least,
    client_realms,
    digest_username,
    setting,
    user_agents,
)
from sbcauth.config.source import Path
from sbcauth.digest.response import Algorithm
from sbcauth.policy.external_server import LONGEST_WAIT
from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    AuthQop,
    IPGroupType,
    RuleAction,
    ServerAuthMode,
    UserSecurityMode,
)

_METHODS = [
    "INVITE",
    "REGISTER",
    "SUBSCRIBE",
    "NOTIFY",
    "MESSAGE",
    "PUBLISH",
    "REFER",
    "OPTIONS",
    "INFO",
    "UPDATE",
    "PRACK",
    "BYE",
]


class Finding(NamedTuple):
    """Where something is wrong, what it is, and whether the file cannot be used for it."""

    path: Path
    message: str
    fatal: bool


_NEVER_CHALLENGED = {"ACK", "CANCEL"}


def check(keys: FileSettings) -> Iterator[Finding]:
    """Yield what is wrong between the keys of the file."""
    seen: set[str] = set()
    if not keys.ip_groups:
        yield Finding(("ip_groups",), "is empty: every request is unclassified", False)
    servers = {g.name: g for g in keys.ip_groups if g.type is IPGroupType.SERVER}
    if not keys.database.startswith("sqlite:///"):
        yield Finding(("database",), "must be sqlite:///PATH", True)
    if keys.emergency:
        yield from _check_emergency(("emergency", "route_to"), keys.emergency, servers)
    for place, group in enumerate(keys.ip_groups):
        path: Path = ("ip_groups", place)
        if group.name in seen:
            yield Finding((*path, "name"), f"another IP Group is named {group.name!r}", True)
        seen.add(group.name)
        if setting(group, keys, "realm") is None:
            yield Finding((*path, "realm"), "is required, here or at the top of the file", True)
        yield from _check_route(path, group, servers)
        yield from _check_credentials(path, group)
        yield from _check_classification(path, group)
        yield from _check_rules(path, group)
        yield from _check_words(path, group, keys, servers)
        yield from _check_client_realms(path, group, keys)
        if group.authentication_mode is AuthenticationMode.SBC_AS_CLIENT:
            yield from _check_as_client(path, group)
        if group.authentication_mode is AuthenticationMode.SBC_AS_SERVER:
            yield from _check_as_server(path, group, keys)
        if group.shadow:
            yield from _check_shadow((*path, "shadow"), group, keys)
    yield from _overlaps(keys)
    yield from _check_named(keys)


def _check_route(
    path: Path, group: IPGroupSettings, servers: Mapping[str, IPGroupSettings]
) -> Iterator[Finding]:
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


def _check_credentials(path: Path, group: IPGroupSettings) -> Iterator[Finding]:
    for side in ("as_server", "as_client"):
        username, password = f"username_{side}", f"password_{side}"
        given = [key for key in (username, password) if getattr(group, key) is not None]
        if len(given) == 1:
            missing = password if given[0] == username else username
            yield Finding((*path, given[0]), f"{missing} is missing beside it", True)


def _check_classification(path: Path, group: IPGroupSettings) -> Iterator[Finding]:
    if not group.proxy_set and all(r.action is RuleAction.DENY for r in group.classification):
        yield Finding(path, "no request can be classified: add proxy_set or classification", False)
    for server in group.proxy_set:
        if ":" not in server.host and not server.host.replace(".", "").isdigit():
            message = f"{server.host} is a name: add a classification rule with its addresses"
            yield Finding((*path, "proxy_set"), message, False)


def _check_rules(path: Path, group: IPGroupSettings) -> Iterator[Finding]:
    """Find rules that name no address, or a digest user name beside anything else."""
    for number, rule in enumerate(group.classification):
        where = (*path, "classification", number)
        if rule.digest_username is None:
            if rule.address is None:
                yield Finding((*where, "address"), "is required", True)
        elif rule.model_fields_set != {"digest_username"}:
            message = "stands alone: a request of no other rule is known by it"
            yield Finding((*where, "digest_username"), message, True)
        elif (
            group.type is not IPGroupType.SERVER
            or group.authentication_mode is not AuthenticationMode.SBC_AS_SERVER
            or group.shadow
            or rule.digest_username != group.username_as_server
        ):
            message = (
                "must be username_as_server of an IP Group of type server in mode sbc-as-server, "
                "not in shadow"
            )
            yield Finding((*where, "digest_username"), message, True)
        elif {"REGISTER"} & set(group.authentication_method_list or ()):
            message = "is for calls: REGISTER cannot be on the authentication_method_list"
            yield Finding((*where, "digest_username"), message, True)


_ALIKE = (
    *("realm", "auth_nonce_duration", "auth_challenge_method", "auth_qop", "auth_algorithms"),
    *("user_agents", "at_least", "max_auth_attempts", "lockout_duration", "max_lockout_duration"),
    *("attempt_window", "max_failures_per_source", "max_failures_per_user", "trust_duration"),
    *("trusted_sources", "server_auth_mode", "check_digest_uri", "reject_invalid_nonce"),
)
"""What must be the same where a request is challenged before its IP Group is known."""


def _check_named(keys: FileSettings) -> Iterator[Finding]:
    """Find what differs between IP Groups known by digest user name, and say what they open."""
    named = [(place, g) for place, g in enumerate(keys.ip_groups) if digest_username(g)]
    for number, (place, group) in enumerate(named):
        path: Path = ("ip_groups", place)
        first = named[0][1]
        if any(digest_username(each) == digest_username(group) for _, each in named[:number]):
            message = f"another IP Group is known by {digest_username(group)!r}"
            yield Finding((*path, "classification"), message, True)
        for name in _ALIKE:
            if setting(group, keys, name) != setting(first, keys, name):
                message = f"must be that of {first.name!r}: both are known by digest_username"
                yield Finding((*path, name), message, True)
        if set(group.authentication_method_list or ()) != set(
            first.authentication_method_list or ()
        ):
            message = f"must be that of {first.name!r}: both are known by digest_username"
            yield Finding((*path, "authentication_method_list"), message, True)
        if setting(group, keys, "server_auth_mode") is not ServerAuthMode.LOCAL:
            message = "must be local where an IP Group is known by digest_username"
            yield Finding((*path, "server_auth_mode"), message, True)
        if number == 0:
            methods = ", ".join(group.authentication_method_list or ())
            message = (
                f"challenges {methods} of any address that no rule fits, "
                f"whatever unclassified_requests says ({keys.unclassified_requests})"
            )
            yield Finding((*path, "classification"), message, False)


def _check_as_server(path: Path, group: IPGroupSettings, keys: FileSettings) -> Iterator[Finding]:
    methods = group.authentication_method_list
    where = (*path, "authentication_method_list")
    if methods is None:
        yield Finding(where, "is required in mode sbc-as-server", True)
    elif not methods:
        yield Finding(where, "is empty: nothing is challenged", False)
    for method in methods or ():
        if method in _NEVER_CHALLENGED:
            yield Finding(where, f"{method} is never challenged (RFC 3261, 22.1)", False)
        elif method not in _METHODS and method != "setup-invite":
            near = get_close_matches(method, _METHODS, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            yield Finding(where, f"{method} is no method that we know{hint}", bool(near))
    yield from _check_offers(path, group, keys)
    mode = setting(group, keys, "server_auth_mode")
    if mode is not ServerAuthMode.LOCAL:
        yield from _check_external(path, group, keys, mode)
    elif group.type is IPGroupType.SERVER and group.username_as_server is None:
        message = "is required: what the remote server must present (type server, sbc-as-server)"
        yield Finding((*path, "username_as_server"), message, True)


def _check_offers(path: Path, group: IPGroupSettings, keys: FileSettings) -> Iterator[Finding]:
    """Find offers that are weaker than `at_least`: the IP Group's own, and those of rules."""
    floor = at_least(group, keys)
    offers: list[tuple[Path, Sequence[Algorithm], AuthQop, bool]] = [
        (
            (*path, "at_least"),
            setting(group, keys, "auth_algorithms"),
            setting(group, keys, "auth_qop"),
            True,
        )
    ]
    for number, rule in enumerate(group.user_agents or ()):
        where = (*path, "user_agents", number)
        offers.append((where, rule.auth_algorithms or (), rule.auth_qop or floor.qop, False))
    for where, algorithms, qop, own in offers:
        weak = [str(each) for each in algorithms if each.strength < floor.algorithm.strength]
        weak += [f"qop {qop}"] * (qop.strength < floor.qop.strength)
        if weak:
            names, what = ", ".join(weak), f"algorithm {floor.algorithm}, qop {floor.qop}"
            message = f"is {what}: {names} of what this IP Group offers is weaker"
            if not own:
                message = f"{names} is weaker than at_least ({what}), and is not offered"
            yield Finding(where, message, own)


def _check_words(
    path: Path, group: IPGroupSettings, keys: FileSettings, servers: Mapping[str, IPGroupSettings]
) -> Iterator[Finding]:
    """Find what lets more pass than it seems to, or can have no effect."""
    is_user = group.type is IPGroupType.USER
    if not is_user:
        for key in (
            *("reaches", "edge_proxies", "max_registered_users", "user_security_mode"),
            *("identities", "from_screening"),
        ):
            if getattr(group, key) and not (key == "reaches" and digest_username(group)):
                yield Finding((*path, key), "is for IP Groups of type user", True)
    elif not group.trusted_identity:
        message = "has no effect but in IP Groups of type server: no phone is trusted"
        yield Finding((*path, "trusted_identity"), message, False)
    if is_user and group.identities and group.username_as_server is None:
        message = "have no effect without username_as_server, whose they are"
        yield Finding((*path, "identities"), message, False)
    users = {g.name for g in keys.ip_groups if g.type is IPGroupType.USER}
    for name in group.reaches if is_user or digest_username(group) else ():
        if name not in users:
            known = ", ".join(sorted(users - {group.name})) or "there is none"
            message = f"{name!r} is no IP Group of type user ({known})"
            yield Finding((*path, "reaches"), message, True)
    if group.emergency:
        yield from _check_emergency((*path, "emergency", "route_to"), group.emergency, servers)
    asked = group.authentication_mode is AuthenticationMode.SBC_AS_SERVER
    if not is_user:
        return
    realm = setting(group, keys, "realm")
    if not asked and group.route_to is None and realm in _realms_of_users(keys):
        message = (
            "registrations are kept that nobody proves, but for addresses that User Info has: "
            "use sbc-as-server, or route_to"
        )
        yield Finding((*path, "authentication_mode"), message, False)
    mode = setting(group, keys, "user_security_mode")
    if asked and not group.shadow and mode is UserSecurityMode.ACCEPT_ALL:
        message = "lets requests pass whoever sent them, where their method is not listed"
        yield Finding((*path, "user_security_mode"), message, False)


def _realms_of_users(keys: FileSettings) -> set[str]:
    """Return the realms in which phones are challenged."""
    return {
        setting(group, keys, "realm")
        for group in keys.ip_groups
        if group.type is IPGroupType.USER
        and group.authentication_mode is AuthenticationMode.SBC_AS_SERVER
    }


def _check_emergency(
    where: Path, emergency: EmergencySettings, servers: Mapping[str, IPGroupSettings]
) -> Iterator[Finding]:
    if not getattr(servers.get(emergency.route_to), "proxy_set", ()):
        message = f"{emergency.route_to!r} is no IP Group of type server with a proxy_set"
        yield Finding(where, message, True)


def _check_client_realms(
    path: Path, group: IPGroupSettings, keys: FileSettings
) -> Iterator[Finding]:
    """Refuse to answer challenges that may be ours, and warn of those that may be anybody's."""
    ours = {
        setting(each, keys, "realm")
        for each in keys.ip_groups
        if each.authentication_mode is AuthenticationMode.SBC_AS_SERVER
    }
    for realm in group.client_realms or ():
        if realm in ours:
            message = f"{realm} is a realm that we challenge with: whoever asks for it is no peer"
            yield Finding((*path, "client_realms"), message, True)
    if group.username_as_client is not None and client_realms(group) is None:
        message = "answers challenges in any realm: name those of the peer in client_realms"
        yield Finding((*path, "username_as_client"), message, False)


def _check_shadow(where: Path, group: IPGroupSettings, keys: FileSettings) -> Iterator[Finding]:
    if group.authentication_mode is not AuthenticationMode.SBC_AS_SERVER:
        yield Finding(where, "has no effect but in mode sbc-as-server", False)
    elif setting(group, keys, "server_auth_mode") is not ServerAuthMode.LOCAL:
        yield Finding(where, "is for server_auth_mode local: no external server is asked", True)
    elif group.type is IPGroupType.USER and group.route_to is None:
        message = "needs a route_to: what nobody has proved is not kept here"
        yield Finding(where, message, True)
    else:
        yield Finding(where, "is on: every request passes, whoever sent it", False)


def _check_as_client(path: Path, group: IPGroupSettings) -> Iterator[Finding]:
    where = (*path, "authentication_mode")
    if group.type is IPGroupType.USER and group.route_to is None:
        yield Finding(where, "has no effect without route_to: no server is asked", False)
    if group.type is IPGroupType.SERVER and not group.proxy_set:
        message = "has no effect without proxy_set: a peer is known by its address"
        yield Finding(where, message, False)


def _check_external(
    path: Path, group: IPGroupSettings, keys: FileSettings, mode: ServerAuthMode
) -> Iterator[Finding]:
    """Find what is wrong with the servers that are asked in this mode."""
    asked: RadiusFileSettings | HttpFileSettings | None = setting(group, keys, mode)
    where = "http.urls" if mode is ServerAuthMode.HTTP else "radius.servers"
    settings = asked.value(pathlib.Path()) if asked else None
    if asked is None or settings is None or not settings.patience:
        yield Finding((*path, "server_auth_mode"), f"{mode} needs {where}", True)
    elif mode is ServerAuthMode.RADIUS and asked.timeout * asked.tries <= 1.5:
        message = "gives up before a server that delays its Access-Reject by a second has answered"
        yield Finding((*path, "radius"), message, False)
    elif settings.patience > LONGEST_WAIT:
        message = f"nobody waits for all tries: after {LONGEST_WAIT:.0f} seconds it is 503"
        yield Finding((*path, str(mode)), message, False)
    if group.username_as_server is not None:
        message = f"plays no part: with server_auth_mode {mode} the external server knows the users"
        yield Finding((*path, "username_as_server"), message, False)
    offered = set(setting(group, keys, "auth_algorithms"))
    offered.update(*(rule.algorithms or () for rule in user_agents(group, keys)))
    if mode is ServerAuthMode.RADIUS and offered != {Algorithm.MD5}:
        message = "FreeRADIUS knows MD5 only, and rejects users of other algorithms"
        yield Finding((*path, "auth_algorithms"), message, False)


def _overlaps(keys: FileSettings) -> Iterator[Finding]:
    """Warn of what two IP Groups claim alike: the first in the file wins."""
    owners: dict[tuple[Any, ...], str] = {}
    for place, group in enumerate(keys.ip_groups):
        for path, claim in _claims(group):
            owner = owners.setdefault(claim, group.name)
            if owner != group.name:
                what = "rule" if path[0] == "classification" else "server"
                message = f"the same {what} leads to the IP Group {owner!r}, which comes first"
                yield Finding(("ip_groups", place, *path), message, False)


def _claims(group: IPGroupSettings) -> Iterator[tuple[Path, tuple[Any, ...]]]:
    """Yield what the IP Group claims, and where it says so; case does not count."""
    for server in group.proxy_set:
        yield ("proxy_set",), (server.host.lower(), server.port)
    for number, rule in enumerate(group.classification):
        conditions = (str(value).lower() for key, value in rule if key != "action")
        yield ("classification", number), tuple(conditions)
