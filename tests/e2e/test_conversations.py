"""Conversations on the wire: each text in tests/conversations is played against a real server.

    pytest tests/e2e/test_conversations.py -k re-invite

A text that is pasted there is a test; its README describes the format. SBCAUTH_CONVERSATIONS names
another folder of texts.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from kamailio import Server
from log_of_kamailio import check_log, unexpected_errors
from player import Player
from script import HERE, PARTS, Script, read

SERVERS = HERE / "servers"
TEXTS = Path(os.environ.get("SBCAUTH_CONVERSATIONS", HERE))
SCRIPTS = [
    script for path in sorted(TEXTS.rglob("*.txt")) if path.parent != PARTS for script in read(path)
]
PLAYED = [
    (script, transport) for script in SCRIPTS for transport in script.values("over") or ["udp"]
]
_SOCKET = re.compile(r"^# socket (\w+) = ([\d.]+)(?::(\d+))?(?: (\w+))?$", re.M)
_PROOF = re.compile(r'(?im)^(?:proxy-)?authorization:.*"sbc\.test".*response=')
_earlier: set[str] = set()
"""Call-IDs of conversations that were played: what comes late of them disturbs no other."""


def server_of(script: Script) -> str:
    return (script.values("server") or ["standard"])[0]


def identifier(script: Script, transport: str) -> str:
    """Return a test's name, as `-k` finds it."""
    variant = re.sub(r"[^\w.*]+", "-", script.variant).strip("-")[:40]
    path = f"{script.path.parent.name}/{script.path.stem}"
    return "-".join(filter(None, (path, variant, transport)))


class Stage:
    """A server, its sockets' places, and the names of each conversation's accounts."""

    def __init__(self, folder: Path, name: str) -> None:
        text = (SERVERS / f"{name}.yaml").read_text()
        self.places = {
            letter: (address, int(port or 0)) for letter, address, port, _ in _SOCKET.findall(text)
        }
        self.ip_groups = {letter: ip_group for letter, *_, ip_group in _SOCKET.findall(text)}
        self.names: dict[str, dict[str, str]] = {}
        rows = ["local_user,username,password,ip_group"]
        played = [each for each in PLAYED if server_of(each[0]) == name]
        for number, (script, transport) in enumerate(played):
            names = {letter: f"{letter.lower()}{number}" for letter in "UVW"}
            self.names[identifier(script, transport)] = names
            rows += self.accounts(script, names)
        self.server = Server(folder, text)
        self.processes: set[int] = set()
        if len(rows) > 1:
            accounts = folder / "users.csv"
            accounts.write_text("\n".join(dict.fromkeys(rows)) + "\n", encoding="utf-8")
            self.server.administer("user", "import", str(accounts))

    def accounts(self, script: Script, names: dict[str, str]) -> Iterator[str]:
        """Give the rows of a conversation's accounts: those it names, and its {U}, {V} and {W}.

        The IP Group is that of the first socket that presents the account's credentials.
        """
        for line in script.about.get("account", ()):
            user, _, rest = line.partition(" in ")
            ip_group, _, local_user = rest.partition(" as ")
            quoted = user.replace('"', '""')
            yield f'{local_user or user},"{quoted}",pw,{ip_group}'
        for letter, user in names.items():
            for step in script.steps:
                if f"user={{{letter}}}" in "\n".join(step.block):
                    yield f"{user},{user},pw,{self.ip_groups[step.words[0]]}"
                    break


@pytest.fixture(scope="module")
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("stage"), request.param)
    with stage.server:
        stage.processes = stage.server.processes()
        yield stage
        assert stage.processes <= stage.server.processes(), "a worker was lost"
    check_log(stage.server)


def conversations() -> list[object]:
    return [
        pytest.param(server_of(script), script, transport, id=identifier(script, transport))
        for script, transport in sorted(PLAYED, key=lambda each: server_of(each[0]))
    ]


@pytest.mark.parametrize(
    ("stage", "script", "transport"), conversations(), indirect=["stage"], scope="module"
)
def test_conversation(stage: Stage, script: Script, transport: str) -> None:
    player = Player(
        stage.server,
        stage.places,
        stage.names[identifier(script, transport)],
        transport=transport,
        phones=lambda letter: not stage.places[letter][1],
        strange_calls=_earlier,
    )
    try:
        player.play(script)
        for name, request in player.arrived():
            leaks = name[0] != "P" and _PROOF.search(request.text)
            assert not leaks, f"credentials for our realm arrived at {name}:\n{request.text}"
        meant = script.about.get("log may have", [])
        assert not unexpected_errors(player.log(), meant)
    except BaseException:
        print("\n".join(player.transcript))
        raise
    finally:
        if any(step.words == "restart" for step in script.steps):
            stage.processes = stage.server.processes()
        _earlier.update(player.calls)
