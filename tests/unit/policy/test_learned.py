"""Learned: what one process has learned, and for how long the others may go by it."""

import gc
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conversation import KEYS, NOW, PASSWORD, REALM, Phone, accepted, phones
from hypothesis import given, settings
from hypothesis import strategies as st

from sbcauth.policy import learned as module
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.learned import Learned
from sbcauth.policy.server import AuthServer
from sbcauth.policy.shared_state import LocalState
from sbcauth.users.directory import CountingUserDirectory, UserDirectory
from sbcauth.users.table import UserTable


def in_child(what: Callable[[], bool]) -> bool:
    """Tell whether it is so in a process that was forked from this one."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = not what()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def test_one_process_learns_from_another() -> None:
    learned = Learned()
    token = learned.renew()

    def tell() -> bool:
        learned.put("phone", b"record", token)
        return learned.get("phone", token) == b"record"

    assert in_child(tell)
    assert learned.get("phone", token) == b"record"
    assert learned.get("another phone", token) is None


@settings(max_examples=20)
@given(st.dictionaries(st.text(), st.binary(max_size=231), max_size=40))
def test_each_record_is_found_by_its_key(records: dict[str, bytes]) -> None:
    learned = Learned()
    token = learned.renew()
    for key, text in records.items():
        learned.put(key, text, token)
        assert learned.get(key, token) == text


def test_nothing_is_good_that_was_written_by_who_had_not_seen_a_change() -> None:
    learned = Learned()
    before = learned.renew()
    learned.put("phone", b"record", before)
    now = learned.renew()
    assert learned.get("phone", now) is None
    learned.put("phone", b"late", before)
    assert learned.get("phone", now) is None
    assert learned.token() == now


def test_nobody_who_has_not_looked_yet_tells_or_is_told_anything() -> None:
    learned = Learned()
    learned.put("phone", b"record", b"")
    assert learned.get("phone", b"") is None
    assert learned.get("phone", learned.token()) is None


def test_record_that_is_too_long_is_not_kept() -> None:
    learned = Learned()
    token = learned.renew()
    learned.put("phone", bytes(232), token)
    assert learned.get("phone", token) is None


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Learned:
    """Return memory for a few records, which is soon compared."""
    monkeypatch.setattr(module, "_PLACES", 2 * module._BLOCK)
    return Learned()


def test_record_is_whole_or_none_at_each_point_of_writing_another_over_it(small: Learned) -> None:
    learned = small
    token = learned.renew()
    learned.put("phone", b"the first record", token)
    before = learned._memory[:]
    learned._next -= 1  # the same place again
    learned.put("another phone", b"another record", token)
    after = learned._memory[:]
    changed = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    seen = set()
    for order in (changed, changed[::-1]):
        learned._memory[:] = before
        for at in order:
            learned._memory[at] = after[at]
            seen.add((learned.get("phone", token), learned.get("another phone", token)))
    assert (None, None) in seen
    assert seen <= {(b"the first record", None), (None, None), (None, b"another record")}


def test_record_is_whole_or_none_at_each_point_of_writing_it_anew(small: Learned) -> None:
    learned = small
    first, second = learned.renew(), learned.renew()
    learned.put("phone", b"before", first)
    before = learned._memory[:]
    learned._next -= 1
    learned.put("phone", b"after", second)
    after = learned._memory[:]
    learned._memory[:] = before
    for at, (old, new) in enumerate(zip(before, after, strict=True)):
        if old != new:
            assert learned.get("phone", second) is None
            learned._memory[at] = new
            assert learned.get("phone", first) is None
    assert learned.get("phone", second) == b"after"


def test_oldest_records_go_where_there_is_no_room(small: Learned) -> None:
    learned = small
    token = learned.renew()
    for number in range(100):
        learned.put(str(number), b"%d" % number, token)
        assert learned.get(str(number), token) == b"%d" % number
    assert learned.get("1", token) is None


def test_processes_write_to_places_of_their_own() -> None:
    learned = Learned()
    assert len({learned._own_place() for _ in range(40)}) == 40
    mine = learned._own_place()
    assert in_child(lambda: learned._own_place() // module._BLOCK != mine // module._BLOCK)


def kept_out_of_core_dumps() -> int:
    """Return how many pieces of anonymous memory that processes share no core dump has."""
    gc.collect()
    text = Path("/proc/self/smaps").read_text()
    return len(re.findall(r"/dev/zero(?:.*\n)+?VmFlags:.* dd\b", text))


def test_no_core_dump_has_it() -> None:
    before = kept_out_of_core_dumps()
    learned = Learned()
    assert kept_out_of_core_dumps() == before + 1
    assert learned.renew() == learned.token()


# Two workers with one User Info


@pytest.fixture
def table(tmp_path: Path) -> Iterator[UserTable]:
    with UserTable(f"sqlite:///{tmp_path}/sbcauth.db") as table:
        table.add("Phones", "1001", REALM, "secret")
        yield table


class Worker:
    """One worker process: its own view of User Info, and of the memory that all share."""

    def __init__(self, directory: UserDirectory, shared: LocalState) -> None:
        self.directory = directory
        self.server = AuthServer(IPGroups([phones()]), directory, shared, KEYS)
        self.read: list[str] = []

    def look(self, now: float) -> None:
        """Notice what has changed, and note what is read from here on."""
        self.directory.refresh(now)
        self.directory._connected().set_trace_callback(self.read.append)
        self.read.clear()

    def lets_in(self, password: str = PASSWORD) -> bool:
        """Tell whether a phone gets in here."""
        return accepted(Phone(self.server, password=password).register())


class Workers:
    """Makes workers of one server, by the name of their configuration."""

    def __init__(self, folder: Path) -> None:
        self._url = f"sqlite:///{folder}/sbcauth.db"
        self.learned, self.shared = Learned(), LocalState()
        self.made: list[Worker] = []

    def start(self, configuration: str = "one") -> Worker:
        directory = UserDirectory(self._url, None, self.learned, configuration)
        self.made.append(Worker(directory, self.shared))
        return self.made[-1]

    def all_look(self, now: float) -> None:
        """Have all look twice: what one has noticed, the others take up at their next look."""
        for worker in self.made * 2:
            worker.look(now)
            now += 0.2

    def close(self) -> None:
        for worker in self.made:
            worker.directory.close()


@pytest.fixture
def workers(tmp_path: Path, table: UserTable) -> Iterator[Workers]:
    workers = Workers(tmp_path)
    with closing(workers):
        yield workers


def test_phone_that_one_worker_knows_is_read_by_no_other(workers: Workers) -> None:
    one, other = workers.start(), workers.start()
    workers.all_look(NOW)
    assert one.lets_in()
    assert one.read
    assert other.lets_in()
    assert other.read == []
    assert not other.lets_in("wrong")


def test_worker_of_another_configuration_learns_nothing(workers: Workers) -> None:
    one, other = workers.start(), workers.start("another")
    workers.all_look(NOW)
    assert one.lets_in()
    assert other.lets_in()
    assert other.read


def test_worker_that_has_noticed_a_change_goes_by_nobody_who_has_not(
    workers: Workers, table: UserTable
) -> None:
    one, other = workers.start(), workers.start()
    workers.all_look(NOW)
    table.set_password(table.find("1001"), "changed")
    other.look(NOW + 1)
    assert one.directory.find("Phones", "1001", REALM, "MD5")  # as it is read now
    assert one.lets_in("changed")
    table.set_password(table.find("1001"), "once more")
    other.look(NOW + 2)
    assert one.lets_in("changed")  # it has not looked, and tells so again
    assert not other.lets_in("changed")
    assert other.lets_in("once more")
    workers.all_look(NOW + 3)
    assert not one.lets_in("changed")
    assert one.lets_in("once more")
    assert other.lets_in("once more")


def test_change_that_comes_between_noticing_one_and_telling_so_is_not_forgotten(
    workers: Workers, table: UserTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = workers.start(), workers.start()
    workers.all_look(NOW)
    assert one.lets_in()
    renew = workers.learned.renew

    def renew_late() -> bytes:
        monkeypatch.setattr(workers.learned, "renew", renew)
        table.set_enabled(table.find("1001"), False)
        other.look(NOW + 1)  # it notices, and tells so, before `one` does
        assert not other.lets_in()
        return renew()

    monkeypatch.setattr(workers.learned, "renew", renew_late)
    table.set_password(table.find("1001"), "changed")
    one.look(NOW + 1)
    assert not one.lets_in("changed")
    other.look(NOW + 2)
    assert not other.lets_in("changed")


def test_disabled_user_gets_in_nowhere_once_a_worker_has_looked(
    workers: Workers, table: UserTable
) -> None:
    one, other = workers.start(), workers.start()
    workers.all_look(NOW)
    assert one.lets_in()
    assert other.lets_in()
    table.set_enabled(table.find("1001"), False)
    other.look(NOW + 1)
    assert not other.lets_in()
    one.look(NOW + 1)
    assert not one.lets_in()


def test_worker_without_its_database_learns_nothing(
    workers: Workers, table: UserTable, tmp_path: Path
) -> None:
    one, other = workers.start(), workers.start()
    workers.all_look(NOW)
    assert one.lets_in()
    file = tmp_path / "sbcauth.db"
    file.rename(tmp_path / "away")
    other.directory.refresh(NOW + 1)
    assert not other.lets_in()
    (tmp_path / "away").rename(file)
    other.look(NOW + 2)
    assert other.lets_in()


def test_phone_that_was_learned_counts_as_one_that_the_cache_had(
    workers: Workers, tmp_path: Path
) -> None:
    hits: list[bool] = []
    url = f"sqlite:///{tmp_path}/sbcauth.db"
    counting = CountingUserDirectory(hits.append, url, None, workers.learned, "one")
    workers.made.append(Worker(counting, workers.shared))
    one = workers.start()
    workers.all_look(NOW)
    assert one.lets_in()
    assert workers.made[0].lets_in()
    assert hits == [True]
