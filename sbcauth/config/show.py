"""What is in force for each IP Group, in the words of sbcauth.yaml, and its JSON Schema.

A setting is shown as it is named and typed; only what stands in another form in the file is said
here. So a new setting needs no line of its own.
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from sbcauth.cluster.engine_settings import EnginePlace
from sbcauth.cluster.settings import ClusterSettings, NodeAddress
from sbcauth.config.load import Config
from sbcauth.config.schema import DEFAULTS, FileSettings, IPGroupSettings, SharedSettings
from sbcauth.policy.ip_groups import IPGroup, IPGroupType, ProxyAddress
from sbcauth.policy.user_agents import floor_of, rules_in_force
from sbcauth.users.database_url import without_password

Hide = Callable[[str], str]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OF_FILE = FileSettings.model_fields.keys() - SharedSettings.model_fields.keys()
_OF_GROUP = [
    *(name for name in IPGroupSettings.model_fields if name not in SharedSettings.model_fields),
    *SharedSettings.model_fields,
]
_OF_TYPE = {
    IPGroupType.USER: {
        *("user_security_mode", "unlisted_without_word", "from_screening", "edge_proxies"),
        *("identities", "max_registered_users"),
    },
    IPGroupType.SERVER: {"trusted_identity"},
}
"""What has no effect in IP Groups of another type."""
_SHOWN_UNSET = {
    *("route_to", "shadow", "reject_invalid_nonce", "trusted_identity", "max_failures_per_source"),
    *("max_failures_per_user", "proxy_set", "classification", "authentication_method_list"),
    *("user_agents", "trusted_sources", "edge_proxies"),
}
"""What is shown although it is off or empty, since that says something."""


def _mask(_: str) -> str:
    return "********"


def effective(config: Config, hide: Hide = _mask) -> dict[str, Any]:
    """Return what is in force for each IP Group, in the words of the file.

    `hide` returns what is shown in the place of a secret.
    """
    names = [name for name in FileSettings.model_fields if name in _OF_FILE]
    shown = {name: _plain(getattr(config, name), hide) for name in names if name != "ip_groups"}
    if config.cluster is None:
        del shown["cluster"]
    if config.database_copy is None:
        del shown["database_copy"]
    shown["database"] = without_password(config.database, hide)
    return {**shown, "ip_groups": [_group(group, hide) for group in config.ip_groups]}


def _group(group: IPGroup, hide: Hide) -> dict[str, Any]:
    """Return what is in force for an IP Group, without what has no effect in its type."""
    limit, asked = group.attempt_limit, group.external_server
    rules = [_plain(rule, hide) for rule in group.classification]
    if group.digest_username:
        rules.append({"digest_username": group.digest_username})
    in_force = {
        **{each.name: getattr(group, each.name) for each in fields(group)},
        **{each.name: getattr(limit, each.name) for each in fields(limit)},
        "authentication_method_list": sorted(group.methods) + ["setup-invite"] * group.setup_invite,
        "classification": rules,
        "user_agents": [
            {"pattern": pattern, "auth_algorithms": terms.algorithms, "auth_qop": terms.qop}
            for pattern, terms in rules_in_force(group)
        ],
        "at_least": floor_of(group),
        **{str(group.server_auth_mode): asked},
    }
    other = {name for kind, names in _OF_TYPE.items() if kind is not group.type for name in names}
    shown_unset = _SHOWN_UNSET | ({"reaches"} if group.type is IPGroupType.USER else set())
    return {
        name: hide(in_force[name]) if name in SECRETS else _plain(in_force[name], hide)
        for name in _OF_GROUP
        if name in in_force and name not in other and (in_force[name] or name in shown_unset)
    }


SECRETS = {
    *("password_as_server", "password_as_client", "secret"),
    *("engine_password", "sentinel_password"),
}
"""What is shown of these is what `hide` makes of it, wherever they are."""


def _plain(value: Any, hide: Hide) -> Any:
    """Return a value as it stands in the file."""
    match value:
        case ClusterSettings():
            own = {each.name: getattr(value, each.name) for each in fields(value)}
            engine = own.pop("engine")
            shown = {name: _plain(each, hide) for name, each in own.items() if each is not None}
            return {**shown, **(_plain(engine, hide) if engine else {})}
        case EnginePlace():
            return str(value)
        case None | bool() | int() | float():
            return value
        case ProxyAddress() | NodeAddress():
            return value.uri
        case dict():
            return {key: _plain(each, hide) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each, hide) for each in value]
        case frozenset():
            return sorted(value)
    if not is_dataclass(value):
        return str(value)
    given = {each.name: getattr(value, each.name) for each in fields(value)}
    return {
        name: hide(each) if name in SECRETS else _plain(each, hide)
        for name, each in given.items()
        if each is not None or name in ("ca_file", "engine_ca_file")
    }


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors, with the defaults of all IP Groups."""
    schema = {"$schema": _DIALECT, **FileSettings.model_json_schema()}
    for name in SharedSettings.model_fields:
        value = getattr(DEFAULTS, name)
        default = ["known"] if name == "user_agents" else _plain(value, _mask)
        schema["properties"][name]["default"] = default
    return schema
