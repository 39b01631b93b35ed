"""Registrations survive a restart: usrloc in SQLite, written behind."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kamailio import Server, StartServer, wait_for
from phone import Phone

ERRORS_MEANT = ("app_python3", "registrations cannot be kept")  # a start that fails
CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{address: 127.0.0.0/8}]
"""
CALLEE = "sip:1002@example.com"


@pytest.fixture
def server(start_server: StartServer) -> Server:
    server = start_server(CONFIG)
    server.add_user("1001", "secret", "Phones")
    server.add_user("1002", "secret", "Phones")
    return server


@pytest.fixture
def phones(server: Server) -> Iterator[tuple[Phone, Phone]]:
    with Phone(server, "1001") as caller, Phone(server, "1002") as callee:
        assert callee.register().status == 200
        yield caller, callee


def file_of(server: Server) -> Path:
    return server.folder / "sbcauth-registrations.db"


def written(server: Server) -> list[str]:
    """Return the addresses of record that are in the file."""
    with closing(sqlite3.connect(file_of(server))) as connection:
        return [user for (user,) in connection.execute("SELECT username FROM location")]


def is_called(caller: Phone, callee: Phone) -> bool:
    """Call a phone that rings, and is busy."""
    challenge = caller.request("INVITE", CALLEE)
    caller.send(caller.build("INVITE", CALLEE, answering=challenge))
    callee.reply(callee.incoming("INVITE"), 486, "Busy Here")
    return caller.response(caller.last_branch).status == 486


def test_phone_that_registered_before_a_restart_is_called_after(
    server: Server, phones: tuple[Phone, Phone]
) -> None:
    server.stop()
    assert written(server) == ["1002"]
    server.start()
    assert is_called(*phones)


def test_registration_is_written_while_the_server_runs(
    server: Server, phones: tuple[Phone, Phone]
) -> None:
    assert wait_for(lambda: written(server) == ["1002"])


def test_phone_that_took_its_registration_back_is_not_called_after_a_restart(
    server: Server, phones: tuple[Phone, Phone]
) -> None:
    caller, callee = phones
    server.stop()
    server.start()
    callee.expires = 0
    assert callee.register().status == 200
    server.stop()
    server.start()
    challenge = caller.request("INVITE", CALLEE)
    assert caller.request("INVITE", CALLEE, answering=challenge).status == 404


def test_tables_of_another_version_are_made_anew(
    server: Server, phones: tuple[Phone, Phone]
) -> None:
    server.stop()
    with closing(sqlite3.connect(file_of(server))) as connection:
        connection.execute("UPDATE version SET table_version = 8 WHERE table_name = 'location'")
        connection.commit()
    server.start()
    assert written(server) == []
    assert phones[1].register().status == 200


def test_file_that_is_no_database_is_made_anew(server: Server, phones: tuple[Phone, Phone]) -> None:
    server.stop()
    file_of(server).write_text("no database " * 1000)
    server.start()
    assert phones[1].register().status == 200
    assert is_called(*phones)


def test_file_is_its_owners_alone(server: Server) -> None:
    assert file_of(server).stat().st_mode & 0o777 == 0o600


def test_file_that_cannot_be_made_is_named(server: Server) -> None:
    server.stop()
    file_of(server).unlink()
    file_of(server).mkdir()
    process = server.launch()
    assert process.wait(20) != 0
    assert f"registrations cannot be kept in {file_of(server)}" in server.log()
