"""Three nodes that ask an external server, RADIUS or HTTP: they count as one all the same."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from secrets import token_hex

import counting_nodes
import pytest
from counting_nodes import Roaming, start_engine, three
from freeradius import FreeRadius
from http_service import SECRET, Service
from kamailio import Server, free_port, wait_for
from log_of_kamailio import check_log
from sip import Challenge

ROUNDS = 20
RADIUS, HTTP = free_port(), free_port()
GROUPS = {"Radius": 60, "Http": 61}
"""The IP Groups, and the second number of the addresses that are theirs."""
_GROUP = """\
  - name: {name}
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [address: 127.{number}.0.0/16]
    server_auth_mode: {mode}
"""
CONFIG = (
    counting_nodes.CONFIG
    + _GROUP.format(name="Radius", number=GROUPS["Radius"], mode="radius")
    + "    radius:\n      timeout: 5s\n      dead_time: 0\n      servers:\n"
    + f"        - {{{{address: 127.0.0.1, port: {RADIUS}, secret: '{SECRET}'}}}}\n"
    + _GROUP.format(name="Http", number=GROUPS["Http"], mode="http")
    + f"    http:\n      urls: ['http://127.0.0.1:{HTTP}/judge']\n      secret: {SECRET}\n"
    + "      timeout: 5s\n      dead_time: 0\n"
)
PASSWORDS = {"2001": "secret"} | {f"guessed{number}": "right" for number in range(10)}
_hosts = count(1)


class Judges:
    """The external servers; each tells how often it was asked to judge a user's answer."""

    def __init__(self, radius: FreeRadius, http: Service) -> None:
        self._radius, self._http = radius, http

    def judged(self, group: str, user: str) -> int:
        if group == "Radius":
            return len(self._radius.verdicts(user))
        return sum(asked["username"] == user for asked in self._http.asked)


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judges]:
    folder = tmp_path_factory.mktemp("judges")
    with (
        FreeRadius(folder / "radius", PASSWORDS, port=RADIUS, secret=SECRET) as radius,
        Service(PASSWORDS, port=HTTP) as http,
    ):
        yield Judges(radius, http)


@pytest.fixture(scope="module")
def nodes(judges: Judges, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    folder = tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        engine = start_engine(stack, folder / "engine")
        how = {"settings": "engine_timeout: 1s", "config": CONFIG}
        nodes = three(stack, folder, engine.url, **how)
        for node in nodes:
            for group in GROUPS:
                assert wait_for(partial(gets_in, group, node), 60), node.log()[-2000:]
        yield nodes
        for node in nodes:
            check_log(node)


def phone_of(group: str, user: str = "2001") -> Roaming:
    """Return a phone at an address of its own."""
    return Roaming(user, PASSWORDS[user], f"127.{GROUPS[group]}.1.{next(_hosts) % 250 + 1}")


def gets_in(group: str, node: Server) -> bool:
    with closing(phone_of(group)) as phone:
        return phone.register(node)[-1] == 200


def engines_nonce(phone: Roaming, nodes: list[Server]) -> Challenge:
    """Return a challenge of the engine's, which all nodes take."""
    first = phone.challenge_from(nodes[0])
    challenge = phone.ask(nodes[1], phone.build(first)).challenges[0]
    assert challenge.nonce.startswith("80")
    return challenge


def is_logged(judges: Judges, group: str, user: str, before: int) -> bool:
    return judges.judged(group, user) > before


@pytest.mark.parametrize("group", GROUPS)
def test_one_answer_at_three_nodes_at_once_is_accepted_once(
    group: str, nodes: list[Server]
) -> None:
    accepted = 0
    with closing(phone_of(group)) as phone:
        assert phone.register(nodes[0])[-1] == 200
        for _ in range(ROUNDS):
            raw = phone.build(engines_nonce(phone, nodes))
            for node in nodes:
                phone.send(node, raw)
            seen = [phone.receive(20).status for _ in nodes]
            assert seen.count(200) <= 1, seen
            assert set(seen) <= {200, 401, 503}, seen
            accepted += seen.count(200)
    assert accepted >= ROUNDS // 2


@pytest.mark.parametrize("group", GROUPS)
def test_parallel_guesses_over_nodes_are_judged_three_times(
    group: str, nodes: list[Server], judges: Judges
) -> None:
    for round_ in range(5):
        user = f"guessed{round_}"
        with closing(phone_of(group, user)) as guesser:
            before = judges.judged(group, user)
            challenges = [guesser.challenge_from(node) for node in nodes]
            for _ in range(10):
                for node, challenge in zip(nodes, challenges, strict=True):
                    guesser.send(node, guesser.build(challenge, password=token_hex(4)))
            seen = [guesser.receive(20) for _ in range(30)]
            judged = [each for each in seen if each.status == 401 and not each.challenges[0].stale]
            assert len(judged) <= 2
            assert {each.status for each in seen} <= {401, 403, 503}
            assert wait_for(partial(is_logged, judges, group, user, before))
            assert judges.judged(group, user) - before <= 3
