"""Who claims to be whom: what attempts are counted by.

A pair is a user name at a place. The place is the source that the nonce was issued to, known by the
tag that the nonce has of it: so whoever answers one, from wherever, uses up the attempts of that
source, and two sources that swap their nonces have no more than their own. Whoever forges a
stranger's address never sees the nonces sent there, so he cannot have the stranger locked out.
"""

from enum import StrEnum
from functools import lru_cache
from hashlib import blake2s
from typing import NamedTuple, Optional

from sbcauth.digest.text import to_bytes


class Scope(StrEnum):
    """Whom a limit counts, and locks out."""

    PAIR = "pair"
    SOURCE = "source"
    USER = "user"


class Claimant(NamedTuple):
    """A user name at a place in an IP Group.

    `source` is the place as people read it, and `place` as it is counted by: the tag that nonces
    have of it, or the source itself where it has none.

    Who answers a nonce of another source is counted there; `presenter` is then who it is where it
    is. `pair` is what a flow has been taken out of: it has a count of its own.
    """

    ip_group: str
    source: str
    username: str
    place: str = ""
    presenter: Optional["Claimant"] = None
    pair: Optional["Claimant"] = None

    def with_nonce_of_another(self, tag: str) -> "Claimant":
        """Return whoever answers a nonce that was issued to the source with this tag."""
        return Claimant(self.ip_group, f"nonce:{tag}", self.username, tag, presenter=self)

    def at_flow(self, flow: str) -> "Claimant":
        """Return the part of a pair that is at one flow: at one address and port, say."""
        return Claimant(self.ip_group, self.source, self.username, f"flow {flow}", pair=self)

    def as_counted_by(self, scope: Scope) -> tuple[str, str, str]:
        """Return what a limit counts, as people read it; `*` stands for all."""
        ip_group, source, username = self[:3]
        match scope:
            case Scope.PAIR:
                return ip_group, source, username
            case Scope.SOURCE:
                return ip_group, source, "*"
            case Scope.USER:  # pragma: no branch - there are no others
                return ip_group, "*", username

    @property
    def key(self) -> str:
        """Return a short key; text from the network must not set the size of shared memory."""
        return pair_key(self.ip_group, self.place or self.source, self.username)

    def key_by(self, scope: Scope) -> str:
        """Return the key of what a limit counts."""
        match scope:
            case Scope.PAIR:
                return self.key
            case Scope.SOURCE:
                return _key_of_limit(scope, self.ip_group, self.place or self.source, "*")
            case Scope.USER:  # pragma: no branch - there are no others
                return _key_of_limit(scope, self.ip_group, "*", self.username)


@lru_cache(256)  # one request asks for it several times
def pair_key(ip_group: str, place: str, username: str) -> str:
    """Return the key of a pair, which is that of its Claimant."""
    return digest(Scope.PAIR, f"{ip_group}\0{place}\0{username}")


@lru_cache(256)  # likewise
def _key_of_limit(scope: Scope, ip_group: str, place: str, username: str) -> str:
    return digest(scope, f"{ip_group}\0{place}\0{username}")


def digest(kind: str, text: str) -> str:
    """Return the key of one kind of entry for `text`; kinds have up to eight characters."""
    return blake2s(to_bytes(text), digest_size=12, person=kind.encode()).hexdigest()
