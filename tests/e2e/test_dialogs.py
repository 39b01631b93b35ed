"""Dialogs as phones and trunks have them: whatever one may do, it reaches the other party."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sip
from dialogs import NOBODY, Call, Side, reached, uri_of
from kamailio import Server, StartServer, free_port, wait_for
from phone import Endpoint, MakeEndpoint, MakePhone, Phone, Request
from sip import Response

TRUNK = ("127.30.0.1", free_port())
OTHER_NODE = "127.30.1.9"
PBX = ("127.33.0.1", free_port())
V6 = free_port()
LISTEN = [f"udp:[::1]:{V6}", f"tcp:[::1]:{V6}"]
CONFIG = f"""
realm: example.com
log: all
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite, SUBSCRIBE]
    route_to: Trunk
    classification: [{{address: 127.0.0.0/16}}, {{address: "::1"}}]
  - name: Strict
    type: user
    realm: strict.example
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, UPDATE, BYE, INFO, REFER, NOTIFY, PRACK]
    auth_challenge_method: auto
    route_to: Trunk
    classification: [{{address: 127.40.0.0/16, from_host: strict.example}}]
  - name: Trunk
    type: server
    authentication_mode: sbc-as-server
    authentication_method_list: [setup-invite]
    username_as_server: carrier
    password_as_server: carrier secret
    proxy_set: ["sip:{TRUNK[0]}:{TRUNK[1]}"]
    classification: [{{address: 127.30.1.0/24}}]
  - name: Open
    type: user
    route_to: Pbx
    classification: [{{address: 127.41.0.0/16}}]
  - name: Shadow
    type: user
    realm: shadow.example
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    shadow: true
    route_to: Pbx
    classification: [{{address: 127.42.0.0/16}}]
  - name: Pbx
    type: server
    proxy_set: ["sip:{PBX[0]}:{PBX[1]}"]
"""
USERS = {
    "1001": "secret of 1001",
    "1002": "secret of 1002",
    "Strict/2001": "secret of 2001",
}
CALLEE = "sip:1002@example.com"
NUMBER = "sip:+15551234@example.com"
SDP = ("Content-Type: application/sdp",)
HOLD = (
    b"v=0\r\no=- 1 2 IN IP4 203.0.113.9\r\ns=-\r\nc=IN IP4 203.0.113.9\r\nt=0 0\r\na=sendonly\r\n"
)


@pytest.fixture
def trunk(endpoint: MakeEndpoint) -> Endpoint:
    return endpoint(TRUNK[0], port=TRUNK[1])


@pytest.fixture
def pbx(endpoint: MakeEndpoint) -> Endpoint:
    return endpoint(PBX[0], port=PBX[1])


@pytest.fixture
def phones(phone: MakePhone) -> Iterator[Callable[..., tuple[Phone, Phone]]]:
    """Make a caller and a registered callee, over the transports of one's choice."""
    registered = []

    def make(ours: str = "udp", theirs: str = "udp", **how: object) -> tuple[Phone, Phone]:
        caller = phone("1001", "secret of 1001", transport=ours, **how)
        callee = phone("1002", "secret of 1002", transport=theirs, **how)
        assert callee.register().status == 200
        registered.append(callee)
        return caller, callee

    yield make
    for each in registered:
        each.expires = 0
        each.register()


def exchange(side: Side, other: Side, method: str, **how: object) -> Request:
    """Have a request go from one side to the other, and its answer back; returns the request."""
    side.says(method, **how)
    request = other.hears(method)
    assert side.phone.response(side.branch).status == 200
    return request


def refresh(side: Side, other: Side, **how: object) -> None:
    """Have one side send a re-INVITE, and both take up the other's Contact."""
    side.says("INVITE", **how)
    request = other.hears("INVITE")
    answer = side.phone.response(side.branch)
    assert answer.status == 200
    other.target = uri_of(request.header("contact"))
    side.target = uri_of(answer.header("contact"))
    side.says("ACK", cseq=side.cseq)
    other.phone.incoming("ACK")


PAIRS = [("udp", "udp"), ("tcp", "tcp"), ("udp", "tcp"), ("tcp", "udp")]


