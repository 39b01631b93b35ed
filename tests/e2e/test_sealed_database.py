"""Who can write to the database, but has not the sealing keys, gets nobody in."""

import sqlite3
import time
from contextlib import closing

import pytest
from kamailio import StartServer
from phone import Phone

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.response import ha1

CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/8}]
"""
_CHANGE = """
    UPDATE ha1 SET ha1 = ?
    WHERE algorithm = 'MD5' AND user = (SELECT id FROM user_info WHERE username = '1001')
"""


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ([_CHANGE], "1001 in Phones"),
        (
            ["DELETE FROM sealing", _CHANGE],
            "does not show that it is sealed",
        ),
    ],
)
def test_unsealed_value_lets_nobody_in_and_is_named(
    start_server: StartServer, statements: list[str], said: str
) -> None:
    server = start_server(CONFIG)
    server.add_user("1001", "secret")
    known = ha1(Algorithm.MD5, "1001", "example.com", "of-the-attacker")
    with Phone(server, "1001", "secret", expires=0) as phone:
        assert phone.register().status == 200
        with closing(sqlite3.connect(server.folder / "sbcauth.db")) as database, database:
            for statement in statements:
                database.execute(statement, (known,) if "?" in statement else ())
        time.sleep(0.3)  # workers look every tenth of a second
        assert phone.register(password="of-the-attacker").status == 503
        refused = server.outcomes(phone.call_id)[-1]
        assert refused["reason"] == "unavailable"
        assert said in refused["detail"]
    assert said in server.sbcauth("doctor").stdout
