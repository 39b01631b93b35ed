"""SPEC 3, step 8: a user speaks for one address of record, and for no other."""

import pytest
from kamailio import Server
from phone import MakePhone

CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
    auth_challenge_method: auto
    username_as_server: everybody
    password_as_server: shared secret
    classification: [{address: 127.0.0.0/16}]
  - name: Trunk
    type: server
    authentication_mode: sbc-as-server
    authentication_method_list: [INVITE, MESSAGE]
    username_as_server: carrier
    password_as_server: carrier secret
    classification: [{address: 127.4.0.0/16}]
"""
USERS = {"1001": "secret", "1002": "secret of 1002"}


@pytest.fixture(scope="module", autouse=True)
def user_with_another_name(server: Server) -> None:
    server.add_user("alice.login", "secret of alice", local_user="alice")


def test_user_may_not_register_as_another(phone: MakePhone, server: Server) -> None:
    desk = phone("1001", "secret", local_user="1002")
    assert desk.register().status == 403
    assert server.reasons(desk.call_id)[-1] == "identity-mismatch"


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_user_may_not_call_as_another(phone: MakePhone, server: Server, method: str) -> None:
    desk = phone("1001", "secret", local_user="1002")
    assert desk.authenticate(method, "sip:1001@example.com").status == 403
    assert server.reasons(desk.call_id)[-1] == "identity-mismatch"


def test_identity_mismatch_is_not_counted_as_an_attempt(phone: MakePhone) -> None:
    impostor = phone("1001", "secret", local_user="1002")
    assert [impostor.register().status for _ in range(5)] == [403] * 5
    assert phone("1001", "secret").register().status == 200


def test_registration_binds_the_to_user_and_ignores_who_sends_it(phone: MakePhone) -> None:
    """A third party may register for another (RFC 3261, 10.2); To is what counts."""
    desk = phone("1001", "secret")
    assert desk.register(from_uri="sip:secretary@example.com").status == 200
    assert desk.register(to="sip:1002@example.com").status == 403


def test_address_of_record_and_user_name_may_differ(phone: MakePhone) -> None:
    assert phone("alice.login", "secret of alice", local_user="alice").register().status == 200
    assert phone("alice.login", "secret of alice").register().status == 403
    assert phone("alice", "secret of alice").register().status == 401


def test_escaped_user_part_is_the_same_address_of_record(phone: MakePhone, server: Server) -> None:
    desk = phone("1001", "secret", local_user="%31001")
    assert desk.register().status == 200
    assert server.reasons(desk.call_id)[-1] == "accepted"


def test_user_name_without_from_user_is_a_mismatch(phone: MakePhone) -> None:
    desk = phone("1001", "secret")
    reply = desk.authenticate("INVITE", "sip:1002@example.com", from_uri="sip:example.com")
    assert reply.status == 403


def test_shared_pair_of_a_user_group_is_for_those_without_a_row_of_their_own(
    phone: MakePhone,
) -> None:
    assert phone("everybody", "shared secret", local_user="2001").register().status == 200
    assert phone("everybody", "shared secret", local_user="2002").register().status == 200
    assert phone("everybody", "shared secret", local_user="1001").register().status != 200


def test_server_presents_its_own_pair_and_speaks_for_any_caller(
    phone: MakePhone, server: Server
) -> None:
    trunk = phone("carrier", "carrier secret", address="127.4.0.1", local_user="+4930123456")
    assert trunk.authenticate("INVITE", "sip:5555@example.com").status == 404
    assert server.reasons(trunk.call_id)[-1] == "accepted"


def test_users_password_is_worth_nothing_on_a_trunk(phone: MakePhone, server: Server) -> None:
    trunk = phone("1001", "secret", address="127.4.0.2")
    assert trunk.authenticate("INVITE", "sip:1002@example.com").status == 401
    assert server.reasons(trunk.call_id)[-1] == "unknown-user"


def test_trunks_password_is_worth_nothing_for_a_phone(phone: MakePhone) -> None:
    assert phone("carrier", "carrier secret", address="127.0.0.2").register().status == 401


@pytest.mark.parametrize("trick", ["1003%40example.com%3Bx=", "1003%40example.com%3E", "1003%00"])
def test_escaped_user_part_does_not_become_another_address_of_record(
    phone: MakePhone, trick: str
) -> None:
    """The pair that a whole group shares must not lead to the address of record of a user."""
    thief = phone("everybody", "shared secret", local_user=trick)
    assert thief.register().status in (200, 400, 401)
    caller = phone("1002", "secret of 1002")
    assert caller.authenticate("MESSAGE", "sip:1003@example.com").status == 404
    assert thief.hears_nothing(0.1)
