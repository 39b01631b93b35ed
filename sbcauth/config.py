"""sbcauth.yaml: from text to frozen values, with every mistake named at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from sbcauth import yaml_source
from sbcauth.attempts import AttemptLimit
from sbcauth.config_check import check
from sbcauth.database import sqlite_path
from sbcauth.exceptions import Complaint, ConfigError
from sbcauth.ip_groups import (
    IPGroup,
    UnclassifiedRequests,
)
from sbcauth.settings import (
    CheckDigestURI,
    FileKeys,
    IPGroupKeys,
    RadiusKeys,
    RadiusServerKeys,
    RuleKeys,
    setting,
)
from sbcauth.yaml_source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration. `database` is a URL; `warnings` are what may be a mistake."""

    file: Path
    database: str
    nonce_key_file: Path
    unclassified_requests: UnclassifiedRequests
    ip_groups: tuple[IPGroup, ...]
    warnings: tuple[Complaint, ...]


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Return the configuration in the file `path`; `${env:…}` is taken from `environment`.

    Raises ConfigError with a complaint for every mistake.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise ConfigError([Complaint(str(path), 1, 1, "", reason)]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Complaint(str(path), 1, 1, "", "is not UTF-8")]) from error
    source = yaml_source.read(str(path), text)
    folder = path.resolve().parent
    keys = _validate(source, {"environment": environment, "folder": folder})
    findings = list(check(keys))
    errors = [source.complaint(where, what) for where, what, fatal in findings if fatal]
    if errors:
        raise ConfigError(sorted(errors))
    database = _absolute(keys.database, folder, source)
    key_file = keys.nonce_key_file or sqlite_path(database).with_name("sbcauth.keys")
    return Config(
        file=path.resolve(),
        database=database,
        nonce_key_file=folder / key_file,
        unclassified_requests=keys.unclassified_requests,
        ip_groups=tuple(_ip_group(group, keys) for group in keys.ip_groups),
        warnings=tuple(source.complaint(where, what) for where, what, _ in findings),
    )


def _validate(source: Source, context: Mapping[str, Any]) -> FileKeys:
    if not isinstance(source.value, dict):
        raise ConfigError([source.complaint((), "must be a mapping of keys to values")])
    try:
        return FileKeys.model_validate(source.value, context=dict(context))
    except ValidationError as invalid:
        details = invalid.errors(include_url=False, include_input=False)
        raise ConfigError(sorted({_complaint(source, dict(d)) for d in details})) from None


def _complaint(source: Source, detail: dict[str, Any]) -> Complaint:
    """Put one of pydantic's errors into our words, at its place in the file."""
    path = _path(detail["loc"])
    match detail["type"]:
        case "extra_forbidden":
            key = str(path[-1])
            hint = _nearest(key, _known_keys(path[:-1]))
            return source.complaint(path, f"unknown key '{key}'{hint}", at_key=True)
        case "missing":
            return source.complaint(path, "is required")
        case "value_error":
            return source.complaint(path, str(detail["ctx"]["error"]))
        case "tuple_type":
            return source.complaint(path, "must be a list")
        case "model_type" | "model_attributes_type":
            return source.complaint(path, "must be a mapping of keys to values")
        case _:
            return source.complaint(path, f"must be {detail['type'].removesuffix('_type')}")


def _path(location: Sequence[str | int]) -> yaml_source.Path:
    """Return pydantic's location without the names it gives to the members of a union."""
    known = {key for model in _MODELS.values() for key in model.model_fields}
    last = len(location) - 1
    return tuple(
        part
        for place, part in enumerate(location)
        if isinstance(part, int) or part in known or (place == last and "[" not in part)
    )


_MODELS: dict[str, type[BaseModel]] = {
    "": FileKeys,
    "ip_groups": IPGroupKeys,
    "classification": RuleKeys,
    "radius": RadiusKeys,
    "servers": RadiusServerKeys,
}


def _known_keys(path: yaml_source.Path) -> list[str]:
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    return list(_MODELS.get(name, FileKeys).model_fields)


def _nearest(key: str, known: list[str]) -> str:
    """Return a hint at the known key that was meant, maybe in an abbreviation of it."""

    def unlikeliness(candidate: str) -> tuple[bool, bool]:
        letters = iter(candidate)
        abbreviated = all(letter in letters for letter in key)
        return not abbreviated, candidate[0] != key[:1]

    near = get_close_matches(key, known, n=len(known), cutoff=0.55)
    return f" (did you mean '{min(near, key=unlikeliness)}'?)" if near else ""


def _ip_group(group: IPGroupKeys, keys: FileKeys) -> IPGroup:
    methods = group.authentication_method_list or ()

    def in_force(name: str) -> Any:
        return setting(group, keys, name)

    radius: RadiusKeys | None = in_force("radius")
    return IPGroup(
        name=group.name,
        type=group.type,
        realm=in_force("realm"),
        authentication_mode=group.authentication_mode,
        methods=frozenset(methods) - {"setup-invite"},
        setup_invite="setup-invite" in methods,
        classification=tuple(rule.value() for rule in group.classification),
        proxy_set=group.proxy_set,
        username_as_server=group.username_as_server or "",
        password_as_server=group.password_as_server or "",
        username_as_client=group.username_as_client or "",
        password_as_client=group.password_as_client or "",
        route_to=group.route_to,
        server_auth_mode=in_force("server_auth_mode"),
        auth_nonce_duration=in_force("auth_nonce_duration"),
        auth_challenge_method=in_force("auth_challenge_method"),
        auth_qop=in_force("auth_qop"),
        auth_algorithms=in_force("auth_algorithms"),
        attempt_limit=AttemptLimit(
            in_force("max_auth_attempts"), in_force("lockout_duration"), in_force("attempt_window")
        ),
        check_digest_uri=in_force("check_digest_uri") is CheckDigestURI.STRICT,
        reject_invalid_nonce=in_force("reject_invalid_nonce"),
        radius=radius.value() if radius else None,
    )


def _absolute(url: str, folder: Path, source: Source) -> str:
    """Return the URL with an absolute path: a relative one starts at the YAML's folder."""
    path = sqlite_path(url)
    if str(path) in ("/", "."):
        raise ConfigError([source.complaint(("database",), "names no file")])
    return f"sqlite:///{folder / path}"
