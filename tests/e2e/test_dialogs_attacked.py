"""Nothing of a dialog leads anywhere but from its one party to the other.

Whatever stands in a request, a route or an answer: the victim, an address that no dialog is with,
hears nothing.
"""

from collections.abc import Iterator

import pytest
from dialogs import NOBODY, Call
from kamailio import Server, StartServer, free_port
from phone import Endpoint, MakeEndpoint, MakePhone, Phone

TRUNK = ("127.30.0.1", free_port())
VICTIM = ("127.55.0.1", free_port())
CONFIG = f"""
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite, SUBSCRIBE]
    route_to: Trunk
    classification: [{{address: 127.0.0.0/16}}]
  - name: Trunk
    type: server
    authentication_mode: sbc-as-server
    authentication_method_list: [setup-invite]
    username_as_server: carrier
    password_as_server: carrier secret
    proxy_set: ["sip:{TRUNK[0]}:{TRUNK[1]}"]
  - name: Open
    type: user
    route_to: Trunk
    classification: [{{address: 127.41.0.0/16}}]
"""
USERS = {"1001": "secret of 1001", "1002": "secret of 1002", "1003": "secret of 1003"}
CALLEE = "sip:1002@example.com"
NUMBER = "sip:+15551234@example.com"
METHODS = ["INVITE", "ACK", "BYE", "INFO", "UPDATE", "PRACK", "MESSAGE", "REFER", "NOTIFY", "FOO"]
TRANSPORTS = [("udp", "udp"), ("tcp", "udp"), ("udp", "tcp")]


@pytest.fixture
def victim(endpoint: MakeEndpoint) -> Endpoint:
    return endpoint(VICTIM[0], port=VICTIM[1])


@pytest.fixture
def trunk(endpoint: MakeEndpoint) -> Endpoint:
    return endpoint(TRUNK[0], port=TRUNK[1])


@pytest.fixture(params=TRANSPORTS)
def call(phone: MakePhone, request: pytest.FixtureRequest) -> Iterator[Call]:
    """A call between two phones."""
    caller = phone("1001", "secret of 1001", transport=request.param[0])
    callee = phone("1002", "secret of 1002", transport=request.param[1])
    assert callee.register().status == 200
    yield Call.between(caller, callee, CALLEE)
    callee.expires = 0
    callee.register()


@pytest.fixture
def outgoing(phone: MakePhone, trunk: Endpoint) -> Call:
    """A call from a phone to the trunk."""
    return Call.between(phone("1001", "secret of 1001"), trunk, NUMBER)


def reaches(method: str, endpoint: Endpoint, call_id: str = "") -> bool:
    """Tell whether a request of this method arrives, of this Call-ID where one is given.

    The trunk still hears what earlier tests have left unanswered.
    """
    while True:
        try:
            request = endpoint.incoming(method, patience=NOBODY)
        except TimeoutError:
            return False
        if call_id in (request.header("call-id"), ""):
            return True


@pytest.mark.parametrize("method", METHODS)
def test_request_uri_leads_nowhere_but_to_the_other_party(
    call: Call, victim: Endpoint, method: str
) -> None:
    for side in call.sides():
        for uri in (f"sip:x@{victim.host}", f"sip:+1900@{victim.host};transport=udp;lr"):
            side.says(method, uri=uri)
    assert victim.hears_nothing(NOBODY)


@pytest.mark.parametrize("method", METHODS)
def test_another_route_after_ours_leads_nowhere(
    call: Call, outgoing: Call, victim: Endpoint, method: str
) -> None:
    for side in (*call.sides(), *outgoing.sides()):
        side.says(method, routes=[*side.routes, f"<sip:{victim.host};lr>"])
        side.says(method, routes=[*side.routes, f"<sip:{victim.host}>"])  # a strict router
        side.says(method, routes=[f"<sip:{victim.host};lr>", *side.routes])
    assert victim.hears_nothing(NOBODY)


def test_route_that_is_not_ours_with_our_token_leads_nowhere(call: Call, victim: Endpoint) -> None:
    for side in call.sides():
        token = side.routes[0].replace("127.0.0.1", victim.address)
        side.says("INFO", routes=[token])
    assert victim.hears_nothing(NOBODY)


