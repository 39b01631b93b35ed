"""Checks of the pairs of user name and password of an IP Group."""

from collections.abc import Iterator

from sbcauth.config.checks.finding import Finding
from sbcauth.config.inheritance import client_realms, setting
from sbcauth.config.schema import FileSettings, IPGroupSettings
from sbcauth.config.source import Path
from sbcauth.policy.ip_groups import AuthenticationMode


def check_credentials(path: Path, group: IPGroupSettings) -> Iterator[Finding]:
    """Find a user name without its password, or a password without its user name."""
    for side in ("as_server", "as_client"):
        username, password = f"username_{side}", f"password_{side}"
        given = [key for key in (username, password) if getattr(group, key) is not None]
        if len(given) == 1:
            missing = password if given[0] == username else username
            yield Finding((*path, given[0]), f"{missing} is missing beside it", True)


def check_client_realms(
    path: Path, group: IPGroupSettings, file: FileSettings
) -> Iterator[Finding]:
    """Refuse to answer challenges that may be ours, and warn of those that may be anybody's."""
    ours = {
        setting(each, file, "realm")
        for each in file.ip_groups
        if each.authentication_mode is AuthenticationMode.SBC_AS_SERVER
    }
    for realm in group.client_realms or ():
        if realm in ours:
            message = f"{realm} is a realm that we challenge with: whoever asks for it is no peer"
            yield Finding((*path, "client_realms"), message, True)
    if group.username_as_client is not None and client_realms(group) is None:
        message = "answers challenges in any realm: name those of the peer in client_realms"
        yield Finding((*path, "username_as_client"), message, False)
