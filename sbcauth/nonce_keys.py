"""The file of nonce keys: made at the first start, readable by its owner alone.

One key a line, `ID SECRET` with the secret in hexadecimal, the newest first: it signs, all
verify. Whoever reads this file can make nonces, but no password can be found from it.
"""

import os
import secrets
from collections.abc import Sequence
from hashlib import blake2s
from pathlib import Path

from sbcauth.exceptions import Complaint, ConfigError
from sbcauth.nonces import NonceKey

_SECRET_BYTES = 32
_KEPT = 3
_HEADER = "# sbcauth nonce keys, the newest first: it signs, all verify\n"


def load_or_create(path: Path) -> tuple[NonceKey, ...]:
    """Return the keys in the file `path`, which is made with one key where there is none.

    Raises ConfigError where it cannot be read or made.
    """
    try:
        if not path.exists():
            _write(path, (_new_key(0),))
        return _read(path)
    except OSError as error:
        raise _complaint(path, 1, f"{error.strerror} (nonce keys)") from error


def rotate(path: Path) -> tuple[NonceKey, ...]:
    """Put a new key before the others and return them; the oldest one over three goes.

    Raises ConfigError where the file cannot be read or written.
    """
    keys = load_or_create(path)
    keys = (_new_key((keys[0].id + 1) % 256), *keys)[:_KEPT]
    try:
        _write(path, keys)
    except OSError as error:
        raise _complaint(path, 1, f"{error.strerror} (nonce keys)") from error
    return keys


def dialog_key(keys: Sequence[NonceKey]) -> str:
    """Return the key that the route block signs dialogs with.

    It comes from the oldest key, so that calls outlive a rotation and a restart.
    """
    return blake2s(key=keys[-1].secret, person=b"dialog").hexdigest()


def _new_key(key_id: int) -> NonceKey:
    return NonceKey(key_id, secrets.token_bytes(_SECRET_BYTES))


def _read(path: Path) -> tuple[NonceKey, ...]:
    keys: list[NonceKey] = []
    for number, line in enumerate(path.read_text("ascii", "replace").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        key_id, _, secret = line.partition(" ")
        try:
            key = NonceKey(int(key_id), bytes.fromhex(secret))
        except ValueError:
            raise _complaint(path, number, "a key is a number and 64 hexadecimal digits") from None
        if len(key.secret) != _SECRET_BYTES or not 0 <= key.id <= 255:
            raise _complaint(path, number, "a key is a number to 255 and 64 hexadecimal digits")
        if any(key.id == other.id for other in keys):
            raise _complaint(path, number, f"number {key.id} is taken")
        keys.append(key)
    if not keys:
        raise _complaint(path, 1, "holds no key; remove the file to have one made")
    return tuple(keys)


def _write(path: Path, keys: tuple[NonceKey, ...]) -> None:
    """Write the file whole or not at all, never readable by others."""
    lines = "".join(f"{key.id} {key.secret.hex()}\n" for key in keys)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(_HEADER + lines)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


def _complaint(path: Path, line: int, message: str) -> ConfigError:
    return ConfigError([Complaint(str(path), line, 1, "", message)])
