"""A registration whose answer was lost comes again; nobody gains by sending it once more.

A known phone's REGISTER has no transaction, so that all workers tell by the registrar's bindings
whether the same request has been carried out.
"""

import re
from contextlib import suppress
from typing import Any

import pytest
from kamailio import Server, StartServer, free_port
from phone import MakePhone, Phone

from sbcauth.monitoring.rpc import Rpc, RpcError

WORKERS = 4
CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/8}, {address: "::1"}]
"""
SIX = free_port()
LISTEN = [f"udp:[::1]:{SIX}"]
USERS = {"1001": "secret"}


@pytest.fixture
def known(server: Server, phone: MakePhone) -> Phone:
    """A phone that has succeeded before, with no registration left."""
    with Phone(server, expires=0) as before:
        assert before.register().status == 200
    with suppress(RpcError):
        ask(server, "ul.rm", "location", "1001@example.com")
    return phone()


@pytest.fixture
def known_over_tcp(known: Phone, phone: MakePhone) -> Phone:
    """Another phone of the user's, that has a connection."""
    known.close()
    return phone(transport="tcp")


def ask(server: Server, method: str, *parameters: str) -> Any:
    """Ask the running Kamailio."""
    return Rpc(server.folder / "run" / "rpc.sock").call(method, *parameters)


def contacts(server: Server) -> set[str]:
    """Return the Contacts that user 1001 is registered with."""
    try:
        found = ask(server, "ul.lookup", "location", "1001@example.com")["Contacts"]
    except RpcError:
        return set()
    return {f"<{each['Contact']['Address']}>" for each in found}


def without_expires(text: str) -> str:
    """Return Contacts without the seconds that they have left."""
    return re.sub(r"expires=\d+", "expires", text)


def test_known_phone_registers_without_a_transaction(server: Server, known: Phone) -> None:
    kept = ask(server, "tm.stats")["total"]
    assert known.register().status == 200
    assert ask(server, "tm.stats")["total"] == kept


def test_known_phone_registers_without_a_transaction_over_ipv6_too(
    server: Server, phone: MakePhone
) -> None:
    desk = phone(address="::1", home=SIX)
    assert desk.register().status == 200
    kept = ask(server, "tm.stats")["total"]
    accepted = desk.register()
    assert accepted.status == 200
    assert desk.resend().status == 200
    assert ask(server, "tm.stats")["total"] == kept


def test_same_registration_again_is_answered_again(server: Server, known: Phone) -> None:
    accepted = known.register()
    assert accepted.status == 200
    for again in (known.resend() for _ in range(8)):
        assert again.status == 200
        bindings = map(without_expires, (again.header("contact"), accepted.header("contact")))
        assert len(set(bindings)) == 1
        assert again.header("cseq") == accepted.header("cseq")
    assert contacts(server) == {known.contact}
    assert server.reasons(known.call_id) == ["challenged", "accepted"]


def test_same_registration_again_from_behind_a_translator_is_answered_to_where_it_came(
    server: Server, known: Phone
) -> None:
    challenge = known.request("REGISTER")
    raw = known.build("REGISTER", answering=challenge)
    raw = raw.replace(f"SIP/2.0/UDP {known.host}".encode(), b"SIP/2.0/UDP 192.0.2.7:5060;rport")
    for _ in range(3):
        known.send(raw)
        reply = known.response(known.last_branch)
        assert reply.status == 200
        assert f"rport={known.port}" in reply.header("via")
        assert "received=127.0.0.1" in reply.header("via")


@pytest.mark.parametrize(
    ("contact", "status"), [("<sip:thief@127.0.0.9>", 200), ("*", 401)], ids=["another", "all"]
)
def test_same_credentials_again_change_no_contact(
    server: Server, known: Phone, contact: str, status: int
) -> None:
    """Whoever sends them from the phone's address gets to know what is registered, at most."""
    assert known.register().status == 200
    raw = known.last_sent.replace(known.contact.encode(), contact.encode())
    raw = raw.replace(b"Expires: 60", b"Expires: 0") if contact == "*" else raw
    known.send(raw)
    assert known.response(known.last_branch).status == status
    assert contacts(server) == {known.contact}


