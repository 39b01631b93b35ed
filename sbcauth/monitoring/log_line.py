"""An outcome as the log has it: `key=value`, in a closed vocabulary.

    decision=challenge status=401 reason=challenged ip_group=Phones method=REGISTER
    source=192.0.2.7:5060/udp username=1001 from=1001 to=1001 call_id=f81d4fae

Text from the network is escaped and cut, so that a line is a line, of bounded length.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from sbcauth.config.schema import LogDetail
from sbcauth.policy.decision import (
    Accept,
    Ask,
    Challenge,
    Decision,
    Drop,
    Pass,
    Reason,
    Reject,
    Reply,
)
from sbcauth.policy.reasons import ERROR as ERROR
from sbcauth.policy.reasons import INFO as INFO
from sbcauth.policy.reasons import NOTICE as NOTICE
from sbcauth.policy.reasons import WARNING as WARNING
from sbcauth.policy.request import Request

MAX_VALUE = 80
"""The longest value, in characters; a longer one ends in `~`."""
_MAX_DETAIL = 300  # our own words, with a file's path

_USUAL = frozenset(reason for reason in Reason if reason.is_usual)

_PLAIN = re.compile(r"[!#-\[\]-~]+").fullmatch


class Record(NamedTuple):
    """What is written about one outcome: values in their order, escaped and cut, never empty.

    `is_plain` where no value needs quotes.
    """

    priority: int
    values: tuple[tuple[str, str], ...]
    is_plain: bool = False

    @property
    def line(self) -> str:
        """Return it as one line of text."""
        if self.is_plain:
            return " ".join(map("=".join, self.values))
        return " ".join(f"{key}={_quoted(value)}" for key, value in self.values)


def unwritten(detail: LogDetail) -> frozenset[Reason]:
    """Return the reasons of outcomes that the log never has at this level of detail."""
    match detail:
        case LogDetail.ALL:
            return frozenset()
        case LogDetail.CHANGES:
            return _USUAL - {Reason.ACCEPTED}
        case LogDetail.REFUSALS:
            return _USUAL


def is_written(decision: Decision, detail: LogDetail) -> bool:
    """Tell whether an outcome is one that the log has at this level of detail."""
    if decision.reason not in _USUAL or detail is LogDetail.ALL:
        return True
    if isinstance(decision, Challenge) and decision.detail:  # for another realm
        return True
    if detail is LogDetail.REFUSALS or decision.reason is not Reason.ACCEPTED:
        return False
    return isinstance(decision, Accept | Pass) and decision.is_first


def outcome(request: Request, decision: Decision) -> Record:
    """Return the record of the decision on `request`."""
    whose = ("", "") if isinstance(decision, Drop) else (decision.ip_group, decision.username)
    detail = getattr(decision, "detail", "")
    return record(
        decision.reason.level,
        **_verdict(_NAMES[type(decision)], decision.reason, *_told_by(decision)),
        ip_group=whose[0],
        method=request.method,
        source=f"{request.source_address}:{request.source_port}/{request.transport}",
        username=whose[1],
        **{"from": request.from_user},
        to=request.to_user,
        call_id=request.call_id,
        **({"detail": detail} if detail else {}),
    )


def record(priority: int, **values: str) -> Record:
    """Return a record of these values, as they came; an empty one is `-`.

    Nearly always they can stand as they are, which is seen in one look-up.
    """
    texts = values.values()
    if all(texts) and _PLAIN("".join(texts)) and max(map(len, texts)) <= MAX_VALUE:
        return Record(priority, tuple(values.items()), is_plain=True)
    return Record(
        priority,
        tuple(
            (key, escaped(value, _MAX_DETAIL if key == "detail" else MAX_VALUE))
            for key, value in values.items()
        ),
    )


def word(text: str, longest: int = MAX_VALUE) -> str:
    """Return `text` as one printable word: as it is, or in quotes with escapes, or `-`."""
    return _quoted(escaped(text, longest))


def _told_by(decision: Decision) -> tuple[int, str, str]:
    """Return the status, the word and the shadow of a decision, as far as it has any."""
    match decision:
        case Pass():
            return 0, decision.word or "", decision.shadow
        case Accept():
            return 0, decision.word or "", ""
        case Challenge(status) | Reject(status):
            return status, "", ""
        case Reply():
            return 200, "", ""
        case Ask() | Drop():  # pragma: no branch - the set is closed
            return 0, "", ""


_NAMES: dict[type, str] = {
    Pass: "pass",
    Accept: "accept",
    Challenge: "challenge",
    Reject: "reject",
    Ask: "ask",
    Reply: "reply",
    Drop: "drop",
}


@lru_cache(256)  # there are some dozens of them
def _verdict(name: str, reason: Reason, status: int, word: str, shadow: str) -> dict[str, str]:
    """Return the beginning of a record."""
    values = {
        "decision": name,
        "status": str(status or ""),
        "shadow": shadow,
        "reason": reason,
        "word": word,
    }
    return {key: value for key, value in values.items() if value}


def escaped(text: str, longest: int = MAX_VALUE) -> str:
    """Return `text` without a character that is not printable ASCII, and cut."""
    if len(text) <= longest and _PLAIN(text):
        return text
    if not text:
        return "-"
    cut = text if len(text) <= longest else text[: longest - 1] + "~"
    return cut.encode("unicode_escape").decode("ascii")


def _quoted(text: str) -> str:
    """Return what was escaped as one word of a line."""
    if _PLAIN(text):
        return text
    return '"' + text.replace('"', '\\"') + '"'
