"""sbcauth in deployments that are not ours: Kamailio's own kamailio.cfg, and cfgengine "python".

What is put into the first is what docs/existing-deployment.md says, by its own commands.
"""

import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sip
from deployment import Deployment, stock_cfg
from dialogs import Call
from kamailio import SBCAUTH, free_port, wait_for
from log_of_kamailio import check_log
from phone import Dialog, Endpoint, MakeEndpoint, MakePhone, Phone
from real_programs import Process, succeeds
from repository import REPOSITORY

from sbcauth.monitoring.rpc import Rpc

PAGE = (REPOSITORY / "docs" / "existing-deployment.md").read_text("utf-8")
EXAMPLES = REPOSITORY / "kemi" / "examples"
CONFIG = """
realm: example.com
auth_challenge_method: auto
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
    username_as_server: everybody
    password_as_server: sharedsecret
    classification: [{address: 127.0.0.0/8}]
"""
USERS = {"1001": "secret1001", "1002": "secret1002"}


def stock(folder: Path, *, metrics: int = 0, registrar: str = "") -> Deployment:
    """Return Kamailio's own configuration, changed by the commands of the page.

    It has `metrics` on that port, and the table of the `registrar`, if any.
    """
    server = Deployment(folder, CONFIG)
    server.cfg.write_text(stock_cfg().read_text())
    (folder / "kamailio-local.cfg").write_text('alias="example.com"\n')
    block = re.search(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert block
    commands = block[1].replace("/etc/sbcauth/sbcauth.yaml", str(server.config_file))
    if metrics:
        more = f"--metrics 127.0.0.1:{metrics} --rpc-socket {server.rpc_socket}"
        commands = commands.replace("kamailio-snippet", f"kamailio-snippet {more}")
    if registrar:
        more = f"--registrar {registrar}"
        commands = commands.replace("kamailio-snippet", f"kamailio-snippet {more}")
    commands = commands.replace("kamailio -c", f"kamailio -c -f {server.cfg}")
    path = f"{SBCAUTH.parent}:/usr/sbin:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", commands],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert server.cfg.read_text().count("SBCAUTH") == 4
    return server


def python(folder: Path) -> Deployment:
    """Return the example that routes in Python."""
    script = EXAMPLES / "ksr_request_route.py"
    server = Deployment(folder, CONFIG, f'SCRIPT="{script}"')
    text = (EXAMPLES / "kamailio.cfg").read_text()
    server.cfg.write_text(text.replace("/etc/sbcauth/sbcauth.yaml", str(server.config_file)))
    return server


@pytest.fixture(scope="module", params=[stock, python], ids=lambda made: made.__name__)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    server: Deployment = request.param(tmp_path_factory.mktemp("deployment"))
    for name, password in USERS.items():
        server.add_user(name, password)
    with server:
        processes = server.processes()
        yield server
        assert processes <= server.processes(), "a worker was lost"
    check_log(server)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_phone_registers_and_is_refused(phone: Callable[..., Phone], transport: str) -> None:
    known = phone("1001", "secret1001", transport=transport)
    assert known.register().status == 200
    assert known.register(password="wrong").status == 401


def test_commands_tell_who_is_registered_and_where_it_listens(
    phone: MakePhone, server: Deployment
) -> None:
    assert phone("1001", "secret1001").register().status == 200
    socket = ("--socket", str(server.rpc_socket))
    found = json.loads(server.administer("registered", "--user", "1001", "--json", *socket))
    assert {(each["local_user"], each["ip_group"]) for each in found} == {("1001", "Phones")}
    shown = server.administer("registered", *socket).splitlines()[1:]
    assert "1001" in {row.split("\t")[0].removesuffix("@example.com") for row in shown}
    assert f"udp:127.0.0.1:{server.port}" in server.sbcauth("doctor", *socket).stdout


def test_phone_calls_a_phone_and_both_hang_up(phone: MakePhone, server: Deployment) -> None:
    one, two = phone("1001", "secret1001"), phone("1002", "secret1002", transport="tcp")
    assert one.register().status == two.register().status == 200
    challenge = one.request("INVITE", two.uri)
    assert challenge.status == 407
    one.send(one.build("INVITE", two.uri, answering=challenge))
    invite = two.incoming("INVITE")
    assert not invite.all("proxy-authorization")
    two.reply(invite, 200)
    ours = Dialog.opened_by(one, one.response(one.last_branch))
    theirs = Dialog.joined_by(two, invite)
    ours.acknowledge()
    two.incoming("ACK")
    theirs.send("BYE")
    one.reply(one.incoming("BYE"), 200)
    assert two.response().status == 200


