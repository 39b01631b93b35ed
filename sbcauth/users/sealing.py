"""H(A1) at rest: sealed with a key that is not in the database (AES-256-GCM).

H(A1) is as good as the password in its realm. Whoever reads the database, but not the file of
sealing keys, gets nothing that he can use. What is sealed is text:

    v1:KEY:base64 of nonce (12 bytes) · ciphertext · tag (16 bytes)

KEY is the number of its key: the newest of the file seals, all open. The associated data are IP
Group, user name, realm and column, so that a value opens nowhere but in its place. Nonces are
random; one key is good for 2^32 values (NIST SP 800-38D, 8.3).

A database whose H(A1) are sealed holds a proof, sealed as well: it shows before any row is read or
written whether the file is the right one. The database of an older version has no proof, and its
rows stay plain until all are sealed at once. Beside a proof, and beside a file of keys, nothing
plain is taken: who can write to the database, but has not the keys, would let himself in with it.
"""

import os
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sbcauth.exceptions import ConfigError, Unavailable
from sbcauth.keys import KeyFile, new_key
from sbcauth.policy.accounts import User

COLUMNS = (
    *("ha1_md5", "ha1_sha256", "ha1_sha512_256"),
    *("old_ha1_md5", "old_ha1_sha256", "old_ha1_sha512_256"),
)
"""The columns that are sealed, in the order in which values are given."""

Names = tuple[str, str, str]
"""IP Group, user name and realm: whose the values are."""
HA1s = Sequence[str | None]
"""H(A1) in the order of COLUMNS, sealed or in hexadecimal; None where there is none."""

_SEALED = "v1:"
_NONCE = 12  # bytes
_PLACES = tuple(f"\0{column}".encode() for column in COLUMNS)
_PROOF = b"proof"
_DOES_NOT_OPEN = (InvalidTag, KeyError, ValueError)


def key_file_beside(database: Path) -> Path:
    """Return the file of sealing keys of a database where no other is configured."""
    return database.with_suffix(".seal")


