"""The external server, as far as a decision needs it: what it is asked, and what it says."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from sbcauth.digest.credentials import Credentials
from sbcauth.policy.request import Request

LONGEST_WAIT = 30.0
"""Seconds after which nobody is asked any more: a phone gives up after 32 (RFC 3261, 17.1.2.2)."""


class ExternalServer(Protocol):
    """A server that knows the passwords of an IP Group's users, in place of User Info."""

    def question(self, request: Request, credentials: Credentials) -> bytes:
        """Return what it is to be asked, for the process that asks.

        Raises BadCredentials where it cannot be asked about these credentials.
        """


class Answer(StrEnum):
    """What came of a question: Access-Accept, Access-Reject, or nothing that may be trusted."""

    ACCEPT = "accept"
    REJECT = "reject"
    NONE = "none"


class Verdict(NamedTuple):
    """What the external server said of a request; `detail` is why it said nothing."""

    answer: Answer
    detail: str = ""


class Record(Protocol):
    """What is remembered of the servers, by their addresses."""

    def answered(self, server: str, answer: Answer, seconds: float) -> None:
        """Note what came of asking a server, and after how long; that it was silent, too."""

    def left_alone(self, server: str, seconds: float) -> None:
        """Note that a server will not be asked for so long; 0 when it has answered again."""
