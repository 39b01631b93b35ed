"""Seals of dialogs that nobody remembers: what a request within one carries says whose it is.

Two seals, encrypted and bound to the Call-ID, are handed out and come back:

- the **token**, in our Record-Route, one for each branch. It names both parties: IP Group, account,
  and the place where each is reached. Both ends echo it, so both hold the same.
- the **mark**, in each Contact that passes: the place where its owner is reached, bound to the
  owner's tag and to the URI. Forks, early dialogs and target refreshes each bring their own.

So a dialog costs no memory, outlives a restart, and is known to every process and node that has the
key. What is sealed, in bytes:

    token: flags 1 · time 4 · hash of the From tag 6 · caller · callee
    party: hash of the IP Group's name 4 · length 1 · account · place
    mark:  flags 1 · place · the mark that the Contact had before, if any
    place: 7 to 22, as places.py has it

One byte before that says which key sealed it. All of it is spelled in base64url (RFC 4648, 5),
which needs no escape in a URI.
"""

from binascii import a2b_base64, b2a_base64
from collections.abc import Container, Iterable, Sequence
from functools import lru_cache
from hashlib import blake2s
from hmac import compare_digest
from typing import NamedTuple, Protocol

from sbcauth.digest.text import to_bytes
from sbcauth.policy.places import Place, place_at

LIFETIME_OF_CALL = 24 * 3600
LIFETIME_OF_SUBSCRIPTION = 31 * 24 * 3600
"""Seconds after which a token opens no more; a phone then gets 481, and subscribes anew."""

_CALLER_REGISTERED, _CALLEE_REGISTERED, _LASTS = 1, 2, 4
_TAG_SIZE, _GROUP_SIZE = 6, 4
_LONGEST_ACCOUNT = 255
_LONGEST = 2000
"""Characters of a seal that are looked at."""


class Cipher(Protocol):
    """An authenticated cipher, deterministic (SIV, RFC 5297), with a key of its own."""

    @property
    def key_id(self) -> int:
        """Return what tells its key from most others: 0 to 255."""

    def seal(self, content: bytes, about: list[bytes]) -> bytes:
        """Return `content` encrypted, and bound to what it is about."""

    def open(self, sealed: bytes, about: list[bytes]) -> bytes | None:
        """Return what was sealed about the very same, or None."""


class Side(NamedTuple):
    """One party of a dialog.

    `ip_group` is empty where the IP Group is no more. `account` is the user part of its
    address of record, without escapes. `registered` tells that a binding of the account was at
    `place` when that was sealed.
    """

    ip_group: str
    account: str
    place: Place
    registered: bool = False


class Token(NamedTuple):
    """What is known of a dialog; `lasts` where it is a subscription."""

    began_at: int
    from_tag: str
    caller: Side
    callee: Side
    lasts: bool = False


class OpenToken(NamedTuple):
    """A token that was opened: of the From tag it has a hash."""

    began_at: int
    tag_hash: bytes
    caller: Side
    callee: Side

    def is_of(self, tag: str) -> bool:
        """Tell whether this is the tag of the party that began the dialog."""
        return compare_digest(self.tag_hash, _hash_of_tag(tag))


class Mark(NamedTuple):
    """Where the owner of a Contact is reached; `inner` is the mark that the Contact had before."""

    place: Place
    registered: bool = False
    inner: str = ""