@pytest.mark.parametrize("method", ["INVITE", "INFO", "REFER", "MESSAGE", "FOO"])
def test_another_number_at_the_trunk_is_not_called_within_a_dialog(
    outgoing: Call, trunk: Endpoint, method: str
) -> None:
    """The account has to answer for a Request-URI that is no Contact of the trunk's."""
    for uri in (f"sip:+1900666@{trunk.host}", outgoing.caller.target.replace("sip:", "sip:+1900@")):
        answer = outgoing.caller.asks(method, uri=uri)
        assert answer.status == 401
    assert not reaches(method, trunk, outgoing.caller.call_id)


def test_whoever_proves_his_account_gets_through_where_a_mark_was_lost(
    outgoing: Call, trunk: Endpoint
) -> None:
    uri = f"sip:{trunk.host}"
    challenge = outgoing.caller.asks("INFO", uri=uri)
    outgoing.caller.says("INFO", uri=uri, answering=challenge)
    request = trunk.incoming("INFO")
    trunk.reply(request, 200)
    assert request.uri == uri
    assert not request.header("authorization")


@pytest.mark.parametrize("method", METHODS)
def test_another_call_id_is_no_dialog(call: Call, method: str) -> None:
    for side, other in (call.sides(), call.sides()[::-1]):
        side.says(method, call_id="another")
        if method != "ACK":
            assert side.phone.response(side.branch).status == 481
        assert not reaches(method, other.phone)


@pytest.mark.parametrize("method", METHODS)
def test_another_tag_of_the_caller_is_no_dialog(call: Call, method: str) -> None:
    caller, callee = call.sides()
    for side, other, changed in (
        (caller, callee, {"local": f"{caller.local}x"}),
        (callee, caller, {"remote": f"{callee.remote}x"}),
    ):
        side.says(method, **changed)
        if method != "ACK":
            assert side.phone.response(side.branch).status == 481
        assert not reaches(method, other.phone)


@pytest.mark.parametrize("method", ["INVITE", "INFO", "REFER", "FOO"])
def test_another_tag_of_the_trunk_is_not_proved(
    outgoing: Call, trunk: Endpoint, method: str
) -> None:
    assert outgoing.caller.asks(method, remote=f"{outgoing.caller.remote}x").status == 401
    assert not reaches(method, trunk, outgoing.caller.call_id)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.41.0.1", "127.99.0.1", TRUNK[0]])
@pytest.mark.parametrize("method", ["INVITE", "INFO", "REFER", "FOO"])
def test_stolen_route_and_mark_are_worth_nothing_elsewhere(
    call: Call, endpoint: MakeEndpoint, address: str, method: str
) -> None:
    """From a neighbour of the phones, another IP Group, nobody's, and the trunk's address."""
    thief = endpoint(address)
    for side, other in (call.sides(), call.sides()[::-1]):
        assert side.asks(method, by=thief).status in (401, 407, 481)
        assert not reaches(method, other.phone)


@pytest.mark.parametrize("address", ["127.0.0.9", "127.41.0.1", "127.99.0.1"])
@pytest.mark.parametrize("method", ["INVITE", "INFO", "REFER", "FOO", "ACK"])
def test_stolen_route_to_the_trunk_is_worth_nothing(
    outgoing: Call, endpoint: MakeEndpoint, trunk: Endpoint, address: str, method: str
) -> None:
    thief = endpoint(address)
    caller, callee = outgoing.sides()
    if method != "ACK":
        assert caller.asks(method, by=thief).status == 401
        assert not reaches(method, trunk, outgoing.caller.call_id)
        assert callee.asks(method, by=thief).status == 481
    else:
        callee.says(method, by=thief, uri=f"sip:{caller.phone.host}")
    assert not reaches(method, caller.phone)


@pytest.mark.parametrize("method", ["ACK", "BYE"])
@pytest.mark.parametrize("address", ["127.0.0.9", "127.99.0.1"])
def test_ack_and_bye_from_elsewhere_need_both_seals(
    call: Call, endpoint: MakeEndpoint, method: str, address: str
) -> None:
    moved = endpoint(address)
    for side, other in (call.sides(), call.sides()[::-1]):
        plain = side.target.partition(";sb=")[0]
        side.says(method, by=moved, uri=plain)
        assert not reaches(method, other.phone)
        side.says(method, by=moved)
        assert reaches(method, other.phone)


