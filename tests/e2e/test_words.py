"""On whose word a request goes on outside of a dialog; what nobody vouches for goes nowhere."""

from collections.abc import Iterator

import pytest
import sip
from kamailio import Server, free_port, wait_for
from phone import MakeEndpoint, MakePhone, Phone

PEER = ("127.50.0.1", free_port())
TRUNK = ("127.51.0.1", free_port())
CONFIG = f"""
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    route_to: Trunk
    classification: [{{address: 127.0.0.0/16}}]
  - name: AnyRegistered
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    user_security_mode: accept-registered-users
    classification: [{{address: 127.1.0.0/16}}]
  - name: Anybody
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    user_security_mode: accept-all
    classification: [{{address: 127.2.0.0/16}}]
  - name: Asked
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    unlisted_without_word: challenge
    classification: [{{address: 127.3.0.0/16}}]
  - name: Callers
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [setup-invite]
    route_to: Trunk
    classification: [{{address: 127.4.0.0/16}}]
  - name: Here
    type: user
    classification: [{{address: 127.5.0.0/16}}]
  - name: There
    type: user
    route_to: PBX
    classification: [{{address: 127.6.0.0/16}}]
  - name: Elsewhere
    type: user
    realm: other.example
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    classification: [{{address: 127.7.0.0/16}}]
  - name: Trunk
    type: server
    authentication_mode: sbc-as-server
    authentication_method_list: [setup-invite]
    username_as_server: carrier
    password_as_server: carrier secret
    proxy_set: ["sip:{TRUNK[0]}:{TRUNK[1]}"]
  - name: PBX
    type: server
    proxy_set: ["sip:{PEER[0]}:{PEER[1]}"]
"""
USERS = {
    "1001": "secret",
    "1002": "secret",
    "müller": "secret",
    "AnyRegistered/2001": "secret",
    "Anybody/3001": "secret",
    "Asked/4001": "secret",
    "Callers/5001": "secret",
    "Elsewhere/7001": "secret",
}
UNLISTED = ["MESSAGE", "SUBSCRIBE", "REFER", "INFO", "PRACK", "BYE", "UPDATE", "FOO", "PUBLISH"]
BOTH = pytest.mark.parametrize("transport", ["udp", "tcp"])


@pytest.fixture
def callee(phone: MakePhone) -> Iterator[Phone]:
    """A registered phone, which must hear nothing of what has no word."""
    callee = phone("1002")
    assert callee.register().status == 200
    yield callee
    callee.expires = 0
    callee.register()


def arrives(sender: Phone, callee: Phone, method: str = "MESSAGE", uri: str = "") -> bool:
    """Send a request that reaches the callee, which answers it."""
    sender.send(sender.build(method, uri or callee.uri))
    callee.reply(callee.incoming(method), 200)
    return sender.response(sender.last_branch).status == 200


# -- methods that are not on the list


@BOTH
@pytest.mark.parametrize("method", UNLISTED)
def test_unlisted_request_of_a_stranger_goes_nowhere(
    phone: MakePhone, callee: Phone, method: str, transport: str
) -> None:
    stranger = phone("nobody", transport=transport)
    known, unknown = (stranger.request(method, f"sip:{user}@example.com") for user in (1002, 9))
    assert known.status == unknown.status == 403
    assert callee.hears_nothing(0.1)


@BOTH
@pytest.mark.parametrize("method", UNLISTED)
def test_unlisted_request_from_where_its_sender_is_registered_arrives(
    phone: MakePhone, callee: Phone, method: str, transport: str, server: Server
) -> None:
    sender = phone("1001", transport=transport)
    assert sender.register().status == 200
    assert arrives(sender, callee, method)


def test_name_of_somebody_who_is_registered_elsewhere_is_worth_nothing(
    phone: MakePhone, callee: Phone
) -> None:
    thief = phone("1002")
    assert thief.request("MESSAGE", callee.uri).status == 403
    assert callee.hears_nothing(0.1)


def test_other_port_than_the_registered_one_is_another_source(
    phone: MakePhone, callee: Phone
) -> None:
    sender, other = phone("1001"), phone("1001")
    assert sender.register().status == 200
    assert other.request("MESSAGE", callee.uri).status == 403