@pytest.mark.parametrize("transports", PAIRS)
def test_call_between_phones_with_all_that_is_done_in_one(
    phones: Callable[..., tuple[Phone, Phone]], transports: tuple[str, str]
) -> None:
    call = Call.between(*phones(*transports), CALLEE)
    for side, other in (call.sides(), call.sides()[::-1]):
        for method in ("INFO", "MESSAGE", "OPTIONS", "UPDATE", "FOO"):
            exchange(side, other, method)
        refresh(side, other, body=HOLD, headers=SDP)
    exchange(call.callee, call.caller, "BYE")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_ipv6(phones: Callable[..., tuple[Phone, Phone]], transport: str) -> None:
    call = Call.between(*phones(transport, transport, address="::1", home=V6), CALLEE)
    for side, other in (call.sides(), call.sides()[::-1]):
        exchange(side, other, "INFO")
        refresh(side, other)
    exchange(call.caller, call.callee, "BYE")


def test_route_of_two_transports_bears_the_token_twice(
    phones: Callable[..., tuple[Phone, Phone]],
) -> None:
    call = Call.between(*phones("udp", "tcp"), CALLEE)
    assert len(call.caller.routes) == 2
    tokens = {re.findall("sb=([^;>]+)", route)[0] for route in call.caller.routes}
    assert len(tokens) == 1
    exchange(call.callee, call.caller, "INFO")


def test_sealed_fields_stay_short(phones: Callable[..., tuple[Phone, Phone]]) -> None:
    call = Call.between(*phones(), CALLEE)
    (route,) = call.caller.routes
    assert len(route) < 140
    assert len(call.caller.target) < 100
    assert "Phones" not in route + call.caller.target
    assert "1001" not in route


def test_phone_behind_an_address_translator_is_reached_where_it_is(
    phones: Callable[..., tuple[Phone, Phone]],
) -> None:
    caller, callee = phones()
    hidden = "Contact: <sip:1002@10.1.2.3:5062;ob>"
    invite = reached(caller, callee, CALLEE)
    callee.reply(invite, 200, contact=hidden)
    call = Call.of(caller, callee, invite, caller.response(caller.last_branch))
    assert call.caller.target.startswith("sip:1002@10.1.2.3:5062;ob;sb=")
    call.caller.says("ACK", cseq=caller.cseq)
    callee.incoming("ACK")
    assert exchange(call.caller, call.callee, "INFO").uri == "sip:1002@10.1.2.3:5062;ob"
    refresh(call.callee, call.caller, contact="Contact: <sip:1002@10.1.2.3:9>")
    assert exchange(call.caller, call.callee, "BYE").uri == "sip:1002@10.1.2.3:9"


@pytest.mark.parametrize(
    "contact",
    [
        "m: <sip:1002@{host}>",
        "Contact: sip:1002@{host};q=0.5",
        'Contact: "The <callee>"\r\n <sip:1002@{host}>;q=1',
        "CONTACT:<sip:1002@{host};x=y>",
        "Contact: <sip:1002@{host}?Subject=x>",
    ],
)
def test_contact_in_any_spelling(phones: Callable[..., tuple[Phone, Phone]], contact: str) -> None:
    caller, callee = phones()
    invite = reached(caller, callee, CALLEE)
    callee.reply(invite, 200, contact=contact.format(host=callee.host))
    answer = caller.response(caller.last_branch)
    assert len(answer.all("contact") + answer.all("m")) == 1
    call = Call.of(caller, callee, invite, answer)
    assert ";sb=" in call.caller.target
    exchange(call.caller, call.callee, "INFO")
    exchange(call.caller, call.callee, "BYE")


def test_equal_tags_are_told_apart_by_the_source(
    phones: Callable[..., tuple[Phone, Phone]],
) -> None:
    caller, callee = phones()
    invite = reached(caller, callee, CALLEE)
    callee.reply(invite, 200, tag=caller.from_tag)
    call = Call.of(caller, callee, invite, caller.response(caller.last_branch))
    exchange(call.callee, call.caller, "INFO")
    exchange(call.caller, call.callee, "BYE")


def strict(phone: MakePhone, **how: object) -> Phone:
    return phone("2001", "secret of 2001", realm="strict.example", address="127.40.0.1", **how)


