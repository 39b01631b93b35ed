"""Lockouts as commands see them, and the RPC that brings them: the test plays Kamailio."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from sbcauth.monitoring.lockouts import Lockout, Wanted, clear, clear_all, lockouts
from sbcauth.monitoring.rpc import NotRunning, Rpc, RpcError
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.attempts import Attempts
from sbcauth.policy.claimants import Claimant
from sbcauth.policy.shared_state import LocalState, Table

NOW = 1_700_000_000
PATIENCE = 0.2


class Server:
    """Answers RPC as Kamailio does: htables, and an answer that is too long is none."""

    def __init__(self, path: Path) -> None:
        self.tables: dict[str, dict[str, str]] = {"sbcauth_lockouts": {}, "sbcauth_attempts": {}}
        self.answer: Callable[[dict[str, Any]], bytes | None] = self._answer
        self.longest = 131072
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = Thread(target=self._serve)
        self._thread.start()

    def lock_out(self, *claimants: Claimant, now: int = NOW) -> None:
        """Lock out as the server does."""
        state = LocalState()
        for claimant in claimants:
            Attempts(state).fail(claimant, "proof", AttemptLimit(1, 60), now)
            value = state.get(Table.LOCKOUTS, claimant.key)
            self.tables["sbcauth_lockouts"][claimant.key] = str(value)

    def stop(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"stop", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while (message := self._socket.recvfrom(65536))[0] != b"stop":
            answer = self.answer(json.loads(message[0]))
            if answer is not None and len(answer) <= self.longest:
                self._socket.sendto(answer, message[1])

    def _answer(self, question: dict[str, Any]) -> bytes:
        result = self._result(question["method"], question["params"])
        error = {"error": {"code": 500, "message": "Key not found in htable."}}
        said = error if result is None else {"result": result}
        return json.dumps({"jsonrpc": "2.0", **said, "id": question["id"]}).encode()

    def _result(self, method: str, parameters: list[str]) -> object:
        if method == "htable.stats":
            return [{"name": name, "all": len(rows)} for name, rows in self.tables.items()]
        table = self.tables[parameters[0]]
        match method:
            case "htable.dump":
                return [
                    {"entry": 1, "size": 1, "slot": [{"name": k, "value": v, "type": "str"}]}
                    for k, v in table.items()
                ]
            case "htable.flush":
                table.clear()
                return "Ok."
            case "htable.delete":
                return "Ok." if table.pop(parameters[1], None) else None
        raise AssertionError(method)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The name of a socket, which may not be long."""
    monkeypatch.chdir(tmp_path)
    return Path("rpc.sock")


@pytest.fixture
def server(path: Path) -> Iterator[Server]:
    server = Server(path)
    yield server
    server.stop()


@pytest.fixture
def rpc(path: Path) -> Rpc:
    return Rpc(path, PATIENCE)


ALICE = Claimant("Phones", "192.0.2.7", "alice")
BOB = Claimant("Phones", "2001:db8::/64", "bob")
TRUNK = Claimant("My Trunk", "192.0.2.7", "trunk user")


def who(found: list[Lockout]) -> list[Claimant]:
    return [Claimant(each.ip_group, each.source, each.username) for each in found]


def test_those_who_are_locked_out_are_listed_in_order(server: Server, rpc: Rpc) -> None:
    assert lockouts(rpc, NOW) == []
    server.lock_out(BOB, TRUNK, ALICE)
    found = lockouts(rpc, NOW)
    assert who(found) == [TRUNK, ALICE, BOB]
    assert {each.until for each in found} == {NOW + 60}
    assert [each.key for each in found] == [TRUNK.key, ALICE.key, BOB.key]


def test_lockout_that_has_ended_is_not_listed(server: Server, rpc: Rpc) -> None:
    server.lock_out(ALICE)
    assert who(lockouts(rpc, NOW + 59)) == [ALICE]
    assert lockouts(rpc, NOW + 60) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), [TRUNK, ALICE, BOB]),
        (Wanted(username="alice"), [ALICE]),
        (Wanted(source="192.0.2.7"), [TRUNK, ALICE]),
        (Wanted("My Trunk"), [TRUNK]),
        (Wanted("Phones", "2001:db8::7", "bob"), [BOB]),
        (Wanted("Phones", "192.0.2.7", "bob"), []),
        (Wanted(source="192.0.2.0/24"), [TRUNK, ALICE]),
        (Wanted(source="2001:db8::/32"), [BOB]),
        (Wanted(source="2001:db8:1::7"), []),
        (Wanted(source="home"), []),
        (Wanted(username="ali"), []),
        (Wanted(username=""), []),
    ],
)
def test_lockouts_that_fit_all_that_is_given_are_meant(
    wanted: Wanted, expected: list[Claimant], server: Server, rpc: Rpc
) -> None:
    server.lock_out(ALICE, BOB, TRUNK)
    assert who(lockouts(rpc, NOW, wanted)) == expected


