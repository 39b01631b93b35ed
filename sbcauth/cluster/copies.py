"""Copies of what the engine counts, in the shared memory of a node.

Everything that only looks (the fast way of a known phone, lockouts, `sbcauth lockout list`) looks
there, in the same tables and the same form as without a cluster; see sbcauth/policy/attempts.py.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sbcauth.policy.failure_record import record_of
from sbcauth.policy.shared_state import SharedState, Table
from sbcauth.policy.trust import TRUST_UNIT


class News(NamedTuple):
    """Something that the engine has done: `what`, and the fields that go with it."""

    what: str
    fields: Mapping[str, str]


class Copies:
    """Writes copies into the shared memory of a node."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared

    def take(self, news: News, now: int) -> None:
        """Copy what has happened at the engine, at `now` (seconds since 1970)."""
        fields = news.fields
        key = fields.get("key", "")
        match news.what:
            case "held":
                self.held(key, int(fields["count"]), int(fields["left"]), now)
            case "locked":
                left, count = int(fields["left"]), int(fields["count"])
                self.locked(key, fields["words"], left, count, now)
            case "marked":
                self.marked(key, int(fields["left"]), now)
            case "trusted":
                self.trusted(key, int(fields["left"]), now)
                if fields["cleared"]:
                    self._shared.remove(Table.ATTEMPTS, fields["cleared"])
            case "lifted":
                self.locked(key, fields["words"], 0, 0, now)
                self._shared.remove(Table.ATTEMPTS, key)
            case "forgotten":
                self._shared.remove(Table.ATTEMPTS, key)
                self._shared.remove(Table.LOCKOUTS, key)

    def held(self, key: str, count: int, left: int, now: int) -> None:
        """Note how many attempts are held against somebody, for as many seconds."""
        self._shared.set(Table.ATTEMPTS, key, record_of(count, now), left)

    def marked(self, pair: str, left: int, now: int) -> None:
        """Note that a flow of a pair has a count of its own."""
        self._shared.update(
            Table.ATTEMPTS, pair, left, lambda record: (record or record_of(0, now) or 1, None)
        )

    def locked(self, key: str, words: str, left: int, count: int, now: int) -> None:
        """Note a lockout, of which there are so many milliseconds left.

        `words` are how many seconds it lasts, its scope, and who it is.
        """
        duration = words.split(" ", 1)[0]
        seconds = -(-left // 1000)
        until = f"{now + seconds} {words}"
        self._shared.set(Table.LOCKOUTS, key, until, seconds + int(duration))
        if seconds:
            self.held(key, count, seconds, now)

    def trusted(self, pair: str, left: int, now: int) -> None:
        """Note that a pair is trusted for as many seconds."""
        until = -(-(now + left) // TRUST_UNIT)
        self._shared.set(Table.TRUSTED, pair, until, max(left, 1))
