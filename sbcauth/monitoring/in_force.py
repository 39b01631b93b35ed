"""Which configuration a running server works by, and what a reload would change in it.

A process that takes up a configuration keeps what is in force in a file beside the nonce keys, and
tells its version in shared memory. So `sbcauth reload` can say what it changes, and whether
the file is still about what runs.
"""

import json
import time
from collections.abc import Iterator, Mapping
from hashlib import blake2s
from pathlib import Path
from typing import Any, NamedTuple

from sbcauth.config.load import Config
from sbcauth.config.show import effective
from sbcauth.keys import complaints, write_private
from sbcauth.monitoring import counts
from sbcauth.monitoring.rpc import Rpc
from sbcauth.nonce_keys import dialog_key

KEY = f"{counts.LISTED}configuration"
"""The key under which shared memory has an InForce, as text."""

_PATIENCE = 3.0
_LOOKS_EVERY = 0.1

Values = Mapping[str, Any]


class InForce(NamedTuple):
    """What a running server works by, as the process says that has taken it up last.

    `taken_up_at` is in seconds since 1970; `nonce_key` is the id of the key that signs nonces;
    `in_shadow` are the IP Groups in which nobody is refused.
    """

    version: str
    taken_up_at: int
    nonce_key: int
    in_shadow: tuple[str, ...]

    def encode(self) -> str:
        """Return it as text."""
        return json.dumps(self)


def running(rpc: Rpc) -> InForce | None:
    """Return what the server works by, None where it does not say; raises NotRunning, RpcError."""
    text = counts.value(rpc, KEY)
    if text is None:
        return None
    version, taken_up_at, nonce_key, in_shadow = json.loads(str(text))
    return InForce(version, taken_up_at, nonce_key, tuple(in_shadow))


def is_taken_up(rpc: Rpc, version: str, since: int) -> bool:
    """Wait a few seconds for the server to work by `version`; tell whether it does.

    It has to take it up at `since` (seconds since 1970) or later. Raises NotRunning, RpcError.
    """
    give_up = time.monotonic() + _PATIENCE
    while time.monotonic() < give_up:
        now = running(rpc)
        if now and now.version == version and now.taken_up_at >= since:
            return True
        time.sleep(_LOOKS_EVERY)
    return False


def values(config: Config) -> Values:
    """Return what is in force, with a keyed hash for each secret; raises ConfigError."""
    key = bytes.fromhex(dialog_key(config.nonce_key_file))

    def hashed(secret: str) -> str:
        return blake2s(secret.encode("utf-8", "surrogateescape"), key=key).hexdigest()

    return effective(config, hashed)


def version(values: Values) -> str:
    """Return the version of a configuration: equal for equal ones, eight hexadecimal digits."""
    return blake2s(json.dumps(values).encode(), digest_size=4).hexdigest()


def keep(config: Config, values: Values) -> None:
    """Keep what is in force in a file, readable by its owner alone; raises ConfigError."""
    file, text = _file(config), json.dumps(values)
    with complaints(file, "what is in force"):
        if not file.exists() or file.read_text() != text:
            write_private(file, text)


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
        if key in _SECRET:
            yield f"{where}{key} changed"
        elif key == "radius":
            yield from _radius(where, before or {}, after or {})
        else:
            yield f"{where}{key}: {_shown(before)} -> {_shown(after)}"


def _radius(where: str, old: Values, new: Values) -> Iterator[str]:
    """Yield what differs of RADIUS servers; of their secrets, that they do."""
    hidden = [
        {**each, "servers": [f"{s['address']}:{s['port']}" for s in each.get("servers", ())]}
        for each in (old, new)
    ]
    yield from _differences(f"{where}radius.", *hidden)
    if hidden[0]["servers"] == hidden[1]["servers"] and old["servers"] != new["servers"]:
        yield f"{where}radius.secret changed"


_SECRET = ("password_as_server", "password_as_client")


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _without_groups(values: Values) -> Values:
    return {key: value for key, value in values.items() if key != "ip_groups"}


def _groups(values: Values) -> dict[str, Values]:
    return {group["name"]: group for group in values["ip_groups"]}


def _file(config: Config) -> Path:
    return config.nonce_key_file.with_suffix(".in_force")
