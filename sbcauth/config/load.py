"""sbcauth.yaml: from text to frozen values, with every mistake named at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from sbcauth.cluster.settings import ClusterSettings
from sbcauth.config import source as yaml_source
from sbcauth.config.checks.file import check
from sbcauth.config.cluster import ClusterFileSettings
from sbcauth.config.external_servers import (
    HttpFileSettings,
    RadiusFileSettings,
    RadiusServerSettings,
)
from sbcauth.config.inheritance import (
    at_least,
    client_realms,
    digest_username,
    setting,
    user_agents,
)
from sbcauth.config.mappings import (
    AtLeastSettings,
    EmergencySettings,
    RuleSettings,
    UserAgentSettings,
)
from sbcauth.config.schema import FileSettings, IPGroupSettings, LogDetail
from sbcauth.config.source import Source
from sbcauth.config.yaml_words import cut_passwords
from sbcauth.exceptions import ConfigError, Mistake
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.ip_groups import Emergency, IPGroup, ServerAuthMode, UnclassifiedRequests
from sbcauth.users.database_url import is_postgresql, sqlite_path, sqlite_url
from sbcauth.users.sealing import key_file_beside


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration. `database` is a URL; `warnings` are what may be a mistake.

    `users_file` is what the workers read: the database, or the copy of one in PostgreSQL.
    `log_to` is `auto`, `journal`, `syslog`, `stdout` or the path of a file.
    """

    file: Path
    database: str = field(repr=False)
    users_file: Path
    ha1_key_file: Path
    nonce_key_file: Path
    cluster: ClusterSettings | None
    old_password_memory: int
    unclassified_requests: UnclassifiedRequests
    websocket_origins: tuple[str, ...]
    unproved_connection_lifetime: int
    log: LogDetail
    log_to: str
    ip_groups: tuple[IPGroup, ...]
    warnings: tuple[Mistake, ...]

    @property
    def database_copy(self) -> Path | None:
        """Return the copy of users in PostgreSQL; None for users in SQLite."""
        return self.users_file if is_postgresql(self.database) else None


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Return the configuration in the file `path`; `${env:…}` is taken from `environment`.

    Raises ConfigError with a mistake for every mistake.
    """
    return load_text(path, read_text(path), environment)


def load_text(path: Path, text: str, environment: Mapping[str, str]) -> Config:
    """Return the configuration that the file `path` would be with this text; raises ConfigError."""
    source = yaml_source.read(str(path), text)
    folder = path.resolve().parent
    settings = _validate(source, {"environment": environment, "folder": folder})
    findings = list(check(settings))
    errors = {source.mistake(where, what) for where, what, fatal in findings if fatal}
    if errors:
        raise ConfigError(sorted(errors))
    database, users_file = _database(settings, folder, source)
    ha1_key_file = settings.ha1_key_file or key_file_beside(_beside(users_file, database))
    nonce_key_file = settings.nonce_key_file or users_file.with_name("sbcauth.keys")
    if folder / ha1_key_file == folder / nonce_key_file:  # rotating these would end those
        raise ConfigError([source.mistake(("ha1_key_file",), "is nonce_key_file too")])
    return Config(
        file=path.resolve(),
        database=database,
        users_file=users_file,
        ha1_key_file=folder / ha1_key_file,
        nonce_key_file=folder / nonce_key_file,
        cluster=settings.cluster.value(folder) if settings.cluster else None,
        old_password_memory=settings.old_password_memory,
        unclassified_requests=settings.unclassified_requests,
        websocket_origins=settings.websocket_origins,
        unproved_connection_lifetime=settings.unproved_connection_lifetime,
        log=settings.log,
        log_to=str(folder / settings.log_to) if "/" in settings.log_to else settings.log_to,
        ip_groups=tuple(_ip_group(group, settings, folder) for group in settings.ip_groups),
        warnings=(
            *(source.mistake(where, what) for where, what, _ in findings),
            *(
                Mistake(str(path), *yaml_source.place_after(text[:place]), key, _CUT)
                for key, place in cut_passwords(text)
            ),
        ),
    )


def read_text(path: Path) -> str:
    """Return the text of a configuration file; raises ConfigError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise ConfigError([Mistake(str(path), 1, 1, "", reason)]) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = yaml_source.place_after(error.object[: error.start].decode("utf-8"))
        raise ConfigError([Mistake(str(path), *place, "", "is not UTF-8")]) from None


def _validate(source: Source, context: dict[str, Any]) -> FileSettings:
    if not isinstance(source.value, dict):
        what = "is empty" if source.value is None else "must be a mapping of keys to values"
        raise ConfigError([source.mistake((), what)])
    try:
        return FileSettings.model_validate(source.value, context=context)
    except ValidationError as invalid:
        details = invalid.errors(include_url=False, include_input=False)
    mistakes = {_mistake(source, dict(detail)) for detail in details}
    mistakes.update(_check_the_rest(source, [detail["loc"] for detail in details], context))
    raise ConfigError(sorted(mistakes))


