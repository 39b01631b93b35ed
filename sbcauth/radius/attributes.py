"""What a RADIUS server is asked, in attributes.

The nonce is ours, the verdict its own. What a phone sent is handed over as it was sent, in the
attributes of draft-sterman-aaa-sip-01 (as the box does it) or of RFC 5090.
"""

from collections.abc import Iterator
from enum import StrEnum

from sbcauth.digest.algorithms import HASHES
from sbcauth.digest.credentials import Credentials
from sbcauth.digest.text import to_bytes
from sbcauth.exceptions import BadCredentials
from sbcauth.policy.request import Request


class RadiusAttributes(StrEnum):
    """How the digest is put into attributes: draft-sterman-aaa-sip-01, or RFC 5090."""

    DRAFT_STERMAN = "draft-sterman"
    RFC5090 = "rfc5090"


_USER_NAME, _NAS_IDENTIFIER = 1, 32  # RFC 2865, 5.1 and 5.32
_NAME_OF_THIS_CLIENT = b"sbcauth"

_STERMAN_RESPONSE, _STERMAN_ATTRIBUTES = 206, 207
_STERMAN = {
    "realm": 1,
    "nonce": 2,
    "method": 3,
    "uri": 4,
    "qop": 5,
    "algorithm": 6,
    "body": 7,
    "cnonce": 8,
    "nc": 9,
    "username": 10,
}
"""The types of the pieces within Digest-Attributes (draft-sterman-aaa-sip-01, 4.2)."""

_RFC5090 = {
    "response": 103,
    "realm": 104,
    "nonce": 105,
    "method": 108,
    "uri": 109,
    "qop": 110,
    "algorithm": 111,
    "body": 112,
    "cnonce": 113,
    "nc": 114,
    "username": 115,
    "opaque": 116,
    "address of record": 121,
}
"""The types of the attributes (RFC 5090, 3); those of a challenge are not for a client to send."""

_LONGEST = 251
"""Bytes of a value that fit into either: 255, less two types and two lengths."""


def access_request(kind: RadiusAttributes, request: Request, credentials: Credentials) -> bytes:
    """Return the attributes of an Access-Request on `credentials`, as they are on the wire.

    Raises BadCredentials where RADIUS cannot carry a value: it is empty, or too long.
    """
    values = _values(request, credentials)
    for name, value in values.items():
        if not 1 <= len(value) <= _LONGEST:
            what = f"is longer than {_LONGEST} bytes" if value else "is empty"
            raise BadCredentials(f"{name} {what}, which RADIUS cannot carry")
    if kind is RadiusAttributes.RFC5090:
        digest = [(number, values[name]) for name, number in _RFC5090.items() if name in values]
    else:
        digest = [(_STERMAN_RESPONSE, values["response"])]
        for name, number in _STERMAN.items():
            if name in values:
                digest.append((_STERMAN_ATTRIBUTES, _attribute(number, values[name])))
    sender = [(_USER_NAME, values["username"]), (_NAS_IDENTIFIER, _NAME_OF_THIS_CLIENT)]
    return b"".join(_attribute(number, value) for number, value in sender + digest)


def attributes_in(wire: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and value of each attribute in what `access_request` returned."""
    while wire:
        number, length = wire[:2]
        yield number, wire[2:length]
        wire = wire[length:]


def _attribute(number: int, value: bytes) -> bytes:
    return bytes((number, len(value) + 2)) + value


def _values(request: Request, credentials: Credentials) -> dict[str, bytes]:
    """Return what there is to say, by its name; what was left out has no entry.

    Whoever answers with a qop has to send nc and cnonce too (RFC 7616, 3.4).
    """
    c = credentials
    values = {
        "username": c.username,
        "response": c.response,
        "realm": c.realm,
        "nonce": c.nonce,
        "method": request.method,
        "uri": c.uri,
        "algorithm": c.algorithm,
    }
    if c.qop:
        values |= {"qop": c.qop, "nc": c.nc, "cnonce": c.cnonce}
    if c.protection == "auth-int":
        values["body"] = HASHES[c.algorithm](request.body).hexdigest()
    if c.opaque:
        values["opaque"] = c.opaque
    if request.claimed_user:
        values["address of record"] = f"sip:{request.claimed_user}@{c.realm}"
    return {name: to_bytes(value) for name, value in values.items()}
