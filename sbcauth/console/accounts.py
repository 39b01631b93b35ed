"""The accounts of the page itself: names, roles, and argon2 hashes in a file for its owner alone.

They are no users of User Info: whoever looks after the server has one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2s
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from sbcauth.config.load import Config
from sbcauth.console.entries import Entries
from sbcauth.exceptions import SbcAuthError

SHORTEST = 10
"""The shortest password, in characters."""
LONGEST = 256
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
"""What accounts and tokens may be named."""
_MOST = 200


class AccountError(SbcAuthError):
    """The accounts cannot be changed so, or cannot be read."""


class Role(StrEnum):
    """What an account may do: look at everything, or change things, too."""

    LOOK = "look"
    CHANGE = "change"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may log in."""

    name: str
    role: Role
    hash: str = field(repr=False)

    @property
    def stamp(self) -> str:
        """Return what is another once role or password are: sessions from before end."""
        return blake2s(f"{self.role}\0{self.hash}".encode()).hexdigest()


def accounts_file(config: Config) -> Path:
    """Return the file of the accounts: beside the nonce keys, in the server's own folder."""
    return config.nonce_key_file.with_suffix(".console")


class Accounts:
    """The accounts in a file; it is read again when it has changed."""

    def __init__(self, path: Path, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobody = self._hasher.hash("nobody")
        self._entries = Entries(path, "accounts", _account, AccountError)

    def all(self) -> Mapping[str, Account]:
        """Return all accounts by name; raises AccountError where the file cannot be read."""
        return self._entries.all()

    def verify(self, name: str, password: str) -> Account | None:
        """Return the account, where the password is right; no account costs the same work."""
        account = self.all().get(name)
        try:
            self._hasher.verify(account.hash if account else self._nobody, password[:LONGEST])
        except (Argon2Error, InvalidHashError):
            return None
        return account

    def add(self, name: str, role: Role, password: str) -> None:
        """Add an account; raises AccountError where the name is taken or will not do."""
        if not NAME.fullmatch(name):
            raise AccountError(f"{name!a} is no name of 1 to 32 letters, digits, `.`, `_` and `-`")
        accounts = dict(self.all())
        if name in accounts:
            raise AccountError(f"{name} has an account already; console-user password changes it")
        if len(accounts) >= _MOST:
            raise AccountError(f"there are {_MOST} accounts already")
        accounts[name] = Account(name, role, self._hash(password))
        self._write(accounts)

    def set_password(self, name: str, password: str) -> None:
        """Replace the password of an account; its sessions end."""
        account = self._find(name)
        changed = Account(name, account.role, self._hash(password))
        self._write({**self.all(), name: changed})

    def remove(self, name: str) -> None:
        """Remove an account; its sessions end."""
        self._find(name)
        self._write({each: account for each, account in self.all().items() if each != name})

    def _find(self, name: str) -> Account:
        account = self.all().get(name)
        if account is None:
            raise AccountError(f"there is no account {name!a}; console-user list shows them all")
        return account

    def _hash(self, password: str) -> str:
        if not SHORTEST <= len(password) <= LONGEST:
            raise AccountError(f"a password has {SHORTEST} to {LONGEST} characters")
        return self._hasher.hash(password)

    def _write(self, accounts: Mapping[str, Account]) -> None:
        self._entries.write(
            {name: {"role": each.role, "hash": each.hash} for name, each in accounts.items()}
        )


def _account(name: str, entry: Any) -> Account:
    return Account(name, Role(entry["role"]), str(entry["hash"]))