def proved(side: Side, other: Side, method: str) -> None:
    """Have a request be challenged within the dialog, and answer as the party's account."""
    challenge = side.asks(method)
    assert challenge.status in (401, 407)
    if method == "INVITE":
        ack = side.build("ACK", cseq=side.cseq, branch=side.branch)
        side.phone.send(ack.replace(b"To: ", b"To: ", 1))
        assert other.phone.hears_nothing(NOBODY)
    side.says(method, answering=challenge)
    request = other.hears(method)
    assert not request.header("authorization")
    assert not request.header("proxy-authorization")
    assert side.phone.response(side.branch).status == 200
    if method == "INVITE":
        side.says("ACK", cseq=side.cseq, headers=(secret_field(challenge, side),))
        assert not other.phone.incoming("ACK").header("proxy-authorization")


def secret_field(challenge: Response, side: Side) -> str:
    """Return credentials for our realm, which some phones put into every request."""
    secret = (side.phone.username, side.phone.password)
    return sip.answer(challenge.challenges[0], "ACK", side.target, *secret, nc=2)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "REFER", "NOTIFY", "BYE"])
def test_account_of_the_party_answers_where_the_method_is_listed(
    phone: MakePhone, trunk: Endpoint, method: str
) -> None:
    caller = strict(phone)
    call = Call.between(caller, trunk, NUMBER)
    proved(call.caller, call.callee, method)


@pytest.mark.parametrize("method", ["INVITE", "REFER", "BYE"])
def test_called_phone_answers_under_whatever_number_was_called(
    phone: MakePhone, server: Server, method: str
) -> None:
    """Its From is the To of the call: a number that is nobody's account, at another host."""
    callee = strict(phone)
    assert callee.register().status == 200
    caller = phone("carrier", "carrier secret", address="127.30.1.1", local_user="+4930")
    how: dict[str, Any] = {"to": "sip:+15550001@carrier.example"}
    uri = "sip:2001@strict.example"
    invite = reached(caller, callee, uri, **how)
    callee.reply(invite, 200)
    call = Call.of(caller, callee, invite, caller.response(caller.last_branch))
    call.caller.says("ACK", cseq=caller.cseq)
    callee.incoming("ACK")
    proved(call.callee, call.caller, method)
    callee.expires = 0
    assert callee.register().status == 200


def test_credentials_stay_here_in_whatever_they_stand(phone: MakePhone, trunk: Endpoint) -> None:
    caller = phone("1001", "secret of 1001")
    call = Call.between(caller, trunk, NUMBER)
    challenge = caller.request("REGISTER")
    ours = sip.answer(challenge.challenges[0], "INFO", "sip:x", "1001", "secret of 1001")
    broken = f'{ours}, uri="unclosed'
    theirs = ours.replace("example.com", "another.example")
    for method in ("INFO", "BYE"):
        call.caller.says(method, headers=(ours, broken, theirs, f"Proxy-{ours}"))
        request = call.callee.hears(method)
        assert len(request.all("authorization")) == 1
        assert "another.example" in request.header("authorization")
        assert not request.header("proxy-authorization")


@pytest.mark.parametrize("status", [401, 407])
def test_challenge_that_asks_for_what_is_good_here_is_withheld(
    phones: Callable[..., tuple[Phone, Phone]], phone: MakePhone, server: Server, status: int
) -> None:
    """The relay attack of draft-state-sip-relay-attack-00."""
    caller, callee = phones()
    call = Call.between(caller, callee, CALLEE)
    fetched = phone("1001").request("REGISTER").challenges[0]
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    for realm, nonce in (("example.com", "theirs"), ("elsewhere", fetched.nonce)):
        call.caller.says("INFO")
        request = callee.incoming("INFO")
        field = f'{name}: Digest realm="{realm}", nonce="{nonce}", qop="auth"'
        callee.reply(request, status, "Prove Yourself", headers=[field])
        answer = caller.response(call.caller.branch)
        assert answer.status == status
        assert answer.challenges == []
    call.caller.says("INFO")
    field = f'{name}: Digest realm="elsewhere", nonce="theirs", qop="auth"'
    callee.reply(callee.incoming("INFO"), status, "Prove Yourself", headers=[field])
    assert caller.response(call.caller.branch).status == status
    line = "client=withheld ip_group=Phones method=INFO realm=example.com"
    assert wait_for(lambda: line in server.log())


