"""The keys that dialogs are sealed with (AES-SIV, RFC 5297): a file beside that of the nonce keys.

It is made once and survives restarts and the rotation of nonce keys, so that calls outlive both.
The first key seals, all open.
"""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from sbcauth.nonce_keys import dialog_keys


class SivCipher:
    """AES-SIV with one key; see policy.seals.Cipher."""

    def __init__(self, secret: bytes) -> None:
        derived = blake2b(digest_size=33, key=secret, person=b"sbcauth dialogs").digest()
        self.key_id = derived[32]
        self._siv = AESSIV(derived[:32])

    def seal(self, content: bytes, about: list[bytes]) -> bytes:
        """Return `content` encrypted, and bound to what it is about."""
        return self._siv.encrypt(content, about)

    def open(self, sealed: bytes, about: list[bytes]) -> bytes | None:
        """Return what was sealed about the very same, or None."""
        try:
            return self._siv.decrypt(sealed, about)
        except (InvalidTag, ValueError):
            return None


def ciphers(nonce_key_file: Path) -> Sequence[SivCipher]:
    """Return the ciphers of all keys, the newest first; raises ConfigError."""
    return [SivCipher(bytes.fromhex(key)) for key in dialog_keys(nonce_key_file)]
