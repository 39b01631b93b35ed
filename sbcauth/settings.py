"""The keys of sbcauth.yaml: what each may be, in words and in the box's numbers.

Every validator raises ValueError with words that follow the key: "5 is not within 30..600".
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from sbcauth.attempts import MAX_ATTEMPTS
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
_SECRET = re.compile(r"\$\{(env|file):([^}]+)\}")
_SIP_URI = re.compile(
    r"sips?:(?:[^@]+@)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::(\d{1,5}))?(;[^\s<>?]*)?",
    re.IGNORECASE,
)


def _words(kind: type[StrEnum], numbers: Mapping[int, str] | None = None) -> BeforeValidator:
    """Accept the members of `kind` in any case, and the box's numbers for them."""

    def parse(value: Any) -> StrEnum:
        word = numbers.get(value, value) if numbers and type(value) is int else value
        try:
            return kind(str(word).lower())
        except ValueError:
            hint = " (YAML reads yes, no, on and off as such: use quotes)"
            raise ValueError(
                f"{value!r} is not one of {', '.join(kind)}{hint * isinstance(value, bool)}"
            ) from None

    return BeforeValidator(parse)


def _number(lowest: int, highest: int) -> BeforeValidator:
    def parse(value: Any) -> int:
        if type(value) is not int:
            raise ValueError(f"{value!r} is not a whole number within {lowest}..{highest}")
        if not lowest <= value <= highest:
            raise ValueError(f"{value} is not within {lowest}..{highest}")
        return value

    return BeforeValidator(parse)


def _seconds(lowest: float, highest: float, kind: Callable[[float], Any] = int) -> BeforeValidator:
    def parse(value: Any) -> Any:
        match = None if isinstance(value, bool) else _DURATION.fullmatch(str(value).strip())
        if match is None:
            raise ValueError(f"{value!r} is not a time such as 300, 300s or 5m")
        seconds = float(match[1]) * _UNITS[match[2]]
        if not lowest <= seconds <= highest:
            raise ValueError(f"{value} is not within {lowest}..{highest} seconds")
        if kind is int and seconds != int(seconds):
            raise ValueError(f"{value} is not a whole number of seconds")
        return kind(seconds)

    return BeforeValidator(parse)


def _text(pattern: re.Pattern[str], wanted: str) -> BeforeValidator:
    def parse(value: Any) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        raise ValueError(f"{value!r} is not {wanted}")

    return BeforeValidator(parse)


def _secret(value: Any, info: ValidationInfo) -> str:
    """Return a secret, fetched where it says `${env:NAME}` or `${file:PATH}`.

    A complaint never shows the value.
    """
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError("must be text (put digits in quotes)")
    if isinstance(value, int):
        raise ValueError("is a number to YAML: put it in quotes")
    context: Mapping[str, Any] = info.context or {}

    def fetch(match: re.Match[str]) -> str:
        kind, name = match.groups()
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
    if not text or any(character < " " for character in text):
        raise ValueError("is empty, or has control characters")
    return text


def _methods(value: Any) -> tuple[str, ...]:
    r"""Return method names in upper case, and `setup-invite`; the box's `INVITE\REGISTER` too."""
    items = re.split(r"[\\/,\s]+", value) if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ValueError("must be a list of SIP methods, such as [REGISTER, INVITE]")
    methods = []
    for item in items:
        if not isinstance(item, str) or not _TOKEN.fullmatch(item):
            if item == "":
                continue
            raise ValueError(f"{item!r} is no SIP method")
        methods.append("setup-invite" if item.lower() == "setup-invite" else item.upper())
    return tuple(methods)


def _algorithms(value: Any) -> tuple[Algorithm, ...]:
    allowed = ", ".join(Algorithm)
    items = value if isinstance(value, list) else [value]
    if not items:
        raise ValueError(f"needs at least one of {allowed}")
    try:
        algorithms = tuple(Algorithm(str(item).upper()) for item in items)
    except ValueError:
        raise ValueError(f"{value!r} is not a list of {allowed}") from None
    if len(set(algorithms)) != len(algorithms):
        raise ValueError("names an algorithm twice")
    return algorithms


