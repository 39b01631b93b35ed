"""`sbcauth nonce-key rotate`: every worker loads the new key, and no phone notices (SPEC 5)."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from kamailio import Server, StartServer
from phone import Phone

WORKERS = 4
CONFIG = """\
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/16}]
"""


@pytest.fixture
def server(start_server: StartServer) -> Server:
    server = start_server(CONFIG, workers=WORKERS)
    server.add_user("1001", "secret")
    return server


def test_phones_that_register_all_the_while_are_never_turned_away(server: Server) -> None:
    with ThreadPoolExecutor(1) as pool, Phone(server, "1001", "secret", expires=0) as phone:
        kept = phone.request("REGISTER")
        rotation = pool.submit(server.administer, "nonce-key", "rotate")
        rounds = 0
        while not rotation.done() or rounds < 20:
            with Phone(server, "1001", "secret", expires=0) as other:
                assert other.register().status == 200
                assert "foreign-nonce" not in server.reasons(other.call_id)
            rounds += 1
        assert rotation.result() == "key 1 signs; 1 older key kept\n"
        assert phone.request("REGISTER", answering=kept).status == 200


def test_older_keys_can_be_forgotten(server: Server) -> None:
    with Phone(server, "1001", "secret", expires=0) as phone:
        kept = phone.request("REGISTER")
        server.administer("nonce-key", "rotate", "--forget")
        again = phone.request("REGISTER", answering=kept)
        assert (again.status, server.reasons(phone.call_id)[-1]) == (401, "foreign-nonce")
        assert phone.request("REGISTER", answering=again).status == 200
