"""A phone's side of SIP, for tests: requests, responses, and answers to digest challenges.

It is written from RFC 2069, 2617, 3261, 7616 and 8760 and never uses code of `sbcauth`, so
that the two can be measured against each other.

    challenges = parse_challenges(reply)
    header = answer(challenges[0], "REGISTER", "sip:example.com", "1001", "secret")
    request("REGISTER", "sip:example.com", "sip:1001@example.com", headers=[header])
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from itertools import count
from typing import NamedTuple

HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.new("md5", data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.new("sha256", data).hexdigest(),
    "SHA-512-256": lambda data: hashlib.new("sha512_256", data).hexdigest(),
}


class Challenge(NamedTuple):
    """A digest challenge as a phone reads it; `qop` is empty where none is offered."""

    header: str
    realm: str
    nonce: str
    algorithm: str = "MD5"
    qop: tuple[str, ...] = ()
    stale: bool = False
    opaque: str = ""

    @property
    def answering_header(self) -> str:
        """Return the name of the header field that answers this challenge."""
        return "Authorization" if self.header == "WWW-Authenticate" else "Proxy-Authorization"


class Response(NamedTuple):
    """A SIP response; `headers` keeps order and repetition, names in lower case."""

    status: int
    phrase: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return the first value of a header field, or nothing where there is none."""
        return next((value for found, value in self.headers if found == name.lower()), "")

    def all(self, name: str) -> list[str]:
        """Return all values of a header field."""
        return [value for found, value in self.headers if found == name.lower()]

    @property
    def challenges(self) -> list[Challenge]:
        """Return the digest challenges in the order of the response."""
        return [
            _challenge(canonical, value)
            for name, value in self.headers
            for canonical in ("WWW-Authenticate", "Proxy-Authenticate")
            if name == canonical.lower() and value.lower().startswith("digest ")
        ]


def parse_response(raw: bytes) -> Response:
    """Return the SIP response in `raw`; raises ValueError where it is none."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "surrogateescape")).split("\r\n")
    match = re.fullmatch(r"SIP/2\.0 (\d{3}) (.*)", lines[0])
    if not match:
        raise ValueError(f"no SIP response: {lines[0]!r}")
    fields = (line.partition(":") for line in lines[1:])
    headers = tuple((name.strip().lower(), value.strip()) for name, _, value in fields)
    return Response(int(match[1]), match[2], headers, body)


def parse_challenges(text: str) -> list[Challenge]:
    """Return the digest challenges in header fields, or in a whole response, as text."""
    lines = (line.partition(":") for line in text.splitlines())
    headers = tuple((name.strip().lower(), value.strip()) for name, _, value in lines)
    return Response(0, "", headers).challenges


def answer(
    challenge: Challenge,
    method: str,
    uri: str,
    username: str,
    password: str,
    *,
    qop: str | None = None,
    nc: int = 1,
    cnonce: str = "0a4f113b",
    body: bytes = b"",
) -> str:
    """Return the whole header field that answers `challenge`, spelled as RFC 7616 §3.4 has it.

    `qop` is what the phone chooses: by default the first that is offered; "" stands for an
    answer in the manner of RFC 2069.
    """
    if qop is None:
        qop = challenge.qop[0] if challenge.qop else ""
    response = digest(
        challenge.algorithm,
        username,
        challenge.realm,
        password,
        method,
        uri,
        challenge.nonce,
        qop=qop,
        nc=f"{nc:08x}",
        cnonce=cnonce,
        body=body,
    )
    value = (
        f'Digest username="{_escaped(username)}", realm="{_escaped(challenge.realm)}", '
        f'nonce="{challenge.nonce}", uri="{uri}", response="{response}", '
        f"algorithm={challenge.algorithm}"
    )
    if qop:
        spelled = f'"{qop}"' if "," in qop else qop
        value += f', qop={spelled}, nc={nc:08x}, cnonce="{cnonce}"'
    if challenge.opaque:
        value += f', opaque="{challenge.opaque}"'
    return f"{challenge.answering_header}: {value}"


def digest(
    algorithm: str,
    username: str,
    realm: str,
    password: str,
    method: str,
    uri: str,
    nonce: str,
    *,
    qop: str = "",
    nc: str = "00000001",
    cnonce: str = "0a4f113b",
    body: bytes = b"",
) -> str:
    """Return the response that a password gives (RFC 7616, 3.4.1; RFC 2069 where no qop).

    `qop` and `nc` are hashed as they are given.
    """
    h = HASHES[algorithm]
    ha1 = h(_bytes(f"{username}:{realm}:{password}"))
    a2 = f"{method}:{uri}"
    if qop.lower() == "auth-int":
        a2 += f":{h(body)}"
    middle = f"{nonce}:{nc}:{cnonce}:{qop}" if qop else nonce
    return h(_bytes(f"{ha1}:{middle}:{h(_bytes(a2))}"))


_serial = count(1)


def request(
    method: str,
    request_uri: str,
    from_uri: str,
    to_uri: str | None = None,
    *,
    via: str = "UDP 127.0.0.1:5070",
    contact: str = "<sip:127.0.0.1:5070>",
    cseq: int = 1,
    call_id: str | None = None,
    branch: str | None = None,
    from_tag: str = "a6c85cf",
    to_tag: str = "",
    headers: Iterable[str] = (),
    body: bytes = b"",
) -> bytes:
    """Return the bytes of a SIP request; `headers` are whole header fields.

    `to_uri` is `from_uri` where it is left out, as in a REGISTER. Call-ID and branch are new
    ones unless they are given.
    """
    serial = next(_serial)
    lines = [
        f"{method} {request_uri} SIP/2.0",
        f"Via: SIP/2.0/{via};rport;branch={branch or f'z9hG4bK-{serial}'}",
        "Max-Forwards: 70",
        f"From: <{from_uri}>;tag={from_tag}",
        f"To: <{to_uri or from_uri}>" + (f";tag={to_tag}" if to_tag else ""),
        f"Call-ID: {call_id or f'call-{serial}@127.0.0.1'}",
        f"CSeq: {cseq} {method}",
        f"Contact: {contact}",
        *headers,
        f"Content-Length: {len(body)}",
    ]
    return _bytes("\r\n".join(lines)) + b"\r\n\r\n" + body


def cancel(invite: bytes) -> bytes:
    """Return the CANCEL of an INVITE (RFC 3261, 9.1)."""
    head = invite.partition(b"\r\n\r\n")[0].decode(errors="surrogateescape")
    first, *lines = head.replace("INVITE", "CANCEL").split("\r\n")
    kept = ("Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq")
    lines = [first, *(line for line in lines if line.startswith(kept)), "Content-Length: 0"]
    return _bytes("\r\n".join([*lines, "", ""]))


_PARAMETER = re.compile(r'([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


def _challenge(header: str, value: str) -> Challenge:
    """Return what a phone understands of a WWW- or Proxy-Authenticate header field."""
    found = {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else token
        for name, quoted, token in _PARAMETER.findall(value)
    }
    qop = tuple(option.strip() for option in found.get("qop", "").split(",") if option.strip())
    return Challenge(
        header,
        found["realm"],
        found["nonce"],
        found.get("algorithm", "MD5"),
        qop,
        found.get("stale", "").lower() == "true",
        found.get("opaque", ""),
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
