"""What goes out: the closed set of decisions, and the reasons they are logged with."""

from functools import lru_cache
from typing import NamedTuple

from sbcauth.policy.reasons import Reason as Reason
from sbcauth.policy.words import Word


@lru_cache(1000)
def outcome_key(ip_group: str, reason: Reason) -> str:
    """Return the key under which outcomes are counted; no IP Group is `-`."""
    return f"{reason} {ip_group or '-'}"


class Pass(NamedTuple):
    """The request goes on as it is, on the `word` of somebody but its sender.

    Without a word it goes nowhere, unless it belongs to a dialog.
    `shadow` is the decision that it would have been, in an IP Group where none is carried out:
    `accept`, `challenge` or `reject`; `username`, `detail` and `is_first` are of that.
    `local_user` is whose word it is, where From has another number.
    """

    reason: Reason
    ip_group: str = ""
    username: str = ""
    shadow: str = ""
    detail: str = ""
    is_first: bool = False
    word: Word | None = None
    local_user: str = ""


class Accept(NamedTuple):
    """The sender proved who it is; the credentials for `realm` are spent.

    `is_first`: it has not succeeded from this source recently (`trust_duration`). `is_repeat`: the
    registrar has carried it out before, and it has been counted; its answer was lost. `is_renewal`:
    it registers the very Contact that it has registered before, from the same place.
    """

    ip_group: str
    username: str
    local_user: str
    realm: str
    reason: Reason = Reason.ACCEPTED
    is_first: bool = False
    is_repeat: bool = False
    word: Word = Word.DIGEST
    is_renewal: bool = False


class Challenge(NamedTuple):
    """Reply `status` (401 or 407) with `headers`, one challenge per algorithm.

    `detail` says more, in words for the log only.
    """

    status: int
    headers: tuple[str, ...]
    reason: Reason
    ip_group: str
    username: str = ""
    detail: str = ""


class Reject(NamedTuple):
    """Reply `status` and `phrase`; `retry_after` in seconds, 0 for none.

    `detail` says more, in words for the log only. `headers` are further lines of the answer.
    """

    status: int
    phrase: str
    reason: Reason
    ip_group: str = ""
    username: str = ""
    retry_after: int = 0
    detail: str = ""
    headers: tuple[str, ...] = ()


class Reply(NamedTuple):
    """Answer the request here, with 200; it goes nowhere."""

    reason: Reason
    ip_group: str
    username: str = ""


class Drop(NamedTuple):
    """Do not answer at all."""

    reason: Reason


class Ask(NamedTuple):
    """An external server must be asked; its verdict comes with a second decision.

    `attributes` are those of an Access-Request, as they are on the wire. The credentials for
    `realm` are spent, if the verdict lets the request go on. `reserved` is what is given back if it
    is not asked.
    """

    ip_group: str
    username: str
    realm: str
    attributes: bytes
    reserved: tuple[str, ...] = ()
    reason: Reason = Reason.ASKED


Decision = Pass | Accept | Challenge | Reject | Reply | Drop | Ask
