"""Two Kamailios with the kamailio.cfg that Debian installs, as nodes of one cluster.

What is put into it is what docs/cluster.md says, by its own commands.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from counting_nodes import start_engine
from deployment import Deployment, stock_cfg
from dialogs import Call
from kamailio import SBCAUTH, free_port, wait_for
from log_of_kamailio import check_log
from phone import MakePhone, Phone
from repository import REPOSITORY

from sbcauth.monitoring.rpc import Rpc, RpcError

CONFIG = """
realm: example.com
auth_challenge_method: auto
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
    classification: [{address: 127.0.0.0/8}]
"""
USERS = {"1001": "secret1001", "1002": "secret1002"}
PAGE = (REPOSITORY / "docs" / "cluster.md").read_text("utf-8")


def made_a_node(server: Deployment) -> None:
    """Change Kamailio's own configuration by the commands of the page."""
    server.cfg.write_text(stock_cfg().read_text())
    (server.folder / "kamailio-local.cfg").write_text('alias="example.com"\n')
    block = re.search(r"^```bash\n(sbcauth [^\n]* --cluster .*?)^```", PAGE, re.M | re.S)
    assert block
    commands = block[1].replace("/etc/sbcauth/sbcauth.yaml", str(server.config_file))
    commands = commands.replace("kamailio -c", f"kamailio -c -f {server.cfg}")
    path = f"{SBCAUTH.parent}:/usr/sbin:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", commands],
        cwd=server.folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert server.cfg.read_text().count("SBCAUTH") == 6


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Deployment]]:
    folder = tmp_path_factory.mktemp("deployments")
    private = free_port()
    with ExitStack() as stack:
        engine = start_engine(stack, folder / "engine")
        nodes = []
        for number in (1, 2):
            home = folder / f"node{number}"
            home.mkdir()
            own, other = (f"sip:127.0.1.{each}:{private}" for each in (number, 3 - number))
            cluster = (
                f"cluster: {{node: {number}, nodes: 2, engine: '{engine.url}', "
                f"engine_timeout: 1s, address: '{own}', peers: ['{other}']}}\n"
            )
            node = Deployment(home, cluster + CONFIG)
            made_a_node(node)
            nodes.append(node)
        for name, password in USERS.items():
            nodes[0].add_user(name, password)
        stack.enter_context(nodes[0])
        for name in ("sbcauth.db", "sbcauth.seal", "sbcauth.keys", "sbcauth.dialog"):
            shutil.copy2(nodes[0].folder / name, nodes[1].folder / name)
        stack.enter_context(nodes[1])
        yield nodes
        for node in nodes:
            check_log(node)


@pytest.fixture
def phone(nodes: list[Deployment]) -> Iterator[MakePhone]:
    with ExitStack() as stack:
        yield lambda user, node, transport="udp": stack.enter_context(
            Phone(nodes[node], user, USERS[user], transport=transport)
        )


def knows(node: Deployment, contact: str) -> bool:
    """Tell whether a node knows that somebody is registered at an address."""
    try:
        return contact in str(Rpc(node.rpc_socket).call("ul.dump"))
    except RpcError:
        return False


@pytest.mark.parametrize(
    "transports", [("udp", "udp"), ("tcp", "udp"), ("udp", "tcp")], ids="-".join
)
def test_call_reaches_a_phone_of_the_other_node(
    nodes: list[Deployment], phone: MakePhone, transports: tuple[str, str]
) -> None:
    caller, callee = phone("1001", 1, transports[0]), phone("1002", 0, transports[1])
    assert caller.register().status == 200
    assert callee.register().status == 200
    assert wait_for(lambda: knows(nodes[1], callee.host), 10)
    call = Call.between(caller, callee, "sip:1002@example.com")
    for side, other in (call.sides(), call.sides()[::-1]):
        challenge = side.asks("INVITE")
        assert challenge.status == 407
        side.says("ACK", cseq=side.cseq, branch=side.branch)
        side.says("INVITE", answering=challenge)
        other.hears("INVITE")
        assert side.phone.response(side.branch).status == 200
        side.says("ACK", cseq=side.cseq)
        assert other.phone.incoming("ACK")
    call.callee.says("BYE")
    call.caller.hears("BYE")
    assert call.callee.phone.response(call.callee.branch).status == 200
    caller.send(
        caller.build(
            "MESSAGE",
            "sip:1002@example.com",
            body=b"hello",
            answering=caller.request("MESSAGE", "sip:1002@example.com"),
        )
    )
    message = callee.incoming("MESSAGE")
    assert message.body == b"hello"
    callee.reply(message, 200)
    assert caller.response(caller.last_branch).status == 200
