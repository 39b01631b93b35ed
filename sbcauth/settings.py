"""The keys of sbcauth.yaml: what each may be, in words and in the box's numbers.

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

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from sbcauth.attempts import MAX_ATTEMPTS, MAX_FAILURES
from sbcauth.digest import Algorithm
from sbcauth.ip_groups import (
    AuthenticationMode,
    AuthQop,
    ChallengeMethod,
    ClassificationRule,
    IPGroupType,
    ProxyAddress,
    RuleAction,
    ServerAuthMode,
    UnclassifiedRequests,
)
from sbcauth.radius import RadiusAttributes, RadiusServer, RadiusSettings

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1, None: 1, "m": 60, "h": 3600}
_TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")
_REALM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_NAME = re.compile(r"\S(.{0,62}\S)?")
_SECRET = re.compile(r"\$\{(?:(env|file):([^}]+)\})?")
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


def _words(kind: type[StrEnum], numbers: Mapping[int, str] | None = None) -> BeforeValidator:
    """Accept the members of `kind` in any case, and the box's numbers for them."""

    def parse(value: Any) -> StrEnum:
        word = numbers.get(value, value) if numbers and type(value) is int else value
        try:
            return kind(str(word).lower())
        except ValueError:
            raise ValueError(f"{_shown(value)} is not one of {', '.join(kind)}") from None

    return BeforeValidator(parse, json_schema_input_type=kind | int if numbers else kind)


def _number(lowest: int, highest: int) -> BeforeValidator:
    def parse(value: Any) -> int:
        if type(value) is not int:
            raise ValueError(f"{_shown(value)} is not a whole number within {lowest}..{highest}")
        if not lowest <= value <= highest:
            raise ValueError(f"{value} is not within {lowest}..{highest}")
        return value

    return BeforeValidator(
        parse, json_schema_input_type=Annotated[int, Field(ge=lowest, le=highest)]
    )


def _seconds(lowest: float, highest: float, kind: Callable[[float], Any] = int) -> BeforeValidator:
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


def _text(pattern: re.Pattern[str], wanted: str) -> BeforeValidator:
    def parse(value: Any) -> str:
        if type(value) in (int, float):
            raise ValueError(f"{value} is a number to YAML: put it in quotes")
        if isinstance(value, str) and pattern.fullmatch(value) and value.isprintable():
            return value
        raise ValueError(f"{_shown(value)} is not {wanted}")

    return BeforeValidator(parse)


def _secret(value: Any, info: ValidationInfo) -> str:
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


def _methods(value: Any) -> tuple[str, ...]:
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


def _algorithms(value: Any) -> tuple[Algorithm, ...]:
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


def _prefix(value: Any) -> IPv4Network | IPv6Network:
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


def _sources(value: Any) -> tuple[IPv4Network | IPv6Network, ...]:
    networks = tuple(map(_prefix, value if isinstance(value, list) else [value]))
    for network in networks:
        if network.version == 6 and network.prefixlen > _SOURCE_PREFIX:
            raise ValueError(f"{network} is within a source, which is an IPv6 prefix of 64 bits")
    return networks


def _address(value: Any) -> str:
    if isinstance(value, str):
        with suppress(ValueError):
            return str(ip_address(value))
    raise ValueError(f"{_shown(value)} is not an IPv4 or IPv6 address")


def _proxy_set(value: Any) -> tuple[ProxyAddress, ...]:
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


def _server_auth_mode(value: Any) -> Any:
    if value == 1 and type(value) is int:
        raise ValueError("1 is not supported (nor by the box): use radius, and radius.attributes")
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"{_shown(value)} is not one of true, false")


class CheckDigestURI(StrEnum):
    """Whether the digest `uri` must be the Request-URI."""

    LENIENT = "lenient"
    STRICT = "strict"


class Transport(StrEnum):
    """A transport of SIP, as Kamailio names it."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    WS = "ws"
    WSS = "wss"


_HOST = _text(re.compile(r"[\w.*?\[\]:-]{1,255}"), "a host name, in which * stands for any text")
_Port = Annotated[int, _number(1, 65535)]
_Secret = Annotated[str, BeforeValidator(_secret)]


class _Strict(BaseModel):
    """A mapping whose keys are all known, and whose errors show no value."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )


class RadiusServerKeys(_Strict):
    """An entry of `radius.servers`."""

    address: Annotated[str, BeforeValidator(_address)]
    port: _Port = 1812
    secret: _Secret = Field(repr=False)


class RadiusKeys(_Strict):
    """The keys of `radius`."""

    servers: tuple[RadiusServerKeys, ...]
    attributes: Annotated[RadiusAttributes, _words(RadiusAttributes)] = (
        RadiusAttributes.DRAFT_STERMAN
    )
    timeout: Annotated[float, _seconds(0.1, 10, float)] = 1.0
    tries: Annotated[int, _number(1, 10)] = 2
    dead_time: Annotated[int, _seconds(0, 3600)] = 30

    def value(self) -> RadiusSettings:
        """Return the settings as the external server's room knows them."""
        servers = (RadiusServer(s.address, s.port, s.secret) for s in self.servers)
        return RadiusSettings(
            tuple(servers), self.attributes, self.timeout, self.tries, self.dead_time
        )


