"""SIPVicious, the tool of many an attack on SIP servers, learns nothing and gets in nowhere."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kamailio import Server, StartServer, free_port, wait_for
from phone import MakePhone, Phone

CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
    classification: [{address: 127.0.0.0/16}]
"""
OPEN = """
realm: example.com
ip_groups:
  - name: Open
    type: user
    authentication_mode: user-authenticates
    classification: [{address: 127.0.0.0/8}]
"""
USERS = {"1001": "sunshine", "1002": "secret1002", "1003": "sunshine"}


@pytest.fixture
def attack(server: Server, tmp_path: Path) -> Callable[..., str]:
    """Run one of the programs on the server, from 127.0.0.1; return what it says."""

    def run(program: str, *arguments: str, on: Server = server) -> str:
        name = Path(sys.executable).with_name(f"sipvicious_{program}")
        where = ("-P", str(free_port()), "-p", str(on.port), "127.0.0.1")
        done = subprocess.run(
            [str(name), *arguments, *where],
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )  # fmt: skip
        return done.stdout

    return run


@pytest.fixture
def registering(phone: MakePhone) -> Iterator[None]:
    """1001 registers over and over for as long as the test runs, and must get in each time."""
    over = threading.Event()

    def register(victim: Phone) -> list[int]:
        statuses = []
        while not over.wait(0.1):
            statuses.append(victim.register().status)
        return statuses

    with ThreadPoolExecutor(1) as pool:
        statuses = pool.submit(register, phone("1001", "sunshine", address="127.0.0.30"))
        yield
        over.set()
    assert len(statuses.result()) > 1
    assert set(statuses.result()) == {200}


def found(output: str) -> dict[str, str]:
    """Return the rows of the table that a program ends with."""
    return dict(re.findall(r"\|\s*(\S+)\s*\|\s*(\S+)\s*\|", output)[1:])


def test_svmap_sees_a_sip_server_and_no_more(server: Server, attack: Callable[..., str]) -> None:
    output = attack("svmap")
    assert f"127.0.0.1:{server.port}" in output
    assert not re.search(r"(?i)kamailio|python|5\.[0-9]|6\.[0-9]", output)


@pytest.mark.usefixtures("registering")
@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS"])
def test_svwar_finds_no_extension(attack: Callable[..., str], method: str) -> None:
    output = attack("svwar", "-m", method, "-e", "1000-1009", "--force")
    assert "found nothing" in output, output


def test_svwar_finds_extensions_where_nobody_must_authenticate(
    start_server: StartServer, attack: Callable[..., str]
) -> None:
    """So that the test above tells something."""
    server = start_server(OPEN)
    with Phone(server, "1005") as open_phone:
        assert open_phone.request("REGISTER").status == 200
        arguments = ("-m", "INVITE", "-e", "1004-1006", "--force")
        with ThreadPoolExecutor(1) as pool:
            output = pool.submit(attack, "svwar", *arguments, on=server)
            open_phone.reply(open_phone.incoming("INVITE"), 486, "Busy Here")
        assert list(found(output.result())) == ["1005"], output.result()


def crack(attack: Callable[..., str], tmp_path: Path, passwords: Iterable[str], user: str) -> str:
    words = tmp_path / "words"
    words.write_text("\n".join([*passwords, ""]))
    return attack("svcrack", "-u", user, "-d", str(words))


@pytest.mark.usefixtures("registering")
def test_svcrack_finds_no_password_beyond_the_limit(
    attack: Callable[..., str], tmp_path: Path, server: Server
) -> None:
    before = server.log_size()
    passwords = [*(f"guess{number}" for number in range(20)), "sunshine"]
    output = crack(attack, tmp_path, passwords, "1001")
    assert "sunshine" not in output
    assert wait_for(lambda: "reason=locked-out" in server.log(before))


def test_svcrack_finds_a_password_that_is_its_second_guess(
    attack: Callable[..., str], tmp_path: Path, server: Server
) -> None:
    """So that the test above tells something. (Its Contact leads to the server, and is refused.)"""
    before = server.log_size()
    crack(attack, tmp_path, ["guess", "sunshine"], "1003")
    assert wait_for(lambda: "reason=accepted" in server.log(before))


def test_ping_of_a_stranger_tells_nothing_of_who_is_registered(phone: MakePhone) -> None:
    """OPTIONS is not on the list: the server answers it itself, and the same for every name."""
    registered, stranger = phone("1002", "secret1002"), phone("stranger")
    assert registered.register().status == 200
    for name in ("1002", "1009"):
        assert stranger.request("OPTIONS", f"sip:{name}@example.com").status == 200
    assert registered.hears_nothing()
