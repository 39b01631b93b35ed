"""Who is logged in: in the memory of this process alone, and not for long."""

import secrets
from dataclasses import dataclass, field
from hashlib import blake2s

from sbcauth.console.accounts import Account, Accounts, Role

IDLE = 30 * 60
"""Seconds after the last request, when a session ends."""
LONGEST = 12 * 3600
"""Seconds after the login, when a session ends whatever happens."""
_MOST = 200


@dataclass(slots=True)
class Session:
    """A session of an account; `csrf` is what every form of it has."""

    account: str
    role: Role
    stamp: str = field(repr=False)
    began: float
    seen: float
    csrf: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(24))


class Sessions:
    """The sessions by their tokens, of which only a hash is kept."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._sessions: dict[bytes, Session] = {}

    def open(self, account: Account, now: float) -> str:
        """Return the token of a new session."""
        self._forget(now)
        token = secrets.token_urlsafe(32)
        session = Session(account.name, account.role, account.stamp, now, now)
        self._sessions[_key(token)] = session
        return token

    def find(self, token: str, now: float, *, renews: bool = True) -> Session | None:
        """Return the session of a token, unless it has ended; one that `renews` it was used."""
        session = self._sessions.get(_key(token))
        if session is None:
            return None
        account = self._accounts.all().get(session.account)
        if self._is_over(session, now) or account is None or account.stamp != session.stamp:
            self.end(token)
            return None
        if renews:
            session.seen = now
        return session

    def end(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(_key(token), None)

    def _forget(self, now: float) -> None:
        """Forget those that have ended, and the one that was idle longest of too many."""
        for key, each in tuple(self._sessions.items()):  # others may come and go meanwhile
            if self._is_over(each, now):
                self._sessions.pop(key, None)
        if len(self._sessions) >= _MOST:
            longest_idle = min(tuple(self._sessions.items()), key=lambda each: each[1].seen)
            self._sessions.pop(longest_idle[0], None)

    @staticmethod
    def _is_over(session: Session, now: float) -> bool:
        return now - session.seen > IDLE or now - session.began > LONGEST


def _key(token: str) -> bytes:
    return blake2s(token.encode("utf-8", "replace")).digest()
