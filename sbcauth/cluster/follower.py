"""The process of a node that follows the engine's news, and finds the engine when it moves.

It copies what the other nodes have counted, tells the engine every second that the node is there,
and all workers whether the engine is. Whatever it may have missed, it fetches whole: at the start,
after the engine was away, and after the process itself stood still.
"""

import json
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NamedTuple

from sbcauth.cluster import scripts
from sbcauth.cluster.board import Board, Place
from sbcauth.cluster.copies import Copies, News
from sbcauth.cluster.engine import begin, host_of
from sbcauth.cluster.engine_settings import EngineSettings
from sbcauth.cluster.finding import addresses, check_primary, check_still_primary
from sbcauth.cluster.link import Link
from sbcauth.exceptions import EngineAway
from sbcauth.policy.shared_state import SharedState

_PATIENCE = 2.0
"""Seconds for one question; nobody waits for this process."""
_BLOCK = 500
"""Milliseconds to wait for news in one go."""
_BEAT = 1.0
NODE_LIVES = 10
"""Seconds after which a node that says nothing is gone, and its number free."""
_TOO_LATE = 5.0
"""Seconds without a look at the news, after which some may have been dropped."""
_AT_ONCE = 1000
_ASKS_SENTINELS = 2.0
_PATIENCE_WITH_SENTINELS = 0.2
"""Seconds between two questions who the primary is, and for one; the news wait meanwhile."""
_COPIED = f"{scripts.PREFIX}[lct]*"
"""What is fetched whole: lockouts, counts and trust."""


class Identity(NamedTuple):
    """Who a node is: its number, which server has it, and facts that other nodes' must equal."""

    node: int
    server: str
    facts: Mapping[str, object]


class Follower:
    """Follows the news of the engine.

    `clock` tells the time (seconds since 1970), `say` writes a line for the administrator, and
    `forget_all` empties this node's tables of failures and lockouts.
    """

    def __init__(
        self,
        settings: EngineSettings,
        identity: Identity,
        board: Board,
        shared: SharedState,
        clock: Callable[[], float],
        say: Callable[[str], None],
        forget_all: Callable[[], None],
    ) -> None:
        self._settings, self._identity, self._board = settings, identity, board
        self._copies = Copies(shared)
        self._clock, self._say, self._forget_all = clock, say, forget_all
        self._link = Link(settings)
        self._place: Place | None = None
        self._last = "0-0"
        self._looked = self._next_beat = self._asks_next = 0.0
        self._state = ""
        self._lag = self._trip = 0.0
        self._ahead = 0.0  # of the engine's clock before `monotonic`

    def start(self) -> None:
        """Find the engine and fetch what it knows, before any request comes."""
        self.follow(block=0)
        self.close()  # no other process may have this connection

    def close(self) -> None:
        """Close the connection; the next look makes another."""
        self._link.close()
        self._place = None

    def follow(self, block: int = _BLOCK) -> bool:
        """Follow the news for a moment; tell whether the engine answers."""
        try:
            if self._place is None:
                self._place = self._find()
            now = monotonic()
            if now >= self._asks_next:
                self._asks_next = now + _ASKS_SENTINELS
                deadline = now + _PATIENCE_WITH_SENTINELS
                check_still_primary(self._settings, self._place.address, deadline)
            if now - self._looked > _TOO_LATE:
                self._fetch_all(self._place)
            if now >= self._next_beat:
                self._tell_here(self._place)
            if block:
                self._read(self._place, block)
            self._looked = monotonic()
        except EngineAway as away:
            self._board.tell_away()
            self._note(f"the engine of the cluster is away: {away}")
            self._link.close()
            self._place = None
            self._looked = self._next_beat = 0.0
            return False
        self._board.tell_there()
        return True

    def _find(self) -> Place:
        away = EngineAway("the engine has no address")
        for address in addresses(self._settings, monotonic() + _PATIENCE):
            deadline = monotonic() + _PATIENCE
            self._link.called = host_of(self._settings) or address.host
            try:
                check_primary(self._link, address, deadline)
                return begin(self._link, address, deadline, self._identity.node, self._board)
            except EngineAway as this:
                away = this
        raise away

    def _fetch_all(self, place: Place) -> None:
        """Fetch what is counted; what happens in the meantime is among the news."""
        latest = self._call(place, "XREVRANGE", f"{scripts.PREFIX}news", "+", "-", "COUNT", 1)
        self._last = latest[0][0] if latest else "0-0"
        cursor = "0"
        while True:
            cursor, keys = self._call(place, "SCAN", cursor, "MATCH", _COPIED, "COUNT", _AT_ONCE)
            if keys:
                self._copy(place, keys)
            if cursor == "0":
                return

    def _copy(self, place: Place, keys: list[str]) -> None:
        now = int(self._clock())
        found = self._link.run(place.address, monotonic() + _PATIENCE, scripts.STATE, *keys)
        for name, (value, left) in zip(keys, found, strict=True):
            kind, _, key = name.removeprefix(scripts.PREFIX).partition(":")
            seconds = max(left // 1000, 1)
            match kind:
                case "count":
                    self._copies.held(key, int(value or 0), seconds, now)
                case "trust":
                    self._copies.trusted(key, seconds, now)
                case "lock" if value:
                    lasts = int(value.split(" ", 1)[0]) * 1000
                    self._copies.locked(key, value, max(left - lasts, 0), 0, now)

    def _tell_here(self, place: Place) -> None:
        identity = self._identity
        began = monotonic()
        facts = {
            **identity.facts,
            "lag_ms": round(self._lag * 1000, 1),
            "trip_ms": round(self._trip * 1000, 2),
            "clock_ahead_s": round(self._clock() - began - self._ahead, 2) if self._ahead else 0.0,
            "epoch": place.epoch,
        }
        kind, seconds, micros = self._link.run(
            place.address, began + _PATIENCE, scripts.HERE,
            identity.node, identity.server, NODE_LIVES, json.dumps(facts),
        )  # fmt: skip
        ended = monotonic()
        self._trip = ended - began
        self._ahead = int(seconds) + int(micros) / 1e6 - (began + ended) / 2
        self._next_beat = ended + _BEAT
        if kind == "taken":
            raise EngineAway(
                f"another server is node {identity.node} already: give each a number of its own"
            )
        self._note("the engine of the cluster answers")

    def _read(self, place: Place, block: int) -> None:
        deadline = monotonic() + block / 1000 + _PATIENCE
        found = self._link.call(
            place.address, deadline, "XREAD", "COUNT", _AT_ONCE, "BLOCK", block,
            "STREAMS", f"{scripts.PREFIX}news", self._last,
        )  # fmt: skip
        for _, entries in found or ():
            now = int(self._clock())
            for id_, words in entries:
                fields = dict(zip(words[::2], words[1::2], strict=True))
                self._take(News(fields["what"], fields), place, now)
                self._last = id_
            self._lag = max(monotonic() + self._ahead - int(id_.split("-")[0]) / 1000, 0.0)

    def _take(self, news: News, place: Place, now: int) -> None:
        if news.what == "epoch":
            self._place = Place(news.fields["epoch"], place.address)
            self._board.write(self._place)
        elif news.what == "all forgotten":
            self._forget_all()
        else:
            self._copies.take(news, now)

    def _call(self, place: Place, *command: Any) -> Any:
        return self._link.call(place.address, monotonic() + _PATIENCE, *command)

    def _note(self, state: str) -> None:
        """Say what has changed, once."""
        if state != self._state:
            self._state = state
            self._say(state)
