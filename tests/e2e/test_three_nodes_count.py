"""Three nodes count as one: real servers, a real engine, and phones that go to all of them."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from counting_nodes import USERS, Roaming, start_engine, three
from kamailio import Server, wait_for
from log_of_kamailio import check_log

ROUNDS = 100
"""Rounds of what is done at three nodes at once."""
GUESSED = iter(name for name in USERS if name >= "2000")
SETTINGS = "engine_timeout: 1s"  # the machine of the tests may be busy


class Cluster:
    """Three nodes and their engine."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.engine = start_engine(stack, folder / "engine")
        self.nodes = three(stack, folder, self.engine.url, settings=SETTINGS)
        self._stack = stack

    def phone(self, username: str = "1001", password: str = "", address: str = "") -> Roaming:
        """Return a phone at an address of its own."""
        global _addresses
        _addresses += 1
        address = address or f"127.0.{1 + _addresses // 250}.{1 + _addresses % 250}"
        phone = Roaming(username, password or USERS["1001"], address)
        self._stack.callback(phone.close)
        return phone


_addresses = 0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        cluster = Cluster(stack, tmp_path_factory.mktemp("cluster"))
        yield cluster
        for node in cluster.nodes:
            check_log(node)


@pytest.fixture
def well(cluster: Cluster) -> Cluster:
    """Return the cluster when all its nodes have the engine."""
    serve_strangers(cluster)
    return cluster


def serve_strangers(cluster: Cluster) -> None:
    """Wait until all nodes have the engine."""
    for node in cluster.nodes:
        assert wait_for(partial(serves_strangers, cluster, node)), node.log()[-2000:]


def serves_strangers(cluster: Cluster, node: Server) -> bool:
    return cluster.phone().register(node)[-1] == 200