def test_neighbour_at_the_same_address_is_another_place(
    phone: MakePhone, endpoint: MakeEndpoint
) -> None:
    caller, callee = phone("1001", "secret of 1001"), phone("1002", "secret of 1002")
    assert callee.register().status == 200
    call = Call.between(caller, callee, CALLEE)
    neighbour = endpoint("127.0.0.1")
    assert call.caller.asks("INFO", by=neighbour).status == 401
    assert call.callee.asks("INFO", by=neighbour).status == 401
    assert not reaches("INFO", callee)
    assert not reaches("INFO", caller)


def test_another_account_does_not_take_the_party_s_place(call: Call, phone: MakePhone) -> None:
    thief = phone("1003", "secret of 1003", address="127.0.0.5")
    side = call.caller
    challenge = side.asks("INFO", by=thief)
    assert challenge.status == 401
    side.phone.username, side.phone.password = "1003", "secret of 1003"
    assert side.asks("INFO", by=thief, answering=challenge).status == 403
    assert not reaches("INFO", call.callee.phone)


@pytest.mark.parametrize("method", ["INFO", "BYE", "FOO"])
def test_route_and_mark_of_another_call_are_worth_nothing(
    call: Call, phone: MakePhone, trunk: Endpoint, method: str
) -> None:
    other = Call.between(phone("1003", "secret of 1003"), trunk, NUMBER)
    for side, theirs in ((call.caller, other.caller), (call.callee, other.callee)):
        assert side.asks(method, routes=theirs.routes).status == 481
        side.says(method, uri=theirs.target)  # which leads to their trunk, or phone
    assert not reaches(method, trunk, call.caller.call_id)
    assert not reaches(method, other.caller.phone)


def test_mark_on_another_uri_does_not_open(outgoing: Call, trunk: Endpoint) -> None:
    mark = outgoing.caller.target.partition(";sb=")[2]
    assert outgoing.caller.asks("INFO", uri=f"sip:+1900@{trunk.host};sb={mark}").status == 401
    assert not reaches("INFO", trunk, outgoing.caller.call_id)


def test_marks_that_are_cut_off_lead_to_the_other_phone_alone(call: Call, victim: Endpoint) -> None:
    for side, other in (call.sides(), call.sides()[::-1]):
        side.says("INFO", uri=f"sip:x@{victim.host}")
        assert other.hears("INFO").uri == f"sip:x@{victim.host}"
    assert victim.hears_nothing(NOBODY)


def test_route_of_a_call_that_was_refused_leads_to_its_parties_alone(
    phone: MakePhone, trunk: Endpoint, victim: Endpoint
) -> None:
    caller = phone("1001", "secret of 1001")
    challenge = caller.request("INVITE", NUMBER)
    caller.send(caller.build("INVITE", NUMBER, answering=challenge))
    invite = trunk.incoming("INVITE")
    trunk.reply(invite, 486, "Busy Here")
    busy = caller.response(caller.last_branch)
    caller.acknowledge(busy)
    trunk.incoming("ACK")
    call = Call.of(caller, trunk, invite, busy)
    for method in METHODS:
        call.caller.says(method, uri=f"sip:x@{victim.host}", remote=f"<{NUMBER}>;tag=made-up")
    assert victim.hears_nothing(NOBODY)