@pytest.mark.parametrize(
    ("username", "shown"),
    [
        ("jürgen", "jürgen"),
        ("日本", "日本"),
        ('quo"te', 'quo"te'),
        ("back\\slash", "back\\slash"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb", "a\\nb"),
        ("\udcff", "\\udcff"),
        ("", "-"),
        ("x" * 100, "x" * 80),
        ("\x01" * 100, "\\x01" * 20),
        ("x" * 78 + "é", "x" * 78 + "\\x"),
    ],
)
def test_name_from_the_network_is_shown_so_that_a_terminal_can(
    username: str, shown: str, server: Server, rpc: Rpc
) -> None:
    server.lock_out(ALICE._replace(username=username))
    (found,) = lockouts(rpc, NOW)
    assert found.username == shown
    assert found.username.isprintable()


def test_value_of_another_making_is_passed_over(server: Server, rpc: Rpc) -> None:
    server.tables["sbcauth_lockouts"] |= {
        "a": "",
        "b": "1 2 3",
        "c": "x Phones a b",
        "d": "1",
        "e": "1 2 pair a b",
    }
    server.lock_out(ALICE)
    assert who(lockouts(rpc, NOW)) == [ALICE]


def test_cleared_pair_is_forgotten_with_its_attempts_and_others_are_not(
    server: Server, rpc: Rpc
) -> None:
    server.lock_out(ALICE, BOB)
    server.tables["sbcauth_attempts"] |= {ALICE.key: "1", BOB.key: "1"}
    clear(rpc, lockouts(rpc, NOW, Wanted(username="alice")))
    assert server.tables == {
        "sbcauth_lockouts": {BOB.key: server.tables["sbcauth_lockouts"][BOB.key]},
        "sbcauth_attempts": {BOB.key: "1"},
    }


def test_clearing_what_has_just_ended_is_no_error(server: Server, rpc: Rpc) -> None:
    server.lock_out(ALICE)
    found = lockouts(rpc, NOW)
    server.tables["sbcauth_lockouts"].clear()
    clear(rpc, found)


def test_everybody_is_let_in_again_however_many_there_are(server: Server, rpc: Rpc) -> None:
    crowd = [Claimant("Phones", f"192.0.2.{n % 256}", f"user{n}") for n in range(2000)]
    server.lock_out(*crowd)
    with pytest.raises(RpcError, match=r"2000 are or were locked out, more than .* clear --all"):
        lockouts(rpc, NOW)
    assert clear_all(rpc, NOW) == 2000
    assert lockouts(rpc, NOW) == []


# The socket


def test_server_that_is_not_there_is_named(path: Path, rpc: Rpc) -> None:
    with pytest.raises(NotRunning, match=r"rpc\.sock: No such file"):
        rpc.call("core.version")
    path.write_text("no socket")
    with pytest.raises(NotRunning, match=r"no server answers on rpc\.sock: Connection refused"):
        rpc.call("core.version")


def test_server_that_does_not_answer_is_not_waited_for(server: Server, rpc: Rpc) -> None:
    server.answer = lambda _: None
    with pytest.raises(NotRunning, match=r"rpc\.sock: no answer within 0\.2 s"):
        rpc.call("core.version")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[]", "not to this question"),
        (b'{"result": [], "id": -1}', "not to this question"),
    ],
)
def test_answer_that_is_none_is_an_error(
    answer: bytes, said: str, server: Server, rpc: Rpc
) -> None:
    server.answer = lambda _: answer
    with pytest.raises(RpcError, match=said):
        rpc.call("core.version")


def test_command_that_fails_says_why(server: Server, rpc: Rpc) -> None:
    with pytest.raises(RpcError, match=r"htable\.delete: Key not found in htable\."):
        rpc.call("htable.delete", "sbcauth_lockouts", "nobody")


def test_path_that_is_too_long_for_a_socket_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="too long"):
        Rpc(tmp_path / ("x" * 200), PATIENCE).call("core.version")