@pytest.mark.parametrize("contact", [b"m:sip:9.9.9.9", b"m:*"], ids=["another", "all"])
@pytest.mark.parametrize("size", [65500, 65533, 65535])
def test_same_credentials_in_a_request_too_long_to_be_changed_change_no_contact(
    server: Server, known_over_tcp: Phone, contact: bytes, size: int
) -> None:
    phone = known_over_tcp
    assert phone.register().status == 200
    raw = phone.last_sent.replace(f"Contact: {phone.contact}".encode(), contact)
    raw = raw.replace(b"Max-Forwards: 70\r\n", b"")
    if contact == b"m:*":
        raw = raw.replace(b"Expires: 60", b"Expires: 0")
    padding = b"X: " + b"x" * (size - len(raw) - 5) + b"\r\n"
    raw = raw.replace(b"Call-ID: ", padding + b"Call-ID: ", 1)
    assert len(raw) == size
    phone.patience = 3
    with suppress(ConnectionError, TimeoutError):
        phone.send(raw)
        phone.response(phone.last_branch)
    assert contacts(server) == {phone.contact}


@pytest.mark.parametrize(
    ("old", "new"), [(rb"CSeq: \d+", b"CSeq: 99"), (rb"Call-ID: ", b"Call-ID: x")]
)
def test_same_credentials_in_another_registration_are_a_replay(
    server: Server, known: Phone, old: bytes, new: bytes
) -> None:
    assert known.register().status == 200
    before = contacts(server)
    known.send(re.sub(old, new, known.last_sent, count=1))
    refused = known.response(known.last_branch)
    assert (refused.status, refused.challenges[0].stale) == (401, True)
    assert contacts(server) == before


@pytest.mark.parametrize("how", ["Expires", "Contact"])
def test_same_deregistration_again_is_absorbed_by_its_transaction(
    server: Server, known: Phone, how: str
) -> None:
    assert known.register().status == 200
    raw = known.build("REGISTER", answering=known.request("REGISTER"))
    contact = known.contact.encode()
    written = {
        "Expires": (b"Expires: 60", b"Expires: 0"),
        "Contact": (contact, contact + b";expires=0"),
    }
    raw = raw.replace(*written[how])
    answers = []
    for _ in range(5):
        known.send(raw)
        answers.append(known.response(known.last_branch))
    assert answers[0].status == 200
    assert contacts(server) == set()
    assert answers == [answers[0]] * 5


def test_first_registration_of_a_phone_is_answered_again(start_server: StartServer) -> None:
    server = start_server(CONFIG, workers=4)
    server.add_user("1001", "secret")
    with Phone(server) as phone:
        assert phone.register().status == 200
        kept = ask(server, "tm.stats")["total"]
        for again in (phone.resend() for _ in range(8)):
            assert again.status == 200
            assert phone.contact in again.header("contact")
        assert contacts(server) == {phone.contact}
        assert ask(server, "tm.stats")["total"] == kept == 0
        assert server.reasons(phone.call_id) == ["challenged", "accepted"]


def test_user_with_a_name_in_utf_8_registers_each_time(start_server: StartServer) -> None:
    server = start_server(CONFIG)
    server.add_user("1003", "secret", local_user="caf\u00e9")
    with Phone(server, "1003", local_user="caf\u00e9") as phone:
        assert [phone.register().status for _ in range(3)] == [200] * 3


def test_repeat_that_cannot_be_told_from_a_replay_is_not_refused_where_replays_are(
    start_server: StartServer,
) -> None:
    server = start_server(CONFIG.replace("realm:", "reject_invalid_nonce: true\nrealm:", 1))
    server.add_user("1001", "secret")
    with Phone(server, expires=0) as phone:
        for _ in range(3):
            assert phone.register().status == 200
            assert [phone.resend().status for _ in range(3)] == [200] * 3
