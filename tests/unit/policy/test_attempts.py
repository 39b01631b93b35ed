"""Attempt limits: who is locked out, when, for how long, and who never is."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.exceptions import Unavailable
from sbcauth.policy.attempt_limit import MAX_ATTEMPTS, MAX_FAILURES, AttemptLimit
from sbcauth.policy.attempts import MOST_FAILURES, Attempts
from sbcauth.policy.claimants import Claimant, Scope
from sbcauth.policy.shared_state import LocalState, SharedState, Table, Value
from sbcauth.policy.trust import Trust

NOW = 1_700_000_000
LIMIT = AttemptLimit(max_auth_attempts=3, lockout_duration=60, attempt_window=60)
PAIRS = AttemptLimit(max_failures_per_source=0, max_failures_per_user=0)
BOB = Claimant("Phones", "192.0.2.7", "bob")


class Wrong:
    """Wrong responses, each another."""

    def __init__(self, shared: SharedState | None = None) -> None:
        self.attempts = Attempts(shared or LocalState())
        self.count = 0

    def guess(self, now: int = NOW, who: Claimant = BOB, limit: AttemptLimit = LIMIT) -> bool:
        self.count += 1
        return bool(self.attempts.fail(who, f"response {self.count}", limit, now))


@pytest.fixture
def wrong() -> Wrong:
    return Wrong()


def test_last_attempt_locks_out_for_the_lockout_duration(wrong: Wrong) -> None:
    assert [wrong.guess() for _ in range(3)] == [False, False, True]
    assert wrong.attempts.locked_out(BOB, LIMIT, NOW)
    assert wrong.attempts.locked_out(BOB, LIMIT, NOW + 59)
    assert not wrong.attempts.locked_out(BOB, LIMIT, NOW + 60)


def test_lockout_leaves_a_whole_new_set_of_attempts(wrong: Wrong) -> None:
    assert [wrong.guess() for _ in range(3)][-1]
    assert [wrong.guess(NOW + 60) for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("max_attempts", [1, 2, MAX_ATTEMPTS])
def test_limit_is_reached_at_its_number(wrong: Wrong, max_attempts: int) -> None:
    limit = replace(PAIRS, max_auth_attempts=max_attempts)
    results = [wrong.guess(limit=limit) for _ in range(max_attempts)]
    assert results == [False] * (max_attempts - 1) + [True]


@pytest.mark.parametrize(
    "stranger",
    [
        BOB._replace(ip_group="Trunk"),
        BOB._replace(source="203.0.113.9"),
        BOB._replace(username="alice"),
        BOB._replace(username=""),
        BOB._replace(username="\udcff"),
    ],
)
def test_nobody_else_is_locked_out(wrong: Wrong, stranger: Claimant) -> None:
    assert [wrong.guess() for _ in range(3)][-1]
    assert not wrong.attempts.locked_out(stranger, LIMIT, NOW)
    assert not wrong.guess(who=stranger)


def test_same_response_again_is_no_other_attempt(wrong: Wrong) -> None:
    assert not any(wrong.attempts.fail(BOB, "the same", LIMIT, NOW) for _ in range(10))
    assert [wrong.guess(), wrong.guess()] == [False, True]


def test_same_response_for_another_user_is_an_attempt_on_that_user(wrong: Wrong) -> None:
    """Who tries a guess on a made-up user first gains nothing by it."""
    guesses = ["one", "two", "three"]
    for number, guess in enumerate(guesses):
        assert not wrong.attempts.fail(BOB._replace(username=f"x{number}"), guess, LIMIT, NOW)
    assert [wrong.attempts.fail(BOB, guess, LIMIT, NOW) for guess in guesses][-1]


def test_attempts_are_forgotten_after_the_window(wrong: Wrong) -> None:
    assert [wrong.guess(now) for now in (NOW, NOW + 60, NOW + 121, NOW + 181)] == [False] * 4
    assert wrong.guess(NOW + 182)


def test_success_clears_the_attempts(wrong: Wrong) -> None:
    wrong.guess()
    wrong.guess()
    wrong.attempts.succeed(BOB, LIMIT, NOW)
    assert [wrong.guess() for _ in range(3)] == [False, False, True]


def test_clock_of_another_worker_that_is_a_second_behind_forgets_nothing(wrong: Wrong) -> None:
    assert [wrong.guess(NOW + 1), wrong.guess(NOW), wrong.guess(NOW + 1)][-1]


def test_names_from_the_network_do_not_set_the_size_of_shared_memory() -> None:
    keys: list[str] = []
    values: list[Value] = []

    class Watched(LocalState):
        def set(self, table: Table, key: str, value: Value, lifetime: int) -> None:
            keys.append(key)
            values.append(value)
            super().set(table, key, value, lifetime)

    wrong = Wrong(Watched())
    name = "\0 \n\udcff\U0001f600" * 1000
    assert [wrong.guess(who=BOB._replace(username=name)) for _ in range(3)][-1]
    assert [len(key) for key in keys] == [24, 24]
    value, count = values
    assert isinstance(count, int)
    assert isinstance(value, str)
    assert len(value) < 200
    assert value.isascii()
    assert value.isprintable()
    assert len(value.split(" ")) == 6


def test_lockout_tells_until_when_and_whom() -> None:
    shared = LocalState()
    wrong = Wrong(shared)
    nobody = Claimant("My Phones", "2001:db8::/64", "")
    assert [wrong.guess(who=nobody) for _ in range(3)][-1]
    lockout = shared.get(Table.LOCKOUTS, nobody.key)
    assert lockout == f"{NOW + 60} 60 pair My\\x20Phones 2001:db8::/64 -"


def test_key_keeps_the_parts_of_a_claimant_apart() -> None:
    assert Claimant("a", "b", "c").key != Claimant("a", "bc", "").key
    assert Claimant("a", "b", "c\0d").key != Claimant("a", "b", "c").key


class ModelAttempts:
    """What the text says, with lists and a clock."""

    def __init__(self, limit: AttemptLimit) -> None:
        self.limit = limit
        self.failures: list[int] = []
        self.locked_until = 0
        self.duration = 0

    def fail(self, now: int) -> bool:
        if self.failures and now - self.failures[-1] > self.limit.attempt_window:
            self.failures = []
        self.failures.append(now)
        if len(self.failures) < self.limit.max_auth_attempts:
            return False
        self.failures = []
        longest = max(self.limit.max_lockout_duration, self.limit.lockout_duration)
        if self.duration and now < self.locked_until + self.duration:
            self.duration = min(2 * self.duration, longest)
        else:
            self.duration = self.limit.lockout_duration
        self.locked_until = now + self.duration
        return True


@given(
    limit=st.builds(
        replace,
        st.just(PAIRS),
        max_auth_attempts=st.integers(1, 6),
        lockout_duration=st.integers(1, 90),
        attempt_window=st.integers(1, 90),
        max_lockout_duration=st.integers(1, 300),
    ),
    steps=st.lists(
        st.tuples(st.integers(0, 50), st.sampled_from(["fail", "fail", "fail", "clear"])),
        max_size=40,
    ),
)
def test_attempts_are_those_of_a_list_and_a_clock(
    limit: AttemptLimit, steps: list[tuple[int, str]]
) -> None:
    wrong, model = Wrong(), ModelAttempts(limit)
    now = NOW
    for pause, step in steps:
        now += pause
        locked_out = wrong.attempts.locked_out(BOB, limit, now)
        assert (locked_out is Scope.PAIR) is (now < model.locked_until)
        if locked_out:
            continue
        if step == "clear":
            wrong.attempts.succeed(BOB, limit, now)
            model.failures = []
        else:
            assert wrong.guess(now, limit=limit) is model.fail(now)


def test_counts_fit_in_shared_memory() -> None:
    numbers: list[int] = []

    class Watched(LocalState):
        def update(self, table: Table, key: str, lifetime: int, change: Any) -> Any:
            result = super().update(table, key, lifetime, change)
            numbers.append(int(self.get(table, key) or 0))
            return result

    wrong = Wrong(Watched())
    limit = AttemptLimit(1, max_failures_per_source=MAX_FAILURES, max_failures_per_user=0)
    for number in range(MAX_FAILURES):
        last = wrong.guess(2**32 - 1, BOB._replace(username=f"u{number}"), limit)
    assert last
    assert max(numbers) > MAX_FAILURES << 17
    assert all(0 <= number < 2**31 for number in numbers)
    assert wrong.attempts.locked_out(BOB._replace(username="x"), limit, 2**32 - 1) is Scope.SOURCE


# Lockouts grow


def test_lockout_is_twice_as_long_each_time_up_to_the_longest(wrong: Wrong) -> None:
    limit = replace(PAIRS, max_auth_attempts=1, lockout_duration=60, max_lockout_duration=400)
    now = NOW
    for duration in (60, 120, 240, 400, 400):
        assert wrong.guess(now, limit=limit)
        assert wrong.attempts.locked_out(BOB, limit, now + duration - 1) is Scope.PAIR
        now += duration
        assert wrong.attempts.locked_out(BOB, limit, now) is None
    wrong.attempts.succeed(BOB, limit, now)
    assert wrong.guess(now + 399, limit=limit)
    assert wrong.attempts.locked_out(BOB, limit, now + 399 + 399), "a success takes nothing back"


def test_lockout_is_forgotten_when_it_has_been_over_for_as_long_as_it_took(wrong: Wrong) -> None:
    limit = replace(PAIRS, max_auth_attempts=1, lockout_duration=60)
    assert wrong.guess(NOW, limit=limit)
    assert wrong.guess(NOW + 120, limit=limit)
    assert wrong.attempts.locked_out(BOB, limit, NOW + 180) is None


def test_lockout_is_never_shorter_than_its_duration(wrong: Wrong) -> None:
    limit = replace(PAIRS, max_auth_attempts=1, lockout_duration=600, max_lockout_duration=60)
    assert wrong.guess(NOW, limit=limit)
    assert wrong.attempts.locked_out(BOB, limit, NOW + 599) is Scope.PAIR


# Limits of strangers

FEW = replace(PAIRS, max_auth_attempts=2, max_failures_per_source=4, max_failures_per_user=6)


def spray(wrong: Wrong, count: int, limit: AttemptLimit = FEW, **who: Any) -> list[bool]:
    """Fail under another user name each time."""
    return [
        wrong.guess(who=BOB._replace(username=f"u{number}", **who), limit=limit)
        for number in range(count)
    ]


def storm(wrong: Wrong, count: int, limit: AttemptLimit = FEW) -> list[bool]:
    """Fail as bob from another source each time."""
    return [
        wrong.guess(who=BOB._replace(source=f"203.0.113.{number}"), limit=limit)
        for number in range(count)
    ]


def test_source_that_guesses_at_many_users_is_locked_out(wrong: Wrong) -> None:
    assert spray(wrong, 4) == [False, False, False, True]
    for username in ("u0", "bob", "never seen"):
        who = BOB._replace(username=username)
        assert wrong.attempts.locked_out(who, FEW, NOW + 59) is Scope.SOURCE
        assert wrong.attempts.locked_out(who, FEW, NOW + 60) is None
        elsewhere = who._replace(source="192.0.2.8")
        assert wrong.attempts.locked_out(elsewhere, FEW, NOW) is None
        assert wrong.attempts.locked_out(who._replace(ip_group="Desk"), FEW, NOW) is None


def test_user_guessed_at_from_many_sources_is_locked_out_for_strangers(wrong: Wrong) -> None:
    assert storm(wrong, 6) == [False] * 5 + [True]
    assert wrong.attempts.locked_out(BOB, FEW, NOW + 59) is Scope.USER
    assert wrong.attempts.locked_out(BOB._replace(username="alice"), FEW, NOW) is None


@pytest.mark.parametrize("attack", [spray, storm])
def test_pair_that_has_succeeded_is_not_locked_out_by_strangers(wrong: Wrong, attack: Any) -> None:
    wrong.attempts.succeed(BOB, FEW, NOW)
    attack(wrong, 8)
    assert wrong.attempts.locked_out(BOB, FEW, NOW) is None
    another_worker = Attempts(wrong.attempts._shared)
    assert another_worker.locked_out(BOB, FEW, NOW) is None
    assert [wrong.guess(limit=FEW), wrong.guess(limit=FEW)] == [False, True]
    assert wrong.attempts.locked_out(BOB, FEW, NOW) is Scope.PAIR


def test_failures_of_a_trusted_pair_are_its_own(wrong: Wrong) -> None:
    """A phone with an old password locks out neither its office nor its user elsewhere."""
    limit = replace(FEW, max_auth_attempts=MAX_ATTEMPTS)
    wrong.attempts.succeed(BOB, limit, NOW)
    assert not any(wrong.guess(limit=limit) for _ in range(20))
    for stranger in (BOB._replace(username="alice"), BOB._replace(source="192.0.2.8")):
        assert wrong.attempts.locked_out(stranger, limit, NOW) is None


def test_trust_ends(wrong: Wrong) -> None:
    limit = replace(FEW, trust_duration=3600, lockout_duration=7200)
    wrong.attempts.succeed(BOB, limit, NOW)
    spray(wrong, 4, limit)
    assert wrong.attempts.locked_out(BOB, limit, NOW + 3599) is None
    assert wrong.attempts.locked_out(BOB, limit, NOW + 3660) is Scope.SOURCE


def test_trust_is_renewed_and_seldom_written() -> None:
    written: list[str] = []

    class Watched(LocalState):
        def set(self, table: Table, key: str, value: Value, lifetime: int) -> None:
            written.append(table)
            super().set(table, key, value, lifetime)

    shared = Watched()
    worker, limit = Attempts(shared), replace(FEW, trust_duration=4000)
    for now in range(NOW, NOW + 900, 30):
        worker.succeed(BOB, limit, now)
    assert written == [Table.TRUSTED]
    worker.succeed(BOB, limit, NOW + 1100)
    assert written == [Table.TRUSTED] * 2
    assert Trust(shared).holds(BOB.key, NOW + 5000)


def test_trusted_pair_costs_no_look_up_but_that_of_its_own_lockout() -> None:
    looked_up: list[str] = []

    class Watched(LocalState):
        def get(self, table: Table, key: str) -> Value | None:
            looked_up.append(table)
            return super().get(table, key)

    worker = Attempts(Watched())
    worker.succeed(BOB, LIMIT, NOW)
    for _ in range(10):
        assert worker.locked_out(BOB, LIMIT, NOW) is None
        worker.succeed(BOB, LIMIT, NOW)
    assert looked_up == [Table.LOCKOUTS, Table.TRUSTED] + [Table.LOCKOUTS] * 20


def test_one_look_tells_that_nothing_is_held_against_a_pair(wrong: Wrong) -> None:
    attempts, pair = wrong.attempts, BOB.key
    assert attempts.held_against(pair) is None
    wrong.guess(NOW)
    assert attempts.held_against(pair) is not None
    attempts.succeed(BOB, LIMIT, NOW)
    assert attempts.held_against(pair) is None
    assert [wrong.guess(NOW) for _ in range(3)][-1]
    assert attempts.locked_out(BOB, LIMIT, NOW) is Scope.PAIR
    assert attempts.held_against(pair) is not None


def test_success_that_races_with_the_last_failure_does_not_hide_the_lockout(wrong: Wrong) -> None:
    attempts = wrong.attempts
    assert attempts.locked_out(BOB, LIMIT, NOW) is None
    assert [wrong.guess(NOW) for _ in range(3)][-1]
    attempts.succeed(BOB, LIMIT, NOW)
    assert attempts.locked_out(BOB, LIMIT, NOW) is Scope.PAIR
    assert attempts.held_against(BOB.key) is not None


def test_lockout_and_its_count_end_together_and_the_next_starts_from_nothing() -> None:
    lifetimes: dict[Table, int] = {}

    class Watched(LocalState):
        def set(self, table: Table, key: str, value: Value, lifetime: int) -> None:
            lifetimes[table] = lifetime
            super().set(table, key, value, lifetime)

    wrong = Wrong(Watched())
    limit = replace(LIMIT, lockout_duration=5)
    assert [wrong.guess(NOW, limit=limit) for _ in range(3)] == [False, False, True]
    assert lifetimes[Table.ATTEMPTS] == 5
    assert [wrong.guess(NOW + 6, limit=limit) for _ in range(3)] == [False, False, True]


def test_success_with_another_sources_nonce_earns_no_trust(wrong: Wrong) -> None:
    roaming = BOB.with_nonce_of_another("tagtag")
    wrong.attempts.succeed(roaming, FEW, NOW)
    storm(wrong, 6)
    assert wrong.attempts.locked_out(roaming, FEW, NOW) is Scope.USER


def test_no_limit_where_it_is_switched_off(wrong: Wrong) -> None:
    assert not any(spray(wrong, 200, PAIRS) + storm(wrong, 200, PAIRS))


@pytest.mark.parametrize(
    ("source", "spared"),
    [
        ("192.0.2.7", True),
        ("192.0.3.7", False),
        ("2001:db8:0:1::/64", True),
        ("2001:db9::/64", False),
        ("nonce:616263", False),
    ],
)
def test_trusted_source_is_under_no_limit(wrong: Wrong, source: str, spared: bool) -> None:
    networks = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    limit = replace(FEW, trusted_sources=networks)
    storm(wrong, 6)
    who = BOB._replace(source=source)
    assert (wrong.attempts.locked_out(who, limit, NOW) is None) is spared
    assert (spray(wrong, 5, limit, source=source)[3] is False) is spared
    assert any(wrong.guess(who=who, limit=limit) for _ in range(5)) is not spared


# What strangers can have kept in shared memory


def entries(shared: LocalState) -> int:
    return len(shared._values)


def test_source_stops_writing_once_it_is_locked_out() -> None:
    shared = LocalState()
    wrong = Wrong(shared)
    for number in range(1000):
        who = BOB._replace(username=f"u{number}")
        if wrong.attempts.locked_out(who, LIMIT, NOW) is None:
            wrong.guess(who=who)
    assert entries(shared) == 3 * LIMIT.max_failures_per_source + 3


def test_all_strangers_are_refused_when_too_many_guess_but_the_trusted_are_not() -> None:
    shared = LocalState()
    wrong, limit = Wrong(shared), replace(LIMIT, max_auth_attempts=100)
    wrong.attempts.succeed(BOB, limit, NOW)
    for number in range(MOST_FAILURES):
        source = number // limit.max_failures_per_source
        who = Claimant("Phones", f"10.{source >> 8}.{source & 255}.1", f"u{number}")
        assert wrong.attempts.locked_out(who, limit, NOW) is None
        wrong.guess(who=who, limit=limit)
    with pytest.raises(Unavailable, match="20000 wrong answers within 60 s"):
        wrong.attempts.locked_out(BOB._replace(username="new"), limit, NOW)
    assert entries(shared) < 3.1 * MOST_FAILURES
    assert wrong.attempts.locked_out(BOB, limit, NOW) is None
    assert wrong.attempts.locked_out(BOB._replace(username="new"), limit, NOW + 60) is None
    elsewhere = BOB._replace(ip_group="Trunk", username="new")
    assert wrong.attempts.locked_out(elsewhere, limit, NOW) is None, "strangers of another group"


# Nonces of another source

FOREIGN = BOB._replace(source="203.0.113.9").with_nonce_of_another("192.0.2.7")
"""Somebody elsewhere who answers as bob with a nonce of his source."""


def test_answers_to_a_sources_nonces_are_its_attempts_wherever_they_come_from(
    wrong: Wrong,
) -> None:
    assert [wrong.guess(), wrong.guess(who=FOREIGN), wrong.guess()] == [False, False, True]
    assert wrong.attempts.locked_out(FOREIGN, LIMIT, NOW) is Scope.PAIR
    at_home = BOB._replace(source="203.0.113.9")
    assert wrong.attempts.locked_out(at_home, LIMIT, NOW) is None, "an address may be forged"


def test_two_sources_that_swap_their_nonces_have_six_guesses(wrong: Wrong) -> None:
    places = [BOB._replace(source=each, place=each) for each in ("192.0.2.7", "203.0.113.9")]
    guesses = 0
    for _ in range(10):
        for own, other in (places, places[::-1]):
            for who in (own, own.with_nonce_of_another(other.place)):
                if wrong.attempts.locked_out(who, LIMIT, NOW) is None:
                    wrong.guess(who=who)
                    guesses += 1
    assert guesses == 6


@pytest.mark.parametrize("scope", [Scope.PAIR, Scope.SOURCE, Scope.USER])
def test_who_is_locked_out_where_he_is_does_not_get_in_with_a_nonce_of_another(
    wrong: Wrong, scope: Scope
) -> None:
    match scope:
        case Scope.PAIR:
            assert [wrong.guess(limit=FEW), wrong.guess(limit=FEW)][-1]
        case Scope.SOURCE:
            spray(wrong, 4)
        case Scope.USER:
            storm(wrong, 6)
    roaming = BOB.with_nonce_of_another("tag of a fresh one")
    assert wrong.attempts.locked_out(roaming, FEW, NOW) is scope


def test_nonce_of_a_trusted_place_earns_whoever_has_it_no_trust(wrong: Wrong) -> None:
    wrong.attempts.succeed(BOB, FEW, NOW)
    storm(wrong, 6)
    assert wrong.attempts.locked_out(BOB, FEW, NOW) is None
    assert wrong.attempts.locked_out(FOREIGN, FEW, NOW) is Scope.USER


# The flow from which a user is registered

FLOW = BOB.at_flow("192.0.2.7:5070/udp")


def test_flow_is_not_locked_out_with_its_pair_nor_by_limits_of_strangers(wrong: Wrong) -> None:
    assert [wrong.guess(), wrong.guess(), wrong.guess()][-1]
    spray(wrong, 40, LIMIT)
    storm(wrong, 110, LIMIT)
    assert wrong.attempts.locked_out(BOB, LIMIT, NOW) is Scope.PAIR
    assert wrong.attempts.locked_out(FLOW, LIMIT, NOW) is None


def test_flow_has_as_many_attempts_as_a_pair_and_its_lockout_shows_in_the_pair(
    wrong: Wrong,
) -> None:
    assert [wrong.guess(who=FLOW) for _ in range(3)] == [False, False, True]
    assert wrong.attempts.locked_out(FLOW, LIMIT, NOW + 59) is Scope.PAIR
    assert wrong.attempts.locked_out(BOB, LIMIT, NOW) is None
    assert wrong.attempts.held_against(BOB.key) is not None, "so that the flow is asked for"
    wrong.attempts.succeed(BOB, LIMIT, NOW)
    assert wrong.attempts.locked_out(FLOW, LIMIT, NOW) is Scope.PAIR
    assert wrong.attempts.held_against(BOB.key) is not None


def test_success_at_a_flow_forgives_its_neighbours_nothing(wrong: Wrong) -> None:
    wrong.guess()
    wrong.guess()
    wrong.guess(who=FLOW)
    wrong.attempts.succeed(FLOW, LIMIT, NOW)
    assert wrong.attempts.failures(Scope.PAIR, FLOW, LIMIT, NOW) == 0
    assert wrong.guess(), "the third"


def test_failure_at_a_flow_does_not_shorten_what_shows_of_the_pairs_lockout() -> None:
    kept: dict[str, int] = {}

    class Watched(LocalState):
        def set(self, table: Table, key: str, value: Value, lifetime: int) -> None:
            kept[key] = lifetime
            super().set(table, key, value, lifetime)

        def update(self, table: Table, key: str, lifetime: int, change: Any) -> Any:
            kept[key] = lifetime
            return super().update(table, key, lifetime, change)

    wrong = Wrong(Watched())
    limit = replace(LIMIT, lockout_duration=600)
    assert [wrong.guess(limit=limit) for _ in range(3)][-1]
    wrong.guess(NOW + 10, FLOW, limit)
    assert kept[BOB.key] == 590


def test_flow_of_several_accounts_is_nobodys(wrong: Wrong) -> None:
    assert wrong.attempts.is_only_one_at(FLOW)
    assert wrong.attempts.is_only_one_at(FLOW)
    another = BOB._replace(username="alice").at_flow("192.0.2.7:5070/udp")
    assert not wrong.attempts.is_only_one_at(another)
    assert not wrong.attempts.is_only_one_at(FLOW)


# The password before


def test_old_password_makes_a_lockout_lenient_and_a_wrong_one_hardens_it(wrong: Wrong) -> None:
    attempts = wrong.attempts
    assert not attempts.fail(BOB, "old", LIMIT, NOW, is_old=True)
    assert [wrong.guess(), wrong.guess()] == [False, True]
    assert attempts.locked_out(BOB, LIMIT, NOW) is Scope.PAIR
    assert attempts.looks_at(BOB, "another", LIMIT, NOW)
    assert not attempts.looks_at(BOB, "another", LIMIT, NOW), "the same again"
    attempts.harden(BOB, NOW)
    assert not attempts.looks_at(BOB, "a third", LIMIT, NOW)
    assert attempts.locked_out(BOB, LIMIT, NOW + 59) is Scope.PAIR


def test_lockout_without_an_old_password_is_not_lenient(wrong: Wrong) -> None:
    assert [wrong.guess() for _ in range(3)][-1]
    assert not wrong.attempts.looks_at(BOB, "another", LIMIT, NOW)


def test_old_password_of_the_last_window_makes_nothing_lenient(wrong: Wrong) -> None:
    wrong.attempts.fail(BOB, "old", LIMIT, NOW, is_old=True)
    assert [wrong.guess(NOW + 61) for _ in range(3)][-1]
    assert not wrong.attempts.looks_at(BOB, "another", LIMIT, NOW + 61)


def test_lenient_lockout_ends_with_the_right_password_and_is_remembered(wrong: Wrong) -> None:
    attempts = wrong.attempts
    for number in range(3):
        attempts.fail(BOB, f"old {number}", LIMIT, NOW, is_old=True)
    attempts.lift(BOB, NOW)
    attempts.succeed(BOB, LIMIT, NOW)
    assert attempts.locked_out(BOB, LIMIT, NOW) is None
    assert attempts.held_against(BOB.key) is None
    assert [wrong.guess() for _ in range(3)][-1]
    assert attempts.locked_out(BOB, LIMIT, NOW + 119) is Scope.PAIR, "twice as long"


def test_not_so_many_answers_are_looked_at_that_time_would_tell(wrong: Wrong) -> None:
    for number in range(3):
        wrong.attempts.fail(BOB, f"old {number}", LIMIT, NOW, is_old=True)
    looked_at = [wrong.attempts.looks_at(BOB, f"more {n}", LIMIT, NOW) for n in range(150)]
    assert looked_at == [True] * 100 + [False] * 50


def test_lockout_that_is_over_is_neither_hardened_nor_lifted(wrong: Wrong) -> None:
    attempts = wrong.attempts
    for number in range(3):
        attempts.fail(BOB, f"old {number}", LIMIT, NOW, is_old=True)
    attempts.harden(BOB, NOW + 60)
    assert attempts.looks_at(BOB, "another", LIMIT, NOW), "as lenient as it was"
    attempts.lift(BOB, NOW + 60)
    assert attempts.held_against(BOB.key) is None
    assert attempts.locked_out(BOB, LIMIT, NOW + 59) is Scope.PAIR


def test_flow_from_which_a_user_is_registered_is_no_stranger(wrong: Wrong) -> None:
    assert wrong.attempts.is_stranger(BOB, NOW)
    assert not wrong.attempts.is_stranger(FLOW, NOW)


def test_trust_outlives_what_one_process_can_remember(
    wrong: Wrong, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sbcauth.policy.trust._REMEMBERED", 1)
    everybody = [BOB._replace(username=name) for name in ("bob", "alice", "carol")]
    for each in everybody:
        assert wrong.attempts.succeed(each, LIMIT, NOW)
        assert len(wrong.attempts._trust._until) == 1
    assert not any(wrong.attempts.is_stranger(each, NOW) for each in everybody)