def test_credentials_in_an_unlisted_request_are_judged(
    phone: MakePhone, callee: Phone, server: Server
) -> None:
    sender = phone("1001")
    challenge = sender.request("INVITE", callee.uri)
    sender.send(sender.build("MESSAGE", callee.uri, answering=challenge))
    message = callee.incoming("MESSAGE")
    assert not message.all("authorization")
    callee.reply(message, 200)
    assert sender.response(sender.last_branch).status == 200
    wrong = sender.request("MESSAGE", callee.uri, answering=challenge, nc=2, password="wrong")
    assert wrong.status == 401
    assert "wrong-credentials" in server.reasons(sender.call_id)


def test_connection_that_is_made_anew_belongs_to_the_only_phone_there(
    phone: MakePhone, callee: Phone
) -> None:
    first = phone("1001", address="127.0.8.1", transport="tcp")
    assert first.register().status == 200
    again = phone("1001", address="127.0.8.1", transport="tcp")
    assert arrives(again, callee)
    neighbour = phone("müller", address="127.0.8.1", transport="tcp", local_user="m%C3%BCller")
    assert neighbour.register().status == 200
    third = phone("1001", address="127.0.8.1", transport="tcp")
    assert third.request("MESSAGE", callee.uri).status == 403
    assert arrives(first, callee)


def test_registered_users_may_send_from_anywhere_where_it_is_said(
    phone: MakePhone, callee: Phone
) -> None:
    sender, elsewhere = phone("2001", address="127.1.0.1"), phone("2001", address="127.1.0.2")
    assert elsewhere.request("MESSAGE", callee.uri).status == 403
    assert sender.register().status == 200
    assert arrives(elsewhere, callee)
    assert phone("2002", address="127.1.0.1").request("MESSAGE", callee.uri).status == 403


def test_anybody_may_send_where_it_is_said(phone: MakePhone, callee: Phone, server: Server) -> None:
    sender = phone("nobody", address="127.2.0.1")
    assert arrives(sender, callee)


def test_others_are_challenged_where_it_is_said(phone: MakePhone, callee: Phone) -> None:
    sender = phone("4001", address="127.3.0.1")
    challenge = sender.request("MESSAGE", callee.uri)
    assert challenge.status == 401
    sender.send(sender.build("MESSAGE", callee.uri, answering=challenge))
    callee.reply(callee.incoming("MESSAGE"), 200)
    assert sender.response(sender.last_branch).status == 200


def test_caller_who_never_registers_calls_by_his_password(
    phone: MakePhone, endpoint: MakeEndpoint
) -> None:
    caller, trunk = phone("5001", address="127.4.0.1"), endpoint(TRUNK[0], port=TRUNK[1])
    challenge = caller.request("INVITE", "sip:+15550001@example.com")
    caller.send(caller.build("INVITE", "sip:+15550001@example.com", answering=challenge))
    trunk.reply(trunk.incoming("INVITE"), 486)
    assert caller.response(caller.last_branch).status == 486


# -- ACK and CANCEL


@BOTH
@pytest.mark.parametrize("address", ["127.0.0.1", "127.51.0.1", "127.99.0.1"])
def test_ack_and_cancel_of_nothing_go_nowhere(
    phone: MakePhone, callee: Phone, address: str, transport: str, server: Server
) -> None:
    stranger = phone("1001", address=address, transport=transport)
    stranger.send(stranger.build("ACK", callee.uri))
    assert stranger.request("CANCEL", callee.uri).status == 481
    assert callee.hears_nothing(0.2)


def test_cancel_is_carried_out_whatever_it_requires(phone: MakePhone) -> None:
    caller = phone("1001")
    require = ["Proxy-Require: foo"]
    assert caller.request("CANCEL", "sip:1@example.com", headers=require).status == 481
    assert caller.request("INVITE", "sip:1@example.com", headers=require).status == 420


# -- keep-alives


@BOTH
@pytest.mark.parametrize("address", ["127.0.0.1", "127.6.0.1", TRUNK[0], PEER[0]])
def test_keep_alives_are_answered_here(
    phone: MakePhone, callee: Phone, address: str, transport: str
) -> None:
    sender = phone("nobody", address=address, transport=transport)
    for uri in ("sip:example.com", callee.uri, "sip:9999@example.com"):
        assert sender.request("OPTIONS", uri).status == 200
        assert sender.request("NOTIFY", uri, headers=["Event: keep-alive"]).status == 200
    assert callee.hears_nothing(0.1)


