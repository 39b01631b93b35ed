"""The values of sbcauth.yaml: what each may be, in words and in the box's numbers.

Every validator raises ValueError with words that follow the key: "5 is not within 30..600". What
it reads is told to the JSON Schema too, which would know only what it returns.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any
from unicodedata import category

from pydantic import BeforeValidator, Field, ValidationInfo

from sbcauth.digest.response import Algorithm
from sbcauth.policy.identities import as_identity
from sbcauth.policy.ip_groups import AuthQop, ProxyAddress

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1, None: 1, "m": 60, "h": 3600}
_TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")
_SECRET = re.compile(r"\$\{(?:(env|file):([^}]+)\})?")
_SERVICE_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?(/[!-~]*)?", re.IGNORECASE | re.ASCII
)
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?", re.IGNORECASE)
_SOURCE_PREFIX = 64
_SIP_URI = re.compile(
    r"sips?:(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::([0-9]{1,5}))?(?:;transport=(udp|tcp|tls|ws|wss))?",
    re.IGNORECASE | re.ASCII,
)


def _shown(value: Any) -> str:
    """Return `value` for a complaint; what holds others may hold a secret in the wrong place."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return f"{str(value).lower()} (YAML reads yes, no, on and off as such: use quotes)"
        case _:
            return repr(value)


def words(kind: type[StrEnum], numbers: Mapping[int, str] | None = None) -> BeforeValidator:
    """Accept the members of `kind` in any case, and the box's numbers for them."""

    def parse(value: Any) -> StrEnum:
        word = numbers.get(value, value) if numbers and type(value) is int else value
        try:
            return kind(str(word).lower())
        except ValueError:
            raise ValueError(f"{_shown(value)} is not one of {', '.join(kind)}") from None

    return BeforeValidator(parse, json_schema_input_type=kind | int if numbers else kind)


def number(lowest: int, highest: int) -> BeforeValidator:
    """Accept whole numbers within bounds."""

    def parse(value: Any) -> int:
        if type(value) is not int:
            raise ValueError(f"{_shown(value)} is not a whole number within {lowest}..{highest}")
        if not lowest <= value <= highest:
            raise ValueError(f"{value} is not within {lowest}..{highest}")
        return value

    return BeforeValidator(
        parse, json_schema_input_type=Annotated[int, Field(ge=lowest, le=highest)]
    )


def seconds(lowest: float, highest: float, kind: Callable[[float], Any] = int) -> BeforeValidator:
    """Accept a number of seconds within bounds, or a time such as 5m."""

    def parse(value: Any) -> Any:
        match = None if isinstance(value, bool) else _DURATION.fullmatch(str(value).strip())
        if match is None:
            raise ValueError(f"{_shown(value)} is not a time such as 300, 300s or 5m")
        seconds = float(match[1]) * _UNITS[match[2]]
        if not lowest <= seconds <= highest:
            raise ValueError(f"{value} is not within {lowest}..{highest} seconds")
        if kind is int and seconds != int(seconds):
            raise ValueError(f"{value} is not a whole number of seconds")
        return kind(seconds)

    return BeforeValidator(parse, json_schema_input_type=float | str)


def text(pattern: re.Pattern[str], wanted: str) -> BeforeValidator:
    """Accept text that fits a pattern; `wanted` says in words what that is."""

    def parse(value: Any) -> str:
        if type(value) in (int, float):
            raise ValueError(f"{value} is a number to YAML: put it in quotes")
        if isinstance(value, str) and pattern.fullmatch(value) and value.isprintable():
            return value
        raise ValueError(f"{_shown(value)} is not {wanted}")

    return BeforeValidator(parse)


REALM = text(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}"), "a host name, such as example.com")
NAME = text(re.compile(r"\S(.{0,62}\S)?"), "a name of 1 to 64 printable characters")
USER_AGENT = text(
    re.compile(r".{1,255}"), "the text of a User-Agent, in which * stands for any text"
)
HOST = text(re.compile(r"[\w.*?\[\]:-]{1,255}"), "a host name, in which * stands for any text")


