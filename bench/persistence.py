"""Phones that send again what is not answered (RFC 3261, 17.1.2.2), and in the end give up."""

import select
import time
from collections.abc import Iterable
from heapq import heappop, heappush

from bench.load import Line, Load
from bench.phones import Datagrams, Start

_TIMES = (0.5, 1.0, 2.0, 4.0)
"""Seconds after which a request is sent once more; then its phone gives up."""
_MOST_AT_ONCE = 64


class PersistentLine(Line):
    """A line whose phones send again; `sent_again` is how often they did."""

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self.sent_again = 0
        self._said: dict[bytes, Datagrams] = {}
        self._due: list[tuple[float, bytes, int, Datagrams]] = []

    def persist(self, starts: Iterable[Start], rate: float) -> Load:
        """Begin `rate` conversations a second, and hold all of them to their end."""
        began = due = time.perf_counter()
        self._latencies = []
        lost, waiting = 0, iter(starts)
        start = next(waiting, None)
        while start or self._active:
            now = time.perf_counter()
            while start and due <= now:
                self._begin(start, due)
                due += 1 / rate
                start = next(waiting, None)
            lost += self._send_again(now)
            for _ in range(_MOST_AT_ONCE):
                if not select.select([self._socket], [], [], 0.0005)[0]:
                    break
                self._receive()
        return Load(time.perf_counter() - began, self._latencies, lost)

    def _say(self, call_id: bytes, datagrams: Datagrams, address: int) -> None:
        super()._say(call_id, datagrams, address)
        self._said[call_id] = datagrams
        heappush(self._due, (time.perf_counter() + _TIMES[0], call_id, 0, datagrams))

    def _send_again(self, now: float) -> int:
        """Send again what is due; return how many phones have given up."""
        lost = 0
        while self._due and self._due[0][0] <= now:
            _, call_id, times, datagrams = heappop(self._due)
            if call_id not in self._active or self._said.get(call_id) is not datagrams:
                continue
            if times + 1 == len(_TIMES):
                lost += 1
                del self._active[call_id]
                continue
            self.sent_again += 1
            super()._say(call_id, datagrams, self._active[call_id][1])
            heappush(self._due, (now + _TIMES[times + 1], call_id, times + 1, datagrams))
        return lost
