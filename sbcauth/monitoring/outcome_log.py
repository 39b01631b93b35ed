"""The log of outcomes: which ones are written, and what becomes of those that are not taken."""

from collections.abc import Callable

from sbcauth.config.schema import LogDetail
from sbcauth.monitoring.channels import Channel
from sbcauth.monitoring.log_line import WARNING, Record, is_written, record, unwritten
from sbcauth.policy.decision import Decision


class OutcomeLog:
    """Writes outcomes to `channel`; `lose` is called for each that the channel does not take.

    `keep` is called for each, taken or not.
    """

    def __init__(
        self,
        channel: Channel,
        detail: LogDetail,
        lose: Callable[[], None],
        keep: Callable[[Record], None] = lambda _: None,
    ) -> None:
        self._channel = channel
        self._detail = detail
        self.never = unwritten(detail)
        self._lose = lose
        self.keep = keep
        self._lost = 0
        self.writes_all = detail is LogDetail.ALL

    def wants(self, decision: Decision) -> bool:
        """Tell whether this outcome is written; nobody need make up a record of others."""
        return is_written(decision, self._detail)

    def write(self, entry: Record) -> None:
        """Write a record; the first that is taken again tells how many were not."""
        self.keep(entry)
        if self._lost:
            missing = record(WARNING, lost=str(self._lost))
            if self._channel.write(missing):
                self._lost = 0
        if self._lost or not self._channel.write(entry):
            self._lost += 1
            self._lose()
