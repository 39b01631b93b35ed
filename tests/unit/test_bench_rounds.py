"""Who speaks in the rounds of the benchmark, and in those that are run again."""

from itertools import islice
from pathlib import Path

import pytest

from bench.measure import Settings, again_and_again, once_each


def settings(rounds: int, pairs: int) -> Settings:
    return Settings(Path(), rounds, pairs, workers=1)


def test_known_phones_speak_again_in_a_round_that_is_run_again() -> None:
    first, second = again_and_again(range(5), settings(2, 3))
    assert list(islice(first, 2)) == [[0, 1, 2]] * 2
    assert list(islice(second, 2)) == [[3, 4, 0]] * 2


def test_nobody_speaks_twice_who_has_to_be_a_stranger() -> None:
    first, second, third = (list(islice(tries, 2)) for tries in once_each(range(9), settings(3, 2)))
    assert first == [range(2), range(6, 8)]  # run again
    assert second == [range(2, 4)]  # nobody is left for another try
    assert third == [range(4, 6)]


def test_rounds_that_need_more_strangers_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="3 rounds of 4 need more than 10 users"):
        list(once_each(range(10), settings(3, 4)))
