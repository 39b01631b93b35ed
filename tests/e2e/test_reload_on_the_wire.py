"""`sbcauth reload`: every worker loads a changed file, and a bad one changes nothing."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
    classification: [{address: 127.0.0.0/16}]
"""
WITHIN = 1.0
"""Seconds after which every worker works by a new file, if it is taken at all."""


@pytest.fixture
def server(start_server: StartServer) -> Server:
    server = start_server(CONFIG, workers=4)
    server.add_user("1001", "secret")
    return server


def realms(server: Server) -> set[str]:
    """Return the realms of challenges to 16 sockets at once: all workers are asked."""

    def realm(_: int) -> str:
        with Phone(server) as phone:
            return phone.request("REGISTER").challenges[0].realm

    with ThreadPoolExecutor(16) as pool:
        return set(pool.map(realm, range(16)))


def change(server: Server, old: str, new: str) -> None:
    text = server.config_file.read_text()
    assert old in text
    server.config_file.write_text(text.replace(old, new))


def test_changed_file_is_loaded_by_every_worker_and_not_before(server: Server) -> None:
    processes = server.processes()
    change(server, "realm: example.com", "realm: other.example")
    assert realms(server) == {"example.com"}
    server.administer("reload")
    # Sixteen sockets need not meet every worker, and one that loads the file has the others wait.
    assert wait_for(lambda: all(realms(server) == {"other.example"} for _ in range(3)))
    assert processes <= server.processes()


def test_new_ip_group_comes_into_force(server: Server) -> None:
    with Phone(server, address="127.9.0.1") as stranger:
        assert stranger.request("REGISTER").status == 403
        change(server, "127.0.0.0/16", "127.0.0.0/8")
        server.administer("reload")
        assert wait_for(lambda: stranger.request("REGISTER").status == 401)


def test_bad_file_is_named_and_changes_nothing(server: Server) -> None:
    change(server, "realm: example.com", "relm: other.example")
    refused = server.sbcauth("reload")
    assert refused.returncode == 1
    assert "sbcauth.yaml:1:" in refused.stderr
    assert not wait_for(lambda: realms(server) != {"example.com"}, WITHIN)
    with Phone(server, expires=0) as phone:
        assert phone.register().status == 200


def test_nonce_counts_and_lockouts_outlive_a_reload(server: Server) -> None:
    with (
        Phone(server, expires=0) as phone,
        Phone(server, address="127.0.0.2", expires=0) as other,
    ):
        challenge = other.request("REGISTER")
        assert other.request("REGISTER", answering=challenge).status == 200
        for _ in range(3):
            refused = phone.register(password="wrong")
        assert refused.status == 403
        change(server, "[REGISTER]", "[REGISTER, INVITE]")
        server.administer("reload")
        assert wait_for(lambda: phone.request("INVITE").status == 401)
        assert phone.register().status == 403
        again = other.request("REGISTER", answering=challenge)
        assert (again.status, again.challenges[0].stale) == (401, True)


def test_reload_says_what_changes(server: Server) -> None:
    change(server, "[REGISTER]", "[REGISTER, INVITE]")
    first, *rest = server.administer("reload").splitlines()
    assert re.fullmatch(r".*sbcauth\.yaml: 1 IP Group, version [0-9a-f]{8}", first)
    assert rest == [
        'IP Group Phones: authentication_method_list: ["REGISTER"] -> ["INVITE", "REGISTER"]',
        "in force",
    ]
    found = json.loads(server.administer("status", "--json"))["configuration"]
    assert first.endswith(found["version"])
    assert server.administer("reload").splitlines() == [first, "nothing changes", "in force"]


def test_reload_of_a_server_that_is_elsewhere_is_a_refusal(server: Server, tmp_path: Path) -> None:
    refused = server.sbcauth("reload", "--socket", str(tmp_path / "rpc.sock"))
    assert refused.returncode == 1
    assert "no server answers on" in refused.stderr