def _check_the_rest(
    source: Source, broken: Sequence[yaml_source.Path], context: dict[str, Any]
) -> Iterator[Mistake]:
    """Check what is sound, so that one run names the mistakes between keys too.

    What could be found amiss only because something `broken` is left out is not looked at.
    """
    if any(path[0] in _NEEDED_BY_GROUPS or path == ("ip_groups",) for path in broken):
        return
    groups = source.value["ip_groups"]
    left_out = {path[1] for path in broken if path[0] == "ip_groups"}
    kept = [place for place in range(len(groups)) if place not in left_out]
    value = {key: source.value[key] for key in source.value.keys() - {path[0] for path in broken}}
    value["ip_groups"] = [groups[place] for place in kept]
    for where, what, fatal in check(FileSettings.model_validate(value, context=context)):
        if fatal and not (left_out and where[-1] == "route_to"):
            if where[0] == "ip_groups":
                where = ("ip_groups", kept[int(where[1])], *where[2:])
            yield source.mistake(where, what)


_CUT = "what follows # is a comment to YAML: where it is of the password, put that in quotes"
_NEEDED_BY_GROUPS = {"realm", "radius", "http", "server_auth_mode"}


def _mistake(source: Source, detail: dict[str, Any]) -> Mistake:
    """Put one of pydantic's errors into our words, at its place in the file."""
    path = detail["loc"]
    match detail["type"]:
        case "extra_forbidden":
            key = str(path[-1])
            hint = _hint(key, path[:-1])
            return source.mistake(path, f"unknown key '{key}'{hint}", at_key=True)
        case "missing":
            return source.mistake(path, "is required")
        case "value_error":
            return source.mistake(path, str(detail["ctx"]["error"]))
        case "tuple_type":
            return source.mistake(path, "must be a list")
        case "string_type":
            return source.mistake(path, "must be text (put it in quotes)")
        case _:
            return source.mistake(path, "must be a mapping of keys to values")


_MODELS: dict[str, type[BaseModel]] = {
    "": FileSettings,
    "ip_groups": IPGroupSettings,
    "classification": RuleSettings,
    "cluster": ClusterFileSettings,
    "radius": RadiusFileSettings,
    "http": HttpFileSettings,
    "servers": RadiusServerSettings,
    "emergency": EmergencySettings,
    "user_agents": UserAgentSettings,
    "at_least": AtLeastSettings,
}


def _hint(key: str, path: yaml_source.Path) -> str:
    """Return a hint at the key that was meant, or at where the key belongs."""
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    near = _nearest(key, list(_MODELS[name].model_fields))
    if key in FileSettings.model_fields:
        return " (it belongs at the top of the file)"
    if key in IPGroupSettings.model_fields:
        return " (it belongs in an IP Group)"
    return f" (did you mean '{near}'?)" if near else ""


def _nearest(key: str, known: Sequence[str]) -> str | None:
    """Return the known key that is most like `key`, which may be an abbreviation of it."""

    def unlikeliness(candidate: str) -> tuple[bool, bool]:
        letters = iter(candidate)
        abbreviated = all(letter in letters for letter in key)
        return not abbreviated, candidate[0] != key[:1]

    near = get_close_matches(key, known, n=len(known), cutoff=0.55)
    return min(near, key=unlikeliness, default=None)


def _ip_group(group: IPGroupSettings, file: FileSettings, folder: Path) -> IPGroup:
    """Return an IP Group as it is in force; what is named alike there and here stays as it is."""
    methods = group.authentication_method_list or ()
    emergency: EmergencySettings | None = setting(group, file, "emergency")
    mode: ServerAuthMode = setting(group, file, "server_auth_mode")
    asked: RadiusFileSettings | HttpFileSettings | None = setting(
        group, file, "http" if mode is ServerAuthMode.HTTP else "radius"
    )
    return IPGroup(
        **{
            **_in_force(IPGroup, group, file),
            "methods": frozenset(methods) - {"setup-invite"},
            "setup_invite": "setup-invite" in methods,
            "classification": tuple(rule.value() for rule in group.classification if rule.address),
            "digest_username": digest_username(group),
            "user_agents": user_agents(group, file),
            "at_least": at_least(group, file),
            "attempt_limit": AttemptLimit(**_in_force(AttemptLimit, group, file)),
            "external_server": asked.value(folder) if asked else None,
            "client_realms": client_realms(group),
            "emergency": Emergency(emergency.numbers, emergency.route_to) if emergency else None,
        }
    )


def _in_force(value_class: Any, group: IPGroupSettings, file: FileSettings) -> dict[str, Any]:
    """Return the settings that a dataclass has fields for; its own defaults hold for the rest."""
    names = (each.name for each in fields(value_class))
    in_force = {name: setting(group, file, name) for name in names}
    return {name: value for name, value in in_force.items() if value is not None}


def _database(keys: FileSettings, folder: Path, source: Source) -> tuple[str, Path]:
    """Return the URL, with an absolute path, and the file that the workers read.

    A relative path starts at the YAML's folder; what the server writes is not kept below /etc.
    """
    if is_postgresql(keys.database):
        state = _STATE if folder.is_relative_to("/etc") else folder
        return keys.database, folder / (keys.database_copy or state / _COPY)
    path = sqlite_path(keys.database)
    if not path.name:
        raise ConfigError([source.mistake(("database",), "names no file")])
    return sqlite_url(folder / path), folder / path


def _beside(users_file: Path, database: str) -> Path:
    """Return the file beside which the sealing keys are; a copy's are not named as the copy."""
    return users_file.with_name(_DEFAULT_NAME) if is_postgresql(database) else users_file


_STATE = Path("/var/lib/sbcauth")
"""Where the service may write; its configuration is below /etc."""
_COPY = "users-copy.db"
_DEFAULT_NAME = "sbcauth.db"
