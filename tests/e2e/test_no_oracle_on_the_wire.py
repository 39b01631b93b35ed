"""The answer to a wrong password and to no user is the same, byte for byte, and comes as soon."""

import random
import re
import time
from collections.abc import Iterable, Sequence
from itertools import count
from statistics import median

import pytest
from kamailio import Server
from phone import MakePhone, Phone
from sip import Response

WORKERS = 1
CONFIG = """
realm: example.com
max_auth_attempts: 100
max_failures_per_source: 0
max_failures_per_user: 0
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{address: 127.0.0.0/16}]
  - name: Others
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{address: 127.1.0.0/16}]
"""
USERS = {"1001": "secret", "1002": "secret", "Others/1003": "secret"}
NAMES = {"wrong": "1001", "disabled": "1002", "elsewhere": "1003", "unknown": "1004"}
SOURCES, ROUNDS = 16, 60
"""Phones, each of which tries every name so many times: below the limit."""
TELLING = 15e-6
"""Seconds between two medians that somebody at the other end of a network might notice."""
PERMUTATIONS = 400
_hosts = count(1)


@pytest.fixture(scope="module", autouse=True)
def disabled_user(server: Server) -> None:
    server.administer("user", "disable", "1002", "--ip-group", "Phones")


@pytest.fixture
def prober(phone: MakePhone) -> Phone:
    return phone("1001", "wrong", address=f"127.0.7.{next(_hosts)}")


def probe(
    phone: Phone, challenge: Response, name: str, method: str = "REGISTER"
) -> tuple[Response, float]:
    """Return the answer, and how long it took, to a guess at a password of `name`."""
    phone.local_user = name
    uri = phone.registrar if method == "REGISTER" else "sip:1005@example.com"
    password = "secret" if name == "1002" else "wrong"
    raw = phone.build(method, uri, answering=challenge, username=name, password=password)
    began = time.perf_counter()
    phone.send(raw)
    reply = phone.response(phone.last_branch)
    took = time.perf_counter() - began
    if method == "INVITE":
        phone.acknowledge(reply)
    return reply, took


def image(reply: Response, name: str) -> tuple[list[str], bytes]:
    """Return a reply as bytes are compared: without what is new in each, and the name itself."""
    lines = [f"{reply.status} {reply.phrase}"]
    for field, value in reply.headers:
        value = re.sub(r'nonce="[^"]*"|tag=[^;]+|branch=[^;]+', "new", value)
        lines.append(f"{field}: {re.sub(r'^[0-9]+ ', 'number ', value)}".replace(name, "NAME"))
    return lines, reply.body


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_answers_are_the_same_byte_for_byte(prober: Phone, method: str) -> None:
    challenge = prober.request("REGISTER")
    if method == "INVITE":
        challenge = prober.request("INVITE", "sip:1005@example.com")
    images = [image(probe(prober, challenge, name, method)[0], name) for name in NAMES.values()]
    assert images[0][0][0] == "401 Unauthorized"
    assert images == [images[0]] * len(NAMES)


def spread(times: Iterable[Sequence[float]]) -> float:
    """Return how far apart the medians are."""
    medians = [median(column) for column in zip(*times, strict=True)]
    return float(max(medians) - min(medians))


def test_answers_come_as_soon(phone: MakePhone) -> None:
    """Each round tries every name, in random order, so that noise meets all alike.

    It fails where the medians differ by what could be noticed, and by more than they do when
    the names are shuffled within each round, which is what chance would do.
    """
    chance = random.Random(7)  # noqa: S311
    times = []
    for number in range(SOURCES):
        prober = phone("1001", "wrong", address=f"127.0.8.{number + 1}")
        challenge = prober.request("REGISTER")
        for _ in range(ROUNDS):
            took = {}
            for name in chance.sample(sorted(NAMES.values()), len(NAMES)):
                reply, took[name] = probe(prober, challenge, name)
                assert reply.status == 401
            times.append([took[name] for name in sorted(took)])
    seen = spread(times)
    by_chance = sorted(
        spread([chance.sample(row, len(row)) for row in times]) for _ in range(PERMUTATIONS)
    )
    print(f"{len(times) * len(NAMES)} requests: medians {seen * 1e6:.1f} µs apart; "
          f"by chance {by_chance[-1] * 1e6:.1f} µs")  # fmt: skip
    assert seen < TELLING or seen <= by_chance[-1]