def secret(value: Any, info: ValidationInfo) -> str:
    """Return a secret, fetched where it says `${env:NAME}` or `${file:PATH}`.

    A complaint never shows the value.
    """
    if type(value) in (int, float):
        raise ValueError("is a number to YAML: put it in quotes")
    if not isinstance(value, str):
        raise ValueError("must be text (put it in quotes)")
    context: Mapping[str, Any] = info.context or {}

    def fetch(match: re.Match[str]) -> str:
        kind, name = match.groups()
        if kind is None:
            raise ValueError("has a ${ that begins neither ${env:NAME} nor ${file:PATH}")
        if kind == "env":
            if name not in context["environment"]:
                raise ValueError(f"the environment has no variable {name}")
            return str(context["environment"][name])
        try:
            return Path(context["folder"], name).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise ValueError(f"{name}: {reason}") from None

    text = _SECRET.sub(fetch, value)
    if not text or any(category(character) == "Cc" for character in text):
        raise ValueError("is empty, or has control characters")
    return text


def methods(value: Any) -> tuple[str, ...]:
    r"""Return method names in upper case, and `setup-invite`; the box's `INVITE\REGISTER` too."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ValueError("must be a list of SIP methods, such as [REGISTER, INVITE]")
    methods = []
    for item in items:
        names = re.split(r"[\\/,\s]+", item) if isinstance(item, str) else [item]
        for name in names:
            if name == "":
                continue
            if not isinstance(name, str) or not _TOKEN.fullmatch(name):
                raise ValueError(f"{_shown(name)} is no SIP method")
            methods.append("setup-invite" if name.lower() == "setup-invite" else name.upper())
    return tuple(methods)


def algorithms(value: Any) -> tuple[Algorithm, ...]:
    """Return algorithms in the order given; one may stand without a list."""
    allowed = ", ".join(Algorithm)
    items = value if isinstance(value, list) else [value]
    if not items:
        raise ValueError(f"needs at least one of {allowed}")
    algorithms = []
    for item in items:
        if str(item).upper() not in [*Algorithm]:
            raise ValueError(f"{_shown(item)} is not one of {allowed}")
        algorithms.append(Algorithm(str(item).upper()))
    if len(set(algorithms)) != len(algorithms):
        raise ValueError("names an algorithm twice")
    return tuple(algorithms)


def algorithm(value: Any) -> Algorithm:
    """Return an algorithm."""
    return algorithms([value])[0]


def least_qop(value: Any) -> AuthQop:
    """Return a qop that an answer has or has not."""
    word = str(value).lower()
    if word not in ("none", "auth", "auth-int"):
        raise ValueError(f"{_shown(value)} is not one of none, auth, auth-int")
    return AuthQop(word)


def user_agents(value: Any) -> Any:
    """Return a list of rules; `known` may stand without a list, and is a rule of that pattern."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, dict) and str(item).lower() != "known":
            raise ValueError("must be `known`, or a list of rules with a pattern, and `known`")
    return tuple(item if isinstance(item, dict) else {"pattern": "known"} for item in items)


def prefix(value: Any) -> IPv4Network | IPv6Network:
    """Return an address or prefix without host bits."""
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is not an address or prefix, such as 192.0.2.0/24")
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not an address or prefix, such as 192.0.2.0/24") from None
    raise ValueError(f"{value} has host bits set; the prefix is {network}")


def sources(value: Any) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return addresses or prefixes that are whole sources; see `source_of`."""
    networks = tuple(map(prefix, value if isinstance(value, list) else [value]))
    for network in networks:
        if network.version == 6 and network.prefixlen > _SOURCE_PREFIX:
            raise ValueError(f"{network} is within a source, which is an IPv6 prefix of 64 bits")
    return networks


def origins(value: Any) -> tuple[str, ...]:
    """Return the origins of web pages as browsers send them (RFC 6454, 6.2); `*` is any."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        if item != "*" and not (isinstance(item, str) and _ORIGIN.fullmatch(item)):
            raise ValueError("must be origins such as https://phone.example.com")
    return tuple(item.lower() for item in items)


def networks(value: Any) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return addresses or prefixes; one may stand without a list."""
    return tuple(map(prefix, value if isinstance(value, list) else [value]))


def names(value: Any) -> tuple[str, ...]:
    """Return names of what stands elsewhere in the file; one may stand without a list."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str) or not item:
            raise ValueError(f"{_shown(item)} is not a name")
    return tuple(items)


