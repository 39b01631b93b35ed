"""The keys of sbcauth.yaml: those of the file, of an IP Group, and those that both may have.

What a key is by default stands where its value is used: in IPGroup and AttemptLimit of policy/.
"""

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from sbcauth.config import host_values, sip_values, values
from sbcauth.config.cluster import ClusterFileSettings
from sbcauth.config.external_servers import HttpFileSettings, RadiusFileSettings
from sbcauth.config.mappings import (
    Algorithms,
    AtLeastSettings,
    EmergencySettings,
    Qop,
    RuleSettings,
    Secret,
    Strict,
    UserAgentSettings,
    defaults,
)
from sbcauth.digest.nonces import LONGEST_DURATION
from sbcauth.policy.attempt_limit import MAX_ATTEMPTS, MAX_FAILURES, AttemptLimit
from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    ChallengeMethod,
    CheckDigestURI,
    FromScreening,
    IPGroup,
    IPGroupType,
    ProxyAddress,
    ServerAuthMode,
    UnclassifiedRequests,
    UnlistedWithoutWord,
    UserSecurityMode,
)


class LogDetail(StrEnum):
    """Which outcomes are written to the log."""

    REFUSALS = "refusals"
    CHANGES = "changes"
    """Refusals, and the first acceptance of a user at a source, and what is reloaded."""
    ALL = "all"


class SharedSettings(Strict):
    """The keys that stand at the top for all IP Groups, and that each may set for itself."""

    realm: Annotated[str, values.REALM] | None = None
    auth_nonce_duration: Annotated[int, values.seconds(30, LONGEST_DURATION)] | None = None
    auth_challenge_method: (
        Annotated[ChallengeMethod, values.words(ChallengeMethod, {0: "401", 1: "407"})] | None
    ) = None
    auth_qop: Qop | None = None
    auth_algorithms: Algorithms | None = None
    user_agents: (
        Annotated[
            tuple[UserAgentSettings, ...],
            BeforeValidator(
                sip_values.user_agents,
                json_schema_input_type=Literal["known"]
                | list[Literal["known"] | UserAgentSettings],
            ),
        ]
        | None
    ) = None
    at_least: AtLeastSettings | None = None
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
            BeforeValidator(host_values.sources, json_schema_input_type=str | list[str]),
        ]
        | None
    ) = None
    server_auth_mode: (
        Annotated[
            ServerAuthMode,
            values.words(ServerAuthMode, {0: "local", 2: "radius"}),
            BeforeValidator(
                sip_values.server_auth_mode, json_schema_input_type=ServerAuthMode | int
            ),
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


DEFAULTS = SharedSettings.model_construct(
    **{
        name: value
        for name, value in (defaults(IPGroup) | defaults(AttemptLimit)).items()
        if name in SharedSettings.model_fields
    }
    | {"user_agents": (UserAgentSettings(pattern="known"),)},
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
    ] = defaults(IPGroup)["authentication_mode"]
    authentication_method_list: (
        Annotated[
            tuple[str, ...],
            BeforeValidator(sip_values.methods, json_schema_input_type=str | list[str]),
        ]
        | None
    ) = None
    classification: tuple[RuleSettings, ...] = ()
    proxy_set: Annotated[
        tuple[ProxyAddress, ...],
        BeforeValidator(host_values.proxy_set, json_schema_input_type=str | list[str]),
    ] = ()
    username_as_server: Secret | None = None
    password_as_server: Secret | None = Field(default=None, repr=False)
    identities: Annotated[
        tuple[str, ...],
        BeforeValidator(sip_values.identities, json_schema_input_type=str | list[str]),
    ] = ()
    username_as_client: Secret | None = None
    password_as_client: Secret | None = Field(default=None, repr=False)
    route_to: str | None = None
    shadow: Annotated[bool, BeforeValidator(values.flag)] = defaults(IPGroup)["shadow"]
    max_registered_users: Annotated[int, values.number(1, 1_000_000)] | None = None
    reaches: Annotated[
        tuple[str, ...], BeforeValidator(values.names, json_schema_input_type=str | list[str])
    ] = ()
    edge_proxies: Annotated[
        tuple[IPv4Network | IPv6Network, ...],
        BeforeValidator(host_values.networks, json_schema_input_type=str | list[str]),
    ] = ()
    trusted_identity: Annotated[bool, BeforeValidator(values.flag)] = defaults(IPGroup)[
        "trusted_identity"
    ]
    client_realms: (
        Annotated[
            tuple[str, ...],
            BeforeValidator(sip_values.realms, json_schema_input_type=str | list[str]),
        ]
        | None
    ) = None


class FileSettings(SharedSettings):
    """The keys at the top of the file."""

    database: Annotated[str, BeforeValidator(values.database, json_schema_input_type=str)] = (
        "sqlite:///sbcauth.db"
    )
    database_copy: str | None = None
    ha1_key_file: str | None = None
    nonce_key_file: str | None = None
    cluster: ClusterFileSettings | None = None
    old_password_memory: Annotated[int, values.seconds(0, 2_592_000)] = 604_800
    unclassified_requests: Annotated[UnclassifiedRequests, values.words(UnclassifiedRequests)] = (
        UnclassifiedRequests.REJECT
    )
    websocket_origins: Annotated[
        tuple[str, ...],
        BeforeValidator(host_values.origins, json_schema_input_type=str | list[str]),
    ] = ()
    unproved_connection_lifetime: Annotated[int, values.seconds(5, 300)] = 30
    log: Annotated[LogDetail, values.words(LogDetail)] = LogDetail.CHANGES
    log_to: Annotated[str, BeforeValidator(values.log_to, json_schema_input_type=str)] = (
        values.LOG_TO_AUTO
    )
    ip_groups: tuple[IPGroupSettings, ...]
