"""Trunks without an address of their own: known by the digest user name in their credentials.

A first INVITE has no credentials, so it is challenged before its IP Group is known: all such
IP Groups have one realm, one class of nonces and one set of limits, under one name. A user name
that is none of theirs is measured in the same way against a decoy, so that no answer tells which
names there are.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from sbcauth.exceptions import BadCredentials
from sbcauth.policy.gate import Gate
from sbcauth.policy.ip_groups import NAMED, IPGroup
from sbcauth.policy.request import Request


def as_stranger(group: IPGroup) -> IPGroup:
    """Return an IP Group as it is before anybody has proved to be of it."""
    return replace(group, name=NAMED, emergency=None, proxy_set=(), classification=())


class NamedTrunks:
    """The gates of IP Groups that are known by a digest user name; none where there are none."""

    def __init__(self, groups: Iterable[IPGroup], gate: Callable[[IPGroup], Gate]) -> None:
        self._gates: dict[str, Gate] = {}
        self.stranger: Gate | None = None
        for group in groups:
            if not group.digest_username:
                continue
            self._gates[group.digest_username] = named = gate(as_stranger(group))
            named.accepted_as = group.name
            if self.stranger is None:
                nobody = replace(as_stranger(group), username_as_server="", password_as_server="")
                self.stranger = gate(nobody)

    @property
    def by_name(self) -> Mapping[str, Gate]:
        """Return the gate of each digest user name."""
        return self._gates

    def gate_of(self, request: Request) -> Gate | None:
        """Return the gate of a request of no rule; None where its method is not challenged."""
        stranger = self.stranger
        header = stranger.header_for(request) if stranger else None
        if stranger is None or header is None:
            return None
        try:
            credentials = stranger.answer(request.fields(header))
        except BadCredentials:
            return stranger
        return self._gates.get(credentials.username, stranger) if credentials else stranger