def test_keep_alive_of_no_ip_group_is_refused(phone: MakePhone) -> None:
    assert phone(address="127.99.0.1").request("OPTIONS").status == 403


# -- who registers whom


@pytest.mark.parametrize("address", [TRUNK[0], PEER[0], "127.4.0.1", "127.5.0.1"])
@pytest.mark.parametrize("contact", ["<sip:evil@127.99.0.1>;expires=60", "*"])
def test_nobody_registers_or_removes_a_user_unproved(
    phone: MakePhone, callee: Phone, address: str, contact: str
) -> None:
    thief = phone("1002", address=address)
    raw = thief.build("REGISTER").replace(
        f"Contact: {thief.contact}".encode(), f"Contact: {contact}".encode()
    )
    if contact == "*":
        raw = raw.replace(b"Expires: 60", b"Expires: 0")
    thief.send(raw)
    assert thief.response(thief.last_branch).status == 403
    caller = phone("3001", address="127.2.0.1")
    assert arrives(caller, callee)


def test_unproved_group_registers_whom_user_info_does_not_have(phone: MakePhone) -> None:
    desk, caller = phone("8001", address="127.5.0.1"), phone("3001", address="127.2.0.1")
    assert desk.request("REGISTER").status == 200
    assert arrives(caller, desk)
    for name in ("%31002", "1002", "5001"):
        assert phone(name, address="127.5.0.1").request("REGISTER").status == 403


def test_user_of_another_realm_is_not_reached(phone: MakePhone, server: Server) -> None:
    there = phone("7001", address="127.7.0.1", realm="other.example")
    assert there.register().status == 200
    caller = phone("3001", address="127.2.0.1")
    assert caller.request("MESSAGE", there.uri).status == 404
    assert there.hears_nothing(0.1)


def test_name_in_utf_8_registers_and_is_called(phone: MakePhone) -> None:
    desk = phone("müller", local_user="m%C3%BCller")
    assert desk.register().status == 200
    assert arrives(phone("3001", address="127.2.0.1"), desk)


# -- the registrar's small print


def register_with(phone: Phone, *, contact: str, headers: tuple[str, ...] = ()) -> sip.Response:
    challenge = phone.request("REGISTER")
    raw = phone.build("REGISTER", answering=challenge, headers=headers)
    phone.send(raw.replace(f"Contact: {phone.contact}".encode(), f"Contact: {contact}".encode()))
    return phone.response(phone.last_branch)


@pytest.mark.parametrize(
    "contact",
    [
        "*, <sip:1001@127.0.0.1:5070>",
        "<sip:1001@127.0.0.1:5070>, *",
        "<sip:1001@127.0.0.1:5070>\r\nContact: *",
        "<sip:1001@127.0.0.1:5070transport=udp>",
        "<sip:1001@127.0.0.1:99999>",
        "<mailto:1001@example.com>",
        "<sip:1001@127.0.0.1:{port}>",
        '<sip:1001@127.0.0.1:5070>;reg-id=0;+sip.instance="<urn:uuid:1>"',
        '<sip:1001@127.0.0.1:5070>;+sip.instance="<urn:uuid:1>";reg-id=x',
    ],
)
def test_contact_that_cannot_be_kept_is_refused(
    phone: MakePhone, server: Server, contact: str
) -> None:
    desk = phone("1001")
    refused = register_with(desk, contact=contact.format(port=server.port))
    assert refused.status == 400
    assert wait_for(lambda: "bad-registration" in server.reasons(desk.call_id))


def test_extension_that_nobody_has_is_named(phone: MakePhone) -> None:
    desk = phone("1001")
    refused = register_with(desk, contact=desk.contact, headers=("Require: foo",))
    assert (refused.status, refused.header("unsupported")) == (420, "foo")


def test_phone_is_reached_where_it_registered_from_whatever_its_contact_says(
    phone: MakePhone, endpoint: MakeEndpoint
) -> None:
    desk, victim = phone("1001"), endpoint("127.99.0.1", port=5071)
    assert register_with(desk, contact="<sip:1001@127.99.0.1:5071>").status == 200
    assert arrives(phone("3001", address="127.2.0.1"), desk)
    assert victim.hears_nothing(0.1)


