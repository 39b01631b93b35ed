"""A file of secret keys, readable by its owner alone.

One key a line, `ID SECRET` with the secret in hexadecimal, the newest first. The file is written
whole or not at all.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sbcauth.exceptions import ConfigError, Mistake
from sbcauth.files import write_whole

_SECRET_BYTES = 32
_IDS = 256


@dataclass(frozen=True, slots=True)
class Key:
    """A secret of 32 bytes; `id` (0 to 255) says what was made with it."""

    id: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The keys in the file `path`.

    `name` is what errors call them; `first_line` tells who opens the file what they are for;
    `if_empty` is what to do where it holds none.
    Every method raises ConfigError where the file cannot be read or written.
    """

    path: Path
    name: str
    first_line: str
    if_empty: str

    def load_or_create(self) -> tuple[Key, ...]:
        """Return the keys, the newest first; where there is no file, it is made with one."""
        with as_config_error(self.path, self.name):
            if not self.path.exists():
                self.write((new_key(()),))
        return self.load()

    def load(self) -> tuple[Key, ...]:
        """Return the keys, the newest first."""
        with as_config_error(self.path, self.name):
            text = self.path.read_text("ascii", "replace")
        keys: list[Key] = []
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip() and not line.startswith("#"):
                try:
                    keys.append(_parse(line, {key.id for key in keys}))
                except ValueError as error:
                    raise mistake(self.path, number, str(error)) from None
        if not keys:
            raise mistake(self.path, 1, f"holds no key; {self.if_empty}")
        return tuple(keys)

    def write(self, keys: Sequence[Key]) -> None:
        """Put `keys` in the place of what the file holds."""
        lines = "".join(f"{key.id} {key.secret.hex()}\n" for key in keys)
        with as_config_error(self.path, self.name):
            write_whole(self.path, f"# {self.first_line}\n{lines}")


def new_key(keys: Sequence[Key]) -> Key:
    """Return a key whose number is the next after that of the newest of `keys` that none has.

    Raises ValueError where all numbers are taken.
    """
    first = keys[0].id + 1 if keys else 0
    taken = {key.id for key in keys}
    for number in range(first, first + _IDS):
        if number % _IDS not in taken:
            return Key(number % _IDS, secrets.token_bytes(_SECRET_BYTES))
    raise ValueError(f"holds {_IDS} keys: remove the oldest")


@contextmanager
def as_config_error(path: Path, name: str) -> Iterator[None]:
    """Raise OSError as ConfigError, which names the file and what it holds."""
    try:
        yield
    except OSError as error:
        raise mistake(path, 1, f"{error.strerror} ({name})") from error


def mistake(path: Path, line: int, message: str) -> ConfigError:
    """Return the error that says what is wrong with a line of the file."""
    return ConfigError([Mistake(str(path), line, 1, "", message)])


def _parse(line: str, taken: set[int]) -> Key:
    key_id, _, secret = line.partition(" ")
    try:
        key = Key(int(key_id), bytes.fromhex(secret))
    except ValueError:
        raise ValueError("a key is a number and 64 hexadecimal digits") from None
    if len(key.secret) != _SECRET_BYTES or not 0 <= key.id < _IDS:
        raise ValueError("a key is a number to 255 and 64 hexadecimal digits")
    if key.id in taken:
        raise ValueError(f"number {key.id} is taken")
    return key
