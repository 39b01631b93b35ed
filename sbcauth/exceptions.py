"""Every error that sbcauth raises on purpose.

SbcAuthError
├── BadRequest            the request is at fault; `status` and `phrase` are the answer
│   └── BadCredentials    the credentials cannot be read (400)
├── Retransmission        the request has come before, and is being answered
├── Unavailable           a database or server does not answer; 503 with Retry-After
│   ├── DriverMissing     its driver is not installed
│   └── EngineAway        the engine of the cluster does not
├── LockedOut             another node has locked the claimant out meanwhile
├── ConfigError           the YAML is at fault; one `Mistake` per mistake
└── UserInfoError         the User Info table cannot take the change
    ├── NoSuchUser
    │   └── SeveralUsers  it is not said which one
    └── UserExists

Any other exception is a bug: the request gets 500 and never passes.
"""

from typing import NamedTuple


class SbcAuthError(Exception):
    """The base of all errors that sbcauth raises on purpose."""


class BadRequest(SbcAuthError):
    """The request is at fault; `status` and `phrase` are what to reply."""

    status = 400
    phrase = "Bad Request"


class BadCredentials(BadRequest):
    """The credentials cannot be read (RFC 3261, 22.4)."""

    phrase = "Bad Credentials"


class Retransmission(SbcAuthError):
    """The request has come before: its transaction answers it (RFC 3261, 17.2)."""


class Unavailable(SbcAuthError):
    """A database or server that is needed for a verdict does not answer.

    `retry_after` (seconds) is when the sender may try again (RFC 3261, 20.33).
    """

    status = 503
    phrase = "Service Unavailable"

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DriverMissing(Unavailable):
    """The driver of a database is not installed."""


class EngineAway(Unavailable):
    """The engine of the cluster does not answer, or not in time."""


class LockedOut(SbcAuthError):
    """Some node has locked out who has just been found to be right; `scope` is by which limit."""

    def __init__(self, scope: str) -> None:
        super().__init__(scope)
        self.scope = scope


class Mistake(NamedTuple):
    """One mistake in the configuration file; `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    key: str
    message: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.file}:{self.line}:{self.column}: {key}{self.message}"


class ConfigError(SbcAuthError):
    """The configuration cannot be used; `mistakes` names every mistake in it."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


class UserInfoError(SbcAuthError):
    """The User Info table cannot take the change."""


class NoSuchUser(UserInfoError):
    """No row of the User Info table fits."""


class SeveralUsers(NoSuchUser):
    """Several rows of the User Info table fit, and one is meant."""


class UserExists(UserInfoError):
    """The User Info table has this user already."""
