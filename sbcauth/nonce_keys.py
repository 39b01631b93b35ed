"""The file of nonce keys: made at the first start, readable by its owner alone.

The newest key signs, all verify. Whoever reads this file can make nonces, but no password can be
found from it.

A server signs with keys of its own, derived from these and from what it is. Which nonce counts were
used, and what failed, each server knows for itself: two of them that accepted each other's nonces
would accept one request twice.
"""

import math
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import blake2s
from pathlib import Path
from socket import gethostname

from sbcauth.digest.nonces import LONGEST_LIFE, NonceKey
from sbcauth.files import write_whole
from sbcauth.keys import Key, KeyFile, as_config_error, mistake, new_key

_KEPT = 3
_DIALOG_KEY = re.compile(r"[0-9a-f]{64}")


def load_or_create(path: Path) -> tuple[NonceKey, ...]:
    """Return the keys in the file `path`, which is made with one key where there is none.

    Raises ConfigError where it cannot be read or made.
    """
    return _nonce_keys(_file(path).load_or_create())


def load_or_make_up(path: Path) -> tuple[NonceKey, ...]:
    """Return the keys in the file `path`, or one that is kept nowhere; raises ConfigError."""
    return _nonce_keys(_file(path).load() if path.exists() else (new_key(()),))


def of_server(keys: Iterable[NonceKey], config_file: Path) -> tuple[NonceKey, ...]:
    """Return the keys of the server that works by `config_file`, on this machine, alone.

    Another machine, or another configuration, makes other keys of a copied file. It costs a phone
    one more challenge when a server moves.
    """
    who = _server(config_file)
    return tuple(
        NonceKey(key.id, blake2s(who, key=key.secret, person=b"server").digest()) for key in keys
    )


def server_name(config_file: Path) -> str:
    """Return a name that no other server has: another machine, or another configuration."""
    return blake2s(_server(config_file), digest_size=12, person=b"name").hexdigest()


def fingerprint(secrets: Iterable[bytes]) -> str:
    """Return what tells secrets from others, and nothing else of them."""
    return blake2s(b"\0".join(secrets), digest_size=6, person=b"same").hexdigest()


def _server(config_file: Path) -> bytes:
    with suppress(OSError):
        config_file = config_file.resolve()
    try:
        machine = Path("/etc/machine-id").read_bytes().strip()
    except OSError:
        machine = b""
    return b"\0".join((machine, gethostname().encode(), os.fsencode(config_file)))


def rotate(path: Path, now: float, reload: Callable[[], None]) -> tuple[NonceKey, ...]:
    """Have a new key sign and the others verify, and return them; the oldest over three goes.

    `reload` returns when all servers work by the file. They get to know the new key first, and
    sign with it then: none meets a nonce whose key it does not know. Raises ConfigError where the
    file cannot be read or written, or the oldest key may have nonces that are alive at `now`
    (seconds since 1970).
    """
    file = _file(path)
    keys = file.load_or_create()
    with as_config_error(path, _NAME):
        wait = math.ceil(path.stat().st_mtime + LONGEST_LIFE - now)
    if len(keys) >= _KEPT and wait > 0:
        message = f"the oldest key may still have nonces in use: wait {wait} s, or use --forget"
        raise mistake(path, 1, message)
    new = new_key(keys)
    file.write((keys[0], new, *keys[1:]))
    with as_config_error(path, _NAME):
        reload()
    keys = (new, *keys)[:_KEPT]
    file.write(keys)
    return _nonce_keys(keys)


def replace(path: Path) -> tuple[NonceKey, ...]:
    """Put a new key in the place of all and return it; raises ConfigError.

    The nonces of the others are foreign from then on; dialogs are signed anew after a restart.
    """
    file = _file(path)
    keys = (new_key(file.load_or_create()),)
    file.write(keys)
    with as_config_error(path, _NAME):
        _dialog_file(path).unlink(missing_ok=True)  # it came from a key that is no longer secret
    return _nonce_keys(keys)


def dialog_key(path: Path) -> str:
    """Return the oldest of the keys of dialogs, which a Path is signed with; see dialog_keys."""
    return dialog_keys(path)[-1]


def dialog_keys(path: Path) -> tuple[str, ...]:
    """Return the keys that dialogs are sealed with; `path` is that of the nonce keys.

    The first is made once, from the oldest of them, and kept in a file beside, so that calls
    outlive rotations and restarts. A key that an administrator puts on a line above seals from
    then on; those below it open what they sealed. Raises ConfigError.
    """
    kept = _dialog_file(path)
    if not kept.exists():
        oldest = load_or_create(path)[-1]
        key = blake2s(key=oldest.secret, person=b"dialog").hexdigest()
        with as_config_error(kept, _NAME):
            write_whole(kept, f"{key}\n")
    with as_config_error(kept, _NAME):
        keys = kept.read_text("ascii", "replace").split() or [""]
    for number, key in enumerate(keys, start=1):
        if not _DIALOG_KEY.fullmatch(key):
            message = "is not 64 hexadecimal digits; remove it to have it made anew"
            raise mistake(kept, number, message)
    return tuple(keys)


_NAME = "nonce keys"


def _file(path: Path) -> KeyFile:
    first_line = "sbcauth nonce keys, the newest first: it signs, all verify"
    return KeyFile(path, _NAME, first_line, "remove the file to have one made")


def _nonce_keys(keys: Iterable[Key]) -> tuple[NonceKey, ...]:
    return tuple(NonceKey(key.id, key.secret) for key in keys)


def _dialog_file(path: Path) -> Path:
    return path.with_suffix(".dialog")
