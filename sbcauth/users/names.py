"""What users may be named."""

import re
from collections.abc import Mapping

from sbcauth.exceptions import UserInfoError

LONGEST_NAME = 255
"""The longest name of an IP Group, user or realm, in bytes."""
_NO_USER_PART = re.compile(r'[\s@:<>"]')
"""What no user part of a SIP URI has, other than escaped (RFC 3261, 25.1)."""
_SHOWN = 40  # characters of a name that cannot be one


def may_be_a_name(text: str) -> bool:
    """Tell whether a user can be named so; anything else must not fill the cache."""
    try:
        return 0 < len(text.encode()) <= LONGEST_NAME and text.isprintable()
    except UnicodeEncodeError:
        return False


def default_local_user(username: str) -> str:
    """Return the address of record's user part of a user who is given none."""
    return username.partition("@")[0]


def check_names(names: Mapping[str, str]) -> None:
    """Raise UserInfoError where one of `names`, by column, can be no user's."""
    for column, name in names.items():
        if not may_be_a_name(name):
            raise UserInfoError(
                f"{column} {_shown(name)} is not a name of 1 to {LONGEST_NAME} bytes "
                "without control characters"
            )
    local_user = names.get("local_user", "")
    if _NO_USER_PART.search(local_user):
        raise UserInfoError(
            f"local_user {_shown(local_user)} cannot stand in a SIP address: it has a space or one "
            'of @ : < > "; --local-user gives the user another'
        )


def _shown(name: str) -> str:
    return ascii(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")
