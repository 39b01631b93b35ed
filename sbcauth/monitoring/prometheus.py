"""A server's status in the text format of Prometheus (version 0.0.4)."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple

from sbcauth.monitoring.measures import Times
from sbcauth.monitoring.status import TABLES, Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One number of a metric; a histogram's has a `suffix` to the name."""

    value: float
    labels: Labels = ()
    suffix: str = ""


class Metric(NamedTuple):
    """A metric; its name goes on from `sbcauth_`."""

    name: str
    kind: str
    help: str
    samples: tuple[Sample, ...]


def text(found: Status) -> str:
    """Return the metrics of a server, each line with its end."""
    return "".join(
        f"{line}\n" for metric in metrics(found) if metric.samples for line in _lines(metric)
    )


def metrics(found: Status) -> Iterator[Metric]:
    """Yield the metrics of a server; docs/metrics.md explains them."""
    yield _counter(
        "outcomes_total",
        "Requests that were decided, by IP Group and reason.",
        (_labelled(o.times, ip_group=o.ip_group, reason=o.reason) for o in found.outcomes),
    )
    yield _counter(
        "lockouts_total",
        "Lockouts that were set, by IP Group and by what was locked out.",
        (_labelled(e.times, ip_group=e.ip_group, scope=e.scope) for e in found.lockouts),
    )
    yield Metric(
        "entries",
        "gauge",
        "Entries in the tables that all workers share.",
        tuple(
            _labelled(found.entries[what], table=table.removeprefix("sbcauth_"))
            for what, table in TABLES.items()
        ),
    )
    yield from _external(found)
    yield from _users_copy(found)
    yield from _measured(found)
    yield _gauge("uptime_seconds", "Seconds since Kamailio started.", found.uptime)
    yield _gauge("workers", "Processes that take SIP requests.", found.workers)
    yield _gauge("shared_memory_used_bytes", "Shared memory in use.", found.memory_used)
    yield _gauge("shared_memory_total_bytes", "Shared memory there is.", found.memory_total)


def _external(found: Status) -> Iterator[Metric]:
    if not found.external_answers:
        return
    yield _counter(
        "external_answers_total",
        "Answers of external servers; none is that there was none in time.",
        (_labelled(a.times, server=a.server, answer=a.answer) for a in found.external_answers),
    )
    yield Metric(
        "external_server_up",
        "gauge",
        "Whether an external server is asked: 0 while it is left alone for not having answered.",
        tuple(_labelled(not s.dead_until, server=s.server) for s in found.external_servers),
    )


def _users_copy(found: Status) -> Iterator[Metric]:
    copy = found.users_copy
    if copy is None:
        return
    yield _gauge("users_copy_up", "Whether the users' database is followed.", bool(copy.server))
    yield _gauge(
        "users_copy_timestamp_seconds",
        "When the copy of the users last was as the database is, since 1970.",
        copy.seen_at,
    )
    yield _gauge("users_copy_users", "Users in the copy.", copy.users)
    yield _counter(
        "users_copy_failures_total",
        "Times that the copy could not be brought up to date, since the start.",
        [Sample(copy.failures)],
    )


def _measured(found: Status) -> Iterator[Metric]:
    if found.measured is None:
        return
    hits, misses, decisions, external = found.measured
    yield _counter(
        "user_cache_lookups_total",
        "Look-ups of users, by whether a worker's cache had the answer.",
        (_labelled(hits, result="hit"), _labelled(misses, result="miss")),
    )
    yield _histogram("decision_seconds", "How long a worker was busy with a decision.", decisions)
    yield _histogram("external_seconds", "How long an external server took to answer.", external)


def _counter(name: str, help_text: str, samples: Iterable[Sample]) -> Metric:
    return Metric(name, "counter", help_text, tuple(samples))


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return Metric(name, "gauge", help_text, (Sample(value),))


def _histogram(name: str, help_text: str, times: Times) -> Metric:
    bounds = (*map(repr, times.bounds), "+Inf")
    up_to = zip(bounds, accumulate(times.counts), strict=True)
    buckets = (Sample(count, (("le", bound),), "_bucket") for bound, count in up_to)
    rest = (Sample(times.total, suffix="_sum"), Sample(times.number, suffix="_count"))
    return Metric(name, "histogram", help_text, (*buckets, *rest))


def _labelled(value: float, **labels: str) -> Sample:
    return Sample(value, tuple(labels.items()))


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP sbcauth_{metric.name} {metric.help}"
    yield f"# TYPE sbcauth_{metric.name} {metric.kind}"
    for value, labels, suffix in metric.samples:
        shown = ",".join(f'{name}="{_escaped(label)}"' for name, label in labels)
        yield f"sbcauth_{metric.name}{suffix}{f'{{{shown}}}' if shown else ''} {_number(value)}"


def _number(value: float) -> str:
    return repr(value) if isinstance(value, float) else str(int(value))


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
