"""Browsers that somebody has logged in with: strangers cannot have them locked out.

A login leaves a cookie that proves it, for the account alone. Attempts with it are counted apart
(OWASP, Slow Down Online Guessing Attacks with Device Cookies), so that whoever guesses, from
wherever, keeps nobody out who comes again. It is sealed by what the file of accounts has of the
password, and proves nothing once that is another.
"""

import hmac
import secrets
from hashlib import sha256

from sbcauth.console.accounts import Accounts

LASTS = 180 * 86400
"""Seconds that a browser keeps it."""
_LONGEST = 128


class Devices:
    """The cookies of devices, which are kept by browsers alone."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def new(self, name: str) -> str:
        """Return the cookie of another device on which an account has logged in."""
        number = secrets.token_urlsafe(12)
        return f"{number}.{self._seal(name, number)}"

    def known(self, name: str, cookie: str) -> str:
        """Return which device of an account has this cookie; nothing where it is none of it."""
        number, _, seal = cookie[:_LONGEST].partition(".")
        expected = self._seal(name, number)
        return number if hmac.compare_digest(seal.encode(), expected.encode()) else ""

    def _seal(self, name: str, number: str) -> str:
        account = self._accounts.all().get(name)
        key = account.stamp if account else secrets.token_hex(32)
        return hmac.new(key.encode(), f"device {number}".encode(), sha256).hexdigest()
