"""The file of nonce keys: made at the first start, readable by its owner alone.

One key a line, `ID SECRET` with the secret in hexadecimal, the newest first: it signs, all
verify. Whoever reads this file can make nonces, but no password can be found from it.
"""

import math
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2s
from itertools import count
from pathlib import Path

from sbcauth.exceptions import Complaint, ConfigError
from sbcauth.nonces import NonceKey

_SECRET_BYTES = 32
_KEPT = 3
LONGEST_LIFE = 605
"""Seconds after which no nonce is alive: the longest auth_nonce_duration, and differing clocks."""
_DIALOG_KEY = re.compile(r"[0-9a-f]{64}")
_HEADER = "# sbcauth nonce keys, the newest first: it signs, all verify\n"


def load_or_create(path: Path) -> tuple[NonceKey, ...]:
    """Return the keys in the file `path`, which is made with one key where there is none.

    Raises ConfigError where it cannot be read or made.
    """
    with _complaints(path):
        if not path.exists():
            _write(path, (_new_key(0),))
        return _read(path)


def load_or_make_up(path: Path) -> tuple[NonceKey, ...]:
    """Return the keys in the file `path`, or one that is kept nowhere; raises ConfigError."""
    with _complaints(path):
        return _read(path) if path.exists() else (_new_key(0),)


def rotate(path: Path, now: float, take_up: Callable[[], None]) -> tuple[NonceKey, ...]:
    """Have a new key sign and the others verify, and return them; the oldest over three goes.

    `take_up` returns when all servers work by the file. They get to know the new key first, and
    sign with it then: none meets a nonce whose key it does not know. Raises ConfigError where the
    file cannot be read or written, or the oldest key may have nonces that are alive at `now`
    (seconds since 1970).
    """
    keys = load_or_create(path)
    with _complaints(path):
        wait = math.ceil(path.stat().st_mtime + LONGEST_LIFE - now)
    if len(keys) >= _KEPT and wait > 0:
        message = f"the oldest key may still have nonces in use: wait {wait} s, or use --forget"
        raise _complaint(path, 1, message)
    new = _new_key(_free_id(keys))
    with _complaints(path):
        _write(path, (keys[0], new, *keys[1:]))
        take_up()
        keys = (new, *keys)[:_KEPT]
        _write(path, keys)
    return keys


def replace(path: Path) -> tuple[NonceKey, ...]:
    """Put a new key in the place of all and return it; raises ConfigError.

    The nonces of the others are foreign from then on; dialogs are signed anew after a restart.
    """
    keys = (_new_key(_free_id(load_or_create(path))),)
    with _complaints(path):
        _write(path, keys)
        _dialog_file(path).unlink(missing_ok=True)  # it came from a key that is no longer secret
    return keys


def dialog_key(path: Path) -> str:
    """Return the key that the route block signs dialogs with; `path` is that of the nonce keys.

    It is made once, from the oldest of them, and kept in a file beside, so that calls outlive
    rotations and restarts. Raises ConfigError.
    """
    kept = _dialog_file(path)
    if not kept.exists():
        oldest = load_or_create(path)[-1]
        key = blake2s(key=oldest.secret, person=b"dialog").hexdigest()
        with _complaints(kept):
            _replace(kept, f"{key}\n")
    with _complaints(kept):
        key = kept.read_text("ascii", "replace").strip()
    if not _DIALOG_KEY.fullmatch(key):
        raise _complaint(kept, 1, "is not 64 hexadecimal digits; remove it to have it made anew")
    return key


def _dialog_file(path: Path) -> Path:
    return path.with_suffix(".dialog")


def _free_id(keys: Sequence[NonceKey]) -> int:
    """Return the next number after the newest key's that no key has."""
    taken = {key.id for key in keys}
    return next(n % 256 for n in count(keys[0].id + 1) if n % 256 not in taken)


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
    lines = "".join(f"{key.id} {key.secret.hex()}\n" for key in keys)
    _replace(path, _HEADER + lines)


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all, never readable by others."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if path.exists():  # root may rotate what the server's own user must read
            was = path.stat()
            os.fchown(descriptor, was.st_uid, was.st_gid)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


@contextmanager
def _complaints(path: Path) -> Iterator[None]:
    """Name the file in what the system says of it."""
    try:
        yield
    except OSError as error:
        raise _complaint(path, 1, f"{error.strerror} (nonce keys)") from error


def _complaint(path: Path, line: int, message: str) -> ConfigError:
    return ConfigError([Complaint(str(path), line, 1, "", message)])
