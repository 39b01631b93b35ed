"""Reading a raw SIP request, for `explain`: in the running server Kamailio does this.

It takes what people paste: line ends without CR, lines before the request (a log's prefix, a
capture's time), folded header fields, compact names (RFC 3261, 7.3.3).
"""

import re

from sbcauth.digest.text import to_bytes
from sbcauth.exceptions import SbcAuthError
from sbcauth.policy.request import Request
from sbcauth.policy.targets import host_of

_REQUEST_LINE = re.compile(r"^[\ufeff\s]*([A-Za-z]+) (\S+) SIP/2\.0\s*$", re.MULTILINE)
_COMPACT = {"f": "from", "t": "to", "i": "call-id", "v": "via", "l": "content-length"}
_VIA = re.compile(
    r"SIP\s*/\s*2\.0\s*/\s*(\w+)\s+(\[[^\]]+\]|[^\s:;,]+)(?:\s*:\s*(\d+))?", re.IGNORECASE
)
_URI = re.compile(r"<([^>]*)>|(\S+?)(?=[;\s]|$)")
_USER = re.compile(r"sips?:([^@:]*)(?::[^@]*)?@", re.IGNORECASE)
_EMPTY_LINE = re.compile(r"\r?\n\r?\n")


class NotARequest(SbcAuthError):
    """The text holds no SIP request."""


def parse_request(text: str) -> Request:
    """Return the first SIP request in `text`, as if it came from where its Via says.

    Raises NotARequest where there is none.
    """
    line = _REQUEST_LINE.search(text)
    if line is None:
        raise NotARequest("no request line, such as: REGISTER sip:example.com SIP/2.0")
    head, *rest = _EMPTY_LINE.split(text[line.end() :].lstrip("\r\n"), maxsplit=1)
    fields = _fields(head)

    def first(name: str) -> str:
        return next(iter(fields.get(name, ())), "")

    transport, address, port = _via(first("via"))
    from_uri, to_uri = _uri(first("from")), _uri(first("to"))
    return Request(
        line[1].upper(),
        line[2],
        address,
        port,
        transport,
        _user(from_uri),
        host_of(from_uri),
        _user(to_uri),
        ";tag=" in re.sub(r"<[^>]*>", "", first("to")).replace(" ", "").lower(),
        first("call-id"),
        tuple(fields.get("authorization", ())),
        tuple(fields.get("proxy-authorization", ())),
        _body("".join(rest), first("content-length")),
        user_agent=first("user-agent"),
    )


def _body(text: str, length: str) -> bytes:
    """Return the body as it was sent: its lines end in CR LF, which a paste may have lost."""
    body = to_bytes(text if "\r\n" in text else text.replace("\n", "\r\n"))
    return body[: int(length)] if re.fullmatch("[0-9]{1,9}", length) else body


def _fields(head: str) -> dict[str, list[str]]:
    """Return the header fields by name in lower case; folded lines are put together."""
    fields: dict[str, list[str]] = {}
    for line in re.sub(r"\r?\n[ \t]+", " ", head).split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip().lower()
            fields.setdefault(_COMPACT.get(name, name), []).append(value.strip())
    return fields


def _via(value: str) -> tuple[str, str, int]:
    """Return transport, address and port of the sender, by the topmost Via (RFC 3261, 18.2.1)."""
    via = _VIA.search(value)
    if via is None:
        return "udp", "127.0.0.1", 5060
    received = re.search(r";\s*received\s*=\s*([^;,\s]+)", value, re.IGNORECASE)
    rport = re.search(r";\s*rport\s*=\s*([0-9]{1,5})", value, re.IGNORECASE)
    address = received[1] if received else via[2]
    return via[1].lower(), address.strip("[]"), int(rport[1] if rport else via[3] or 5060)


def _uri(value: str) -> str:
    """Return the URI of a From or To header field (RFC 3261, 20.10)."""
    quoted = re.sub(r'"(?:[^"\\]|\\.)*"', "", value)
    match = _URI.search(quoted)
    return (match[1] or match[2] or "") if match else ""


def _user(uri: str) -> str:
    match = _USER.match(uri)
    return match[1] if match else ""
