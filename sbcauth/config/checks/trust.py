"""Checks of what an IP Group lets pass, and whom its users reach."""

from collections.abc import Iterator, Mapping

from sbcauth.config.checks.finding import Finding
from sbcauth.config.checks.routes import check_emergency
from sbcauth.config.inheritance import digest_username, setting
from sbcauth.config.schema import FileSettings, IPGroupSettings
from sbcauth.config.source import Path
from sbcauth.policy.ip_groups import AuthenticationMode, IPGroupType, UserSecurityMode


def check_trust(
    path: Path, group: IPGroupSettings, file: FileSettings, servers: Mapping[str, IPGroupSettings]
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
    users = {g.name for g in file.ip_groups if g.type is IPGroupType.USER}
    for name in group.reaches if is_user or digest_username(group) else ():
        if name not in users:
            known = ", ".join(sorted(users - {group.name})) or "there is none"
            message = f"{name!r} is no IP Group of type user ({known})"
            yield Finding((*path, "reaches"), message, True)
    if group.emergency:
        yield from check_emergency((*path, "emergency", "route_to"), group.emergency, servers)
    asked = group.authentication_mode is AuthenticationMode.SBC_AS_SERVER
    if not is_user:
        return
    realm = setting(group, file, "realm")
    if not asked and group.route_to is None and realm in _realms_of_users(file):
        message = (
            "registrations are kept that nobody proves, but for addresses that User Info has: "
            "use sbc-as-server, or route_to"
        )
        yield Finding((*path, "authentication_mode"), message, False)
    mode = setting(group, file, "user_security_mode")
    if asked and not group.shadow and mode is UserSecurityMode.ACCEPT_ALL:
        message = "lets requests pass whoever sent them, where their method is not listed"
        yield Finding((*path, "user_security_mode"), message, False)


def _realms_of_users(file: FileSettings) -> set[str]:
    """Return the realms in which phones are challenged."""
    return {
        setting(group, file, "realm")
        for group in file.ip_groups
        if group.type is IPGroupType.USER
        and group.authentication_mode is AuthenticationMode.SBC_AS_SERVER
    }
