"""H(A1) at rest: sealed with a key that is not in the database (AES-256-GCM).

H(A1) is as good as the password in its realm. Whoever reads the database, but not the file of
sealing keys, gets nothing that he can use. What is sealed is text:

    v1:KEY:base64 of nonce (12 bytes) · ciphertext · tag (16 bytes)

KEY is the number of its key: the newest of the file seals, all open. The associated data are IP
Group, user name, realm, and which H(A1) it is, so that a value opens nowhere but in its place.
Nonces are random; one key is good for 2^32 values (NIST SP 800-38D, 8.3).

A database whose H(A1) are sealed holds a proof, sealed as well: it shows before any row is read or
written whether the file is the right one. The database of an older version has no proof, and its
rows stay plain until all are sealed at once. Beside a proof, and beside a file of keys, nothing
plain is taken: who can write to the database, but has not the keys, would let himself in with it.
"""

import os
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.ha1s import NO_HA1S, HA1s
from sbcauth.exceptions import ConfigError, Unavailable
from sbcauth.keys import KeyFile, new_key
from sbcauth.policy.accounts import User

_SEALED = "v1:"
_NONCE = 12  # bytes
_PLACES, _OLD_PLACES = (
    {algorithm: f"\0{kind}ha1_{algorithm.label}".encode() for algorithm in Algorithm}
    for kind in ("", "old_")
)
"""The end of the associated data: the columns' names of the first schemas."""
_Places = Mapping[Algorithm, bytes]
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

    def seal(self, user: User) -> User:
        """Return the user with every H(A1) sealed with the newest key."""
        row = _row(user)
        return user._replace(
            ha1s=self._sealed(user.ha1s, row, _PLACES),
            old_ha1s=self._sealed(user.old_ha1s, row, _OLD_PLACES),
        )

    def open(self, user: User, *, all_sealed: bool) -> User:
        """Return the user with every H(A1) in hexadecimal; what is not sealed stays as it is.

        Where `all_sealed` are, such a value was written by somebody who has not the keys, and
        Unavailable is raised.
        """
        if all_sealed and not (_are_sealed(user.ha1s) and _are_sealed(user.old_ha1s)):
            raise Unavailable(
                f"H(A1) of the user {user.username} in {user.ip_group} is not sealed, and so not "
                "written by sbcauth: it lets nobody in; `sbcauth user set-password` or `remove`"
            )
        row = _row(user)
        try:
            return user._replace(
                ha1s=self._opened(user.ha1s, row, _PLACES),
                old_ha1s=self._opened(user.old_ha1s, row, _OLD_PLACES),
            )
        except _DOES_NOT_OPEN as error:
            raise self._unopened(user, error) from error

    def missing_proof(self, database: Path | str) -> Unavailable:
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

    def is_newest(self, ha1: str) -> bool:
        """Tell whether a value is sealed with the newest key."""
        return ha1.startswith(f"{_SEALED}{self._newest}:")

    def _sealed(self, ha1s: HA1s, row: bytes, places: _Places) -> HA1s:
        return _each(ha1s, lambda each, ha1: self._seal(bytes.fromhex(ha1), row + places[each]))

    def _opened(self, ha1s: HA1s, row: bytes, places: _Places) -> HA1s:
        if ha1s is NO_HA1S:
            return ha1s
        opened: dict[str, str | None] = {
            each: self._open(ha1, row + places[each]).hex() if _is_sealed(ha1) else ha1
            for each, ha1 in ha1s.items()
        }
        return HA1s(opened)

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

    def _unopened(self, user: User, error: Exception) -> Unavailable:
        what = f"H(A1) of the user {user.username} in {user.ip_group}"
        if isinstance(error, KeyError):
            return Unavailable(
                f"{what} is sealed with key {error}, which {self.path} has not: put it back"
            )
        return Unavailable(
            f"{what} does not open with the key in {self.path}: it was changed, or is another's; "
            "remove the user and add it again"
        )


def without_plain(user: User) -> User:
    """Return the user without what is not sealed."""
    return user._replace(ha1s=_without_plain(user.ha1s), old_ha1s=_without_plain(user.old_ha1s))


def every_ha1(user: User) -> Iterator[str]:
    """Yield every H(A1) that the user has, of the old password too."""
    for ha1s in (user.ha1s, user.old_ha1s):
        for _, ha1 in ha1s.items():
            yield ha1


def _without_plain(ha1s: HA1s) -> HA1s:
    return HA1s({algorithm: ha1 for algorithm, ha1 in ha1s.items() if _is_sealed(ha1)})


def _each(ha1s: HA1s, change: Callable[[Algorithm, str], str]) -> HA1s:
    """Return what `change` makes of each H(A1)."""
    if not ha1s:
        return NO_HA1S
    return HA1s({algorithm: change(algorithm, ha1) for algorithm, ha1 in ha1s.items()})


def _are_sealed(ha1s: HA1s) -> bool:
    return all(_is_sealed(ha1) for _, ha1 in ha1s.items())


def _is_sealed(ha1: str) -> bool:
    return ha1.startswith(_SEALED)


def _row(user: User) -> bytes:
    """Return the beginning of the associated data: whose the values are."""
    return f"{user.ip_group}\0{user.username}\0{user.realm}".encode()
