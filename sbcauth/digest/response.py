"""Digest access authentication, without I/O: RFC 7616 and RFC 8760, as RFC 3261 §22 uses them."""

import hmac
from functools import lru_cache

from sbcauth.digest.algorithms import HASHES
from sbcauth.digest.credentials import USUAL_QOP, Credentials
from sbcauth.digest.text import to_bytes


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
