"""What phones feel of `sbcauth reload` in a server of a thousand IP Groups, under load."""

import os
from itertools import cycle, islice
from statistics import quantiles
from threading import Timer

from bench.measure import Series, Settings, beds
from bench.report import Result
from bench.servers import Ours, many_groups
from sbcauth.config.load import load
from sbcauth.config.reload import request_reload

GROUPS = 1000
_USERS = 1000
_RATE = 500  # registrations a second
_ROUND = 4.0  # seconds; a reload begins after the first
_WORKERS = 4


def reloading(settings: Settings) -> Result:
    """Register by the clock, in turn with and without a reload meanwhile."""
    series = {
        f"{what}, {state}": Series(f"{what}, {state}", [])
        for what in ("p99", "longest")
        for state in ("no reload", "a reload")
    }
    config = many_groups(GROUPS)
    workers = max(settings.workers, _WORKERS)
    server = Ours(settings.folder / "ours", _USERS, workers, config=config)
    reloaded = lost = 0
    with beds([server], range(_USERS)) as (bed,):
        in_force = load(server.folder / "sbcauth.yaml", os.environ)
        for _ in range(max(3, settings.rounds // 4)):
            for state in ("no reload", "a reload"):
                users = islice(cycle(range(_USERS)), int(_RATE * _ROUND))
                before = server.log().count("configuration reloaded")
                if state == "a reload":
                    Timer(1.0, request_reload, (in_force,)).start()
                found = bed.line.keep_pace(bed.phones.register(users), _RATE)
                lost += found.lost
                reloaded += server.log().count("configuration reloaded") - before
                series[f"p99, {state}"].values.append(quantiles(found.latencies, n=100)[98] * 1000)
                series[f"longest, {state}"].values.append(max(found.latencies) * 1000)
    facts = {"requests lost": lost, "processes that reloaded, of all reloads": reloaded}
    title = f"a REGISTER while {GROUPS} IP Groups are reloaded, {workers} workers"
    return Result("reload", title, "ms", [*series.values()], facts={**facts})
