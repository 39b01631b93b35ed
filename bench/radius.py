"""What users of one IP Group feel while requests of another wait for a silent RADIUS server."""

import socket
import time
from statistics import median, quantiles
from typing import Self

from bench.measure import Bed, Series, Settings, beds
from bench.report import Result
from bench.servers import CONFIG, Ours

WAITING = 200
"""Requests that wait at a time."""
_RATE = 500
"""Registrations a second, a tenth of what one worker can do."""
_USERS = 1000
_STRANGERS = range(1 << 16, (1 << 16) + WAITING)  # phones of the next /16
_PATIENCE = 3.0  # seconds: longer than a round
_REST = _PATIENCE + 0.5

_RADIUS = """\
  - name: Strangers
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    server_auth_mode: radius
    radius:
      timeout: {patience}
      tries: 1
      dead_time: 0
      servers: [{{address: 127.0.0.1, port: {port}, secret: not-needed}}]
    classification:
      - address: 127.2.0.0/16
"""


class Silent:
    """A RADIUS server that is asked and says nothing."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def asked(self) -> int:
        """Return how many questions have come since the last look."""
        found = 0
        while True:
            try:
                self._socket.recv(4096)
                found += 1
            except BlockingIOError:
                return found


def waiting_for_radius(settings: Settings) -> Result:
    """Register local users by the clock, in turn without and with requests that wait."""
    series = {
        f"{state}, {name}": Series(f"{state}, {name}", [])
        for name in ("p50", "p99")
        for state in ("idle", f"{WAITING} waiting")
    }
    with Silent() as silent:
        config = CONFIG + _RADIUS.format(port=silent.port, patience=_PATIENCE)
        server = Ours(settings.folder / "ours", _USERS, settings.workers, config=config)
        with beds([server], range(_USERS)) as (bed,):
            for _ in range(max(5, settings.rounds // 2)):
                _round(bed, "idle", series)
                _have_wait(bed, silent)
                _round(bed, f"{WAITING} waiting", series)
                time.sleep(_REST)
    facts = {f"{name}, waiting / idle": _ratio(series, name) for name in ("p50", "p99")}
    title = f"a local REGISTER while {WAITING} requests wait for RADIUS"
    return Result("waiting-for-radius", title, "ms", [*series.values()], facts={**facts})


def _have_wait(bed: Bed, silent: Silent) -> None:
    """Bring in requests that wait for longer than a round, and see that all of them do."""
    silent.asked()
    found = 0
    for stranger in _STRANGERS:
        bed.line.keep_busy(bed.phones.leave_waiting([stranger]))
        found += silent.asked()
    time.sleep(0.1)
    found += silent.asked()
    if found != WAITING:
        raise RuntimeError(f"{found} requests wait, and not {WAITING}")


def _round(bed: Bed, state: str, series: dict[str, Series]) -> None:
    load = bed.line.keep_pace(bed.phones.register(range(_USERS)), _RATE)
    if load.lost:
        raise RuntimeError(f"{load.lost} registrations were not answered")
    cuts = quantiles(load.latencies, n=100)
    series[f"{state}, p50"].values.append(cuts[49] * 1000)
    series[f"{state}, p99"].values.append(cuts[98] * 1000)


def _ratio(series: dict[str, Series], name: str) -> float:
    """Return the median over the rounds of how much longer it takes while requests wait."""
    waiting, idle = series[f"{WAITING} waiting, {name}"], series[f"idle, {name}"]
    pairs = zip(waiting.values, idle.values, strict=True)
    return round(median(late / usual for late, usual in pairs), 2)
