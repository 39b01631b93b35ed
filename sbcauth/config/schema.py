"""The keys of sbcauth.yaml, by where they stand, and what holds where they are not given."""

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sbcauth.config import values
from sbcauth.digest.nonces import LONGEST_DURATION
from sbcauth.digest.response import Algorithm
from sbcauth.http.settings import HttpSettings
from sbcauth.policy.attempt_limit import MAX_ATTEMPTS, MAX_FAILURES
from sbcauth.policy.ip_groups import (
    AtLeast,
    AuthenticationMode,
    AuthQop,
    ChallengeMethod,
    ClassificationRule,
    FromScreening,
    IPGroupType,
    ProxyAddress,
    RuleAction,
    ServerAuthMode,
    UnclassifiedRequests,
    UnlistedWithoutWord,
    UserAgentRule,
    UserSecurityMode,
)
from sbcauth.policy.user_agents import KNOWN, Terms, weakest
from sbcauth.radius.attributes import RadiusAttributes
from sbcauth.radius.settings import RadiusServer, RadiusSettings


class CheckDigestURI(StrEnum):
    """Whether the digest `uri` must be the Request-URI."""

    LENIENT = "lenient"
    STRICT = "strict"


class LogDetail(StrEnum):
    """Which outcomes are written to the log."""

    REFUSALS = "refusals"
    CHANGES = "changes"
    """Refusals, and the first acceptance of a user at a source, and what is reloaded."""
    ALL = "all"


class Transport(StrEnum):
    """A transport of SIP, as Kamailio names it."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    WS = "ws"
    WSS = "wss"


_Port = Annotated[int, values.number(1, 65535)]
_Secret = Annotated[str, BeforeValidator(values.secret)]


class _Strict(BaseModel):
    """A mapping whose keys are all known, and whose errors show no value."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )


class RadiusServerSettings(_Strict):
    """An entry of `radius.servers`."""

    address: Annotated[str, BeforeValidator(values.address)]
    port: _Port = 1812
    secret: _Secret = Field(repr=False)


class RadiusFileSettings(_Strict):
    """The keys of `radius`."""

    servers: tuple[RadiusServerSettings, ...]
    attributes: Annotated[RadiusAttributes, values.words(RadiusAttributes)] = (
        RadiusAttributes.DRAFT_STERMAN
    )
    timeout: Annotated[float, values.seconds(0.1, 10, float)] = 1.0
    tries: Annotated[int, values.number(1, 10)] = 2
    dead_time: Annotated[int, values.seconds(0, 3600)] = 30

    def value(self, _: Path) -> RadiusSettings:
        """Return the settings as the external server's room knows them."""
        servers = (RadiusServer(s.address, s.port, s.secret) for s in self.servers)
        return RadiusSettings(
            tuple(servers), self.attributes, self.timeout, self.tries, self.dead_time
        )


class HttpFileSettings(_Strict):
    """The keys of `http`."""

    urls: Annotated[
        tuple[str, ...],
        BeforeValidator(values.service_urls, json_schema_input_type=str | list[str]),
    ]
    secret: _Secret = Field(repr=False)
    timeout: Annotated[float, values.seconds(0.1, 10, float)] = 1.0
    tries: Annotated[int, values.number(1, 10)] = 2
    dead_time: Annotated[int, values.seconds(0, 3600)] = 30
    ca_file: str | None = None

    def value(self, folder: Path) -> HttpSettings:
        """Return the settings as the external server's room knows them."""
        ca_file = folder / self.ca_file if self.ca_file else None
        return HttpSettings(
            self.urls, self.secret, self.timeout, self.tries, self.dead_time, ca_file
        )


class RuleSettings(_Strict):
    """The keys of a classification rule."""

    address: (
        Annotated[
            IPv4Network | IPv6Network, BeforeValidator(values.prefix, json_schema_input_type=str)
        ]
        | None
    ) = None
    digest_username: _Secret | None = None
    port: _Port | None = None
    transport: Annotated[Transport, values.words(Transport)] | None = None
    from_host: Annotated[str, values.HOST] | None = None
    request_uri_host: Annotated[str, values.HOST] | None = None
    action: Annotated[RuleAction, values.words(RuleAction)] = RuleAction.ALLOW

    def value(self) -> ClassificationRule:
        """Return the rule as the IP Groups' room knows it."""
        return ClassificationRule(
            self.address or ip_network("0.0.0.0/0"),  # which the check has refused
            self.port,
            self.transport,
            self.from_host,
            self.request_uri_host,
            self.action,
        )


class EmergencySettings(_Strict):
    """The keys of `emergency`."""

    numbers: Annotated[
        frozenset[str],
        BeforeValidator(
            values.emergency_numbers, json_schema_input_type=str | int | list[str | int]
        ),
    ]
    route_to: str