class RuleKeys(_Strict):
    """The keys of a classification rule."""

    address: Annotated[
        IPv4Network | IPv6Network, BeforeValidator(_prefix, json_schema_input_type=str)
    ]
    port: _Port | None = None
    transport: Annotated[Transport, _words(Transport)] | None = None
    from_host: Annotated[str, _HOST] | None = None
    request_uri_host: Annotated[str, _HOST] | None = None
    action: Annotated[RuleAction, _words(RuleAction)] = RuleAction.ALLOW

    def value(self) -> ClassificationRule:
        """Return the rule as the IP Groups' room knows it."""
        return ClassificationRule(**dict(self))


class SharedKeys(_Strict):
    """The keys that stand at the top for all IP Groups, and that each may set for itself."""

    realm: Annotated[str, _text(_REALM, "a host name, such as example.com")] | None = None
    auth_nonce_duration: Annotated[int, _seconds(30, 600)] | None = None
    auth_challenge_method: (
        Annotated[ChallengeMethod, _words(ChallengeMethod, {0: "401", 1: "407"})] | None
    ) = None
    auth_qop: Annotated[AuthQop, _words(AuthQop, {0: "auth", 1: "auth-int", 2: "both"})] | None = (
        None
    )
    auth_algorithms: (
        Annotated[
            tuple[Algorithm, ...],
            BeforeValidator(_algorithms, json_schema_input_type=Algorithm | list[Algorithm]),
        ]
        | None
    ) = None
    max_auth_attempts: Annotated[int, _number(1, MAX_ATTEMPTS)] | None = None
    lockout_duration: Annotated[int, _seconds(1, 86400)] | None = None
    max_lockout_duration: Annotated[int, _seconds(1, 86400)] | None = None
    attempt_window: Annotated[int, _seconds(1, 3600)] | None = None
    max_failures_per_source: Annotated[int, _number(0, MAX_FAILURES)] | None = None
    max_failures_per_user: Annotated[int, _number(0, MAX_FAILURES)] | None = None
    trust_duration: Annotated[int, _seconds(60, 2_592_000)] | None = None
    trusted_sources: (
        Annotated[
            tuple[IPv4Network | IPv6Network, ...],
            BeforeValidator(_sources, json_schema_input_type=str | list[str]),
        ]
        | None
    ) = None
    server_auth_mode: (
        Annotated[
            ServerAuthMode,
            _words(ServerAuthMode, {0: "local", 2: "radius"}),
            BeforeValidator(_server_auth_mode, json_schema_input_type=ServerAuthMode | int),
        ]
        | None
    ) = None
    radius: RadiusKeys | None = None
    check_digest_uri: Annotated[CheckDigestURI, _words(CheckDigestURI)] | None = None
    reject_invalid_nonce: Annotated[bool, BeforeValidator(_flag)] | None = None


DEFAULTS = SharedKeys(
    auth_nonce_duration=300,
    auth_challenge_method=ChallengeMethod.WWW,
    auth_qop=AuthQop.AUTH,
    auth_algorithms=[Algorithm.MD5],  # type: ignore[arg-type] # a list, as in the file
    max_auth_attempts=3,
    lockout_duration=60,
    max_lockout_duration=900,
    attempt_window=60,
    max_failures_per_source=30,
    max_failures_per_user=100,
    trust_duration=259_200,
    trusted_sources=[],  # type: ignore[arg-type]
    server_auth_mode=ServerAuthMode.LOCAL,
    check_digest_uri=CheckDigestURI.LENIENT,
    reject_invalid_nonce=False,
)
"""What holds where neither the IP Group nor the top of the file says otherwise."""


class IPGroupKeys(SharedKeys):
    """The keys of an IP Group."""

    name: Annotated[str, _text(_NAME, "a name of 1 to 64 printable characters")]
    type: Annotated[IPGroupType, _words(IPGroupType, {0: "server", 1: "user"})]
    authentication_mode: Annotated[
        AuthenticationMode,
        _words(
            AuthenticationMode, {0: "user-authenticates", 1: "sbc-as-client", 2: "sbc-as-server"}
        ),
    ] = AuthenticationMode.USER_AUTHENTICATES
    authentication_method_list: (
        Annotated[
            tuple[str, ...], BeforeValidator(_methods, json_schema_input_type=str | list[str])
        ]
        | None
    ) = None
    classification: tuple[RuleKeys, ...] = ()
    proxy_set: Annotated[
        tuple[ProxyAddress, ...],
        BeforeValidator(_proxy_set, json_schema_input_type=str | list[str]),
    ] = ()
    username_as_server: _Secret | None = None
    password_as_server: _Secret | None = Field(default=None, repr=False)
    username_as_client: _Secret | None = None
    password_as_client: _Secret | None = Field(default=None, repr=False)
    route_to: str | None = None
    shadow: Annotated[bool, BeforeValidator(_flag)] = False


class FileKeys(SharedKeys):
    """The keys at the top of the file."""

    database: str = "sqlite:///sbcauth.db"
    ha1_key_file: str | None = None
    nonce_key_file: str | None = None
    old_password_memory: Annotated[int, _seconds(0, 2_592_000)] = 604_800
    unclassified_requests: Annotated[UnclassifiedRequests, _words(UnclassifiedRequests)] = (
        UnclassifiedRequests.REJECT
    )
    ip_groups: tuple[IPGroupKeys, ...]


def setting(group: IPGroupKeys, file: FileKeys, name: str) -> Any:
    """Return a setting as it holds for an IP Group: its own, the file's, or the default."""
    for level in (group, file, DEFAULTS):
        value = getattr(level, name)
        if value is not None:
            return value
    return None
