"""Accounts: what the answer to a challenge is measured against.

An account that is unknown has the H(A1) of a decoy, which nothing matches, so that it is measured
as any other.
"""

import re
import secrets
from typing import NamedTuple, Protocol

from sbcauth.digest.credentials import Credentials
from sbcauth.digest.ha1s import NO_HA1S, HA1s
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.decision import Reason
from sbcauth.policy.identities import as_number, has
from sbcauth.policy.ip_groups import NAMED, IPGroup, IPGroupType, ServerAuthMode
from sbcauth.policy.learned import Memo


class User(NamedTuple):
    """A user of User Info, without its dates; H(A1) may be sealed.

    `old_ha1s` are of the password before this one, which is recognised until `old_until` (seconds
    since 1970).
    """

    ip_group: str
    local_user: str
    username: str
    realm: str
    enabled: bool
    ha1s: HA1s = NO_HA1S
    old_ha1s: HA1s = NO_HA1S
    old_until: int | None = None

    def old_ha1(self, algorithm: str, now: int) -> str | None:
        """Return H(A1) of the password before, or None where it is recognised no more."""
        return self.old_ha1s.get(algorithm) if now < (self.old_until or 0) else None

    def __repr__(self) -> str:
        """Return who it is; H(A1) is as good as the password and is not shown."""
        return f"User({self.username!r} in {self.ip_group!r}, realm {self.realm!r})"


class Users(Protocol):
    """The User Info table, as far as a decision needs it."""

    def find(self, ip_group: str, username: str, realm: str, algorithm: str = "") -> User | None:
        """Return the user with this digest user name; raises Unavailable.

        It has H(A1) for `algorithm`, if it is one of ours, and need have no other.
        """

    def has_local_user(self, ip_group: str, local_user: str) -> bool:
        """Tell whether an address of record belongs to a user; raises Unavailable."""

    def find_by_identity(self, ip_group: str, number: str, realm: str) -> User | None:
        """Return the user of whose identities a number is one; raises Unavailable."""

    def memo_until_change(self) -> Memo:
        """Return a dictionary to remember results in; it is emptied when users change."""


class Account(NamedTuple):
    """An account.

    `old_ha1` is of the password before. `refusal` is why the account is no good, whatever the
    response. `local_user` is None where the account stands for every address of record of its
    IP Group. A registration of an account that `leaves_trace` is known by its binding.
    """

    ha1: str
    old_ha1: str
    local_user: str | None = None
    refusal: Reason | None = None

    @property
    def leaves_trace(self) -> bool:
        """Tell whether any registrar keeps a binding under the account's own local user."""
        return self.local_user is not None and bool(_stands_in_uri(self.local_user))


_stands_in_uri = re.compile(r"[0-9A-Za-z_.!~*'()+-]{1,80}").fullmatch
"""Matches a local user that needs no escapes in a URI, and that any registrar takes."""


class Owner(NamedTuple):
    """Whose number it is: an account, by its digest user name and its local user."""

    username: str
    local_user: str


