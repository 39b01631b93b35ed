"""The small print of a REGISTER that is kept here (RFC 3261, 10.2 and 10.3; RFC 5626, 4.1).

Kamailio's registrar keeps some that it must not: a Contact with a port that is none, `*` beside
others, a `reg-id` of 0, one that requires what nobody has.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from sbcauth.digest.text import to_bytes
from sbcauth.policy.decision import Reason, Reject

MOST_FIELDS = 8
"""Header fields of one name that are looked at; who has as many has too many."""
_LONGEST_CALL_ID = 255
"""Bytes that Kamailio keeps of one."""
_KNOWN_EXTENSIONS = {"path"}  # RFC 3327
_ITEM = re.compile(r'(?:"(?:[^"\\]|\\.)*"|<[^<>]*>|[^",<>])+')
_CONTACT = re.compile(
    r'\s*(?:(?:"(?:[^"\\]|\\.)*"\s*|[^"<>]*)<([^<>]*)>|([^;<>"\s]+))\s*(;.*)?', re.DOTALL
)
_URI = re.compile(
    r"sips?:"
    r"(?:[^@\s<>]*@)?"
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9.])?|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:;[^\s<>?]*)?(?:\?[^\s<>]*)?",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"[0-9]{1,10}").fullmatch
_REG_ID = re.compile(r";\s*reg-id\s*=\s*([^;\s,]*)", re.IGNORECASE)
_Q = re.compile(r";\s*q\s*=\s*([^;\s,]*)", re.IGNORECASE)
_Q_VALUE = re.compile(r"(?:0?(?:\.[0-9]*)?|1(?:\.0*)?)").fullmatch
"""Matches what stands for a number from 0 to 1, however many digits (RFC 3261, 25.1: three)."""
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|<[^<>]*>')


def fault(
    to_user: str,
    contacts: Sequence[str],
    required: Sequence[str],
    is_ours: Callable[[str], bool],
    ip_group: str = "",
    username: str = "",
    call_id: str = "",
) -> Reject | None:
    """Return how a REGISTER is refused that cannot be kept as it is; None where it can.

    `contacts` and `required` are the values of its header fields Contact and Require. `is_ours`
    tells whether a SIP URI leads to this server itself: whoever is called there is called in
    circles.
    """
    unknown = [
        tag
        for tag in (tag.strip() for field in required for tag in field.split(","))
        if tag and tag.lower() not in _KNOWN_EXTENSIONS
    ]
    if unknown:
        return Reject(
            420,
            "Bad Extension",
            Reason.UNKNOWN_EXTENSION,
            ip_group,
            username,
            detail=f"Require: {unknown[0]}",
            headers=(f"Unsupported: {', '.join(filter(_TOKEN, unknown))}",),
        )
    wrong = next(_faults(to_user, contacts, is_ours), None)
    if len(to_bytes(call_id)) > _LONGEST_CALL_ID:
        wrong = "Call-ID is too long"
    if wrong is None:
        return None
    return Reject(400, "Bad Request", Reason.BAD_REGISTRATION, ip_group, username, detail=wrong)


def _faults(to_user: str, contacts: Sequence[str], is_ours: Callable[[str], bool]) -> Iterator[str]:
    if not to_user:
        yield "To has no user"
    if len(contacts) >= MOST_FIELDS:
        yield "too many Contact header fields"
    items = [item for field in contacts for item in _ITEM.findall(field) if item.strip()]
    if len(items) > 1 and any(item.strip() == "*" for item in items):
        yield "Contact has * beside others"
    for item in items:
        if item.strip() != "*" and (wrong := _fault_of(item, is_ours)):
            yield wrong


def _fault_of(contact: str, is_ours: Callable[[str], bool]) -> str:
    found = _CONTACT.fullmatch(contact)
    uri = (found[1] if found[1] is not None else found[2]) if found else ""
    parsed = _URI.fullmatch(uri.strip()) if uri else None
    if not found or not parsed:
        return "a Contact is no SIP URI"
    if parsed["port"] and not 0 < int(parsed["port"]) < 65536:
        return "the port of a Contact is none"
    reg_id = _REG_ID.search(_QUOTED.sub("", contact))
    if reg_id and not (_DIGITS(reg_id[1]) and 0 < int(reg_id[1]) < 2**31):
        return "a reg-id is no number above 0"
    if (q := _Q.search(_QUOTED.sub("", contact))) and not _Q_VALUE(q[1]):
        return "a q is no number from 0 to 1"
    if "_" not in parsed["host"] and is_ours(uri.strip()):  # Kamailio reads no such name
        return "a Contact leads to this server"
    return ""


_TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]{1,80}").fullmatch
