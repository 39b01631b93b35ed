"""Metrics, where they are switched on: what a worker measures, and the process that serves them.

Nothing here is called where they are off. Then a worker's routing function is the bare one, and
its look-ups of users are.
"""

import time
from collections.abc import Callable
from pathlib import Path

import KSR

from sbcauth.monitoring import counts
from sbcauth.monitoring.measures import Measures
from sbcauth.monitoring.metrics_server import Endpoint, MetricsServer, NoMetrics
from sbcauth.monitoring.prometheus import text
from sbcauth.monitoring.rpc import Rpc
from sbcauth.monitoring.status import status
from sbcauth_door import route_block

_EVERY = 1.0
"""Seconds between two times that `sbcauth status` is told what was measured."""


class Metrics:
    """What the processes of this server measure, and the server that tells Prometheus."""

    def __init__(self, listen: str) -> None:
        socket = route_block.definition("SBCAUTH_RPC_SOCKET")
        if not socket:
            raise NoMetrics("metrics need SBCAUTH_RPC_SOCKET: see docs/metrics.md")
        self.measures = Measures()
        self._rpc = Rpc(Path(socket))
        self._server = MetricsServer(Endpoint.parse(listen), self._text)
        self._told = ""
        self._next_time = 0.0

    def begin(self) -> None:
        """Take this process's own place; called once in each."""
        self.measures.set_place(KSR.htable.sht_inc(counts.TABLE, counts.PROCESSES))

    def timed(self, decide: Callable[..., int]) -> Callable[..., int]:
        """Return the routing function `decide`, which is timed from now on."""
        clock, decided = time.perf_counter, self.measures.decided

        def authenticate(msg: object = None, *_: object) -> int:
            began = clock()
            code = decide(msg)
            decided(clock() - began)
            return code

        return authenticate

    def serve(self, now: float) -> None:
        """Answer one scrape, or none within a second; tell `sbcauth status` what was measured."""
        self._server.serve()
        if not 0 <= self._next_time - now <= _EVERY:
            self._next_time = now + _EVERY
            self._tell()

    def _tell(self) -> None:
        measured = self.measures.encode()
        if measured != self._told:
            KSR.htable.sht_sets(counts.TABLE, counts.MEASURES, measured)
            self._told = measured

    def _text(self) -> str:
        return text(status(self._rpc)._replace(measured=self.measures.totals()))