def test_path_of_a_stranger_is_not_believed(phone: MakePhone, endpoint: MakeEndpoint) -> None:
    desk, victim = phone("1001"), endpoint("127.99.0.1", port=5071)
    path = ("Path: <sip:127.99.0.1:5071;lr>", "Supported: path")
    assert register_with(desk, contact=desk.contact, headers=path).status == 200
    assert arrives(phone("3001", address="127.2.0.1"), desk)
    assert victim.hears_nothing(0.1)


def test_no_gruu_is_handed_out(phone: MakePhone) -> None:
    desk = phone("1001")
    contact = desk.contact + ';+sip.instance="<urn:uuid:1>"'
    reply = register_with(desk, contact=contact, headers=("Supported: gruu, outbound",))
    assert "gruu" not in reply.header("contact")


@BOTH
def test_eleventh_contact_takes_the_place_of_another(
    phone: MakePhone, server: Server, transport: str
) -> None:
    for _ in range(12):
        desk = phone("1002", address="127.0.9.1", transport=transport)
        desk.expires = 3600
        reply = desk.register()
        assert (reply.status, any(desk.host in each for each in reply.all("contact"))) == (
            200,
            True,
        )
        if transport == "tcp":
            desk.close()
    assert len(reply.header("contact").split(",")) + len(reply.all("contact")) - 1 == 10


# -- what a sender cannot vouch for


def test_credentials_for_our_realm_and_assertions_stay_here(
    phone: MakePhone, callee: Phone
) -> None:
    sender = phone("1001")
    assert sender.register().status == 200
    other = sip.Challenge("WWW-Authenticate", "peer.example", "n", qop=("auth",))
    theirs = sip.answer(other, "MESSAGE", callee.uri, "1001", "x")
    broken = 'Proxy-Authorization: Digest realm="example.com", username="1001'
    asserted = ["P-Asserted-Identity: <sip:boss@example.com>", "Remote-Party-ID: <sip:b@x>"]
    sender.send(sender.build("MESSAGE", callee.uri, headers=[theirs, broken, *asserted]))
    message = callee.incoming("MESSAGE")
    assert message.all("authorization") == [theirs.partition(": ")[2]]
    for name in ("proxy-authorization", "p-asserted-identity", "remote-party-id"):
        assert not message.all(name)
    callee.reply(message, 200)


def test_a_proved_call_asserts_nothing_either(phone: MakePhone, callee: Phone) -> None:
    caller = phone("1001")
    challenge = caller.request("INVITE", callee.uri)
    asserted = ["P-Asserted-Identity: <sip:boss@example.com>"]
    caller.send(caller.build("INVITE", callee.uri, answering=challenge, headers=asserted))
    invite = callee.incoming("INVITE")
    assert not invite.all("p-asserted-identity")
    callee.reply(invite, 486)
    caller.acknowledge(caller.response(caller.last_branch))


# -- bytes behind the body


@pytest.mark.parametrize("behind", [b"\r\n\r\n", b"BYE sip:x SIP/2.0\r\n\r\n"])
@pytest.mark.parametrize("body", [b"", b"h\x00llo"])
def test_bytes_behind_the_body_of_a_datagram_are_discarded(
    phone: MakePhone, callee: Phone, behind: bytes, body: bytes
) -> None:
    sender = phone("3001", address="127.2.0.1")
    kind = ["Content-Type: text/plain"]
    sender.send(sender.build("MESSAGE", callee.uri, body=body, headers=kind) + behind)
    message = callee.incoming("MESSAGE")
    assert message.body == body
    callee.reply(message, 200)
    assert sender.response(sender.last_branch).status == 200
    registering = phone("1001")
    assert registering.register().status == 200
    registering.send(registering.build("REGISTER") + behind)
    assert registering.response(registering.last_branch).status == 401


def test_datagram_that_ends_too_early_is_refused_with_a_line(
    phone: MakePhone, server: Server
) -> None:
    sender = phone("1001")
    raw = sender.build("MESSAGE", "sip:1@example.com")
    sender.send(raw.replace(b"Content-Length: 0", b"Content-Length: 9"))
    assert sender.response(sender.last_branch).status == 400
    assert server.reasons(sender.call_id) == ["bad-request"]


def test_log_has_no_error(server: Server) -> None:
    errors = [line for line in server.log().splitlines() if "ERROR" in line]
    assert not [
        line for line in errors if "Connection refused" not in line and "tcp_send" not in line
    ]
