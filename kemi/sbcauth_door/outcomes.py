"""The log of outcomes as Kamailio's processes have it: one channel, that of the configuration."""

import os
import time

import KSR

from sbcauth.config.load import Config
from sbcauth.config.schema import LogDetail
from sbcauth.monitoring.channels import Channel, Nowhere, Stdout, channel
from sbcauth.monitoring.counts import LOST, TABLE
from sbcauth.monitoring.log_line import Record, outcome
from sbcauth.monitoring.outcome_log import OutcomeLog
from sbcauth.monitoring.recent import counter_key, entry_key
from sbcauth.monitoring.recent import entry as line_kept
from sbcauth.policy.decision import Accept, Challenge, Decision, Drop, Reason, outcome_key
from sbcauth.policy.request import Request
from sbcauth_door.state import enlist

_count = KSR.htable.sht_inc


def _lose() -> None:
    KSR.htable.sht_inc(TABLE, LOST)


def _keep(entry: Record) -> None:
    """Keep an outcome in shared memory, for `why` and `recent` where there is no journal."""
    reason = next((value for key, value in entry.values if key == "reason"), "")
    if reason and has_room(reason):
        _kept[reason] = _kept.get(reason, 0) + 1
        number = KSR.htable.sht_inc(TABLE, counter_key(reason))
        KSR.htable.sht_sets(TABLE, entry_key(reason, number), line_kept(time.time(), entry.line))


def has_room(reason: str) -> bool:
    """Tell whether one more outcome of this reason is kept: the first few of a second are.

    A flood would only push out what it has put there before, at 10 µs each.
    """
    global _second
    now = int(time.time())
    if now != _second:
        _second = now
        _kept.clear()
    return _kept.get(reason, 0) < _A_SECOND


_A_SECOND = 10
_second = 0
_kept: dict[str, int] = {}
_stdout = os.environ.get("SBCAUTH_STDOUT", "")  # of `sbcauth run`
_STDOUT: Channel = Stdout(int(_stdout)) if _stdout.isdigit() else Nowhere()
_log_to = ""
_channel: Channel = _STDOUT
log = OutcomeLog(_channel, LogDetail.CHANGES, _lose, _keep)
"""What is written to; another after each `follow`."""


def follow(config: Config) -> None:
    """Write as `config` says from now on; what is open stays so where it says the same."""
    global log, _log_to, _channel
    if config.log_to != _log_to:
        _channel.close()
        foreground = KSR.kx.get_def("SBCAUTH_LOG") == '"stderr"'  # by `sbcauth run`
        _channel = channel(config.log_to, os.environ, _STDOUT, foreground=foreground)
        _log_to = config.log_to
    log = OutcomeLog(_channel, config.log, _lose, _keep)


def report(decision: Decision, request: Request) -> None:
    """Count an outcome, and write it where the log has it; a repeat has been counted before."""
    kind, reason = type(decision), decision.reason
    if isinstance(decision, Accept) and decision.is_repeat:
        return
    key = outcome_key("" if isinstance(decision, Drop) else decision.ip_group, reason)
    if _count(TABLE, key) == 1:
        enlist(key)
    if kind is Accept and not (log.writes_all or decision.is_first):  # type: ignore[union-attr]
        return  # a phone that registers again, as nearly all do
    if reason not in log.never:
        if log.wants(decision):
            log.write(outcome(request, decision))
    elif reason is _CHALLENGED and (
        (isinstance(decision, Challenge) and decision.detail) or has_room(reason)
    ):
        _log_challenge(decision, request)


_CHALLENGED = Reason.CHALLENGED


def _log_challenge(decision: Decision, request: Request) -> None:
    """Write a challenge of credentials for another realm, and keep one that the log leaves out."""
    entry = outcome(request, decision)
    if isinstance(decision, Challenge) and decision.detail:
        log.write(entry)
    else:
        log.keep(entry)