ASSERTED = ("P-Asserted-Identity: <sip:boss@example.com>", "Remote-Party-ID: <sip:boss@x>")


def test_who_a_phone_is_it_does_not_assert_itself(
    phones: Callable[..., tuple[Phone, Phone]], trunk: Endpoint, phone: MakePhone
) -> None:
    caller, callee = phones()
    invite = reached(caller, callee, CALLEE)
    callee.reply(invite, 180, "Ringing", headers=ASSERTED)
    ringing = caller.response(caller.last_branch, provisional=True)
    while ringing.status < 180:
        ringing = caller.response(caller.last_branch, provisional=True)
    callee.reply(invite, 200, headers=ASSERTED)
    answer = caller.response(caller.last_branch)
    for each in (ringing, answer):
        assert not each.all("p-asserted-identity") + each.all("remote-party-id")
    call = Call.of(caller, callee, invite, answer)
    call.caller.says("UPDATE", headers=ASSERTED)
    request = call.callee.hears("UPDATE", headers=ASSERTED)
    assert not request.all("p-asserted-identity") + request.all("remote-party-id")
    assert not caller.response(call.caller.branch).all("p-asserted-identity")

    out = Call.between(caller, trunk, NUMBER)
    out.callee.says("UPDATE", headers=ASSERTED)
    assert out.caller.hears("UPDATE").all("p-asserted-identity")


def test_early_dialog_with_prack_and_update_from_both_sides(
    phones: Callable[..., tuple[Phone, Phone]],
) -> None:
    caller, callee = phones()
    invite = reached(caller, callee, CALLEE, headers=["Supported: 100rel"])
    for tag in ("one", "two", "three"):  # as behind a proxy that forks
        callee.reply(invite, 183, "Session Progress", ["Require: 100rel", "RSeq: 7"], tag=tag)
        answer = caller.response(caller.last_branch, provisional=True)
        while answer.status < 183:
            answer = caller.response(caller.last_branch, provisional=True)
        call = Call.of(caller, callee, invite, answer)
        exchange(call.caller, call.callee, "PRACK", headers=("RAck: 7 2 INVITE",))
        exchange(call.caller, call.callee, "UPDATE")
        exchange(call.callee, call.caller, "UPDATE")
    for tag in ("two", "three"):  # two phones pick up at once
        callee.reply(invite, 200, tag=tag)
        answer = caller.response(caller.last_branch)
        assert answer.header("to").endswith(tag)
        call = Call.of(caller, callee, invite, answer)
        call.caller.says("ACK", cseq=caller.cseq)
        callee.incoming("ACK")
        exchange(call.caller, call.callee, "BYE")


def test_call_that_forks_to_all_phones_of_a_user(
    phones: Callable[..., tuple[Phone, Phone]], phone: MakePhone
) -> None:
    caller, one = phones()
    two = phone("1002", "secret of 1002", transport="tcp")
    assert two.register().status == 200
    first = reached(caller, one, CALLEE)
    second = two.incoming("INVITE")
    assert first.header("record-route") != second.header("record-route")
    one.reply(first, 180, "Ringing")
    while caller.response(caller.last_branch, provisional=True).status != 180:
        pass  # who has not said a word cannot be cancelled
    two.reply(second, 200, tag="second")
    call = Call.of(caller, two, second, caller.response(caller.last_branch))
    assert one.incoming("CANCEL")
    exchange(call.caller, call.callee, "INFO")
    exchange(call.callee, call.caller, "BYE")
    two.expires = 0
    assert two.register().status == 200


@pytest.mark.parametrize("transports", PAIRS[:2])
def test_2xx_that_comes_again_after_all_is_over(
    phones: Callable[..., tuple[Phone, Phone]], transports: tuple[str, str]
) -> None:
    caller, callee = phones(*transports)
    call = Call.between(caller, callee, CALLEE)
    time.sleep(6)  # the transaction has ended
    callee.reply(call.invite, 200, tag=call.caller.remote.rpartition("=")[2])
    late = caller.response(caller.last_branch)
    assert late.header("contact") == call.answer.header("contact")
    call.caller.says("ACK", cseq=caller.cseq)
    assert callee.incoming("ACK")


