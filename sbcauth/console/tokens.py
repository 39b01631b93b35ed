"""The tokens of programs, for the JSON API: of each a hash, in a file for its owner alone.

A token is `NAME~SECRET`. The secret has 256 random bits, so that a plain hash keeps it: there is
nothing to guess at. The name says in the log whose change it was, and whose attempts have failed.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers

from sbcauth.config.load import Config
from sbcauth.console.accounts import NAME, Role
from sbcauth.console.entries import Entries
from sbcauth.exceptions import SbcAuthError

SEPARATOR = "~"
"""Between name and secret: neither has one, and a bearer token may (RFC 6750, 2.1)."""
_MOST = 200
_DAY = 86400
_LONGEST = 128


class TokenError(SbcAuthError):
    """The tokens cannot be changed so, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a program may do, and until when (seconds since 1970); None for always."""

    name: str
    role: Role
    hash: str = field(repr=False)
    expires: int | None = None

    def is_over(self, now: float) -> bool:
        """Tell whether it has expired."""
        return self.expires is not None and now >= self.expires


def given_token(headers: Headers) -> tuple[str, str] | None:
    """Return name and secret of the token that a request has (RFC 6750, 2.1), right or wrong."""
    given = headers.getlist("authorization")
    scheme, _, value = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        return None
    name, _, secret = value.strip()[:_LONGEST].partition(SEPARATOR)
    return name, secret


def tokens_file(config: Config) -> Path:
    """Return the file of the tokens: beside that of the accounts."""
    return config.nonce_key_file.with_suffix(".console-tokens")


class Tokens:
    """The tokens in a file; `clock` returns seconds since 1970."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries = Entries(path, "tokens", _token, TokenError)

    def all(self) -> Mapping[str, Token]:
        """Return all tokens by name; raises TokenError where the file cannot be read."""
        return self._entries.all()

    def verify(self, name: str, secret: str) -> Token | None:
        """Return the token, where the secret is right and it has not expired."""
        token = self.all().get(name)
        is_right = hmac.compare_digest(token.hash if token else _hash(""), _hash(secret))
        if token is None or not is_right or token.is_over(self._clock()):
            return None
        return token

    def add(self, name: str, role: Role, days: int | None = None) -> str:
        """Return a new token, of which nothing but the hash is kept; it ends after `days`.

        Raises TokenError where the name is taken or will not do.
        """
        if not NAME.fullmatch(name):
            raise TokenError(f"{name!a} is no name of 1 to 32 letters, digits, `.`, `_` and `-`")
        tokens = dict(self.all())
        if name in tokens:
            raise TokenError(f"there is a token {name} already; console-token remove ends it")
        if len(tokens) >= _MOST:
            raise TokenError(f"there are {_MOST} tokens already")
        secret = secrets.token_urlsafe(32)
        expires = int(self._clock()) + days * _DAY if days else None
        self._write({**tokens, name: Token(name, role, _hash(secret), expires)})
        return f"{name}{SEPARATOR}{secret}"

    def remove(self, name: str) -> None:
        """Remove a token, which is refused from then on; raises TokenError where there is none."""
        tokens = dict(self.all())
        if tokens.pop(name, None) is None:
            raise TokenError(f"there is no token {name!a}; console-token list shows them all")
        self._write(tokens)

    def _write(self, tokens: Mapping[str, Token]) -> None:
        self._entries.write(
            {
                name: {"role": each.role, "hash": each.hash, "expires": each.expires}
                for name, each in tokens.items()
            }
        )


def _token(name: str, entry: Any) -> Token:
    expires = entry["expires"]
    return Token(
        name, Role(entry["role"]), str(entry["hash"]), None if expires is None else int(expires)
    )


def _hash(secret: str) -> str:
    return sha256(secret.encode("utf-8", "replace")).hexdigest()
