"""What is in force for each IP Group, in the words of sbcauth.yaml, and its JSON Schema."""

from collections.abc import Callable, Iterator
from typing import Any

from sbcauth.cluster.settings import ClusterSettings
from sbcauth.config.load import Config
from sbcauth.config.schema import FileSettings
from sbcauth.http.settings import HttpSettings
from sbcauth.policy.ip_groups import IPGroup, IPGroupType
from sbcauth.policy.user_agents import floor_of, rules_in_force
from sbcauth.radius.settings import RadiusSettings

Hide = Callable[[str], str]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _mask(_: str) -> str:
    return "********"


def effective(config: Config, hide: Hide = _mask) -> dict[str, Any]:
    """Return what is in force for each IP Group, in the words of the file.

    `hide` returns what is shown in the place of a secret.
    """
    values = {
        "database": config.database,
        "ha1_key_file": str(config.ha1_key_file),
        "nonce_key_file": str(config.nonce_key_file),
        "old_password_memory": config.old_password_memory,
        "unclassified_requests": str(config.unclassified_requests),
        "websocket_origins": list(config.websocket_origins),
        "unproved_connection_lifetime": config.unproved_connection_lifetime,
        "log": str(config.log),
        "log_to": config.log_to,
        "ip_groups": [_effective(group, hide) for group in config.ip_groups],
    }
    if config.cluster:
        values["cluster"] = _cluster(config.cluster)
    return values


def _cluster(cluster: ClusterSettings) -> dict[str, Any]:
    values: dict[str, Any] = {"node": cluster.node}
    if cluster.address:
        values |= {
            "address": cluster.address.uri,
            "peers": [peer.uri for peer in cluster.peers],
        }
    return values


def _effective(group: IPGroup, hide: Hide) -> dict[str, Any]:
    methods = sorted(group.methods) + ["setup-invite"] * group.setup_invite
    values: dict[str, Any] = {
        "name": group.name,
        "type": str(group.type),
        "realm": group.realm,
        "authentication_mode": str(group.authentication_mode),
        "authentication_method_list": methods,
        "classification": [
            {
                key: value if isinstance(value, int) else str(value)
                for key, value in _fields(rule)
                if value is not None
            }
            for rule in group.classification
        ]
        + [{"digest_username": group.digest_username}] * bool(group.digest_username),
        "proxy_set": [server.uri for server in group.proxy_set],
        "route_to": group.route_to,
        "shadow": group.shadow,
        "server_auth_mode": str(group.server_auth_mode),
        "auth_nonce_duration": group.auth_nonce_duration,
        "auth_challenge_method": str(group.auth_challenge_method),
        "auth_qop": str(group.auth_qop),
        "auth_algorithms": [str(algorithm) for algorithm in group.auth_algorithms],
        "user_agents": [
            {
                "pattern": pattern,
                "auth_algorithms": [str(each) for each in terms.algorithms],
                "auth_qop": str(terms.qop),
            }
            for pattern, terms in rules_in_force(group)
        ],
        "at_least": {key: str(value) for key, value in _fields(floor_of(group))},
        "max_auth_attempts": group.attempt_limit.max_attempts,
        "lockout_duration": group.attempt_limit.lockout_duration,
        "max_lockout_duration": group.attempt_limit.max_lockout_duration,
        "attempt_window": group.attempt_limit.window,
        "max_failures_per_source": group.attempt_limit.max_failures_per_source,
        "max_failures_per_user": group.attempt_limit.max_failures_per_user,
        "trust_duration": group.attempt_limit.trust_duration,
        "trusted_sources": [str(prefix) for prefix in group.attempt_limit.trusted_sources],
        "check_digest_uri": "strict" if group.check_digest_uri else "lenient",
        "reject_invalid_nonce": group.reject_invalid_nonce,
        "max_contacts": group.max_contacts,
    }
    if group.type is IPGroupType.USER:
        values |= {
            "user_security_mode": str(group.user_security_mode),
            "unlisted_without_word": str(group.unlisted_without_word),
            "from_screening": str(group.from_screening),
            "reaches": list(group.reaches),
            "edge_proxies": [str(prefix) for prefix in group.edge_proxies],
        }
        if group.identities:
            values["identities"] = list(group.identities)
        if group.max_registered_users:
            values["max_registered_users"] = group.max_registered_users
    else:
        values["trusted_identity"] = group.trusted_identity
        if group.reaches:
            values["reaches"] = list(group.reaches)
    if group.client_realms:
        values["client_realms"] = list(group.client_realms)
    if group.emergency:
        values["emergency"] = {
            "numbers": sorted(group.emergency.numbers),
            "route_to": group.emergency.route_to,
        }
    for side in ("server", "client"):
        username = getattr(group, f"username_as_{side}")
        if username:
            values[f"username_as_{side}"] = username
            values[f"password_as_{side}"] = hide(getattr(group, f"password_as_{side}"))
    asked = group.external_server
    if isinstance(asked, HttpSettings):
        values["http"] = {
            "urls": list(asked.urls),
            "secret": hide(asked.secret),
            "timeout": asked.timeout,
            "tries": asked.tries,
            "dead_time": asked.dead_time,
            "ca_file": str(asked.ca_file) if asked.ca_file else None,
        }
    if isinstance(asked, RadiusSettings):
        values["radius"] = {
            "servers": [
                {"address": s.address, "port": s.port, "secret": hide(s.secret)}
                for s in asked.servers
            ],
            "attributes": str(asked.attributes),
            "timeout": asked.timeout,
            "tries": asked.tries,
            "dead_time": asked.dead_time,
        }
    return values


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(value, name)) for name in value.__slots__)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    return {"$schema": _DIALECT, **FileSettings.model_json_schema()}