def realms(value: Any) -> tuple[str, ...]:
    """Return realms of other servers, as their challenges have them."""
    found = names(value)
    if not found:
        raise ValueError("must name a realm at least")
    return found


def emergency_numbers(value: Any) -> frozenset[str]:
    """Return the user parts and URNs of emergency calls, in lower case."""
    items = value if isinstance(value, list) else [value]
    if not items:
        raise ValueError("must name a number at least, such as 112")
    found = set()
    for item in items:
        number = str(item) if type(item) in (int, str) else ""
        if not _NUMBER.fullmatch(number):
            raise ValueError(f"{_shown(item)} is not a number or URN, such as 112, urn:service:sos")
        found.add(number.lower())
    return frozenset(found)


_NUMBER = re.compile(r"[+]?[0-9*#]{1,20}|urn:service:[a-z][a-z0-9.-]{0,60}", re.IGNORECASE)


def address(value: Any) -> str:
    """Return an IPv4 or IPv6 address in its one spelling."""
    if isinstance(value, str):
        with suppress(ValueError):
            return str(ip_address(value))
    raise ValueError(f"{_shown(value)} is not an IPv4 or IPv6 address")


def proxy_set(value: Any) -> tuple[ProxyAddress, ...]:
    """Return the servers that SIP URIs name; one may stand without a list."""
    items = value if isinstance(value, list) else [value]
    return tuple(map(_proxy_address, items))


def _proxy_address(uri: Any) -> ProxyAddress:
    match = _SIP_URI.fullmatch(uri) if isinstance(uri, str) else None
    if match is None:
        example = "sip:192.0.2.1:5060;transport=tcp"
        raise ValueError(f"{_shown(uri)} is not a SIP URI of a host, such as {example}")
    host, port = match[1].strip("[]"), int(match[2]) if match[2] else None
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"{uri!r}: {port} is not within 1..65535")
    if match[1][0] == "[" or host.replace(".", "").isdigit():
        try:
            ip_address(host)
        except ValueError:
            raise ValueError(f"{uri!r}: {host} is not an IPv4 or IPv6 address") from None
    return ProxyAddress(uri, host, port)


def service_urls(value: Any) -> tuple[str, ...]:
    """Return the URLs of services: https, or http to this very machine."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        match = _SERVICE_URL.fullmatch(item) if isinstance(item, str) else None
        if match is None:
            raise ValueError("must be URLs such as https://auth.example.com/sbcauth")
        if match[1].lower() == "http" and not match[2].startswith(("127.", "[::1]", "localhost")):
            raise ValueError("must be https (http is for services of this machine alone)")
    return tuple(items)


def server_auth_mode(value: Any) -> Any:
    """Refuse the number of a mode that nobody supports; leave all others to `words`."""
    if value == 1 and type(value) is int:
        raise ValueError("1 is not supported (nor by the box): use radius, and radius.attributes")
    return value


def off(value: Any) -> Any:
    """Return the word `off` for what YAML takes it for; leave all others to `words`."""
    return "off" if value is False else value


LOG_TO_AUTO = "auto"
_LOG_TO = (LOG_TO_AUTO, "journal", "syslog", "stdout")


def log_to(value: Any) -> str:
    """Return where outcomes are written: a word, or the path of a file, which has a slash."""
    if isinstance(value, str):
        if value.lower() in _LOG_TO:
            return value.lower()
        if "/" in value and value.isprintable() and not value.endswith("/"):
            return value
    words = ", ".join(_LOG_TO)
    raise ValueError(f"{_shown(value)} is not one of {words}, nor a file's path with a / in it")


def identities(value: Any) -> tuple[str, ...]:
    """Return numbers, and prefixes that end in a star; one may stand without a list."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        if type(item) in (int, float):
            raise ValueError(f"{item} is a number to YAML: put it in quotes")
        if not isinstance(item, str):
            raise ValueError(f"{_shown(item)} is no identity: a number or prefix in quotes")
        as_identity(item)
    return tuple(dict.fromkeys(items))


def flag(value: Any) -> bool:
    """Return true or false, and nothing that YAML takes for it."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"{_shown(value)} is not one of true, false")