class Seals:
    """Seals and opens tokens and marks: the first of `ciphers` seals, all open.

    `ip_groups` are the names that are known, `nodes` those of the other nodes, where this is the
    `node` of a cluster. A place that was this node's is so again when it is opened; one of a node
    that is no more is nobody's, and so this one's.
    """

    def __init__(
        self,
        ciphers: Sequence[Cipher],
        ip_groups: Iterable[str],
        node: str = "",
        nodes: Container[str] = (),
    ) -> None:
        self._newest = ciphers[0]
        self._node, self._nodes = node, nodes
        self.is_of_cluster = bool(node)
        self._ciphers: dict[int, list[Cipher]] = {}
        for cipher in ciphers:
            self._ciphers.setdefault(cipher.key_id, []).append(cipher)
        self._names = {_id_of_group(name): name for name in ip_groups}

    def seal_token(self, token: Token, call_id: str) -> str:
        """Return the token as a Record-Route bears it."""
        flags = (
            (_CALLER_REGISTERED if token.caller.registered else 0)
            | (_CALLEE_REGISTERED if token.callee.registered else 0)
            | (_LASTS if token.lasts else 0)
        )
        content = b"".join(
            (
                bytes((flags,)),
                token.began_at.to_bytes(4, "big"),
                _hash_of_tag(token.from_tag),
                self._party(token.caller),
                self._party(token.callee),
            )
        )
        return self._seal(content, [b"token", to_bytes(call_id)])

    def open_token(self, text: str, call_id: str, now: int) -> OpenToken | None:
        """Return the token if it is ours, of this Call-ID, and not too old at `now` (seconds)."""
        content = self._open(text, [b"token", to_bytes(call_id)])
        if content is None:
            return None
        try:
            flags, began_at = content[0], int.from_bytes(content[1:5], "big")
            lifetime = LIFETIME_OF_SUBSCRIPTION if flags & _LASTS else LIFETIME_OF_CALL
            if now > began_at + lifetime:
                return None
            caller, end = self._side(content, 5 + _TAG_SIZE, bool(flags & _CALLER_REGISTERED))
            callee, _ = self._side(content, end, bool(flags & _CALLEE_REGISTERED))
        except (IndexError, ValueError):  # of another version
            return None
        return OpenToken(began_at, content[5 : 5 + _TAG_SIZE], caller, callee)

    def seal_mark(self, mark: Mark, call_id: str, tag: str, target: str) -> str:
        """Return the mark as the Contact `target` bears it; its owner has this tag."""
        place = bytes(self._as_sealed(mark.place))
        content = bytes((int(mark.registered),)) + place + to_bytes(mark.inner)
        return self._seal(content, _about_mark(call_id, tag, target))

    def open_mark(self, text: str, call_id: str, tag: str, target: str) -> Mark | None:
        """Return the mark if it is ours, and of this Call-ID, tag and target."""
        content = self._open(text, _about_mark(call_id, tag, target))
        if content is None:
            return None
        try:
            place, end = self._place(content, 1)
            inner = content[end:].decode("utf-8", "surrogateescape")
            return Mark(place, bool(content[0]), inner)
        except (IndexError, ValueError):
            return None

    def _seal(self, content: bytes, about: list[bytes]) -> str:
        cipher = self._newest
        sealed = bytes((cipher.key_id,)) + cipher.seal(content, about)
        spelled = b2a_base64(sealed, newline=False).rstrip(b"=").translate(_TO_URL)
        return spelled.decode("ascii")

    def _open(self, text: str, about: list[bytes]) -> bytes | None:
        try:
            spelled = text[:_LONGEST].replace("-", "+").replace("_", "/")
            sealed = a2b_base64(spelled + "=" * (-len(spelled) % 4))
            known = self._ciphers.get(sealed[0], ())
        except (ValueError, IndexError):
            return None
        for cipher in known:
            content = cipher.open(sealed[1:], about)
            if content is not None:
                return content
        return None

    def _side(self, content: bytes, start: int, registered: bool) -> tuple[Side, int]:
        """Return the party that begins at `start`, and where it ends."""
        after = start + _GROUP_SIZE
        ip_group = self._names.get(content[start:after], "")
        begin = after + 1
        end = begin + content[after]
        account = content[begin:end].decode("utf-8", "surrogateescape")
        place, end = self._place(content, end)
        return Side(ip_group, account, place, registered), end

    def _party(self, side: Side) -> bytes:
        account = to_bytes(side.account)
        if len(account) > _LONGEST_ACCOUNT:
            account = b""  # the place alone will have to do
        length = bytes((len(account),))
        return _id_of_group(side.ip_group) + length + account + bytes(self._as_sealed(side.place))

    def _as_sealed(self, place: Place) -> Place:
        return place if place.node or not self._node else place._replace(node=self._node)

    def _place(self, content: bytes, start: int) -> tuple[Place, int]:
        """Return the place that begins at `start`, as this node sees it, and where it ends."""
        place, end = place_at(content, start)
        if place.node and place.node not in self._nodes:
            place = place._replace(node="")
        return place, end


@lru_cache(maxsize=1000)
def _id_of_group(name: str) -> bytes:
    return blake2s(to_bytes(name), digest_size=_GROUP_SIZE).digest()


def _hash_of_tag(tag: str) -> bytes:
    return blake2s(to_bytes(tag), digest_size=_TAG_SIZE).digest()


def _about_mark(call_id: str, tag: str, target: str) -> list[bytes]:
    return [b"mark", to_bytes(call_id), to_bytes(tag), to_bytes(target)]


_TO_URL = bytes.maketrans(b"+/", b"-_")
"""From base64 to base64url."""
