"""Versions of a configuration: what is in force, and what a reload would change in it.

A process that loads a configuration keeps what is in force in a file beside the nonce keys, so
that `sbcauth reload` can say what it changes.
"""

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2s
from pathlib import Path
from typing import Any

from sbcauth.config.load import Config
from sbcauth.config.show import SECRETS, effective
from sbcauth.files import write_whole
from sbcauth.keys import as_config_error
from sbcauth.nonce_keys import dialog_key
from sbcauth.users.database_url import without_password

Values = Mapping[str, Any]


def values(config: Config) -> Values:
    """Return what is in force, with a keyed hash for each secret; raises ConfigError."""
    key = bytes.fromhex(dialog_key(config.nonce_key_file))

    def hashed(secret: str) -> str:
        return blake2s(secret.encode("utf-8", "surrogateescape"), key=key).hexdigest()

    return effective(config, hashed)


def version(values: Values) -> str:
    """Return the version of a configuration: equal for equal ones, eight hexadecimal digits."""
    return blake2s(json.dumps(values).encode(), digest_size=4).hexdigest()


def name(values: Values) -> str:
    """Return a name of a configuration that no other has."""
    return blake2s(json.dumps(values).encode()).hexdigest()


def keep(config: Config, values: Values) -> None:
    """Keep what is in force in a file, readable by its owner alone; raises ConfigError."""
    file, text = _file(config), json.dumps(values)
    with as_config_error(file, "what is in force"):
        if not file.exists() or file.read_text() != text:
            write_whole(file, text)


def kept(config: Config) -> Values | None:
    """Return what was kept last, or None where nothing was, or it cannot be read."""
    try:
        found: Values = json.loads(_file(config).read_text())
    except (OSError, ValueError):
        return None
    return found


def changes(old: Values, new: Values) -> Iterator[str]:
    """Yield a line for each difference, in the words of the file."""
    yield from _differences("", _without_groups(old), _without_groups(new))
    before, after = _groups(old), _groups(new)
    yield from (f"IP Group {name}: removed" for name in before if name not in after)
    for name, group in after.items():
        if name in before:
            yield from _differences(f"IP Group {name}: ", before[name], group)
        else:
            yield f"IP Group {name}: added"
    stayed = [name for name in before if name in after]
    if stayed != [name for name in after if name in before]:
        yield "IP Groups: in another order"


def _differences(where: str, old: Values, new: Values) -> Iterator[str]:
    for key in {**old, **new}:
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if key == "database" and without_password(before or "") == without_password(after or ""):
            yield f"{where}password of the database changed"
        elif key == "database":
            shown = (_shown(without_password(url or "")) for url in (before, after))
            yield f"{where}{key}: {' -> '.join(shown)}"
        elif key in SECRETS:
            yield f"{where}{key} changed"
        elif isinstance(before or after, dict):
            yield from _differences(f"{where}{key}.", before or {}, after or {})
        elif _hidden(before) == _hidden(after):
            yield f"{where}{key}: a secret changed"
        else:
            before, after = _hidden(before), _hidden(after)
            yield f"{where}{key}: {_shown(before)} -> {_shown(after)}"


def _hidden(value: Any) -> Any:
    """Return a value without the hashes of secrets, wherever they are in it."""
    if isinstance(value, dict):
        shown = {key: _hidden(each) for key, each in value.items() if key not in SECRETS}
        return "{address}:{port}".format(**shown) if shown.keys() == _SERVER else shown
    return [_hidden(each) for each in value] if isinstance(value, list) else value


_SERVER = {"address", "port"}


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _without_groups(values: Values) -> Values:
    return {key: value for key, value in values.items() if key != "ip_groups"}


def _groups(values: Values) -> dict[str, Values]:
    return {group["name"]: group for group in values["ip_groups"]}


def _file(config: Config) -> Path:
    return config.nonce_key_file.with_suffix(".in_force")