def _prefix(value: Any) -> IPv4Network | IPv6Network:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not an address or prefix, such as 192.0.2.0/24")
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not an address or prefix, such as 192.0.2.0/24") from None
    raise ValueError(f"{value} has host bits set; the prefix is {network}")


def _address(value: Any) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv4 or IPv6 address") from None


def _proxy_set(value: Any) -> tuple[ProxyAddress, ...]:
    items = value if isinstance(value, list) else [value]
    servers = []
    for uri in items:
        match = _SIP_URI.fullmatch(uri) if isinstance(uri, str) else None
        if match is None:
            raise ValueError(f"{uri!r} is not a SIP URI, such as sip:192.0.2.1:5060;transport=tcp")
        port = int(match[2]) if match[2] else None
        if port is not None and not 0 < port < 65536:
            raise ValueError(f"{uri!r}: {port} is not within 1..65535")
        servers.append(ProxyAddress(uri, match[1].strip("[]"), port))
    return tuple(servers)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is not one of true, false")


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
    secret: _Secret


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

    address: Annotated[IPv4Network | IPv6Network, BeforeValidator(_prefix)]
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

    realm: (
        Annotated[str, _text(_REALM, "a host name, such as example.com")] | None
    ) = None
    auth_nonce_duration: Annotated[int, _seconds(30, 600)] | None = None
    auth_challenge_method: (
        Annotated[ChallengeMethod, _words(ChallengeMethod, {0: "401", 1: "407"})] | None
    ) = None
    auth_qop: Annotated[AuthQop, _words(AuthQop, {0: "auth", 1: "auth-int", 2: "both"})] | None = (
        None
    )
    auth_algorithms: Annotated[tuple[Algorithm, ...], BeforeValidator(_algorithms)] | None = None
    max_auth_attempts: Annotated[int, _number(1, MAX_ATTEMPTS)] | None = None
    lockout_duration: Annotated[int, _seconds(1, 86400)] | None = None
    attempt_window: Annotated[int, _seconds(1, 3600)] | None = None
    server_auth_mode: (
        Annotated[ServerAuthMode, _words(ServerAuthMode, {0: "local", 2: "radius"})] | None
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
    attempt_window=60,
    server_auth_mode=ServerAuthMode.LOCAL,
    check_digest_uri=CheckDigestURI.LENIENT,
    reject_invalid_nonce=False,
)
"""What holds where neither the IP Group nor the top of the file says otherwise."""


class IPGroupKeys(SharedKeys):
    """The keys of an IP Group."""

    name: Annotated[
        str, _text(re.compile(r"[^\x00-\x1f\x7f]{1,64}"), "a name of 1 to 64 characters")
    ]
    type: Annotated[IPGroupType, _words(IPGroupType, {0: "server", 1: "user"})]
    authentication_mode: Annotated[
        AuthenticationMode,
        _words(
            AuthenticationMode, {0: "user-authenticates", 1: "sbc-as-client", 2: "sbc-as-server"}
        ),
    ] = AuthenticationMode.USER_AUTHENTICATES
    authentication_method_list: Annotated[tuple[str, ...], BeforeValidator(_methods)] | None = None
    classification: tuple[RuleKeys, ...] = ()
    proxy_set: Annotated[tuple[ProxyAddress, ...], BeforeValidator(_proxy_set)] = ()
    username_as_server: _Secret | None = None
    password_as_server: _Secret | None = None
    username_as_client: _Secret | None = None
    password_as_client: _Secret | None = None
    route_to: str | None = None


class FileKeys(SharedKeys):
    """The keys at the top of the file."""

    database: str = "sqlite:///sbcauth.db"
    nonce_key_file: str | None = None
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
