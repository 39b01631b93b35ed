"""`sbcauth lockout`: an operator sees who is locked out, and lets them in again (SPEC 7)."""

import json
from collections.abc import Iterator

import pytest
from kamailio import Server
from phone import MakePhone, Phone

CONFIG = """
realm: example.com
max_auth_attempts: 1
lockout_duration: 600
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/16}]
  - name: Meeting Rooms
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.5.0.0/16}]
"""
USERS = {"1001": "secret", "1002": "secret", "Meeting Rooms/1001": "secret"}


@pytest.fixture(autouse=True)
def nobody_locked_out(server: Server) -> Iterator[None]:
    yield
    server.administer("lockout", "clear", "--all")


@pytest.fixture
def locked_out(phone: MakePhone) -> MakePhone:
    """Lock out a user name at a source; returns its phone, which knows the right password."""

    def lock_out(username: str, address: str = "127.0.0.1") -> Phone:
        locked = phone(username, "secret", address=address, expires=0)
        assert locked.register(password="wrong").status == 403
        assert locked.register().status == 403
        return locked

    return lock_out


def listed(server: Server, *arguments: str) -> list[tuple[str, str, str]]:
    found = json.loads(server.administer("lockout", "list", "--json", *arguments))
    return [(each["ip_group"], each["source"], each["username"]) for each in found]


def test_nobody_is_listed_until_somebody_is_locked_out(
    server: Server, locked_out: MakePhone
) -> None:
    assert listed(server) == []
    locked_out("1001")
    locked_out("1002", "127.0.0.2")
    locked_out("1001", "127.5.0.1")
    assert listed(server) == [
        ("Meeting Rooms", "127.5.0.1", "1001"),
        ("Phones", "127.0.0.1", "1001"),
        ("Phones", "127.0.0.2", "1002"),
    ]
    table = server.administer("lockout", "list", "1001", "--ip-group", "Phones").splitlines()
    assert table[0] == "IP Group\tLocked out\tUser name\tSource\tSeconds left"
    (row,) = table[1:]
    *who, seconds = row.split("\t")
    assert who == ["Phones", "pair", "1001", "127.0.0.1"]
    assert 590 <= int(seconds) <= 600


def test_cleared_phone_gets_in_at_once_and_others_do_not(
    server: Server, locked_out: MakePhone
) -> None:
    first, second = locked_out("1001"), locked_out("1001", "127.0.0.2")
    said = server.administer("lockout", "clear", "1001", "--source", "127.0.0.1")
    assert said == "cleared 1001 from 127.0.0.1 in Phones\n"
    assert first.register().status == 200
    assert second.register().status == 403
    assert listed(server) == [("Phones", "127.0.0.2", "1001")]


@pytest.mark.parametrize("username", ["no body", 'quo"te', "jürgen", "back\\slash", "a%20b"])
def test_name_of_any_characters_is_listed_and_cleared(
    server: Server, phone: MakePhone, username: str
) -> None:
    guessing = phone(username, "guess", local_user="5001", expires=0)
    assert guessing.register().status == 403
    assert listed(server) == [("Phones", "127.0.0.1", username)]
    server.administer("lockout", "clear", username)
    assert listed(server) == []


def test_everybody_is_let_in_again(server: Server, locked_out: MakePhone) -> None:
    phones = [locked_out("1001"), locked_out("1002", "127.0.0.3")]
    assert server.administer("lockout", "clear", "--all") == "cleared 2 lockouts\n"
    assert [phone.register().status for phone in phones] == [200, 200]


def test_nobody_to_be_cleared_is_said(server: Server, locked_out: MakePhone) -> None:
    locked_out("1001")
    refused = server.sbcauth("lockout", "clear", "1002")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("nobody is locked out who fits")
    assert listed(server) == [("Phones", "127.0.0.1", "1001")]
