"""Nonces that are remembered by nobody and forged by nobody.

A nonce carries all that is needed to judge it, so a flood of challenges costs no memory,
and every worker, and every node with the same keys, can judge the nonces of the others:

    time (4 bytes) · key id (1) · randomness (6) · source tag (6) · MAC (14)

31 bytes, spelled in 62 hexadecimal digits. The MAC is keyed BLAKE2s over the digits before it,
so each nonce has one spelling. Its key is derived from the node's key and from the policy that
the challenge stated (IP Group, realm, algorithm, qop, lifetime), so a nonce is worth
nothing under any other: no downgrade, no carrying over from one IP Group to another.

The source tag is a keyed hash of the address that the challenge was sent to. It does not
decide whether the nonce is valid, since phones roam; it tells to whom a failure belongs. It
is the same under every policy, so that a source has one tag.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2s
from hmac import compare_digest
from typing import NamedTuple

CLOCK_DRIFT = 5
"""Seconds that another node's clock may be ahead of ours."""

_TIME = slice(8)  # digits
_KEY_ID = slice(8, 10)
TAG = slice(22, 34)
"""Where in a nonce the tag of the source is that it was issued to."""
_BODY = 34  # digits before the MAC
_MAC = 14  # bytes


class NonceState(Enum):
    """What a nonce is to us; different states call for different answers."""

    FRESH = "fresh"
    STALE = "stale"
    FOREIGN = "foreign"


class JudgedNonce(NamedTuple):
    """A nonce with its state, and whom it was issued to.

    `source_tag` is empty where that is the source that now presents it.
    """

    state: NonceState
    source_tag: str = ""


# To look a member up in its class takes as long as to call something.
_FRESH, _STALE, _FOREIGN = NonceState.FRESH, NonceState.STALE, NonceState.FOREIGN
FOREIGN = JudgedNonce(NonceState.FOREIGN)


@dataclass(frozen=True, slots=True)
class NonceKey:
    """A key that nonces are made with; `id` (0 to 255) says in a nonce which one it was."""

    id: int
    secret: bytes = field(repr=False)


class NonceSigner:
    """Mints and judges the nonces of one challenge policy.

    `keys` has the newest key first: it signs, all verify. `policy` is whatever the
    challenge states. A nonce is fresh for `lifetime` seconds; one that was minted before
    `not_before` (seconds since 1970) is stale, since nobody remembers its use. A clock that is
    set back takes `not_before` with it: what is minted from then on is fresh.
    """

    __slots__ = ("_lifetime", "_macs", "_newest", "_not_before", "_source_keys")

    def __init__(
        self,
        keys: Sequence[NonceKey],
        policy: Sequence[str],
        lifetime: int,
        not_before: int = 0,
    ) -> None:
        stated = "\0".join((*policy, str(lifetime))).encode("utf-8", "surrogateescape")
        self._macs = {f"{key.id:02x}": _keyed(key, stated) for key in keys}
        self._source_keys = {
            f"{key.id:02x}": blake2s(key=key.secret, person=b"sources").digest() for key in keys
        }
        self._newest = f"{keys[0].id:02x}"
        self._lifetime = lifetime
        self._not_before = not_before

    def mint(self, source_tag: str, now: int) -> str:
        """Return a new nonce for a challenge to the source with this tag, at `now` (seconds)."""
        if now < self._not_before:
            self._follow(now)
        body = f"{now:08x}{self._newest}{next(_randomness)}{source_tag}"
        mac = self._macs[self._newest].copy()
        mac.update(body.encode())
        return body + mac.hexdigest()

    def state(self, nonce: str, now: int) -> NonceState:
        """Return what `nonce`, presented at `now` (seconds), is to this policy."""
        keyed = self._macs.get(nonce[_KEY_ID])
        if keyed is None or not nonce.isascii():
            return _FOREIGN
        mac = keyed.copy()
        mac.update(nonce[:_BODY].encode())
        if not compare_digest(nonce[_BODY:], mac.hexdigest()):
            return _FOREIGN
        if now < self._not_before:
            self._follow(now)
        issued = int(nonce[_TIME], 16)
        if issued >= self._not_before and -CLOCK_DRIFT <= now - issued <= self._lifetime:
            return _FRESH
        return _STALE

    def judge(self, nonce: str, source: str, now: int) -> JudgedNonce:
        """Return what `nonce` is to this policy, and whether it was issued to `source`."""
        state = self.state(nonce, now)
        if state is _FOREIGN:
            return FOREIGN
        tag = nonce[TAG]
        issued_here = tag == _source_tag(self._source_keys[nonce[_KEY_ID]], source)
        return JudgedNonce(state, "" if issued_here else tag)

    def tag_of(self, source: str) -> str:
        """Return the tag that `source` has in new nonces."""
        return _source_tag(self._source_keys[self._newest], source)

    def _follow(self, now: int) -> None:
        """Follow a clock that was set back; other processes noticed some seconds earlier."""
        self._not_before = now - CLOCK_DRIFT


def _draw() -> Iterator[str]:
    """Yield six random bytes at a time, in hexadecimal. To draw many at once saves 0.3 µs each."""
    while True:
        drawn = os.urandom(6 * 100).hex()
        for start in range(0, len(drawn), 12):
            yield drawn[start : start + 12]


def _begin() -> None:
    """Draw anew, so that no two processes have the same."""
    global _randomness
    _randomness = _draw()


_randomness = _draw()
os.register_at_fork(after_in_child=_begin)


def _keyed(key: NonceKey, stated: bytes) -> blake2s:
    """Return a MAC that has taken in its key, which is half of its work, and nothing else yet."""
    policy_key = blake2s(stated, key=key.secret, person=b"policy").digest()
    return blake2s(digest_size=_MAC, key=policy_key, person=b"nonce")


def _source_tag(key: bytes, source: str) -> str:
    return blake2s(source.encode(), digest_size=6, key=key, person=b"source").hexdigest()
