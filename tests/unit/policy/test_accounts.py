"""Accounts: whom credentials name."""

import pytest
from conversation import REALM, UserInfo, phones, trunk, user

from sbcauth.policy.accounts import Accounts
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.ip_groups import IPGroup, ServerAuthMode

LOCAL, PEER = phones(), trunk()
ELSEWHERE = phones(server_auth_mode=ServerAuthMode.RADIUS)


@pytest.mark.parametrize(
    ("group", "username", "local_user"),
    [
        (LOCAL, "1001", "+15550001"),
        (LOCAL, "1002", None),
        (ELSEWHERE, "1001", "+15550001"),
        (ELSEWHERE, "1002", "1002"),
        (ELSEWHERE, f"1002@{REALM}", "1002"),
        (ELSEWHERE, "1002@other.example", "1002@other.example"),
        (PEER, "1001", None),
        (PEER, "trunk", None),
    ],
)
def test_account_of_one_user_speaks_for_one_address_of_record(
    group: IPGroup, username: str, local_user: str | None
) -> None:
    users = UserInfo(user(local_user="+15550001"), user(ip_group="Trunk"))
    assert Accounts(IPGroups([group]), users).local_user_of(username, group) == local_user


def test_user_is_shown_without_what_is_as_good_as_the_password() -> None:
    shown = user("1001", old_password="before")
    assert repr(shown) == f"User('1001' in 'Phones', realm '{REALM}')"
