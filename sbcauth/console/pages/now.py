"""Now: who is getting in, and who is not."""

from typing import Any

from starlette.responses import Response

from sbcauth.console.pictures import by_group, hour
from sbcauth.console.visit import Visit
from sbcauth.console.watch import Counts, Watch
from sbcauth.console.words import kind
from sbcauth.monitoring.cluster import in_words

_MOST_SHOWN = 50


def now(visit: Visit) -> Response:
    """Show the last hour, and what is so now."""
    return visit.page("now.html", **live(visit.console.watch))


def live(watch: Watch) -> dict[str, Any]:
    """Return what changes while one looks."""
    minutes = list(watch.minutes())
    counts = Counts()
    for minute in minutes:
        counts.update(minute.counts)
    sums = dict.fromkeys(("in", "asked", "passed", "refused"), 0)
    for (_, reason), times in counts.items():
        sums[kind(reason)] += times
    rates = dict.fromkeys(sums, 0.0)
    for (_, reason), rate in watch.seen.rates.items():
        rates[kind(reason)] += rate
    status = watch.seen.status
    refused = [each for each in watch.seen.outcomes if kind(each) == "refused"]
    return {
        "seen": watch.seen,
        "nodes": [*in_words(status.cluster)] if status and status.cluster else [],
        "since": max(watch.since, minutes[0].at),
        "sums": sums,
        "rates": rates,
        "hour": hour(minutes),
        "groups": by_group(counts),
        "counts": sorted(counts.items(), key=lambda each: -each[1])[:_MOST_SHOWN],
        "refused": refused[-8:][::-1],
    }
