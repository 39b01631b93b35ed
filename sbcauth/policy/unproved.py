"""Requests that nobody asks to prove anything: on whose word they go on, if on any.

They come from IP Groups of another mode than sbc-as-server, or their method is not on the
Authentication Method List. What no word is found for goes nowhere, whoever it names.
"""

from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from sbcauth.policy.accounts import Accounts
from sbcauth.policy.decision import Pass, Reason
from sbcauth.policy.identities import as_number
from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    FromScreening,
    IPGroup,
    IPGroupType,
    UserSecurityMode,
)
from sbcauth.policy.registrations import Binding, Registrations
from sbcauth.policy.request import Request
from sbcauth.policy.words import Word


class Unproved:
    """Finds the word on which a request goes on that has shown no credentials of ours."""

    def __init__(
        self,
        accounts: Accounts,
        registrations: Registrations,
    ) -> None:
        self._accounts = accounts
        self._registrations = registrations

    def decide(self, group: IPGroup, request: Request) -> Pass | Reason:
        """Return that the request goes on, with its word, or the reason why it does not.

        Raises Unavailable. A request that says it is within a dialog passes without a word here:
        the dialog has to tell.
        """
        reason = Reason.METHOD_NOT_LISTED if _is_as_server(group) else Reason.PASS_THROUGH
        if request.method == "REGISTER":
            return self._register(group, request, reason)
        if request.in_dialog:
            return Pass(reason, group.name)
        if group.type is IPGroupType.SERVER:
            return Pass(reason, group.name, word=Word.PEER)
        if not group.asks or group.user_security_mode is UserSecurityMode.ACCEPT_ALL:
            return Pass(reason, group.name, word=Word.CONFIGURED)
        said = unescaped(request.sender_user)
        for user in self._senders(said, group, request):
            if self._is_registered(user, group, request):
                local_user = user if user != said else ""
                return Pass(
                    Reason.REGISTERED_SENDER,
                    group.name,
                    word=Word.REGISTERED,
                    local_user=local_user,
                )
        return Reason.NOT_REGISTERED

    def group_of_flow(self, request: Request) -> str:
        """Return the IP Group of the only account that is registered by the request's flow."""
        owner = self._owner(request)
        return owner[1] if owner else ""

    def _register(self, group: IPGroup, request: Request, reason: Reason) -> Pass | Reason:
        """Relay a REGISTER where it is routed to; keep it only for who is in no table of ours."""
        if group.type is IPGroupType.SERVER:
            word = Word.PEER if group.route_to else None
        elif group.asks or (group.shadow and not group.route_to):
            word = None
        elif group.route_to or not self._accounts.is_taken(unescaped(request.to_user), group.realm):
            word = Word.CONFIGURED
        else:
            word = None
        return Pass(reason, group.name, word=word) if word else Reason.REGISTRATION_UNPROVED

    def _senders(self, said: str, group: IPGroup, request: Request) -> Iterator[str]:
        """Yield whose request it may be: who it says, whose number that is, who sends from there.

        Raises Unavailable.
        """
        if said:
            yield said
            if owner := self._accounts.owner(as_number(said), group):
                yield owner.local_user
        if not said or group.from_screening is not FromScreening.IDENTITIES:
            account, name = self._owner(request) or ("", "")
            if account and (not said or name == group.name):
                yield account.rpartition("@")[0]

    def _is_registered(self, user: str, group: IPGroup, request: Request) -> bool:
        """Tell whether a sender is registered, and from where the request comes if need be."""
        bindings = self._registrations.of(user, group.realm)
        if group.user_security_mode is UserSecurityMode.ACCEPT_REGISTERED_USERS:
            return bool(bindings)
        if request.edge or group.is_edge(request.source_address):
            return False
        return any(binding.is_flow_of(request) for binding in bindings) or (
            self._is_alone(f"{user}@{group.realm}", request, bindings)
        )

    def _is_alone(self, account: str, request: Request, bindings: Iterable[Binding]) -> bool:
        """Tell whether a phone has connected anew, at an address where it alone is registered."""
        if not any(binding.shares_address(request) for binding in bindings):
            return False
        owner = self._owner(request)
        return owner is not None and owner[0].lower() == account.lower()

    def _owner(self, request: Request) -> tuple[str, str] | None:
        found = self._registrations.owner_of(
            request.source_address.strip("[]"), request.source_port, request.transport
        )
        return found if found[0] else None


def unescaped(user: str) -> str:
    """Return the user part of a URI as it is compared (RFC 3261, 19.1.4)."""
    return unquote(user, errors="surrogateescape") if "%" in user else user


def _is_as_server(group: IPGroup) -> bool:
    return group.authentication_mode is AuthenticationMode.SBC_AS_SERVER


def is_keep_alive(request: Request, group: IPGroup) -> bool:
    """Tell whether the request only asks whether we are there: it is answered, and goes nowhere.

    What a server sends along a Route may be for a phone that registered there through us.
    """
    if request.in_dialog:
        return False
    if request.method == "NOTIFY":
        return request.event.partition(";")[0].strip().lower() == "keep-alive"
    by_path = group.type is IPGroupType.SERVER and request.has_route
    return request.method == "OPTIONS" and not by_path
