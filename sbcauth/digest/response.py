"""Digest access authentication, without I/O: RFC 7616 and RFC 8760, as RFC 3261 §22 uses them."""

import hashlib
import hmac
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache, partial
from typing import Protocol, Self

from sbcauth.digest.credentials import USUAL_QOP, Credentials
from sbcauth.digest.text import to_bytes

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


def ha1(algorithm: str, username: str, realm: str, password: str) -> str:
    """Return H(A1), all that is ever kept of a password (RFC 7616, 3.4.2)."""
    return HASHES[algorithm](to_bytes(f"{username}:{realm}:{password}")).hexdigest()


def ha2(credentials: Credentials, method: str, body: bytes = b"") -> str:
    """Return H(A2); `body` is hashed for `auth-int` only (RFC 7616, 3.4.3)."""
    algorithm, a2 = credentials.algorithm, f"{method}:{credentials.uri}"
    if credentials.protection == "auth-int":
        a2 = f"{a2}:{HASHES[algorithm](body).hexdigest()}"
        return HASHES[algorithm](to_bytes(a2)).hexdigest()
    return ha2_without_body(algorithm, a2)


@lru_cache(maxsize=1000)  # 1 µs saved: many phones have the same
def ha2_without_body(algorithm: str, a2: str) -> str:
    """Return H(A2) of `method:uri`."""
    return HASHES[algorithm](to_bytes(a2)).hexdigest()


def expected_response(ha1: str, ha2: str, c: Credentials) -> str:
    """Return the response that proves knowledge of H(A1) (RFC 7616, 3.4.1).

    Without qop it is KD(H(A1), nonce:H(A2)), as RFC 2069 had it; RFC 3261 §22.4 keeps
    that for phones that know no qop.
    """
    protected = f"{c.nc}:{c.cnonce}:{c.qop}:" if c.qop else ""
    return HASHES[c.algorithm](to_bytes(f"{ha1}:{c.nonce}:{protected}{ha2}")).hexdigest()


def response_is_right(ha1: str, method: str, credentials: Credentials, body: bytes = b"") -> bool:
    """Tell whether the response was computed with this H(A1), in constant time.

    Phones differ in what they hash of an unusual qop. One in upper case is tried as sent and
    in lower case, a garbled one as sent and as if there were none.
    """
    if credentials.qop == "auth":  # nearly all, so without a detour
        algorithm = credentials.algorithm
        h_a2 = ha2_without_body(algorithm, f"{method}:{credentials.uri}")
        secret = f"{ha1}:{credentials.nonce}:{credentials.nc}:{credentials.cnonce}:auth:{h_a2}"
        response = HASHES[algorithm](secret.encode("utf-8", "surrogateescape")).hexdigest()
        return hmac.compare_digest(response, credentials.response)
    h_a2 = ha2(credentials, method, body)
    given = credentials.response
    right = hmac.compare_digest(expected_response(ha1, h_a2, credentials), given)
    if credentials.qop not in USUAL_QOP:
        qop = "" if credentials.qop_is_garbled else credentials.protection
        other = expected_response(ha1, h_a2, credentials._replace(qop=qop))
        right |= hmac.compare_digest(other, given)
    return right