class Seals:
    """Seals and opens H(A1) with the keys in the file `path`.

    They are read when they are wanted, and again when a value wants a key that is not known.
    Every method raises Unavailable where the file cannot be used; nothing is kept of that.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        first_line = "sbcauth sealing keys, the newest first: it seals, all open"
        self._file = KeyFile(path, "sealing keys", first_line, "put back one that does")
        self._ciphers: dict[str, AESGCM] = {}
        self._newest = ""

    def stamp(self) -> tuple[int, ...]:
        """Return what changes whenever the file does; it is empty where there is none."""
        try:
            file = self.path.stat()
        except OSError:
            return ()
        return (file.st_dev, file.st_ino, file.st_mtime_ns)

    def seal(self, names: Names, ha1s: HA1s) -> list[str | None]:
        """Return H(A1) sealed with the newest key."""
        row = "\0".join(names).encode()
        return [
            ha1 and self._seal(bytes.fromhex(ha1), row + place)
            for ha1, place in zip(ha1s, _PLACES, strict=True)
        ]

    def open(self, names: Names, ha1s: HA1s, *, all_sealed: bool) -> list[str | None]:
        """Return H(A1) in hexadecimal; what is not sealed stays as it is.

        Where `all_sealed` are, such a value was written by somebody who has not the keys, and
        Unavailable is raised.
        """
        if all_sealed and not all(map(_is_sealed, ha1s)):
            raise Unavailable(
                f"H(A1) of the user {names[1]} in {names[0]} is not sealed, and so not written by "
                "sbcauth: it lets nobody in; `sbcauth user set-password` or `remove`"
            )
        row = "\0".join(names).encode()
        try:
            return [
                self._open(ha1, row + place).hex() if ha1 and ha1.startswith(_SEALED) else ha1
                for ha1, place in zip(ha1s, _PLACES, strict=True)
            ]
        except _DOES_NOT_OPEN as error:
            raise self._unopened(names, error) from error

    def missing_proof(self, database: Path) -> Unavailable:
        """Return the error: there are keys, and the database does not say that it is sealed."""
        return Unavailable(
            f"User Info {database} does not show that it is sealed, though there are keys in "
            f"{self.path}: somebody may have changed it; `sbcauth user reseal`"
        )

    def check(self, proof: str) -> None:
        """Read the keys again; raise Unavailable unless they are those that `proof` is of."""
        self._load()
        try:
            self._open(proof, _PROOF)
        except _DOES_NOT_OPEN:
            raise Unavailable(
                f"{self.path}: is not the file of sealing keys that User Info is sealed with; "
                "put the right one back"
            ) from None

    def prove(self) -> str:
        """Return a proof for the newest key."""
        return self._seal(bytes(16), _PROOF)

    def make(self, *, anew: bool = False) -> int:
        """Make the file with a key, unless there is one; return the number of the newest.

        `anew` puts a new key before those that are there.
        """
        try:
            there = self.path.exists()
            keys = self._file.load_or_create()
            if anew and there:
                keys = (new_key(keys), *keys)
                self._file.write(keys)
        except (ConfigError, ValueError) as error:
            raise Unavailable(f"{error}") from error
        self._load()
        return keys[0].id

    def is_newest(self, ha1: str | None) -> bool:
        """Tell whether a value is sealed with the newest key, or there is none."""
        return ha1 is None or ha1.startswith(f"{_SEALED}{self._newest}:")

    def _seal(self, value: bytes, place: bytes) -> str:
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._ciphers[self._newest].encrypt(nonce, value, place)
        return f"{_SEALED}{self._newest}:{b2a_base64(sealed, newline=False).decode()}"

    def _open(self, text: str, place: bytes) -> bytes:
        _, key, data = text.split(":", 2)
        if key not in self._ciphers:
            self._load()
        sealed = a2b_base64(data)
        return self._ciphers[key].decrypt(sealed[:_NONCE], sealed[_NONCE:], place)

    def _load(self) -> None:
        """Read the keys. A file that is gone takes them along: nothing opens until it is back."""
        self._ciphers = {}
        try:
            keys = self._file.load()
        except ConfigError as error:
            raise Unavailable(f"{error}; User Info is sealed: put the file back") from None
        self._ciphers = {str(key.id): AESGCM(key.secret) for key in keys}
        self._newest = str(keys[0].id)

    def _unopened(self, names: Names, error: Exception) -> Unavailable:
        ip_group, username, _ = names
        what = f"H(A1) of the user {username} in {ip_group}"
        if isinstance(error, KeyError):
            return Unavailable(
                f"{what} is sealed with key {error}, which {self.path} has not: put it back"
            )
        return Unavailable(
            f"{what} does not open with the key in {self.path}: it was changed, or is another's; "
            "remove the user and add it again"
        )


def sealed(user: User, seals: Seals) -> User:
    """Return the user with every H(A1) sealed; raises Unavailable."""
    return _with_ha1s(user, seals.seal(_names(user), ha1s(user)))


def opened(user: User, seals: Seals, *, all_sealed: bool) -> User:
    """Return the user with every H(A1) opened; raises Unavailable."""
    return _with_ha1s(user, seals.open(_names(user), ha1s(user), all_sealed=all_sealed))


def without_plain(user: User) -> User:
    """Return the user without what is not sealed."""
    return _with_ha1s(user, [ha1 if _is_sealed(ha1) else None for ha1 in ha1s(user)])


def ha1s(user: User) -> HA1s:
    """Return every H(A1), in the order of COLUMNS."""
    return user[5:11]


def _is_sealed(ha1: str | None) -> bool:
    return ha1 is None or ha1.startswith(_SEALED)


def _names(user: User) -> Names:
    return user.ip_group, user.username, user.realm


def _with_ha1s(user: User, values: HA1s) -> User:
    return User._make((*user[:5], *values, user.old_until))