def test_nothing_but_the_parties_is_within_a_dialog(
    phone: MakePhone, endpoint: MakeEndpoint
) -> None:
    one, two = phone("1001", "secret1001"), phone("1002", "secret1002", transport="tcp")
    victim, stranger = endpoint("127.55.0.1"), endpoint("127.0.0.99")
    assert one.register().status == two.register().status == 200
    call = Call.between(one, two, two.uri)
    for side, other in (call.sides(), call.sides()[::-1]):
        routes = [*side.routes, f"<sip:{victim.host};lr>"]
        side.says("INFO", uri=f"sip:x@{victim.host}", routes=routes)
        other.hears("INFO")
        assert side.asks("INFO", by=stranger).status == 407
        assert side.asks("BYE", call_id="another").status == 481
        side.says("UPDATE")
        other.hears("UPDATE")
    assert victim.hears_nothing(0.2)
    challenge = call.callee.asks("INVITE")
    assert challenge.status == 407
    call.callee.says("INVITE", answering=challenge)
    assert not call.caller.hears("INVITE").all("proxy-authorization")
    assert two.response(call.callee.branch).status == 200


def test_call_is_cancelled_from_where_it_came_from_alone(
    phone: MakePhone, endpoint: MakeEndpoint
) -> None:
    one, two = phone("1001", "secret1001"), phone("1002", "secret1002")
    assert two.register().status == 200
    challenge = one.request("INVITE", two.uri)
    one.send(one.build("INVITE", two.uri, answering=challenge))
    invite = two.incoming("INVITE")
    two.reply(invite, 180)
    cancel = sip.cancel(one.last_sent)
    for stranger in (two, endpoint("127.0.0.97"), endpoint("127.0.0.1")):
        stranger.send(cancel)
        assert stranger.response().status == 481
    assert two.hears_nothing(0.3)
    one.send(cancel)
    two.incoming("CANCEL")
    two.reply(invite, 487)


def test_2xx_that_comes_again_late_reaches_the_caller_alone(
    phone: MakePhone, endpoint: MakeEndpoint
) -> None:
    one, two = phone("1001", "secret1001"), phone("1002", "secret1002")
    assert two.register().status == 200
    call = Call.between(one, two, two.uri)
    time.sleep(6)
    two.reply(call.invite, 200, tag=call.caller.remote.rpartition("=")[2])
    assert one.response(one.last_branch).status == 200
    stranger = endpoint("127.0.0.98")
    stranger.reply(call.invite._replace(sender=("127.0.0.1", one.server.port)), 200)
    assert one.hears_nothing(0.2)


def test_stranger_is_not_relayed(phone: MakePhone, server: Deployment) -> None:
    stranger = phone("1003", "guessed")
    assert stranger.register().status == 401
    assert stranger.authenticate("INVITE", "sip:1001@example.com").status == 407


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipp_registers(sipp: Callable[..., Process], transport: str) -> None:
    users = [(f"load{number}", "everybody", "sharedsecret") for number in range(50)]
    succeeds(sipp("register", users, transport=transport, calls=50, rate=100))


def test_baresip_calls_baresip(
    baresip: Callable[..., Callable[[], str]], server: Deployment
) -> None:
    callee = baresip("1002", "secret1002", more=";answermode=auto")
    assert wait_for(lambda: "200 OK" in callee()), callee()
    caller = baresip("1001", "secret1001", commands=["/dial sip:1002@example.com"])
    assert wait_for(lambda: "Call established" in caller()), caller() + callee()
    assert wait_for(lambda: "Call established" in callee()), callee()
    time.sleep(0.5)
    assert "terminated" not in caller()


def test_reload_of_the_script_changes_nothing(phone: MakePhone, server: Deployment) -> None:
    desk = phone("1001", "secret1001")
    challenge = desk.request("REGISTER")
    Rpc(server.rpc_socket).call("app_python.reload")
    assert desk.request("REGISTER", answering=challenge).status == 200
    for _ in range(20):
        assert desk.register().status == 200


