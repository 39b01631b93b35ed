"""What processes measure in shared memory, and how it reads in Prometheus' text format."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from sbcauth.monitoring.counts import ExternalAnswers, Lockouts, Outcome
from sbcauth.monitoring.measures import DECISION_BOUNDS, Measures, Times, Totals
from sbcauth.monitoring.prometheus import text
from sbcauth.monitoring.status import TABLES, ExternalServerState, Status
from sbcauth.monitoring.users_copy import CopyState

NOTHING = Status(
    version="kamailio",
    since="2026-03-02T09:14:07+01:00",
    uptime=7,
    configuration=None,
    workers=4,
    memory_used=1 << 20,
    memory_total=1 << 28,
    entries=dict.fromkeys(TABLES, 0),
    outcomes=(),
    lockouts=(),
    external_answers=(),
    external_servers=(),
    measured=None,
)


def values(status: Status) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return each sample by its name and the values of its labels."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text(status))
        for sample in family.samples
    }


def test_nothing_is_measured_at_first() -> None:
    totals = Measures().totals()
    assert (totals.cache_hits, totals.cache_misses) == (0, 0)
    assert totals.decisions.number == totals.external.number == 0
    assert totals.decisions.within(0.5) is None


def test_processes_measure_beside_each_other_and_lose_nothing() -> None:
    measures = Measures()
    for place in range(4):
        if (pid := os.fork()) == 0:
            measures.set_place(place)
            for _ in range(1000):
                measures.decided(1e-4)
                measures.looked_up(place == 0)
            os._exit(0)
        os.waitpid(pid, 0)
    totals = measures.totals()
    assert totals.decisions.number == 4000
    assert totals.decisions.total == pytest.approx(0.4)
    assert (totals.cache_hits, totals.cache_misses) == (1000, 3000)


@given(st.lists(st.floats(0, 5), max_size=20))
def test_times_fall_within_their_bounds(seconds: list[float]) -> None:
    measures = Measures()
    for each in seconds:
        measures.decided(each)
    found = measures.totals().decisions
    assert found.number == len(seconds)
    for number, bound in enumerate(DECISION_BOUNDS, start=1):
        assert sum(found.counts[:number]) == sum(each <= bound for each in seconds)


@pytest.mark.parametrize(
    ("counts", "share", "bound"),
    [
        ((9, 1, 0), 0.5, 1.0),
        ((9, 1, 0), 0.99, 2.0),
        ((0, 1, 0), 0.01, 2.0),
        ((0, 0, 3), 0.5, None),
    ],
)
def test_bound_that_a_share_keeps_to(
    counts: tuple[int, ...], share: float, bound: float | None
) -> None:
    assert Times((1.0, 2.0), counts, 0.0).within(share) == bound


def test_totals_are_read_as_they_were_written_and_not_of_another_version() -> None:
    measures = Measures()
    measures.decided(0.25)
    measures.asked_externally(0.5)
    measures.looked_up(hit=True)
    assert Totals.decode(measures.encode()) == measures.totals()
    assert Totals.decode("1 2 3") is None


def test_buckets_of_a_histogram_count_what_is_below_them_too() -> None:
    measures = Measures()
    for seconds in (2e-5, 2e-4, 3e-4, 7.0):
        measures.decided(seconds)
    found = values(NOTHING._replace(measured=measures.totals()))
    name = "sbcauth_decision_seconds"
    at = {bound: found[f"{name}_bucket", (bound,)] for bound in ("2.5e-05", "0.00025", "0.0005")}
    assert at == {"2.5e-05": 1, "0.00025": 2, "0.0005": 3}
    assert found[f"{name}_bucket", ("1.0",)] == 3
    assert found[f"{name}_bucket", ("+Inf",)] == found[f"{name}_count", ()] == 4
    assert found[f"{name}_sum", ()] == pytest.approx(7.00052)


@pytest.mark.parametrize("name", ["Phones", 'A "quoted" one', "back\\slash", "Büro", "{a=b}"])
def test_label_of_any_text_is_read_back(name: str) -> None:
    found = values(NOTHING._replace(outcomes=(Outcome(name, "accepted", 3),)))
    assert found["sbcauth_outcomes_total", (name, "accepted")] == 3


def test_what_has_not_happened_is_left_out() -> None:
    names = {name for name, _ in values(NOTHING)}
    assert "sbcauth_workers" in names
    assert not names & {"sbcauth_outcomes_total", "sbcauth_decision_seconds_count"}


def test_lockouts_and_external_servers_are_told() -> None:
    found = values(
        NOTHING._replace(
            lockouts=(Lockouts("Phones", "pair", 2),),
            external_answers=(ExternalAnswers("127.0.0.1:1812", "accept", 5),),
            external_servers=(ExternalServerState("127.0.0.1:1812", 0),),
        )
    )
    assert found["sbcauth_lockouts_total", ("Phones", "pair")] == 2
    assert found["sbcauth_external_answers_total", ("127.0.0.1:1812", "accept")] == 5
    assert found["sbcauth_external_server_up", ("127.0.0.1:1812",)] == 1


def test_copy_of_the_users_is_told_where_there_is_one() -> None:
    copy = CopyState("", 7, 1_700_000_000, "no answer", users=100, failures=3)
    found = values(NOTHING._replace(users_copy=copy))
    assert {name: value for (name, _), value in found.items() if "users_copy" in name} == {
        "sbcauth_users_copy_up": 0,
        "sbcauth_users_copy_timestamp_seconds": 1_700_000_000,
        "sbcauth_users_copy_users": 100,
        "sbcauth_users_copy_failures_total": 3,
    }
    assert not any("users_copy" in name for name, _ in values(NOTHING))
