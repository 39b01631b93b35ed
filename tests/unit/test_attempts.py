"""Attempt limits: who is locked out, when, for how long, and who never is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.attempts import MAX_ATTEMPTS, AttemptLimit, Attempts, Claimant
from sbcauth.shared_state import LocalState, SharedState, Table, Value

NOW = 1_700_000_000
LIMIT = AttemptLimit(max_attempts=3, lockout_duration=60, window=60)
BOB = Claimant("Phones", "192.0.2.7", "bob")


class Wrong:
    """Wrong responses, each another."""

    def __init__(self, shared: SharedState | None = None) -> None:
        self.attempts = Attempts(shared or LocalState())
        self.count = 0

    def guess(self, now: int = NOW, who: Claimant = BOB, limit: AttemptLimit = LIMIT) -> bool:
        self.count += 1
        return self.attempts.fail(who, f"response {self.count}", limit, now)


@pytest.fixture
def wrong() -> Wrong:
    return Wrong()


def test_last_attempt_locks_out_for_the_lockout_duration(wrong: Wrong) -> None:
    assert [wrong.guess() for _ in range(3)] == [False, False, True]
    assert wrong.attempts.is_locked_out(BOB, NOW)
    assert wrong.attempts.is_locked_out(BOB, NOW + 59)
    assert not wrong.attempts.is_locked_out(BOB, NOW + 60)


def test_lockout_leaves_a_whole_new_set_of_attempts(wrong: Wrong) -> None:
    assert [wrong.guess() for _ in range(3)][-1]
    assert [wrong.guess(NOW + 60) for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("max_attempts", [1, 2, MAX_ATTEMPTS])
def test_limit_is_reached_at_its_number(wrong: Wrong, max_attempts: int) -> None:
    limit = AttemptLimit(max_attempts=max_attempts)
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
    assert not wrong.attempts.is_locked_out(stranger, NOW)
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
    wrong.attempts.clear(BOB)
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
    assert [len(key) for key in keys] == [24]
    (value,) = values
    assert isinstance(value, str)
    assert len(value) < 200
    assert value.isascii()
    assert value.isprintable()
    assert len(value.split(" ")) == 4


def test_lockout_tells_until_when_and_whom() -> None:
    shared = LocalState()
    wrong = Wrong(shared)
    nobody = Claimant("My Phones", "2001:db8::/64", "")
    assert [wrong.guess(who=nobody) for _ in range(3)][-1]
    lockout = shared.get(Table.LOCKOUTS, nobody.key)
    assert lockout == f"{NOW + 60} My\\x20Phones 2001:db8::/64 -"


def test_key_keeps_the_parts_of_a_claimant_apart() -> None:
    assert Claimant("a", "b", "c").key != Claimant("a", "bc", "").key
    assert Claimant("a", "b", "c\0d").key != Claimant("a", "b", "c").key


class ModelAttempts:
    """What the text says, with lists and a clock."""

    def __init__(self, limit: AttemptLimit) -> None:
        self.limit = limit
        self.failures: list[int] = []
        self.locked_until = 0

    def fail(self, now: int) -> bool:
        if self.failures and now - self.failures[-1] > self.limit.window:
            self.failures = []
        self.failures.append(now)
        if len(self.failures) < self.limit.max_attempts:
            return False
        self.failures = []
        self.locked_until = now + self.limit.lockout_duration
        return True


@given(
    limit=st.builds(AttemptLimit, st.integers(1, 6), st.integers(1, 90), st.integers(1, 90)),
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
        locked_out = wrong.attempts.is_locked_out(BOB, now)
        assert locked_out is (now < model.locked_until)
        if locked_out:
            continue
        if step == "clear":
            wrong.attempts.clear(BOB)
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
    for _ in range(MAX_ATTEMPTS):
        wrong.guess(now=2**32 - 1, limit=AttemptLimit(MAX_ATTEMPTS))
    assert all(0 <= number < 2**31 for number in numbers)