_Algorithms = Annotated[
    tuple[Algorithm, ...],
    BeforeValidator(values.algorithms, json_schema_input_type=Algorithm | list[Algorithm]),
]
_Qop = Annotated[AuthQop, values.words(AuthQop, {0: "auth", 1: "auth-int", 2: "both"})]


class UserAgentSettings(_Strict):
    """The keys of a rule of `user_agents`."""

    pattern: Annotated[str, values.USER_AGENT]
    auth_algorithms: _Algorithms | None = None
    auth_qop: _Qop | None = None

    def value(self) -> UserAgentRule:
        """Return the rule as the IP Groups' room knows it."""
        return UserAgentRule(self.pattern, self.auth_algorithms, self.auth_qop)

    def __str__(self) -> str:
        """Return which rule it is."""
        return self.pattern


class AtLeastKeys(_Strict):
    """The keys of `at_least`."""

    algorithm: Annotated[Algorithm, BeforeValidator(values.algorithm)] | None = None
    qop: Annotated[AuthQop, BeforeValidator(values.least_qop)] | None = None


class SharedSettings(_Strict):
    """The keys that stand at the top for all IP Groups, and that each may set for itself."""

    realm: Annotated[str, values.REALM] | None = None
    auth_nonce_duration: Annotated[int, values.seconds(30, LONGEST_DURATION)] | None = None
    auth_challenge_method: (
        Annotated[ChallengeMethod, values.words(ChallengeMethod, {0: "401", 1: "407"})] | None
    ) = None
    auth_qop: _Qop | None = None
    auth_algorithms: _Algorithms | None = None
    user_agents: (
        Annotated[
            tuple[UserAgentSettings, ...],
            BeforeValidator(
                values.user_agents,
                json_schema_input_type=Literal["known"]
                | list[Literal["known"] | UserAgentSettings],
            ),
        ]
        | None
    ) = None
    at_least: AtLeastKeys | None = None
    max_auth_attempts: Annotated[int, values.number(1, MAX_ATTEMPTS)] | None = None
    lockout_duration: Annotated[int, values.seconds(1, 86400)] | None = None
    max_lockout_duration: Annotated[int, values.seconds(1, 86400)] | None = None
    attempt_window: Annotated[int, values.seconds(1, 3600)] | None = None
    max_failures_per_source: Annotated[int, values.number(0, MAX_FAILURES)] | None = None
    max_failures_per_user: Annotated[int, values.number(0, MAX_FAILURES)] | None = None
    trust_duration: Annotated[int, values.seconds(60, 2_592_000)] | None = None
    trusted_sources: (
        Annotated[
            tuple[IPv4Network | IPv6Network, ...],
            BeforeValidator(values.sources, json_schema_input_type=str | list[str]),
        ]
        | None
    ) = None
    server_auth_mode: (
        Annotated[
            ServerAuthMode,
            values.words(ServerAuthMode, {0: "local", 2: "radius"}),
            BeforeValidator(values.server_auth_mode, json_schema_input_type=ServerAuthMode | int),
        ]
        | None
    ) = None
    radius: RadiusFileSettings | None = None
    http: HttpFileSettings | None = None
    check_digest_uri: Annotated[CheckDigestURI, values.words(CheckDigestURI)] | None = None
    reject_invalid_nonce: Annotated[bool, BeforeValidator(values.flag)] | None = None
    user_security_mode: (
        Annotated[
            UserSecurityMode,
            values.words(
                UserSecurityMode,
                {
                    0: "accept-all",
                    1: "accept-registered-users",
                    2: "accept-registered-users-from-same-source",
                },
            ),
        ]
        | None
    ) = None
    unlisted_without_word: (
        Annotated[UnlistedWithoutWord, values.words(UnlistedWithoutWord)] | None
    ) = None
    from_screening: (
        Annotated[
            FromScreening,
            values.words(FromScreening),
            BeforeValidator(values.off, json_schema_input_type=FromScreening | bool),
        ]
        | None
    ) = None
    max_contacts: Annotated[int, values.number(1, 50)] | None = None
    emergency: EmergencySettings | None = None


DEFAULTS = SharedSettings(
    auth_nonce_duration=300,
    auth_challenge_method=ChallengeMethod.WWW,
    auth_qop=AuthQop.AUTH,
    auth_algorithms=[Algorithm.MD5],  # type: ignore[arg-type] # a list, as in the file
    user_agents=["known"],  # type: ignore[arg-type]
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
    user_security_mode=UserSecurityMode.ACCEPT_REGISTERED_USERS_FROM_SAME_SOURCE,
    unlisted_without_word=UnlistedWithoutWord.REJECT,
    from_screening=FromScreening.IDENTITIES,
    max_contacts=10,
)
"""What holds where neither the IP Group nor the top of the file says otherwise."""


