"""Floods leave memory bounded: what strangers can have kept is little, and soon forgotten."""

from collections.abc import Iterable, Iterator
from itertools import islice

import pytest
from kamailio import Server, wait_for
from memory import entries, rpc, shared
from phone import MakePhone, Phone
from sip import Challenge, Response

OPTIONS = ["--shared-memory", "512"]
CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/16}]
  - name: Unlimited
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    max_failures_per_source: 0
    max_failures_per_user: 0
    classification: [{address: 127.1.0.0/16}]
"""
USERS = {"1001": "secret"}
AT_ONCE = 20
BYTES_AN_ENTRY = 200
"""What docs/threat-model.md promises that an entry takes, at most."""


def flood(phone: Phone, requests: Iterable[bytes]) -> dict[int, int]:
    """Send requests, some at once; return how often each status was answered."""
    statuses: dict[int, int] = {}
    requests = iter(requests)
    while batch := list(islice(requests, AT_ONCE)):
        for raw in batch:
            phone.send(raw)
        for _ in batch:
            status = phone.response().status
            statuses[status] = statuses.get(status, 0) + 1
    return statuses


def guesses(
    phone: Phone, challenge: Response | Challenge, count: int, prefix: str
) -> Iterator[bytes]:
    """Return wrong answers to `challenge`, each of another user name."""
    return (
        phone.build("REGISTER", answering=challenge, username=f"{prefix}{number}", password="x")
        for number in range(count)
    )


def settled(server: Server) -> int:
    """Return how many KiB of shared memory are in use when no transaction is."""
    assert wait_for(lambda: rpc(server).call("tm.stats")["current"] == 0)
    return shared(server)


def test_flood_without_credentials_takes_no_shared_memory(server: Server, phone: MakePhone) -> None:
    desk = phone()
    flood(desk, (desk.build("REGISTER") for _ in range(200)))
    before, kept = shared(server), entries(server)
    assert flood(desk, (desk.build("REGISTER") for _ in range(4000))) == {401: 4000}
    assert shared(server) - before < 64
    assert entries(server) == kept


def test_flood_with_foreign_nonces_takes_no_shared_memory(server: Server, phone: MakePhone) -> None:
    desk = phone()
    (challenge,) = desk.request("REGISTER").challenges
    foreign = challenge._replace(nonce="A" * 62)
    flood(desk, guesses(desk, foreign, 200, "warm"))
    before, kept = settled(server), entries(server)
    assert flood(desk, guesses(desk, foreign, 2000, "n")) == {401: 2000}
    assert entries(server) == kept
    assert shared(server) - before < 64


def test_wrong_answers_have_no_transaction(server: Server, phone: MakePhone) -> None:
    desk = phone("1001", "secret", address="127.0.0.52")
    before = rpc(server).call("tm.stats")["total"]
    challenge = desk.request("REGISTER")
    statuses = [
        desk.request("REGISTER", answering=challenge, password=f"wrong{number}").status
        for number in range(5)
    ]
    assert statuses == [401, 401, 403, 403, 403]
    assert rpc(server).call("tm.stats")["total"] == before


def test_guesses_at_random_users_stop_being_counted_when_the_source_is_locked_out(
    server: Server, phone: MakePhone
) -> None:
    desk = phone(address="127.0.0.50")
    before = entries(server)
    statuses = flood(desk, guesses(desk, desk.request("REGISTER"), 1000, "g"))
    assert statuses[401] < 30
    assert statuses[401] + statuses[403] == 1000
    after = entries(server)
    grown = sum(after[table] - before[table] for table in ("attempts", "lockouts"))
    assert 0 < grown <= 100


def test_entry_is_small_whatever_the_user_is_called(server: Server, phone: MakePhone) -> None:
    desk = phone(address="127.1.0.1")
    before, kept = settled(server), entries(server)
    statuses = flood(desk, guesses(desk, desk.request("REGISTER"), 3000, "name" * 50))
    assert statuses == {401: 3000}
    grown = entries(server)["attempts"] - kept["attempts"]
    assert grown >= 3000
    size = (settled(server) - before) * 1024 / grown
    print(f"{grown} entries, {size:.0f} bytes each")
    assert size < BYTES_AN_ENTRY


@pytest.fixture(autouse=True)
def still_well(phone: MakePhone) -> Iterator[None]:
    yield
    assert phone(expires=0, address="127.0.0.51").register().status == 200