def test_subscription_whose_notify_comes_before_the_200(
    phones: Callable[..., tuple[Phone, Phone]],
) -> None:
    caller, callee = phones()
    subscribe = reached(caller, callee, CALLEE, method="SUBSCRIBE", headers=["Event: dialog"])
    theirs = f"{subscribe.header('to')};tag=peer"
    notifier = Side(callee, theirs, subscribe.header("from"), subscribe.header("call-id"))
    notifier.learns(subscribe, backwards=False)
    notifier.says("NOTIFY", headers=("Event: dialog", "Subscription-State: active"))
    notify = caller.incoming("NOTIFY")
    caller.reply(notify, 200)
    assert callee.response(notifier.branch).status == 200
    subscriber = Side(caller, subscribe.header("from"), theirs, subscribe.header("call-id"))
    subscriber.learns(notify, backwards=False)
    assert len(subscriber.routes) == 1
    callee.reply(subscribe, 200)
    answer = caller.response(caller.last_branch)
    assert answer.status == 200
    call = Call.of(caller, callee, subscribe, answer)
    challenge = subscriber.asks("SUBSCRIBE", headers=("Event: dialog",))
    assert challenge.status == 401
    subscriber.says("SUBSCRIBE", answering=challenge)
    assert call.callee.hears("SUBSCRIBE").header("to") == theirs
    exchange(call.callee, call.caller, "NOTIFY")


def test_transfer_with_its_notifies(
    phones: Callable[..., tuple[Phone, Phone]], trunk: Endpoint
) -> None:
    caller, callee = phones()
    call = Call.between(caller, callee, CALLEE)
    consult = Call.between(caller, trunk, NUMBER)
    refer = exchange(
        call.caller, call.callee, "REFER", headers=(f"Refer-To: <{consult.caller.target}>",)
    )
    assert refer.header("record-route")
    exchange(call.callee, call.caller, "NOTIFY", headers=("Event: refer",))
    invite = reached(callee, trunk, consult.caller.target, headers=["Replaces: x;to-tag=1"])
    assert invite.uri == f"sip:{trunk.host}"  # without the mark of the other call
    trunk.reply(invite, 486)
    callee.acknowledge(callee.response(callee.last_branch))
    exchange(call.caller, call.callee, "BYE")


def test_server_may_answer_from_and_be_reached_at_any_address_of_its_ip_group(
    phone: MakePhone, trunk: Endpoint, endpoint: MakeEndpoint
) -> None:
    node = endpoint(OTHER_NODE)
    caller = phone("1001", "secret of 1001")
    invite = reached(caller, trunk, NUMBER)
    trunk.reply(invite, 200, contact=f"Contact: <sip:gw@{node.host}>")
    call = Call.of(caller, trunk, invite, caller.response(caller.last_branch))
    call.caller.says("ACK", cseq=caller.cseq)
    assert node.incoming("ACK").uri == f"sip:gw@{node.host}"
    call.callee.says("INFO", by=node)
    caller.reply(caller.incoming("INFO"), 200)
    assert node.response(call.callee.branch).status == 200
    call.caller.says("BYE")
    node.reply(node.incoming("BYE"), 200)
    assert caller.response(call.caller.branch).status == 200


def test_contact_of_a_server_elsewhere_leads_back_to_the_server(
    phone: MakePhone, trunk: Endpoint, endpoint: MakeEndpoint
) -> None:
    elsewhere = endpoint("127.77.0.1")
    caller = phone("1001", "secret of 1001")
    invite = reached(caller, trunk, NUMBER)
    trunk.reply(invite, 200, contact=f"Contact: <sip:gw@{elsewhere.host}>")
    call = Call.of(caller, trunk, invite, caller.response(caller.last_branch))
    call.caller.says("ACK", cseq=caller.cseq)
    assert trunk.incoming("ACK").uri == f"sip:gw@{elsewhere.host}"
    assert elsewhere.hears_nothing(NOBODY)


