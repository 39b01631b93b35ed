"""The mappings that stand within sbcauth.yaml: rules, and what stands under one key."""

from dataclasses import MISSING, fields
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from sbcauth.config import host_values, sip_values, values
from sbcauth.digest.algorithms import Algorithm
from sbcauth.policy.ip_groups import AuthQop, ClassificationRule, RuleAction, UserAgentRule


def defaults(value_class: Any) -> dict[str, Any]:
    """Return the defaults of a dataclass, by name: those of settings are declared there alone."""
    return {each.name: each.default for each in fields(value_class) if each.default is not MISSING}


class Transport(StrEnum):
    """A transport of SIP, as Kamailio names it."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    WS = "ws"
    WSS = "wss"


Port = Annotated[int, values.number(1, 65535)]
Secret = Annotated[str, BeforeValidator(values.secret)]


class Strict(BaseModel):
    """A mapping whose keys are all known, and whose errors show no value."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )


class RuleSettings(Strict):
    """The keys of a classification rule."""

    address: (
        Annotated[
            IPv4Network | IPv6Network,
            BeforeValidator(host_values.prefix, json_schema_input_type=str),
        ]
        | None
    ) = None
    digest_username: Secret | None = None
    port: Port | None = None
    transport: Annotated[Transport, values.words(Transport)] | None = None
    from_host: Annotated[str, values.HOST] | None = None
    request_uri_host: Annotated[str, values.HOST] | None = None
    action: Annotated[RuleAction, values.words(RuleAction)] = defaults(ClassificationRule)["action"]

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


class EmergencySettings(Strict):
    """The keys of `emergency`."""

    numbers: Annotated[
        frozenset[str],
        BeforeValidator(
            sip_values.emergency_numbers, json_schema_input_type=str | int | list[str | int]
        ),
    ]
    route_to: str


Algorithms = Annotated[
    tuple[Algorithm, ...],
    BeforeValidator(sip_values.algorithms, json_schema_input_type=Algorithm | list[Algorithm]),
]
Qop = Annotated[AuthQop, values.words(AuthQop, {0: "auth", 1: "auth-int", 2: "both"})]


class UserAgentSettings(Strict):
    """The keys of a rule of `user_agents`."""

    pattern: Annotated[str, values.USER_AGENT]
    auth_algorithms: Algorithms | None = None
    auth_qop: Qop | None = None

    def value(self) -> UserAgentRule:
        """Return the rule as the IP Groups' room knows it."""
        return UserAgentRule(self.pattern, self.auth_algorithms, self.auth_qop)

    def __str__(self) -> str:
        """Return which rule it is."""
        return self.pattern


class AtLeastSettings(Strict):
    """The keys of `at_least`."""

    algorithm: Annotated[Algorithm, BeforeValidator(sip_values.algorithm)] | None = None
    qop: Annotated[AuthQop, BeforeValidator(sip_values.least_qop)] | None = None
