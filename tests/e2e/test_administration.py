"""What an administrator does on the command line is seen by every worker at once (SPEC 7)."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from kamailio import Server
from phone import MakePhone, Phone

WORKERS = 4
FRESH_WITHIN = 0.4
"""Seconds after which a change is in force everywhere."""
CONFIG = """
realm: example.com
max_auth_attempts: 100
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    auth_algorithms: [SHA-256, MD5]
    classification: [{address: 127.0.0.0/16}]
"""
USERS = {"1001": "secret", "1002": "secret"}


@pytest.fixture
def statuses(server: Server) -> Callable[[str, str], set[int]]:
    """Register from 16 sockets at once, so that every worker is asked; returns the answers."""

    def register_everywhere(username: str, password: str) -> set[int]:
        def register(_: int) -> int:
            with Phone(server, username, password, expires=0) as phone:
                return phone.register().status

        with ThreadPoolExecutor(16) as pool:
            return set(pool.map(register, range(16)))

    return register_everywhere


def administer(server: Server, *arguments: str, stdin: str = "") -> None:
    """Run a command on the user's row, and wait until it must be in force."""
    server.administer("user", *arguments, "--ip-group", "Phones", stdin=stdin)
    time.sleep(FRESH_WITHIN)


def test_new_password_is_in_force_and_the_old_one_is_not(
    server: Server, statuses: Callable[[str, str], set[int]]
) -> None:
    assert statuses("1001", "secret") == {200}
    administer(server, "set-password", "1001", "--password-stdin", stdin="new secret\n")
    assert statuses("1001", "secret") == {401}
    assert statuses("1001", "new secret") == {200}
    administer(server, "set-password", "1001", "--password-stdin", stdin="secret\n")
    assert statuses("1001", "new secret") == {401}
    assert statuses("1001", "secret") == {200}


def test_disabled_user_is_refused_until_it_is_enabled_again(
    server: Server, statuses: Callable[[str, str], set[int]]
) -> None:
    assert statuses("1002", "secret") == {200}
    administer(server, "disable", "1002")
    assert statuses("1002", "secret") == {401}
    administer(server, "enable", "1002")
    assert statuses("1002", "secret") == {200}


def test_added_user_gets_in_and_a_removed_one_does_not(
    server: Server, statuses: Callable[[str, str], set[int]]
) -> None:
    assert statuses("1003", "secret of 1003") == {401}
    administer(server, "add", "1003", "--password-stdin", stdin="secret of 1003\n")
    assert statuses("1003", "secret of 1003") == {200}
    administer(server, "remove", "1003")
    assert statuses("1003", "secret of 1003") == {401}


@pytest.mark.parametrize(
    "password",
    [
        "pass word",
        "pässwörd",
        'quote"back\\slash',
        "コトバ",
        "a:b",
        "x" * 200,
        " leading and trailing ",
    ],
)
def test_any_password_that_can_be_typed_gets_in(
    server: Server, phone: MakePhone, password: str
) -> None:
    administer(server, "set-password", "1001", "--password-stdin", stdin=f"{password}\n")
    assert phone("1001", password, expires=0).register().status == 200
    administer(server, "set-password", "1001", "--password-stdin", stdin="secret\n")


@pytest.mark.parametrize("username", ["alice smith", "jürgen", "o'neil", 'quote"d', "back\\slash"])
def test_any_user_name_gets_in(server: Server, phone: MakePhone, username: str) -> None:
    server.add_user(username, "secret", local_user="5001")
    assert phone(username, "secret", local_user="5001", expires=0).register().status == 200
    administer(server, "remove", username)


def test_no_secret_is_in_the_database_or_in_the_log(server: Server) -> None:
    files = [path for path in server.folder.rglob("*") if path.is_file()]
    assert any(path.name.endswith(".db") for path in files)
    server.administer(
        "user", "set-password", "1002", "--ip-group", "Phones", "--password-stdin",
        stdin="correct horse battery staple\n",
    )  # fmt: skip
    for path in files:
        assert b"correct horse" not in path.read_bytes()
