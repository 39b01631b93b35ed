"""The parties of a dialog: where they are, and what is kept of them between two functions."""

from collections.abc import Sequence
from hashlib import blake2s
from typing import NamedTuple

from sbcauth.digest.text import to_bytes
from sbcauth.policy.ip_groups import IPGroupType
from sbcauth.policy.places import Place
from sbcauth.policy.seals import Side
from sbcauth.service import Service
from sbcauth_door import bindings, user_parts


class Known(NamedTuple):
    """What a transaction within a dialog leaves for its branches and answers.

    `to` is the URI at which the other party is reached, `registered` whether it is registered
    there. Where another node reaches it, `to` is empty: that node seals its answers.
    """

    from_caller: bool
    registered: bool
    token: str
    to: str

    def __str__(self) -> str:
        """Return it as the AVP has it."""
        return f"{'c' if self.from_caller else 'k'}{int(self.registered)}{self.token} {self.to}"

    @classmethod
    def parse(cls, text: str) -> "Known | None":
        """Return what the AVP has; None where it has nothing."""
        if not text:
            return None
        token, _, to = text[2:].partition(" ")
        return cls(text[0] == "c", text[1] == "1", token, to)


class Bindings:
    """Where accounts are registered, as one request sees it: each is looked up once."""

    def __init__(self, service: Service) -> None:
        self._groups = service.ip_groups.by_name
        self._known: dict[tuple[str, str], Sequence[Place]] = {}

    def __call__(self, side: Side) -> Sequence[Place]:
        """Return where the account of one side is registered, the newest first."""
        group = self._groups.get(side.ip_group)
        if not side.account or group is None or group.type is not IPGroupType.USER:
            return ()
        key = side[:2]
        known = self._known.get(key)
        if known is None:
            known = bindings.places(user_parts.escaped(side.account), group.realm)
            self._known[key] = known
        return known


def key_of(*parts: str) -> str:
    """Return a key of shared memory for what these parts name together."""
    return blake2s(to_bytes("\0".join(parts)), digest_size=12).hexdigest()