def late(call: Call, via: str, *, status: str = "200 OK", cseq: str = "INVITE") -> bytes:
    """Return a 2xx that comes when all is over; `via` is where it asks to be sent."""
    vias = call.invite.all("via")
    lines = [
        f"SIP/2.0 {status}",
        f"Via: {vias[0].split(';')[0]};branch=z9hG4bKgone",
        f"Via: {via}",
        *(f"Record-Route: {value}" for value in call.invite.all("record-route")),
        f"From: {call.caller.local}",
        f"To: {call.caller.remote}",
        f"Call-ID: {call.caller.call_id}",
        f"CSeq: 7 {cseq}",
        f"Contact: {call.callee.phone.contact}",
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def test_late_2xx_goes_nowhere_but_from_the_callee_to_the_caller(
    call: Call, endpoint: MakeEndpoint, victim: Endpoint
) -> None:
    evil = f"SIP/2.0/UDP {victim.host};branch=z9hG4bKx"
    received = f"SIP/2.0/UDP {call.caller.phone.host};received={victim.address};rport={victim.port}"
    good = f"SIP/2.0/{call.caller.phone.via};branch=z9hG4bKx"
    for via in (evil, received, f"SIP/2.0/UDP host.example;received={victim.address}"):
        call.callee.phone.send(late(call, via))
    for address in ("127.0.0.9", "127.99.0.1", "127.41.0.1"):
        stranger = endpoint(address)
        for via in (evil, good):
            stranger.send(late(call, via))
    call.callee.phone.send(late(call, good).replace(b";sb=", b";sx="))
    call.callee.phone.send(late(call, good).replace(b"Call-ID: ", b"Call-ID: x"))
    call.callee.phone.send(late(call, good, cseq="FOO"))
    call.callee.phone.send(late(call, good, status="486 Busy Here"))
    assert victim.hears_nothing(NOBODY)
    assert call.caller.phone.hears_nothing(NOBODY)


def test_late_2xx_of_another_caller_s_tag_is_nobody_s(call: Call) -> None:
    good = f"SIP/2.0/{call.caller.phone.via};branch=z9hG4bKx"
    other = late(call, good).replace(b"From: ", b"From: <sip:x>;tag=x\r\nX-From: ")
    call.callee.phone.send(other)
    assert call.caller.phone.hears_nothing(NOBODY)


def errors(server: Server, start: int) -> list[str]:
    """Return the lines of level ERROR; those on connections that tests have closed aside."""
    lines = server.log(start).splitlines()
    return [line for line in lines if "ERROR" in line and "tcp" not in line]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("address", ["127.0.0.9", "127.99.0.1"])
def test_ack_outside_a_dialog_ends_here(
    phone: MakePhone, endpoint: MakeEndpoint, server: Server, transport: str, address: str
) -> None:
    callee = phone("1002", "secret of 1002")
    assert callee.register().status == 200
    before = server.log_size()
    stranger = Phone(server, "1001", address=address, transport=transport)
    with stranger:
        for uri in (CALLEE, f"sip:{callee.host}"):
            stranger.send(stranger.build("ACK", uri))
            stranger.send(stranger.build("ACK", uri, to_tag="made-up"))
    assert callee.hears_nothing(NOBODY)
    assert errors(server, before) == []


def test_routes_that_are_none_are_an_unknown_dialog(phone: MakePhone, server: Server) -> None:
    one = phone("1001", "secret of 1001")
    home = f"127.0.0.1:{server.port}"
    for route in (
        f"<sip:{home};lr;sb=>",
        f"<sip:{home};lr;sb=AAAA>",
        f"<sip:{home};lr;sb={'A' * 3000}>",
        f"<sip:{home};lr;sb=\udcff\udcfe>",
        "<sip:\udcff>",
        "nonsense",
        "",
    ):
        for method in ("BYE", "INVITE", "REGISTER"):
            answer = one.request(method, CALLEE, to_tag="x", headers=[f"Route: {route}"])
            assert answer.status in (400, 481), (route, method, answer)


def test_nobody_is_told_anything_where_the_unclassified_get_nothing(
    start_server: StartServer,
) -> None:
    server = start_server(f"unclassified_requests: drop\n{CONFIG.replace(str(TRUNK[1]), '9')}")
    with Phone(server, address="127.99.0.1") as stranger, Phone(server) as known:
        stranger.send(stranger.build("BYE", CALLEE, to_tag="x"))
        assert stranger.hears_nothing(NOBODY)
        assert known.request("BYE", CALLEE, to_tag="x").status == 481


def test_log_names_what_was_refused_and_has_no_error(server: Server, phone: MakePhone) -> None:
    one = phone("1001", "secret of 1001")
    assert one.request("BYE", CALLEE, to_tag="x").status == 481
    assert server.reasons(one.call_id) == ["unknown-dialog"]
    assert errors(server, 0) == []
