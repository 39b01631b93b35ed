"""The hash algorithms of digest authentication (RFC 8760, 2.2): names, strength, functions."""

import hashlib
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Protocol, Self

try:  # Python's own: 2 µs less than OpenSSL's, which allocates an object for each hash
    from _md5 import md5  # type: ignore[import-not-found]
except ImportError:  # pragma: no cover - a Python that was built without it
    md5 = partial(hashlib.md5, usedforsecurity=False)


class _Hash(Protocol):
    def hexdigest(self) -> str: ...


class Algorithm(StrEnum):
    """A hash algorithm of RFC 8760 §2.2; members are ordered from weakest to strongest.

    `label` is its name in those of columns, and so in what each H(A1) is sealed with: it never
    changes. `function` is the hash, whose `hexdigest` is H(data) in lower-case hexadecimal.
    """

    label: str
    function: Callable[[bytes], _Hash]

    MD5 = "MD5", "md5", md5
    SHA_256 = "SHA-256", "sha256", hashlib.sha256
    SHA_512_256 = "SHA-512-256", "sha512_256", partial(hashlib.new, "sha512_256")

    def __new__(cls, name: str, label: str = "", function: Callable[[bytes], _Hash] = md5) -> Self:
        """Return the member that is called `name` on the wire."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.label = label
        member.function = function
        return member

    @property
    def strength(self) -> int:
        """Return a number that is higher the stronger the algorithm is."""
        return _STRENGTHS[self]

    def hash(self, data: bytes) -> str:
        """Return H(data) in lower-case hexadecimal."""
        return HASHES[self](data).hexdigest()


_STRENGTHS = {algorithm: strength for strength, algorithm in enumerate(Algorithm)}

HASHES: dict[str, Callable[[bytes], _Hash]] = {each: each.function for each in Algorithm}
"""The hash of each algorithm, found by its name on the wire."""

RESPONSE_LENGTHS: dict[str, int] = {
    algorithm: len(h(b"").hexdigest()) for algorithm, h in HASHES.items()
}
"""The digits of a response and of an H(A1), by algorithm."""