def test_server_s_own_record_route_is_followed_to_that_server(
    phone: MakePhone, trunk: Endpoint, endpoint: MakeEndpoint
) -> None:
    proxy = endpoint(OTHER_NODE)
    caller = phone("1001", "secret of 1001")
    invite = reached(caller, trunk, NUMBER)
    own = f"<sip:{proxy.host};lr;x=1>"
    lines = [each for each in invite.headers if each[0] == "record-route"]
    trunk.reply(invite._replace(headers=(("record-route", own), *invite.headers)), 200)
    call = Call.of(caller, trunk, invite, caller.response(caller.last_branch))
    assert len(call.caller.routes) == len(lines) + 1
    call.caller.says("ACK", cseq=caller.cseq)
    assert proxy.incoming("ACK").all("route") == [own]


def test_call_from_a_server_whose_address_fits_a_rule(
    phones: Callable[..., tuple[Phone, Phone]], phone: MakePhone
) -> None:
    _, callee = phones()
    carrier = phone("carrier", "carrier secret", address=OTHER_NODE, local_user="+4930")
    call = Call.between(carrier, callee, CALLEE)
    exchange(call.callee, call.caller, "INFO")
    exchange(call.caller, call.callee, "INFO")
    exchange(call.callee, call.caller, "BYE")


def test_phone_that_moved_and_registered_anew_goes_on(
    phones: Callable[..., tuple[Phone, Phone]], phone: MakePhone
) -> None:
    caller, callee = phones()
    call = Call.between(caller, callee, CALLEE)
    moved = phone("1002", "secret of 1002", address="127.0.9.9")
    assert moved.register().status == 200
    callee.expires = 0
    assert callee.register().status == 200  # the old binding goes
    call.callee.says("INFO", by=moved)
    call.caller.hears("INFO")
    assert moved.response(call.callee.branch).status == 200
    call.caller.says("INFO")
    moved.reply(moved.incoming("INFO"), 200)
    assert caller.response(call.caller.branch).status == 200
    moved.expires = 0
    assert moved.register().status == 200


def test_phone_that_moved_and_did_not_register_proves_its_account(
    phones: Callable[..., tuple[Phone, Phone]], phone: MakePhone
) -> None:
    caller, callee = phones()
    call = Call.between(caller, callee, CALLEE)
    moved = phone("1001", "secret of 1001", address="127.99.0.9")  # of no IP Group
    challenge = call.caller.asks("INVITE", by=moved)
    assert challenge.status == 401
    call.caller.says("INVITE", by=moved, answering=challenge)
    request = call.callee.hears("INVITE")
    assert moved.response(call.caller.branch).status == 200
    call.callee.target = uri_of(request.header("contact"))
    call.callee.says("INFO")
    moved.reply(moved.incoming("INFO"), 200)
    assert callee.response(call.callee.branch).status == 200
    call.caller.says("BYE", by=moved)  # on the seals alone
    call.callee.hears("BYE")
    assert moved.response(call.caller.branch).status == 200


def test_phone_reconnects_in_a_call_and_registers(phone: MakePhone, server: Server) -> None:
    caller = phone("1001", "secret of 1001")
    callee = phone("1002", "secret of 1002", transport="tcp")
    assert callee.register().status == 200
    call = Call.between(caller, callee, CALLEE)
    callee.close()
    again = phone("1002", "secret of 1002", transport="tcp")
    call.callee.says("INFO", by=again)  # before it has registered
    call.caller.hears("INFO")
    assert again.response(call.callee.branch).status == 200
    assert again.register().status == 200
    call.caller.says("INFO")
    again.reply(again.incoming("INFO"), 200)
    assert caller.response(call.caller.branch).status == 200
    again.expires = 0
    assert again.register().status == 200


def test_caller_who_calls_from_another_port_than_it_registered_at(
    phones: Callable[..., tuple[Phone, Phone]], phone: MakePhone
) -> None:
    _, callee = phones()
    registered = phone("1001", "secret of 1001")
    assert registered.register().status == 200
    caller = phone("1001", "secret of 1001")
    call = Call.between(caller, callee, CALLEE)
    exchange(call.callee, call.caller, "INFO")
    assert registered.hears_nothing(NOBODY)
    exchange(call.callee, call.caller, "BYE")


