"""What may be shown of a user, and a password that is made for one."""

import secrets
from collections.abc import Sequence
from typing import Any

from sbcauth.users.database import UserInfo
from sbcauth.users.table import UserTable

_GENERATED_BYTES = 15  # 20 characters, 120 bits


def public_user(table: UserTable, row: UserInfo, identities: Sequence[str]) -> dict[str, Any]:
    """Return what may be shown of a user: all but H(A1)."""
    return {
        "ip_group": row.ip_group,
        "username": row.username,
        "local_user": row.local_user,
        "realm": row.realm,
        "identities": list(identities),
        "enabled": bool(row.enabled),
        "algorithms": table.algorithms(row),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def generated_password() -> str:
    """Return a password that nobody guesses."""
    return secrets.token_urlsafe(_GENERATED_BYTES)