def at_once(calls: list[Callable[[], object]]) -> list[object]:
    """Return what calls return that are made at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [each.result() for each in [pool.submit(call) for call in calls]]


def test_one_answer_at_three_nodes_at_once_is_accepted_once(well: Cluster) -> None:
    """By whichever nonce: of a node, or of the engine."""
    phone = well.phone()
    assert phone.register(well.nodes[0])[-1] == 200
    accepted = 0
    for round_ in range(ROUNDS):
        challenge = phone.challenge_from(well.nodes[round_ % 3])
        if round_ % 2:  # one of the engine's
            other = well.nodes[(round_ + 1) % 3]
            challenge = phone.ask(other, phone.build(challenge)).challenges[0]
            assert challenge.nonce.startswith("80")
        raw = phone.build(challenge)
        for node in well.nodes:
            phone.send(node, raw)
        seen = sorted(phone.receive().status for _ in well.nodes)
        assert seen in ([200, 401, 401], [401, 401, 401]), seen
        accepted += seen.count(200)
    assert accepted >= ROUNDS * 3 // 4  # on a busy machine the engine may be too late for some


def test_parallel_guesses_over_nodes_are_judged_three_times(well: Cluster) -> None:
    """The last attempt gets 403, and so does whatever is beyond it: two guesses get 401."""
    for _ in range(ROUNDS):
        guesser = well.phone(next(GUESSED))
        challenges = [guesser.challenge_from(node) for node in well.nodes]
        for _ in range(30):
            for node, challenge in zip(well.nodes, challenges, strict=True):
                guesser.send(node, guesser.build(challenge, password=os.urandom(4).hex()))
        seen = [guesser.receive().status for _ in range(90)]
        assert seen.count(401) == 2, seen
        assert set(seen) == {401, 403}
        for node in well.nodes:
            right = guesser.ask(node, guesser.build(guesser.challenge_from(node)))
            assert right.status == 403
        guesser.close()


def test_phone_that_goes_from_node_to_node_answers_one_challenge_more(well: Cluster) -> None:
    phone = well.phone()
    assert phone.register(well.nodes[0]) == [401, 200]
    assert phone.register(well.nodes[1]) == [401, 200]
    for turn in range(9):
        assert phone.register(well.nodes[turn % 3]) == [200]


def test_phones_of_one_user_that_register_at_all_nodes_at_once_all_get_in(well: Cluster) -> None:
    """There is room for ten: what a node makes, another one takes."""
    phones = [well.phone("1002") for _ in range(18)]
    for _ in range(4):
        calls = [partial(each.register, well.nodes[at % 3]) for at, each in enumerate(phones)]
        assert [str(seen)[-4:] for seen in at_once(list(calls))] == ["200]"] * len(phones)


def test_lockout_is_seen_and_cleared_everywhere_within_a_second(well: Cluster) -> None:
    phone = well.phone()
    one, two, three_ = well.nodes
    for _ in range(3):
        phone.ask(one, phone.build(phone.challenge_from(one), password="wrong"))
    host = phone.host.split(":")[0]

    def listed(node: Server) -> bool:
        return host in node.administer("lockout", "list")

    def is_gone(node: Server) -> bool:
        return not listed(node)

    assert all(wait_for(partial(listed, node)) for node in well.nodes)
    assert host in two.administer("lockout", "clear", "1001", "--source", host)
    for node in (three_, two, one):
        assert wait_for(partial(is_gone, node))
        assert phone.ask(node, phone.build(phone.challenge_from(node))).status in (200, 401)


def test_engine_that_is_killed_stops_no_known_phone(well: Cluster) -> None:
    known = [well.phone() for _ in well.nodes]
    for phone, node in zip(known, well.nodes, strict=True):
        assert phone.register(node)[-1] == 200
    well.engine.kill()
    for phone, node in zip(known, well.nodes, strict=True):
        assert phone.register(node) == [200]
        stranger = well.phone()
        right = stranger.ask(node, stranger.build(stranger.challenge_from(node)))
        wrong = stranger.ask(node, stranger.build(stranger.challenge_from(node), password="wrong"))
        assert (right.status, wrong.status) == (503, 503)
        assert right.header("retry-after")
    cleared = well.nodes[0].sbcauth("lockout", "clear", "--all")
    assert cleared.returncode == 1
    assert "engine" in cleared.stderr
    well.engine.start()
    serve_strangers(well)


def test_frozen_engine_makes_nobody_wait(well: Cluster) -> None:
    phone = well.phone()
    assert phone.register(well.nodes[0])[-1] == 200
    well.engine.freeze()
    try:
        strangers = [well.phone() for _ in range(20)]
        for stranger in strangers:
            challenge = stranger.challenge_from(well.nodes[0])
            assert stranger.ask(well.nodes[0], stranger.build(challenge)).status == 503
            assert phone.register(well.nodes[0]) == [200]
    finally:
        well.engine.thaw()
    serve_strangers(well)


def test_emptied_engine_accepts_nothing_twice(well: Cluster) -> None:
    phone = well.phone()
    one, two, three_ = well.nodes
    challenge = phone.ask(two, phone.build(phone.challenge_from(one))).challenges[0]
    raw = phone.build(challenge)
    assert phone.ask(three_, raw).status == 200
    well.engine.command("FLUSHALL")
    for node in well.nodes:
        assert phone.ask(node, raw).status == 401
    phone.challenge = None
    for node in (*well.nodes, *well.nodes):
        assert phone.register(node)[-1] == 200


def test_node_that_dies_costs_its_phones_one_challenge(well: Cluster) -> None:
    one, two, _ = well.nodes
    phones = [well.phone() for _ in range(10)]
    for phone in phones:
        assert phone.register(one)[-1] == 200
    os.killpg(one.pid, signal.SIGKILL)
    try:
        for phone in phones:
            seen = phone.register(two)
            assert seen in ([200], [401, 200]), seen
    finally:
        one.stop()
        one.start()
    for phone in phones:
        assert phone.register(one)[-1] == 200


def test_rolling_restart_turns_no_phone_away(well: Cluster) -> None:
    phones = [well.phone() for _ in range(5)]
    for phone in phones:
        assert phone.register(well.nodes[0])[-1] == 200
    for down in range(3):
        others = [node for at, node in enumerate(well.nodes) if at != down]
        well.nodes[down].stop()
        for turn, phone in enumerate(phones):
            assert phone.register(others[turn % 2])[-1] == 200
        well.nodes[down].start()
        for phone in phones:
            assert phone.register(well.nodes[down])[-1] == 200


def test_doctor_and_status_know_the_cluster(well: Cluster) -> None:
    one = well.nodes[0]
    assert wait_for(lambda: "nodes 1, 2, 3" in one.sbcauth("doctor").stdout, 20)
    text = one.sbcauth("doctor").stdout
    assert "noeviction" in text
    status = one.administer("status")
    assert "engine" in status.lower()


def test_doctor_names_a_node_whose_keys_were_rotated_alone(well: Cluster) -> None:
    one, other = well.nodes[0], well.nodes[2]
    keys = other.folder / "sbcauth.keys"
    before = keys.read_text()
    differ = "the nonce keys of node 3 differ from those of this one, node 1"

    def names_it() -> bool:
        found = one.sbcauth("doctor").stdout
        assert "noeviction" in found
        return differ in found

    other.administer("nonce-key", "rotate")
    try:
        other.administer("reload")
        assert wait_for(names_it)
    finally:
        keys.write_text(before)
        other.administer("reload")
    assert wait_for(lambda: not names_it())


def test_node_that_stands_still_costs_nobody_anything(well: Cluster) -> None:
    one, two, _ = well.nodes
    phone = well.phone()
    assert phone.register(one)[-1] == 200
    processes = one.processes()
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        assert phone.register(two)[-1] == 200
        guesser = well.phone("1002")
        for _ in range(3):
            challenge = guesser.challenge_from(two)
            guesser.ask(two, guesser.build(challenge, password="wrong"))
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
    challenge = guesser.challenge_from(one)
    assert guesser.ask(one, guesser.build(challenge)).status == 403
    assert phone.register(one)[-1] == 200