def test_stock_deployment_serves_metrics(tmp_path: Path) -> None:
    port = free_port()
    server = stock(tmp_path, metrics=port)
    server.add_user("1001", "secret1001")
    with server, Phone(server, "1001", "secret1001") as phone:
        assert phone.register().status == 200

        def scraped() -> list[str]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                return str(answer.read().decode()).splitlines()

        accepted = 'sbcauth_outcomes_total{ip_group="Phones",reason="accepted"} 1'
        assert wait_for(lambda: {accepted, "sbcauth_decision_seconds_count 2"} <= set(scraped()))


def test_stock_deployment_registers_without_a_transaction_where_it_says_so(tmp_path: Path) -> None:
    server = stock(tmp_path, registrar="location")
    server.add_user("1001", "secret1001")
    with server, Phone(server, "1001", "secret1001") as phone:
        assert phone.register().status == 200
        before = Rpc(server.rpc_socket).call("tm.stats")["total"]
        assert phone.register().status == 200
        assert [phone.resend().status for _ in range(3)] == [200] * 3
        assert Rpc(server.rpc_socket).call("tm.stats")["total"] == before
        assert server.reasons(phone.call_id) == ["challenged", "accepted"] * 2


def test_stock_deployment_that_begins_a_transaction_itself_is_answered(tmp_path: Path) -> None:
    server = stock(tmp_path)
    text = server.cfg.read_text()
    assert text.count("\troute(SBCAUTH);\n") == 1
    server.cfg.write_text(
        text.replace("\troute(SBCAUTH);\n", "\tt_newtran();\n\troute(SBCAUTH);\n")
    )
    server.add_user("1001", "secret1001")
    with server, Phone(server, "1001", "secret1001") as phone:
        assert [phone.register().status for _ in range(2)] == [200, 200]
        challenge = phone.request("REGISTER")
        assert phone.request("REGISTER", answering=challenge, password="wrong").status == 401
        assert phone.resend().status == 401
        assert server.reasons(phone.call_id)[-1] == "wrong-credentials"


def test_deployment_that_lacks_tmx_does_not_start_and_says_so(tmp_path: Path) -> None:
    server = stock(tmp_path)
    text = server.cfg.read_text()
    assert 'loadmodule "tmx.so"\n' in text
    text = text.replace('loadmodule "tmx.so"\n', "").replace("t_precheck_trans()", "0")
    server.cfg.write_text(text)
    with pytest.raises(AssertionError, match=r"the module tmx\.so has to be loaded"):
        server.start()


def test_registrar_that_lacks_a_module_does_not_start_and_says_so(tmp_path: Path) -> None:
    server = stock(tmp_path, registrar="location")
    text = server.cfg.read_text()
    server.cfg.write_text(text.replace('loadmodule "textopsx.so"\n', ""))
    with pytest.raises(AssertionError, match=r"SBCAUTH_REGISTRAR needs the module textopsx\.so"):
        server.start()


def test_page_shows_what_the_command_prints(tmp_path: Path) -> None:
    block = re.search(
        r"^\$ (sbcauth .*kamailio-snippet)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
    )
    assert block
    done = subprocess.run(
        [SBCAUTH, *block[1].split()[1:]], capture_output=True, text=True, check=True
    )
    assert done.stdout.replace(str(REPOSITORY / "kemi"), "/opt/sbcauth/kemi") == block[2]


def test_phone_is_reached_where_it_registered_from_whatever_its_contact_says(
    tmp_path: Path,
) -> None:
    server = python(tmp_path)
    for name, password in USERS.items():
        server.add_user(name, password)
    with (
        server,
        Endpoint(server, "127.55.0.1") as victim,
        ElsewherePhone(server, "1001", "secret1001") as one,
        Phone(server, "1002", "secret1002") as two,
    ):
        one.elsewhere = f"<sip:x@{victim.host}>"
        assert one.register().status == 200
        challenge = two.request("INVITE", one.uri)
        two.send(two.build("INVITE", one.uri, answering=challenge))
        one.incoming("INVITE")
        assert victim.hears_nothing(0.2)


class ElsewherePhone(Phone):
    """A phone whose Contact leads elsewhere."""

    elsewhere = ""

    @property
    def contact(self) -> str:
        return self.elsewhere
