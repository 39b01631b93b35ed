"""Nonces that are remembered by nobody and forged by nobody.

A nonce carries all that is needed to judge it, so a flood of challenges costs no memory,
and every worker can judge the nonces of the others:

    authority (1 byte) · key id (1) · source tag (5) · time (4) · randomness (6) · MAC (14)

31 bytes, spelled in 62 hexadecimal digits. The MAC is BLAKE2s over a secret and the digits before
it, so each nonce has one spelling. The secret is derived from the server's key and from the policy
that the challenge stated (IP Group, realm, algorithm, qop, lifetime), so a nonce is worth
nothing under any other: no downgrade, no carrying over from one IP Group to another.

The authority is who remembers the uses of the nonce: 0 is a server that stands alone. In a cluster
it is a node, by its number, or the engine that all nodes share (see sbcauth/digest/authorities.py).

The source tag is a keyed hash of the address that the challenge was sent to. It does not
decide whether the nonce is valid, since phones roam; it tells to whom a failure belongs. It
is the same under every policy and authority, so that a source has one tag.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2s
from hmac import compare_digest

LONGEST_DURATION = 600
"""The longest that a nonce may be good for, in seconds."""
CLOCK_DRIFT = 5
"""Seconds that another node's clock may be ahead of ours."""
LONGEST_LIFE = LONGEST_DURATION + CLOCK_DRIFT
"""Seconds after which no nonce is alive, by whichever clock."""

# Where in a nonce what stands, in digits:
AUTHORITY = slice(2)
KEY = slice(4)
"""The authority, and the id of the key."""
TAG = slice(14)
"""The tag of the source that it was issued to, with the key that both were made with."""
PLACE = slice(2, 14)
"""The same without the authority: what failures are counted by."""
TIME = slice(14, 22)
"""When it was issued (seconds since 1970)."""
UNIQUE = slice(14, 34)
"""What no other nonce has."""
BODY = slice(34)
"""What the MAC is over."""
MAC = slice(34, None)

_MAC_SIZE = 14  # bytes
_SECRET_SIZE = 30  # bytes, which with BODY fill one block: with more, BLAKE2s takes twice as long


class NonceState(Enum):
    """What a nonce is to us; different states call for different answers."""

    FRESH = "fresh"
    STALE = "stale"
    FOREIGN = "foreign"
    SHARED = "shared"
    """Fresh, and the engine of the cluster remembers its uses."""
    ELSEWHERE = "elsewhere"
    """Ours, but its uses are remembered where this node does not ask, or cannot."""


@dataclass(frozen=True, slots=True)
class NonceKey:
    """A key that nonces are made with; `id` (0 to 255) says in a nonce which one it was.

    `authority` (0 to 255) is who remembers the uses of those nonces. The tags of sources are made
    with `tag_secret`, where there is one.
    """

    id: int
    secret: bytes = field(repr=False)
    authority: int = 0
    tag_secret: bytes = field(default=b"", repr=False)

    @property
    def name(self) -> str:
        """Return what its nonces begin with."""
        return f"{self.authority:02x}{self.id:02x}"


class NonceSigner:
    """Mints and judges the nonces of one challenge policy.

    `keys` has the newest key first: it signs, all verify. `policy` is whatever the
    challenge states. A nonce is fresh for `lifetime` seconds; one that was minted before
    `not_before` (seconds since 1970) is stale, since nobody remembers its use. A clock that is
    set back takes `not_before` with it: what is minted from then on is fresh.
    """

    __slots__ = (
        "_lifetime",
        "_macs",
        "_newest",
        "_not_before",
        "_now",
        "_stated",
        "_time",
        "_times",
    )

    def __init__(
        self,
        keys: Sequence[NonceKey],
        policy: Sequence[str],
        lifetime: int,
        not_before: int = 0,
    ) -> None:
        self._stated = stated = "\0".join((*policy, str(lifetime))).encode()
        self._macs = {key.name: begun(key, stated) for key in keys}
        self._newest = self._macs[keys[0].name]
        self._lifetime = lifetime
        self._not_before = not_before
        self._now = -1

    def mint(self, source_tag: str, now: int) -> str:
        """Return a new nonce for a challenge to the source with this tag, at `now` (seconds).

        It is the first that SourceTags has of it.
        """
        if now != self._now:
            self._tell_time(now)
        body = f"{source_tag}{self._time}{_drawn.pop() if _drawn else draw()}"
        mac = self._newest.copy()
        mac.update(body.encode())
        return body + mac.hexdigest()

    def judge(self, nonce: str, now: int) -> NonceState:
        """Return what `nonce` is to this policy at `now`; whose it is says its TAG."""
        unfinished = self._macs.get(nonce[KEY])
        if unfinished is None or not nonce.isascii():
            return self._judge_of_others(nonce, now)
        mac = unfinished.copy()
        mac.update(nonce[BODY].encode())
        if not compare_digest(nonce[MAC], mac.hexdigest()):
            return _FOREIGN
        if now != self._now:
            self._tell_time(now)
        oldest, newest = self._times
        return _FRESH if oldest <= nonce[TIME] <= newest else _STALE

    def _judge_of_others(self, nonce: str, now: int) -> NonceState:
        """Return what a nonce is that is made with none of the keys."""
        return _FOREIGN

    def _tell_time(self, now: int) -> None:
        """Note what is the same for a second: the first and the last TIME that are fresh.

        A clock that was set back is followed; other processes noticed some seconds earlier.
        """
        if now < self._not_before:
            self._not_before = now - CLOCK_DRIFT
        oldest = max(self._not_before, now - self._lifetime)
        self._time = f"{now:08x}"
        self._times = f"{oldest:08x}", f"{now + CLOCK_DRIFT:08x}"
        self._now = now


# To look a member up takes as long as to call something.
_FRESH, _STALE, _FOREIGN = NonceState.FRESH, NonceState.STALE, NonceState.FOREIGN


class SourceTags:
    """The tags that sources have in nonces made with `keys`, the newest first."""

    def __init__(self, keys: Sequence[NonceKey]) -> None:
        self._keys = [
            (key.name, blake2s(key=key.tag_secret or key.secret, person=b"sources").digest())
            for key in keys
        ]

    def of(self, source: str) -> tuple[str, ...]:
        """Return the tags of `source`, one for each key; new nonces have the first."""
        text = source.encode()
        return tuple(
            name + blake2s(text, digest_size=5, key=key, person=b"source").hexdigest()
            for name, key in self._keys
        )


_drawn: list[str] = []


def draw() -> str:
    """Return six random bytes, in hexadecimal, where none are left that were drawn before.

    To draw many at once saves 0.3 µs each.
    """
    many = os.urandom(6 * 100).hex()
    _drawn.extend(many[start : start + 12] for start in range(0, len(many), 12))
    return _drawn.pop()


# No two processes may have the same.
os.register_at_fork(after_in_child=_drawn.clear)


def begun(key: NonceKey, stated: bytes) -> blake2s:
    """Return a MAC that has taken in its secret, and nothing else yet.

    `stated` is the policy.
    """
    secret = blake2s(stated, digest_size=_SECRET_SIZE, key=key.secret, person=b"policy").digest()
    return blake2s(secret, digest_size=_MAC_SIZE, person=b"nonce")
