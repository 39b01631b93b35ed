"""The log of outcomes as Kamailio's processes have it: one channel, that of the configuration."""

import os

import KSR

from sbcauth.config.load import Config
from sbcauth.config.schema import LogDetail
from sbcauth.monitoring.channels import Channel, Nowhere, Stdout, channel
from sbcauth.monitoring.counts import LOST, TABLE
from sbcauth.monitoring.outcome_log import OutcomeLog


def _lose() -> None:
    KSR.htable.sht_inc(TABLE, LOST)


_stdout = os.environ.get("SBCAUTH_STDOUT", "")  # of `sbcauth run`
_STDOUT: Channel = Stdout(int(_stdout)) if _stdout.isdigit() else Nowhere()
_log_to = ""
_channel: Channel = _STDOUT
log = OutcomeLog(_channel, LogDetail.CHANGES, _lose)
"""What is written to; another after each `follow`."""


def follow(config: Config) -> None:
    """Write as `config` says from now on; what is open stays so where it says the same."""
    global log, _log_to, _channel
    if config.log_to != _log_to:
        _channel.close()
        foreground = KSR.kx.get_def("SBCAUTH_LOG") == '"stderr"'  # by `sbcauth run`
        _channel = channel(config.log_to, os.environ, _STDOUT, foreground=foreground)
        _log_to = config.log_to
    log = OutcomeLog(_channel, config.log, _lose)
