"""Settings as they hold for an IP Group: its own, those of the file, or the defaults."""

from typing import Any

from sbcauth.config.mappings import UserAgentSettings
from sbcauth.config.schema import DEFAULTS, FileSettings, IPGroupSettings
from sbcauth.policy.ip_groups import AtLeast, UserAgentRule
from sbcauth.policy.user_agents import KNOWN, Terms, weakest


def setting(group: IPGroupSettings, file: FileSettings, name: str) -> Any:
    """Return a setting as it holds for an IP Group: its own, the file's, or the default."""
    for level in (group, file, DEFAULTS):
        value = getattr(level, name, None)
        if value is not None:
            return value
    return None


def client_realms(group: IPGroupSettings) -> tuple[str, ...] | None:
    """Return the realms in which the client pair of an IP Group answers; None for any.

    Without `client_realms` it is the IP Group's own realm, where it has one.
    """
    if group.client_realms is not None:
        return group.client_realms
    return (group.realm,) if group.realm and group.username_as_client else None


_KNOWN = UserAgentSettings(pattern="known")
"""The word that stands for the rules that come with the program."""


def user_agents(group: IPGroupSettings, file: FileSettings) -> tuple[UserAgentRule, ...]:
    """Return the rules for User-Agents of an IP Group; `known` stands for those that we ship."""
    rules: list[UserAgentRule] = []
    for item in setting(group, file, "user_agents"):
        rules += KNOWN if item == _KNOWN else [item.value()]
    return tuple(rules)


def at_least(group: IPGroupSettings, file: FileSettings) -> AtLeast:
    """Return the weakest that an IP Group offers: of what is not said, that of its own offer."""
    own = weakest(Terms(setting(group, file, "auth_algorithms"), setting(group, file, "auth_qop")))
    levels = [keys.at_least for keys in (group, file) if keys.at_least]
    algorithms = [level.algorithm for level in levels if level.algorithm]
    qops = [level.qop for level in levels if level.qop]
    return AtLeast((*algorithms, own.algorithm)[0], (*qops, own.qop)[0])


def digest_username(group: IPGroupSettings) -> str:
    """Return the digest user name that an IP Group is known by; empty for none."""
    return next((rule.digest_username for rule in group.classification if rule.digest_username), "")
