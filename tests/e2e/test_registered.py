"""`sbcauth registered`: who is registered at a real server, few and many."""

import json
import time
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from secrets import token_hex

import pytest
from kamailio import Server, StartServer, wait_for
from phone import Phone

CONFIG = """\
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/8}]
"""
USERS = {f"{number}": "secret" for number in range(1001, 1004)}


def registered(server: Server, *options: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(server.administer("registered", "--json", *options))
    return found


def seconds(time_of_json: object) -> float:
    at = datetime.fromisoformat(str(time_of_json))
    assert at.tzinfo is not None
    return at.timestamp()


def test_who_is_registered_is_told_with_source_and_times(server: Server) -> None:
    assert registered(server) == []
    assert "registered: 0 users with 0 contacts" in server.administer("status")
    with Phone(server, "1001") as phone, Phone(server, "1002", address="127.0.0.2") as other:
        assert phone.register().status == other.register().status == 200
        first, second = registered(server)
        assert (first["local_user"], first["realm"], first["ip_group"]) == (
            "1001",
            "example.com",
            "Phones",
        )
        assert str(first["source"]).startswith("127.0.0.1:")
        assert abs(seconds(first["since"]) - time.time()) < 30
        assert 0 < seconds(first["until"]) - time.time() <= 3600
        assert registered(server, "--source", "127.0.0.2/32") == [second]
        assert registered(server, "--user", "1001", "--ip-group", "Phones") == [first]
        unknown = server.sbcauth("registered", "--ip-group", "Fones")
        assert unknown.returncode == 1
        assert "there is no IP Group 'Fones'; did you mean 'Phones'?" in unknown.stderr
        assert "registered: 2 users with 2 contacts" in server.administer("status")
        table = server.administer("registered")
        assert "1001@example.com\tPhones\t127.0.0.1:" in table


def test_registration_is_dropped(server: Server) -> None:
    with Phone(server, "1003") as phone:
        assert phone.register().status == 200
        assert server.administer("registered", "drop", "1003") == "dropped sip:1003@example.com\n"
        assert registered(server, "--user", "1003") == []
    done = server.sbcauth("registered", "drop", "1003")
    assert done.returncode == 1
    assert "1003 is not registered" in done.stderr


def test_registration_that_the_registrar_refuses_is_logged_with_its_status(server: Server) -> None:
    """A stranger's first one has a transaction by then, and one of a known phone has none."""
    with Phone(server, "1003") as phone:
        for known in (False, True):
            phone.call_id = f"{token_hex(8)}@phone"
            raw = phone.build("REGISTER", answering=phone.request("REGISTER"))
            phone.send(raw.replace(phone.host.encode() + b">", phone.host.encode() + TOO_LONG))
            assert phone.response().status == 400
            assert wait_for(partial(is_refused, server, phone.call_id), 10), known
            assert phone.register().status == 200


TOO_LONG = b";x=%s>" % (b"x" * 600)


def is_refused(server: Server, call_id: str) -> bool:
    seen = [(line["reason"], line.get("status")) for line in server.outcomes(call_id)]
    return ("not-kept", "400") in seen


def test_many_are_read_from_the_file_that_they_are_written_to(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server(CONFIG)
    server.administer(
        "user", "import", "/dev/stdin", stdin="username,password\n" + "".join(
            f"{number},secret\n" for number in range(1001, 1071)
        ),
    )  # fmt: skip
    with ExitStack() as stack:
        for number in range(1001, 1071):
            phone = stack.enter_context(Phone(server, str(number)))
            assert phone.register().status == 200
        assert wait_for(lambda: len(registered(server)) == 70)
        assert registered(server, "--user", "1042")[0]["ip_group"] == "Phones"
