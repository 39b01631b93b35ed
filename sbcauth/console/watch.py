"""What the server has done recently: asked now and then, once for all who look.

The server counts since it started; a look at its counts now and then tells what came between. So
it costs the server the same however many look, or attack the page.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from threading import Event, Lock, Thread
from typing import NamedTuple

from sbcauth.cluster.settings import ClusterSettings
from sbcauth.exceptions import SbcAuthError
from sbcauth.monitoring.lockouts import Lockout, lockouts
from sbcauth.monitoring.recent import recent
from sbcauth.monitoring.rpc import Rpc, RpcError
from sbcauth.monitoring.status import Status, status
from sbcauth.monitoring.why import Outcome

EVERY = 0.4
"""Seconds between two looks while somebody looks at the page."""
_IDLE = 2.0
"""Seconds between two looks while nobody does."""
_LOOKED_AT = 30.0
"""So many seconds after the last page or event, somebody is still taken to look."""
_SHARE = 5
_LONGEST_REST = 15.0
"""A look that takes long is followed by a rest of so many times as long, up to these seconds."""
_RATES_OVER = 10.0
"""Seconds that rates are taken over."""
MINUTES = 60

Counts = Counter[tuple[str, str]]
"""How often requests of an IP Group were decided for a reason."""


class Minute(NamedTuple):
    """What was decided in a minute, which begins at `at` (seconds since 1970)."""

    at: int
    counts: Counts


class Seen(NamedTuple):
    """What was seen at the last look; `status` is None where no server answers, for `trouble`.

    `number` is another one when there is something new to show. `rates` are decisions a second in
    the last seconds, by IP Group and reason. `lockouts` are None where they are too many to be
    told.
    """

    number: int
    at: float
    status: Status | None
    trouble: str
    rates: dict[tuple[str, str], float]
    lockouts: list[Lockout] | None
    outcomes: Sequence[Outcome]


class Watch:
    """Looks at a server, in a thread of its own, from `start` to `stop`."""

    def __init__(
        self,
        server: Callable[[], Rpc],
        cluster: Callable[[], ClusterSettings | None],
        clock: Callable[[], float],
    ) -> None:
        self._server = server
        self._cluster = cluster
        self._clock = clock
        self._minutes: deque[Minute] = deque(maxlen=MINUTES + 1)
        self._before: Status | None = None
        self._before_at = 0.0
        self._stop = Event()
        self._one = Lock()
        self._lately: deque[tuple[float, Counts]] = deque()
        self._wanted_at = 0.0
        self._told_at = 0.0
        self.since = 0.0
        self.seen = Seen(0, 0.0, None, "not asked so far", {}, None, ())
        self._thread = Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self.since = self._clock()
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def wanted(self) -> None:
        """Look more often for a while: somebody wants to see what happens at once."""
        self._wanted_at = self._clock()

    def minutes(self) -> Iterator[Minute]:
        """Yield the last 60 minutes, the oldest first; those that nobody has seen are empty."""
        known = {each.at: each for each in tuple(self._minutes)}
        last = int(self._clock()) // 60 * 60
        for at in range(last - (MINUTES - 1) * 60, last + 60, 60):
            yield known.get(at) or Minute(at, Counter())

    def _run(self) -> None:
        while not self._stop.is_set():
            began = self._clock()
            self.look()
            took = max(0.0, self._clock() - began)
            self._rest(max(EVERY, min(took * _SHARE, _LONGEST_REST)))

    def _rest(self, seconds: float) -> None:
        """Wait so long, and where nobody looks, longer."""
        rested = 0.0
        while not self._stop.wait(seconds):
            rested += seconds
            if rested >= _IDLE or self._clock() - self._wanted_at < _LOOKED_AT:
                return

    def look(self) -> None:
        """Ask the server now, and remember what it says."""
        with self._one:
            now = self._clock()
            try:
                found = self._ask(now)
            except (SbcAuthError, OSError, ValueError, KeyError) as error:
                found = Seen(0, now, None, str(error), {}, None, ())
                self._before = None
                self._lately.clear()
            if self._is_news(found) or now - self._told_at >= _IDLE:
                self._told_at = now
                self.seen = found._replace(number=self.seen.number + 1)
            else:
                self.seen = found._replace(number=self.seen.number)

    def _is_news(self, found: Seen) -> bool:
        """Tell whether those who look should see this at once, and not with the next rates."""
        before = self.seen
        if found.trouble != before.trouble or found.outcomes is not before.outcomes:
            return True
        users = [each.status and each.status.registered_users for each in (before, found)]
        return found.lockouts != before.lockouts or users[0] != users[1]

    def _ask(self, now: float) -> Seen:
        server = self._server()
        found = status(server, self._cluster())
        try:
            locked_out: list[Lockout] | None = lockouts(server, now)
        except RpcError:
            locked_out = None
        rates: dict[tuple[str, str], float] = {}
        more = self._more(found)
        if self._before is not None:
            rates = self._rates(now, more)
            self._add(now, more)
        is_first = self._before is None
        outcomes = tuple(recent(server)) if is_first or more else self.seen.outcomes
        if is_first and not self._minutes:
            self._add_kept(outcomes, now)
        self._before, self._before_at = found, now
        return Seen(0, now, found, "", rates, locked_out, outcomes)

    def _rates(self, now: float, more: Counts) -> dict[tuple[str, str], float]:
        """Return decisions a second over the last looks, of which the latest counted `more`."""
        self._lately.append((self._before_at, more))
        while now - self._lately[0][0] > _RATES_OVER and len(self._lately) > 1:
            self._lately.popleft()
        counts = Counts()
        for _, each in self._lately:
            counts.update(each)
        seconds = max(0.1, now - self._lately[0][0])
        return {key: count / seconds for key, count in counts.items()}

    def _more(self, found: Status) -> Counts:
        """Return what was counted since the look before; a server that started anew begins at 0."""
        now = Counter({(each.ip_group, each.reason): each.times for each in found.outcomes})
        if self._before is None or found.uptime < self._before.uptime:
            return now if self._before is not None else Counter()
        before = Counter({(o.ip_group, o.reason): o.times for o in self._before.outcomes})
        return now - before

    def _add_kept(self, outcomes: Sequence[Outcome], now: float) -> None:
        """Begin with what the server has kept of the hour before: some of each reason."""
        for each in outcomes:
            at = datetime.fromisoformat(each.time).timestamp()
            if now - 3600 < at <= now and not each.shadow:
                self._add(at, Counter({(each.ip_group, each.reason): 1}))

    def _add(self, now: float, more: Counts) -> None:
        at = int(now) // 60 * 60
        if not self._minutes or self._minutes[-1].at != at:
            self._minutes.append(Minute(at, Counter()))
        self._minutes[-1].counts.update(more)
