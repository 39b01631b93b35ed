"""Where a SIP URI, a Contact, a Route or a Via leads: their text, and marks in it.

RFC 3261, 20.10, 20.34, 20.42 and 25.1. What cannot be read is None, and then nobody follows it.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from sbcauth.policy.places import Place

NAME = "sb"
"""The parameter that seals are in: of our Record-Route, and of a Contact's URI."""

_FOLD = re.compile(r"\r?\n[ \t]+")
_IN_BRACKETS = re.compile(r'\s*((?:"(?:[^"\\]|\\.)*"|[^"<])*?<)\s*([^<>]*?)\s*(>.*)', re.DOTALL)
_BARE = re.compile(r"\s*([^\s;,<>\"]+)(.*)", re.DOTALL)
_SIP_URI = re.compile(r"sips?:", re.IGNORECASE)
_LEADS_TO = re.compile(
    r"(sips?):(?:[^@]*@)?(\[[0-9a-f:.]+\]|[0-9.]+)(?::(\d{1,5}))?(;[^?@]*)?(?:\?[^@]*)?",
    re.IGNORECASE,
)
_URI_HOST = re.compile(r"sips?:(?:[^@]*@)?(\[[^]]*\]|[^:;?>]*)", re.IGNORECASE)
_URI_PORT = re.compile(r":(\d{1,5})(?![\d])")
_TRANSPORT = re.compile(r";transport=([a-z]+)", re.IGNORECASE)
_TOKEN = re.compile(rf";{NAME}=([\w-]+)", re.ASCII)
_ENDS = re.compile("[;?>]")
_ROUTE = re.compile(r"<\s*([^<>]*?)\s*>")
_VIA = re.compile(
    r"\s*SIP\s*/\s*2\.0\s*/\s*(\w+)\s+(\[[^]\s]+\]|[^\s;:]+)\s*(?::\s*(\d{1,5}))?\s*(;.*)?",
    re.IGNORECASE | re.DOTALL,
)
_VIA_PARAMETER = re.compile(r"\s*([\w.!%*+`'~-]+)\s*(?:=\s*([^\s;,\"()<>]*)\s*)?")
_MADDR = re.compile(r";\s*maddr\b", re.IGNORECASE)


class Target(NamedTuple):
    """A Contact, taken apart: `before` and `after` are what stands around its SIP URI."""

    before: str
    uri: str
    after: str

    @classmethod
    def parse(cls, contact: str) -> "Target | None":
        """Return the first URI of a Contact; None where it is no SIP URI, or has a NUL."""
        text = _FOLD.sub(" ", contact).strip()
        if "<" in text:
            found = _IN_BRACKETS.fullmatch(text)
            parts = (found[1], found[2], found[3]) if found else None
        else:  # what follows a `;` then belongs to the header field
            bare = _BARE.fullmatch(text)
            parts = ("<", bare[1], f">{bare[2]}") if bare else None
        if parts is None or "\0" in text or not _SIP_URI.match(parts[1]):
            return None
        return cls(*parts)

    def with_mark(self, mark: str) -> str:
        """Return the Contact with this mark, in place of any other."""
        uri, _ = part(self.uri)
        before, question, headers = uri.partition("?")
        return f"{self.before}{before};{NAME}={mark}{question}{headers}{self.after}"


def part(uri: str) -> tuple[str, str]:
    """Return a URI without its mark, and the mark; empty where it has none."""
    name = f";{NAME}="
    start = uri.rfind(name, uri.find("@") + 1)
    if start < 0:
        return uri, ""
    found = _ENDS.search(uri, start + 1)
    end = found.start() if found else len(uri)
    return uri[:start] + uri[end:], uri[start + len(name) : end]


def with_inner(uri: str, inner: str) -> str:
    """Return a URI with the mark that was there before ours."""
    return f"{uri};{NAME}={inner}" if inner else uri


def base(uri: str) -> str:
    """Return what a mark is bound to: the URI up to its first parameter."""
    return uri.partition(";")[0].partition("?")[0]


def token_of_route(route: str) -> str:
    """Return the token of the first URI of a Route header field; empty where it has none."""
    found = _TOKEN.search(route.partition(">")[0])
    return found[1] if found else ""


def uris_of(record_routes: tuple[str, ...]) -> list[str]:
    """Return the URIs in Record-Route header fields, in their order."""
    return _ROUTE.findall(", ".join(record_routes))


def tokens(record_routes: tuple[str, ...]) -> list[str]:
    """Return the tokens in Record-Route header fields, each once, in their order."""
    found = (token for value in record_routes for token in _TOKEN.findall(value))
    return list(dict.fromkeys(found))


@lru_cache(maxsize=2000)  # a call asks for the same few again and again
def place_of(uri: str) -> Place | None:
    """Return where a SIP URI leads to; None where it names a host that is no address, or two."""
    found = _LEADS_TO.fullmatch(uri)
    if not found:
        return None
    scheme, host, port, parameters = found.groups()
    kind = "udp"
    if parameters:
        if _MADDR.search(parameters):
            return None
        transport = _TRANSPORT.search(parameters)
        kind = transport[1].lower() if transport else kind
    if scheme.lower() == "sips":
        kind = {"udp": "tls", "tcp": "tls", "ws": "wss"}.get(kind, kind)
    usual = 5061 if kind == "tls" else 5060
    return _place_at(kind, host, int(port) if port else usual)


def place_of_via(vias: tuple[str, ...], number: int) -> Place | None:
    """Return where an answer goes by the Via `number`, the topmost being 0 (RFC 3581, 4).

    None where it can be read in two ways: with a parameter twice, `maddr`, or anything quoted.
    """
    values = [value for field in vias for value in _FOLD.sub(" ", field).split(",")]
    found = _VIA.fullmatch(values[number]) if number < len(values) else None
    if not found or set('"()') & set("".join(values[: number + 1])):
        return None
    transport, host, port, text = found.groups()
    parameters: dict[str, str] = {}
    for each in (text or "").split(";")[1:]:
        parameter = _VIA_PARAMETER.fullmatch(each)
        if parameter is None or parameter[1].lower() in parameters:
            return None
        parameters[parameter[1].lower()] = parameter[2] or ""
    if "maddr" in parameters:
        return None
    at = parameters.get("rport") or port or (5061 if transport.lower() == "tls" else 5060)
    try:
        return Place.of(transport, parameters.get("received") or host, int(at))
    except ValueError:
        return None


def _place_at(transport: str, host: str, port: int) -> Place | None:
    try:
        return Place.of(transport, host, port)
    except ValueError:
        return None


def host_of(uri: str) -> str:
    """Return the host part of a SIP URI, or nothing where it is another URI (RFC 3261, 19.1.1)."""
    match = _URI_HOST.match(uri)
    return match[1] if match else ""


def host_and_port(uri: str) -> tuple[str, int] | None:
    """Return the host and the port that a SIP URI leads to, or None where it is another URI."""
    match = _URI_HOST.match(uri)
    if not match:
        return None
    port = _URI_PORT.match(uri, match.end())
    return match[1], int(port[1]) if port else usual_port(uri)


def usual_port(uri: str) -> int:
    """Return the port of a SIP URI that names none (RFC 3261, 19.1.2)."""
    lower = uri.lower()
    return 5061 if lower.startswith("sips:") or ";transport=tls" in lower else 5060
