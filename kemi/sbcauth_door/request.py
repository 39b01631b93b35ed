"""Reading what a request says out of KSR.

Kamailio hands text over as UTF-8 and raises where bytes are none; those are fetched again in
hexadecimal, so that every byte reaches the digest as it was sent.
"""

from base64 import b64decode

import KSR

from sbcauth.policy.identities import as_number, numbers_in

MAX_FIELDS = 8
"""How many header fields of one name are looked at."""
_MOST_FIELDS = 64
"""How many header fields are looked at one by one; more are all taken out."""
_LONG_BODY = 49149
"""Kamailio has room to encode so many bytes at once."""

_field = KSR.hdr.get_idx  # each look-up of it costs half as much as the call
has_totag = KSR.siputils.has_totag


def has_answered() -> bool:
    """Tell whether the transaction of a request that has come before has answered this one.

    Kamailio would say so, too, where the route block has begun this one's own transaction.
    """
    return KSR.pv.get("$T(id_index)") is None and KSR.tm.t_check_trans() == 0


def text(name: str) -> str:
    """Return a pseudo-variable as text, empty where it is not set."""
    try:
        return KSR.pv.get(f"${name}") or ""
    except UnicodeDecodeError:
        return _decode(f"$({name}{{s.encode.hexa}})")


def fields(name: str, at_most: int = MAX_FIELDS) -> tuple[str, ...]:
    """Return the values of all header fields of this name."""
    found = []
    for index in range(at_most):
        try:
            value = _field(name, index)
        except UnicodeDecodeError:
            value = _decode(f"$(hdr({name})[{index}]{{s.encode.hexa}})")
        if value is None:
            break
        found.append(value)
    return tuple(found)


def all_fields(name: str) -> tuple[str, ...] | None:
    """Return the values of all header fields of this name; None where they are too many."""
    found = fields(name, _MOST_FIELDS)
    return found if len(found) < _MOST_FIELDS else None


def first(name: str) -> str:
    """Return the value of the first header field of this name, empty where there is none."""
    return next(iter(fields(name, 1)), "")


def body() -> bytes:
    """Return the body, byte for byte.

    One that is too long to be encoded at once comes in two pieces that overlap, since
    Kamailio's `s.substr` stops at a NUL.
    """
    get = KSR.pv.get
    if int(get("$(rb{s.len})") or 0) <= _LONG_BODY:
        return b64decode(get("$(rb{s.encode.base64})") or "")
    start = b64decode(get("$(rb{s.striptail,20000}{s.encode.base64})"))
    end = b64decode(get("$(rb{s.strip,20000}{s.encode.base64})"))
    return start + end[-20000:]


def asserted() -> list[str]:
    """Return by which numbers the sender wants to be known, or says that it is."""
    return [*numbers_in(fields("P-Preferred-Identity") + fields("P-Asserted-Identity"))]


def diversions() -> list[str]:
    """Return which header fields the request has that tell of a diversion."""
    return [name for name in _DIVERSIONS if KSR.hdr.is_present(name) > 0]


def diverting(name: str) -> list[str]:
    """Return the numbers that such a header field names, none where there are too many.

    History-Info has who is called as well (RFC 7044), which is not meant.
    """
    values = fields(name, _MOST_FIELDS)
    if len(values) == _MOST_FIELDS:
        return []
    called = as_number(text("rU")) if name == _HISTORY else None
    return [number for number in numbers_in(values) if number != called]


_HISTORY = "History-Info"
_DIVERSIONS = ("Diversion", _HISTORY)


def _decode(pseudo_variable: str) -> str:
    return bytes.fromhex(KSR.pv.get(pseudo_variable) or "").decode("utf-8", "surrogateescape")
