"""A load that lasts: every registration succeeds, and memory stays where it is.

`make test` lasts ten seconds; `make soak` ten minutes.
"""

import os
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import pytest
from kamailio import Server
from memory import entries, growth, private, shared

from bench.load import Line
from bench.phones import REALM, Phones, Start
from bench.users import fill_user_info

SECONDS = int(os.environ.get("SBCAUTH_SOAK", "10"))
RATE = 500
"""Registrations a second: REGISTER, 401, REGISTER with credentials, 200."""
USERS = 2000
NONCE_DURATION = 30
"""Seconds; what is kept of phones, transactions and contacts is steady after twice that."""
NONCE_COUNT = 0.12
"""KiB that a used nonce count takes at most; each is kept for ten minutes."""
PRIVATE_GROWTH = 2 * 1024
SHARED_GROWTH = 8 * 1024
"""KiB that a process, and shared memory, may grow by once all is steady."""
CONFIG = f"""
realm: {REALM}
auth_nonce_duration: {NONCE_DURATION}
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{{address: 127.0.0.0/8}}]
"""


def paced(line: Line, starts: Iterator[Start]) -> list[float]:
    """Register RATE phones a second, and return how long each took.

    A machine that has much else to do takes longer: nothing is lost because a buffer is full.
    """
    due, latencies = time.monotonic(), []
    while batch := list(islice(starts, RATE // 10)):
        latencies += line.keep_busy(batch).latencies
        due += 0.1
        time.sleep(max(0.0, due - time.monotonic()))
    return latencies


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    fill_user_info(tmp_path / "sbcauth.db", USERS)
    with Server(tmp_path, CONFIG) as server:
        yield server


def shared_but_nonce_counts(server: Server) -> float:
    """Return how many KiB of shared memory are in use, without what used nonce counts take."""
    return shared(server) - entries(server)["nonce_counts"] * NONCE_COUNT


def test_every_registration_succeeds_and_memory_stays_where_it_is(server: Server) -> None:
    before = server.log_size()
    steady_at = 2 * NONCE_DURATION if SECONDS > 4 * NONCE_DURATION else SECONDS // 2
    step = max(1, SECONDS // 10)
    steady = None
    with Line(server.port) as line:
        starts = Phones(line.port, server.port).register(cycle(range(USERS)))
        for second in range(0, SECONDS, step):
            if steady is None and second >= steady_at:
                steady = private(server), shared_but_nonce_counts(server)
            latencies = paced(line, islice(starts, RATE * step))
            slowest = sorted(latencies)[-len(latencies) // 100]
            print(
                f"{second + step:4} s: private {sum(private(server).values())} KiB, "
                f"largest {max(private(server).values())} KiB, shared {shared(server)} KiB, "
                f"1 % slower than {slowest * 1000:.1f} ms"
            )
    assert steady
    assert growth(steady[0], private(server)) < PRIVATE_GROWTH
    assert shared_but_nonce_counts(server) - steady[1] < SHARED_GROWTH
    log = server.log(before)
    assert log.count("reason=accepted") == RATE * SECONDS
    assert "ERROR" not in log
    assert "CRITICAL" not in log
