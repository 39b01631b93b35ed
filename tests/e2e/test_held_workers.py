"""A registration comes again while a worker is between its nonce count and its binding."""

from pathlib import Path

import sip
from kamailio import Server, StartServer
from phone import Phone
from repository import REPOSITORY

from sbcauth.monitoring.rpc import Rpc

CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/8}]
"""
HELD = 1.0
"""Seconds between the two."""


def held(start_server: StartServer, tmp_path: Path) -> Server:
    """Start a server whose workers are held before save()."""
    cfg, text = tmp_path / "held.cfg", (REPOSITORY / "kamailio.cfg").read_text()
    save, module = "\twhile (!save(", 'loadmodule "registrar.so"\n'
    assert text.count(save) == text.count(module) == 1
    text = text.replace(save, f'\tusleep("{int(HELD * 1e6)}");\n{save}')
    cfg.write_text(text.replace(module, f'{module}loadmodule "cfgutils.so"\n'))
    server: Server = start_server(CONFIG, options=["--cfg", str(cfg)], workers=8)
    server.add_user("1001", "secret")
    return server


def answers(phone: Phone, patience: float) -> list[sip.Response]:
    """Return all answers to the last request."""
    found = []
    try:
        while True:
            response = sip.parse_response(phone.receive(patience))
            if phone.last_branch in response.header("via"):
                found.append(response)
    except TimeoutError:
        return found


def test_registration_that_overtakes_its_own_answer_is_absorbed(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = held(start_server, tmp_path)
    with Phone(server) as phone:
        for _ in range(3):  # new, and known
            phone.send(phone.build("REGISTER", answering=phone.request("REGISTER")))
            for _ in range(5):
                phone.send(phone.last_sent)
            statuses = [answer.status for answer in answers(phone, HELD + 0.5)]
            assert statuses, "it is answered"
            assert set(statuses) == {200}
            assert phone.resend().status == 200
        assert set(server.reasons(phone.call_id)) == {"challenged", "accepted"}
        assert server.reasons(phone.call_id).count("accepted") == 3
        rpc = Rpc(server.folder / "run" / "rpc.sock")
        contacts = rpc.call("ul.lookup", "location", "1001@example.com")["Contacts"]
        assert len(contacts) == 1


def test_another_registration_with_its_nonce_count_is_a_replay_all_the_same(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = held(start_server, tmp_path)
    with Phone(server) as phone:
        challenge = phone.request("REGISTER")
        for _ in range(2):  # each with another CSeq; whichever worker is first lets it in
            phone.send(phone.build("REGISTER", answering=challenge))
        replies = sorted((phone.response() for _ in range(2)), key=lambda reply: reply.status)
        assert [reply.status for reply in replies] == [200, 401]
        assert replies[1].challenges[0].stale