class IPGroupSettings(SharedSettings):
    """The keys of an IP Group."""

    name: Annotated[str, values.NAME]
    type: Annotated[IPGroupType, values.words(IPGroupType, {0: "server", 1: "user"})]
    authentication_mode: Annotated[
        AuthenticationMode,
        values.words(
            AuthenticationMode, {0: "user-authenticates", 1: "sbc-as-client", 2: "sbc-as-server"}
        ),
    ] = AuthenticationMode.USER_AUTHENTICATES
    authentication_method_list: (
        Annotated[
            tuple[str, ...],
            BeforeValidator(values.methods, json_schema_input_type=str | list[str]),
        ]
        | None
    ) = None
    classification: tuple[RuleSettings, ...] = ()
    proxy_set: Annotated[
        tuple[ProxyAddress, ...],
        BeforeValidator(values.proxy_set, json_schema_input_type=str | list[str]),
    ] = ()
    username_as_server: _Secret | None = None
    password_as_server: _Secret | None = Field(default=None, repr=False)
    identities: Annotated[
        tuple[str, ...], BeforeValidator(values.identities, json_schema_input_type=str | list[str])
    ] = ()
    username_as_client: _Secret | None = None
    password_as_client: _Secret | None = Field(default=None, repr=False)
    route_to: str | None = None
    shadow: Annotated[bool, BeforeValidator(values.flag)] = False
    max_registered_users: Annotated[int, values.number(1, 1_000_000)] | None = None
    reaches: Annotated[
        tuple[str, ...], BeforeValidator(values.names, json_schema_input_type=str | list[str])
    ] = ()
    edge_proxies: Annotated[
        tuple[IPv4Network | IPv6Network, ...],
        BeforeValidator(values.networks, json_schema_input_type=str | list[str]),
    ] = ()
    trusted_identity: Annotated[bool, BeforeValidator(values.flag)] = True
    client_realms: (
        Annotated[
            tuple[str, ...], BeforeValidator(values.realms, json_schema_input_type=str | list[str])
        ]
        | None
    ) = None


class FileSettings(SharedSettings):
    """The keys at the top of the file."""

    database: str = "sqlite:///sbcauth.db"
    ha1_key_file: str | None = None
    nonce_key_file: str | None = None
    old_password_memory: Annotated[int, values.seconds(0, 2_592_000)] = 604_800
    unclassified_requests: Annotated[UnclassifiedRequests, values.words(UnclassifiedRequests)] = (
        UnclassifiedRequests.REJECT
    )
    websocket_origins: Annotated[
        tuple[str, ...],
        BeforeValidator(values.origins, json_schema_input_type=str | list[str]),
    ] = ()
    unproved_connection_lifetime: Annotated[int, values.seconds(5, 300)] = 30
    log: Annotated[LogDetail, values.words(LogDetail)] = LogDetail.CHANGES
    log_to: Annotated[str, BeforeValidator(values.log_to, json_schema_input_type=str)] = (
        values.LOG_TO_AUTO
    )
    ip_groups: tuple[IPGroupSettings, ...]


def setting(group: IPGroupSettings, file: FileSettings, name: str) -> Any:
    """Return a setting as it holds for an IP Group: its own, the file's, or the default."""
    for level in (group, file, DEFAULTS):
        value = getattr(level, name)
        if value is not None:
            return value
    return None


def client_realms(group: IPGroupSettings) -> tuple[str, ...] | None:
    """Return the realms in which the client pair of an IP Group answers; None for any.

    Without `client_realms` it is the IP Group's own realm, where it has one.
    """
    if group.client_realms is not None:
        return group.client_realms
    return (group.realm,) if group.realm and group.username_as_client else None


_KNOWN = UserAgentSettings(pattern="known")
"""The word that stands for the rules that come with the program."""


def user_agents(group: IPGroupSettings, file: FileSettings) -> tuple[UserAgentRule, ...]:
    """Return the rules for User-Agents of an IP Group; `known` stands for those that we ship."""
    rules: list[UserAgentRule] = []
    for item in setting(group, file, "user_agents"):
        rules += KNOWN if item == _KNOWN else [item.value()]
    return tuple(rules)


def at_least(group: IPGroupSettings, file: FileSettings) -> AtLeast:
    """Return the weakest that an IP Group offers: of what is not said, that of its own offer."""
    own = weakest(Terms(setting(group, file, "auth_algorithms"), setting(group, file, "auth_qop")))
    levels = [keys.at_least for keys in (group, file) if keys.at_least]
    algorithms = [level.algorithm for level in levels if level.algorithm]
    qops = [level.qop for level in levels if level.qop]
    return AtLeast((*algorithms, own.algorithm)[0], (*qops, own.qop)[0])


def digest_username(group: IPGroupSettings) -> str:
    """Return the digest user name that an IP Group is known by; empty for none."""
    return next((rule.digest_username for rule in group.classification if rule.digest_username), "")
