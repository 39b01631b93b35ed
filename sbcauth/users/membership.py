"""Users and their IP Groups: which one is meant, who may be in it, and who is in none any more."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from sbcauth.exceptions import UserInfoError
from sbcauth.policy.ip_groups import AuthenticationMode, IPGroup, IPGroupType
from sbcauth.users.database import UserInfo
from sbcauth.users.table import UserTable


def orphans(table: UserTable, ip_groups: Iterable[IPGroup]) -> Iterator[str]:
    """Yield a line for each user whose IP Group or realm is no longer configured.

    A user may have the realm of the peer that the IP Group is routed to: that answers the peer's
    challenges.
    """
    groups = {group.name: group for group in ip_groups}
    for row in table.all():
        group = groups.get(row.ip_group)
        if group is None:
            yield f"user {row.username}: there is no IP Group {row.ip_group}"
            continue
        asks = group.authentication_mode is AuthenticationMode.SBC_AS_SERVER
        if not asks and group.type is IPGroupType.USER and group.route_to is None:
            yield (
                f"user {row.username}: the IP Group {row.ip_group} asks nobody to prove anything, "
                "and would keep registrations for this address: use sbc-as-server"
            )
            continue
        peer = groups.get(group.route_to or "")
        if row.realm not in (group.realm, peer and peer.realm):
            yield (
                f"user {row.username}: the password is bound to the realm {row.realm}, but that of "
                f"the IP Group {row.ip_group} is {group.realm}: "
                "remove the user and add it again"
            )


def ip_group_named(ip_groups: Iterable[IPGroup], name: str) -> IPGroup:
    """Return the IP Group of this name; raises UserInfoError where there is none."""
    groups = {group.name: group for group in ip_groups}
    if name not in groups:
        near = get_close_matches(name, groups, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(groups)}"
        raise UserInfoError(f"there is no IP Group {name!a}; {hint}")
    return groups[name]


def ip_group_of_users_named(ip_groups: Iterable[IPGroup], name: str) -> IPGroup:
    """Return the IP Group of this name, which new users may belong to; raises UserInfoError."""
    group = ip_group_named(ip_groups, name)
    if group.type is IPGroupType.SERVER:
        raise UserInfoError(
            f"{name} is an IP Group of type server: it has no users, but username_as_server and "
            "username_as_client in the configuration"
        )
    return group


def several_ip_groups(ip_groups: Iterable[IPGroup]) -> UserInfoError:
    """Return the mistake that it is not said which IP Group is meant, of none or several."""
    names = ", ".join(group.name for group in ip_groups if group.type is IPGroupType.USER)
    if not names:
        return UserInfoError("the configuration has no IP Group of type user")
    return UserInfoError(f"say which --ip-group: {names}")


def only_ip_group_of_users(ip_groups: Iterable[IPGroup]) -> IPGroup | None:
    """Return the IP Group of type user where there is only one: it need not be named."""
    of_users = [group for group in ip_groups if group.type is IPGroupType.USER]
    return of_users[0] if len(of_users) == 1 else None


def ip_group_of_new_user(ip_groups: Sequence[IPGroup], name: str | None) -> IPGroup:
    """Return the IP Group that a new user goes to; the only one of type user is the default.

    Raises UserInfoError.
    """
    if name is not None:
        return ip_group_of_users_named(ip_groups, name)
    if group := only_ip_group_of_users(ip_groups):
        return group
    raise several_ip_groups(ip_groups)


def move_user(table: UserTable, row: UserInfo, group: IPGroup) -> None:
    """Have a user be of another IP Group of the same realm; raises UserInfoError for others."""
    if row.realm != group.realm:
        raise UserInfoError(
            f"the password of {row.username} is bound to the realm {row.realm}, but that of "
            f"{group.name} is {group.realm}: remove the user, and add it to {group.name} with a "
            "password"
        )
    table.move(row, group.name)