def test_bye_of_a_third_party_ends_nothing(
    phones: Callable[..., tuple[Phone, Phone]], endpoint: MakeEndpoint
) -> None:
    call = Call.between(*phones(), CALLEE)
    stranger = endpoint("127.0.0.77")
    plain = call.caller.target.partition(";sb=")[0]
    assert call.caller.asks("BYE", by=stranger, uri=plain).status == 401
    exchange(call.caller, call.callee, "INFO")
    exchange(call.callee, call.caller, "BYE")


def test_ack_to_a_refusal_of_ours_ends_here_whatever_its_branch(
    phone: MakePhone, trunk: Endpoint
) -> None:
    call = Call.between(strict(phone), trunk, NUMBER)
    side = call.caller
    challenge = side.asks("INVITE")
    assert challenge.status == 407
    side.says("ACK", cseq=side.cseq)  # with a branch of its own
    assert trunk.hears_nothing(NOBODY)
    side.says("INVITE", answering=challenge)
    call.callee.hears("INVITE")
    assert side.phone.response(side.branch).status == 200
    side.says("ACK", cseq=side.cseq)
    assert trunk.incoming("ACK")


@pytest.mark.parametrize("address", ["127.41.0.1", "127.42.0.1"])
def test_who_is_not_asked_here_has_dialogs_without_strangers(
    phone: MakePhone, pbx: Endpoint, endpoint: MakeEndpoint, address: str
) -> None:
    caller = phone("5001", address=address, realm="shadow.example")
    call = Call.between(caller, pbx, "sip:6001@example.com", challenged=False)
    realm = 'realm="shadow.example", nonce="n"'
    mine = f'Authorization: Digest username="u", {realm}, uri="x", response="y"'
    request = exchange(call.caller, call.callee, "INFO", headers=(mine, *ASSERTED))
    assert request.all("authorization")
    assert request.all("p-asserted-identity")
    refresh(call.callee, call.caller)
    field = f"WWW-Authenticate: Digest {realm}"
    call.caller.says("INFO")
    pbx.reply(pbx.incoming("INFO"), 401, "Prove Yourself", headers=[field])
    assert caller.response(call.caller.branch).status == 401
    stranger = endpoint("127.99.0.1")
    assert call.caller.asks("INFO", by=stranger).status == 481
    moved = endpoint(address[:-1] + "9")
    call.caller.says("INFO", by=moved)
    call.callee.hears("INFO")
    assert moved.response(call.caller.branch).status == 200
    exchange(call.callee, call.caller, "BYE")


def test_call_outlives_a_restart_and_a_rotation_of_keys(start_server: StartServer) -> None:
    server = start_server(CONFIG.replace(str(TRUNK[1]), "9").replace(str(PBX[1]), "9"))
    server.add_user("1001", "secret of 1001")
    server.add_user("1002", "secret of 1002")
    with (
        Phone(server, "1001", "secret of 1001") as caller,
        Phone(server, "1002", "secret of 1002", expires=600) as callee,
    ):
        assert callee.register().status == 200
        call = Call.between(caller, callee, CALLEE)
        server.administer("nonce-key", "rotate")
        exchange(call.caller, call.callee, "INFO")
        server.stop()
        server.start()
        exchange(call.callee, call.caller, "INFO")
        refresh(call.caller, call.callee)
        key_file = next(server.folder.glob("*.dialog"))
        key_file.write_text(f"{'ab' * 32}\n{key_file.read_text()}")
        server.administer("reload")
        exchange(call.callee, call.caller, "BYE")
        second = Call.between(caller, callee, CALLEE)  # sealed with the new key
        exchange(second.caller, second.callee, "INFO")
        server.administer("nonce-key", "rotate", "--forget")
        assert second.caller.asks("INFO").status == 481


def test_reinvite_is_never_sent_twice(phones: Callable[..., tuple[Phone, Phone]]) -> None:
    call = Call.between(*phones(), CALLEE)
    raw = call.caller.build("INVITE")
    for _ in range(3):
        call.caller.phone.send(raw)
    call.callee.hears("INVITE")
    assert call.caller.phone.response(call.caller.branch).status == 200
    with pytest.raises(TimeoutError):
        call.callee.phone.incoming("INVITE", patience=0.3)


def test_log_has_no_error_and_names_the_word(server: Server) -> None:
    lines = server.log().splitlines()
    errors = [line for line in lines if "ERROR" in line and "tcp" not in line]
    assert errors == []