class Accounts:
    """Finds the account that credentials name."""

    def __init__(self, ip_groups: IPGroups, users: Users) -> None:
        self._users = users
        self._shared_ha1s = {
            (name, group.username_as_server): _ha1s_as_server(group)
            for group in ip_groups.by_name.values()
            for name in (group.name, *([NAMED] if group.digest_username else ()))
        }
        self._of_realm: dict[str, list[IPGroup]] = {}
        for group in ip_groups.by_name.values():
            self._of_realm.setdefault(group.realm.lower(), []).append(group)
        self._decoy = secrets.token_hex(32)

    def named_by(
        self, credentials: Credentials, group: IPGroup, claimed_user: str, now: int
    ) -> Account:
        """Return the account in User Info, or the one that all senders of the IP Group share.

        `claimed_user` is the user part of the address of record that the request speaks for: one
        that belongs to a user of the realm is no other's. Raises Unavailable.
        """
        shared_ha1 = (
            self._shared_ha1s[group.name, credentials.username].get(credentials.algorithm)
            if credentials.username == group.username_as_server != ""
            else None
        )
        if group.type is IPGroupType.SERVER:
            return self._shared(shared_ha1)
        algorithm = credentials.algorithm
        user = self._users.find(group.name, credentials.username, group.realm, algorithm)
        if user is None:
            if shared_ha1 and self._is_anothers(claimed_user, group):
                shared_ha1 = None
            return self._shared(shared_ha1, group.local_user_of_pair)
        known_ha1 = user.ha1s.get(algorithm) or self._decoy
        old_ha1 = user.old_ha1(algorithm, now) or self._decoy
        refusal = None if user.enabled else Reason.DISABLED_USER
        return Account(known_ha1, old_ha1, user.local_user, refusal)

    def known_elsewhere(self, credentials: Credentials, group: IPGroup) -> Account:
        """Return the account of a user name that an external server knows the password of.

        A user speaks for the address of record of that name, unless User Info has another, or
        has it for somebody else, or as a number of somebody else's. Raises Unavailable.
        """
        username = credentials.username
        if group.type is IPGroupType.SERVER:
            return Account(self._decoy, self._decoy)
        user = self._users.find(group.name, username, group.realm)
        if user is None:
            own = username.removesuffix(f"@{group.realm}")
            taken = (
                "\0" in own
                or self._users.has_local_user(group.name, own)
                or self._users.find_by_identity(group.name, as_number(own), group.realm) is not None
            )
            return Account(self._decoy, self._decoy, own, Reason.UNKNOWN_USER if taken else None)
        refusal = None if user.enabled else Reason.DISABLED_USER
        return Account(self._decoy, self._decoy, user.local_user, refusal)

    def local_user_of(self, username: str, group: IPGroup) -> str | None:
        """Return the local user of an account of one user, None for any other.

        Raises Unavailable.
        """
        if group.type is IPGroupType.SERVER:
            return None
        user = self._users.find(group.name, username, group.realm)
        if user:
            return user.local_user
        if group.server_auth_mode is not ServerAuthMode.LOCAL:
            return username.removesuffix(f"@{group.realm}")
        return group.local_user_of_pair if username == group.username_as_server else None

    def owner(self, number: str, group: IPGroup) -> Owner | None:
        """Return the account of an IP Group that has a number as one of its identities.

        A local user is nobody else's number. Raises Unavailable.
        """
        if self._is_a_users(number, group.realm):
            return None
        user = self._users.find_by_identity(group.name, number, group.realm)
        if user:
            return Owner(user.username, user.local_user)
        if group.local_user_of_pair is not None and has(group.identities, number):
            return Owner(group.username_as_server, group.local_user_of_pair)
        return None

    def _is_a_users(self, local_user: str, realm: str) -> bool:
        """Tell whether User Info has the address of record, in whatever IP Group of its realm."""
        groups = self._of_realm[realm.lower()]
        return any(self._users.has_local_user(group.name, local_user) for group in groups)

    def is_taken(self, user: str, realm: str) -> bool:
        """Tell whether an address of record of a realm is an account's, or one of its numbers.

        Raises Unavailable.
        """
        number = as_number(user)
        return self._is_a_users(user, realm) or any(
            self.is_anybodys(number, group) for group in self._of_realm[realm.lower()]
        )

    def _is_anothers(self, claimed_user: str, group: IPGroup) -> bool:
        """Tell whether the name is of a user in User Info, and so of nobody who has no row there.

        One with a NUL is nobody's: Kamailio's own text would end there.
        """
        if "\0" in claimed_user or self._is_a_users(claimed_user, group.realm):
            return True
        number = as_number(claimed_user)
        return any(
            self._users.find_by_identity(each.name, number, each.realm) is not None
            for each in self._of_realm[group.realm.lower()]
        )

    def speaks_for(self, username: str, number: str, group: IPGroup) -> bool:
        """Tell whether a number is one of the identities of an account; raises Unavailable."""
        owner = self.owner(number, group)
        return owner is not None and owner.username == username

    def is_anybodys(self, number: str, group: IPGroup) -> bool:
        """Tell whether a number is that of any account of an IP Group; raises Unavailable."""
        return (
            self._is_a_users(number, group.realm)
            or number == group.local_user_of_pair
            or self.owner(number, group) is not None
        )

    def _shared(self, shared_ha1: str | None, local_user: str | None = None) -> Account:
        """Return the account that all senders share, or the decoy where it was not named."""
        if shared_ha1 is None:
            return Account(self._decoy, self._decoy, refusal=Reason.UNKNOWN_USER)
        return Account(shared_ha1, self._decoy, local_user)


def _ha1s_as_server(group: IPGroup) -> HA1s:
    """Return H(A1) of the pair that all senders of the IP Group share."""
    return HA1s.of_password(group.username_as_server, group.realm, group.password_as_server)
