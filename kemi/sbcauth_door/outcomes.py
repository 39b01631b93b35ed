"""The log of outcomes as Kamailio's processes have it: one channel, that of the configuration."""

import os
import time

import KSR

from sbcauth.config.load import Config
from sbcauth.config.schema import LogDetail
from sbcauth.monitoring.channels import Channel, Nowhere, Stdout, channel
from sbcauth.monitoring.counts import LOST, TABLE
from sbcauth.monitoring.log_line import Record
from sbcauth.monitoring.outcome_log import OutcomeLog
from sbcauth.monitoring.recent import counter_key, entry_key
from sbcauth.monitoring.recent import entry as line_kept


def _lose() -> None:
    KSR.htable.sht_inc(TABLE, LOST)


def _keep(entry: Record) -> None:
    """Keep an outcome in shared memory, for `why` and `recent` where there is no journal."""
    reason = next((value for key, value in entry.values if key == "reason"), "")
    if reason:
        number = KSR.htable.sht_inc(TABLE, counter_key(reason))
        KSR.htable.sht_sets(TABLE, entry_key(reason, number), line_kept(time.time(), entry.line))


def samples_challenge() -> bool:
    """Tell whether a challenge is kept that the log leaves out: the first few of a second are.

    A phone that never answers is seen so, and many phones cost nothing.
    """
    global _second, _sampled
    now = int(time.time())
    if now != _second:
        _second, _sampled = now, 0
    _sampled += 1
    return _sampled <= _SAMPLES


_SAMPLES = 5
_second = _sampled = 0
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
