"""Screening: which numbers an account that is proved may speak for, and is known by."""

from collections.abc import Iterable, Mapping

from sbcauth.policy.accounts import Accounts
from sbcauth.policy.claim import Claim
from sbcauth.policy.decision import Accept
from sbcauth.policy.identities import as_number, numbers_in
from sbcauth.policy.ip_groups import FromScreening, IPGroup
from sbcauth.policy.request import Request
from sbcauth.policy.words import Word


class Screening:
    """Screens who a request says it is from against the account that has been proved.

    Every method raises Unavailable.
    """

    def __init__(self, accounts: Accounts, ip_groups: Mapping[str, IPGroup]) -> None:
        self._accounts = accounts
        self._ip_groups = ip_groups

    def may_speak(self, claim: Claim, claimed: str) -> bool:
        """Tell whether an account that is proved may have somebody else's name in From.

        That of another account it may not, whatever else it has; To of a REGISTER has to be its
        own.
        """
        request, group, username = claim.request, claim.gate.group, claim.credentials.username
        accounts, number = self._accounts, as_number(claimed)
        if request.is_anonymous or accounts.speaks_for(username, number, group):
            return True
        if request.method == "REGISTER":
            return False
        if group.from_screening is not FromScreening.IDENTITIES:
            return True
        if accounts.is_anybodys(number, group):
            return False
        own = accounts.local_user_of(username, group)
        said = numbers_in((request.preferred_identity, *request.asserted_identities))
        return any(each == own or accounts.speaks_for(username, each, group) for each in said)

    def asserted_number(self, accepted: Accept, request: Request) -> str:
        """Return by which of its numbers an account that is proved is known; empty for by none.

        That is the one that it prefers, if it is its own, else the one in From, else its local
        user.
        """
        group, own = self._ip_groups[accepted.ip_group], accepted.local_user
        if group.from_screening is FromScreening.OFF or accepted.word is not Word.DIGEST:
            return ""
        said = [*numbers_in((request.preferred_identity, *request.asserted_identities))]
        if not request.is_anonymous:
            said.append(as_number(request.from_user))
        mine = (
            each
            for each in said
            if each == own or self._accounts.speaks_for(accepted.username, each, group)
        )
        return next(mine, own)

    def are_own(self, ip_group: str, username: str, from_user: str, numbers: Iterable[str]) -> bool:
        """Tell whether all these numbers are the account's of a user name.

        A pair that stands for every address of record is who it says in From.
        """
        group = self._ip_groups[ip_group]
        own = self._accounts.local_user_of(username, group)
        if own is None:
            own = as_number(from_user)
        return all(
            each == own or self._accounts.speaks_for(username, each, group) for each in numbers
        )

    def are_of(self, ip_group: str, account: str, numbers: Iterable[str]) -> bool:
        """Tell whether all these numbers are those of an account, named by its local user."""
        group = self._ip_groups[ip_group]
        return all(self._is_of(account, each, group) for each in numbers)

    def number_of(self, ip_group: str, account: str, said: Iterable[str]) -> str:
        """Return by which of its numbers a party of a dialog is known; empty for by none.

        That is the first that it says and that is its own, else its local user.
        """
        group = self._ip_groups[ip_group]
        if group.from_screening is FromScreening.OFF:
            return ""
        return next((each for each in said if self._is_of(account, each, group)), account)

    def _is_of(self, account: str, number: str, group: IPGroup) -> bool:
        owner = None if number == account else self._accounts.owner(number, group)
        return number == account or (owner is not None and owner.local_user == account)
