"""What one worker process has learned of the phones, for all of them.

Workers are processes, and a phone's requests come to any of them. What the first one has found out
with a database, keys and counts stands from then on in memory that all share: anonymous memory
which is made before the fork, so that no file and no core dump ever has it and it ends with the
server.

A record is good as long as nothing has changed. There is a token of the present state; whoever
notices a change makes another, and then looks once more. Everybody else reads the token and then
looks. So who goes by a token has seen all that was committed before it was made, and what was
written by who has not noticed a change never bears the token of who has.

Nothing is locked. Two processes may write to one place at the same time, and a third may read it
meanwhile: a record that is not whole is none. Its MAC covers the token, what it is about, and
itself.
"""

import os
from collections.abc import Callable
from hashlib import blake2s
from hmac import compare_digest
from mmap import MADV_DONTDUMP, mmap

_PLACES = 1 << 17
"""So many records are kept; then the oldest go. A page is taken when it is first written to."""
_PLACE = 256  # bytes: token, MAC, length, text
_BLOCK = 16
"""Places that a process takes at a time: they fill one page of memory."""
_TOKEN, _MAC = 8, 16
_HEAD = _TOKEN + _MAC + 1
_NUMBER = 4
_INDEX = 1 << 18
"""Numbers of places, by a hash of what a record is about; of two with one hash, the newer stays."""
_NEXT_AT = _TOKEN  # the number of the next block stands behind the token
_INDEX_AT = _PLACE
_PLACES_AT = _INDEX_AT + _INDEX * _NUMBER


class Learned:
    """Records of bytes by key, for all processes that are forked after it was made."""

    def __init__(self) -> None:
        self._memory = mmap(-1, _PLACES_AT + _PLACES * _PLACE)
        self._memory.madvise(MADV_DONTDUMP)
        self._next = self._end = 0
        self._taken_by = 0

    def token(self) -> bytes:
        """Return the token of the present state."""
        return self._memory[:_TOKEN]

    def renew(self) -> bytes:
        """Make another token, by which nothing is known yet; who goes by it must look after this.

        A change that came in between is in no token that was there before.
        """
        self._memory[:_TOKEN] = token = os.urandom(_TOKEN)
        return token

    def get(self, key: str, token: bytes) -> bytes | None:
        """Return what was learned about `key` in the state of `token`."""
        about, at = _hashed(key)
        start = _PLACES_AT + self._number(at) * _PLACE
        record = self._memory[start : start + _PLACE]
        if record[:_TOKEN] != token or not token:
            return None
        text = record[_HEAD : _HEAD + record[_HEAD - 1]]
        is_whole = compare_digest(record[_TOKEN : _HEAD - 1], _mac(about, token, text))
        return text if is_whole else None

    def put(self, key: str, text: bytes, token: bytes) -> None:
        """Have all know what this process has learned in the state of `token`, if there is room."""
        if len(text) > _PLACE - _HEAD or not token:
            return
        about, at = _hashed(key)
        place = self._own_place()
        start = _PLACES_AT + place * _PLACE
        record = token + _mac(about, token, text) + bytes((len(text),)) + text
        self._memory[start : start + len(record)] = record
        self._set_number(at, place)

    def _own_place(self) -> int:
        """Return a place that hardly ever another process writes to, too."""
        if self._next == self._end or self._taken_by != os.getpid():
            self._taken_by = os.getpid()
            block = self._number(_NEXT_AT)
            self._set_number(_NEXT_AT, (block + 1) % (_PLACES // _BLOCK))
            self._next = block * _BLOCK
            self._end = self._next + _BLOCK
        self._next += 1
        return self._next - 1

    def _number(self, at: int) -> int:
        return int.from_bytes(self._memory[at : at + _NUMBER], "big")

    def _set_number(self, at: int, number: int) -> None:
        self._memory[at : at + _NUMBER] = number.to_bytes(_NUMBER, "big")


def _hashed(key: str) -> tuple[bytes, int]:
    """Return what a record is about, and where the number of its place stands."""
    about = blake2s(key.encode("utf-8", "surrogatepass"), digest_size=20).digest()
    return about, _INDEX_AT + int.from_bytes(about[-_NUMBER:], "big") % _INDEX * _NUMBER


def _mac(about: bytes, token: bytes, text: bytes) -> bytes:
    return blake2s(token + text, digest_size=_MAC, key=about).digest()


class Memo(dict[str, bytes]):
    """What a process remembers until users change; others may have learned more."""

    def learned(self, key: str) -> bytes | None:
        """Return what another process has learned about `key`."""

    def tell(self, key: str, text: bytes) -> None:
        """Have other processes know it, too."""


class SharedMemo(Memo):
    """A memo whose processes learn from each other.

    `name` tells memos apart, and configurations. `token` is that by which the process goes.
    """

    def __init__(self, learned: Learned, name: str, token: Callable[[], bytes]) -> None:
        super().__init__()
        self._learned = learned
        self._name = name
        self._token = token

    def learned(self, key: str) -> bytes | None:
        """Return what another process has learned about `key`."""
        return self._learned.get(f"{self._name} {key}", self._token())

    def tell(self, key: str, text: bytes) -> None:
        """Have other processes know it, too."""
        self._learned.put(f"{self._name} {key}", text, self._token())
