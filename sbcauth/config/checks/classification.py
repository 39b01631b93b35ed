"""Checks of who is known as which IP Group."""

from collections.abc import Iterator
from typing import Any

from sbcauth.config.checks.finding import Finding
from sbcauth.config.inheritance import digest_username, setting
from sbcauth.config.schema import FileSettings, IPGroupSettings
from sbcauth.config.source import Path
from sbcauth.policy.ip_groups import AuthenticationMode, IPGroupType, RuleAction, ServerAuthMode


def check_classification(path: Path, group: IPGroupSettings) -> Iterator[Finding]:
    """Warn of an IP Group, or a server of it, that no request is known to come from."""
    if not group.proxy_set and all(r.action is RuleAction.DENY for r in group.classification):
        yield Finding(path, "no request can be classified: add proxy_set or classification", False)
    for server in group.proxy_set:
        if ":" not in server.host and not server.host.replace(".", "").isdigit():
            message = f"{server.host} is a name: add a classification rule with its addresses"
            yield Finding((*path, "proxy_set"), message, False)


def check_rules(path: Path, group: IPGroupSettings) -> Iterator[Finding]:
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


def check_named(file: FileSettings) -> Iterator[Finding]:
    """Find what differs between IP Groups known by digest user name, and say what they open."""
    named = [(place, g) for place, g in enumerate(file.ip_groups) if digest_username(g)]
    for number, (place, group) in enumerate(named):
        path: Path = ("ip_groups", place)
        first = named[0][1]
        if any(digest_username(each) == digest_username(group) for _, each in named[:number]):
            message = f"another IP Group is known by {digest_username(group)!r}"
            yield Finding((*path, "classification"), message, True)
        for name in _ALIKE:
            if setting(group, file, name) != setting(first, file, name):
                message = f"must be that of {first.name!r}: both are known by digest_username"
                yield Finding((*path, name), message, True)
        if set(group.authentication_method_list or ()) != set(
            first.authentication_method_list or ()
        ):
            message = f"must be that of {first.name!r}: both are known by digest_username"
            yield Finding((*path, "authentication_method_list"), message, True)
        if setting(group, file, "server_auth_mode") is not ServerAuthMode.LOCAL:
            message = "must be local where an IP Group is known by digest_username"
            yield Finding((*path, "server_auth_mode"), message, True)
        if number == 0:
            methods = ", ".join(group.authentication_method_list or ())
            message = (
                f"challenges {methods} of any address that no rule fits, "
                f"whatever unclassified_requests says ({file.unclassified_requests})"
            )
            yield Finding((*path, "classification"), message, False)


def check_overlaps(file: FileSettings) -> Iterator[Finding]:
    """Warn of what two IP Groups claim alike: the first in the file wins."""
    owners: dict[tuple[Any, ...], str] = {}
    for place, group in enumerate(file.ip_groups):
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
