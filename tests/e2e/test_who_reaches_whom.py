"""Who reaches whom, and who is let in though he hides: edges, emergencies, anonymous callers."""

from contextlib import suppress
from typing import Any

import pytest
import sip
from kamailio import Server, free_port
from phone import Endpoint, MakeEndpoint, MakePhone, Phone, Request

TRUNK, PEER = ("127.61.0.1", free_port()), ("127.62.0.1", free_port())
EDGE = "127.63.0.1"
CONFIG = f"""
realm: a.example
unclassified_requests: drop
emergency: {{numbers: [112, "urn:service:sos"], route_to: Trunk}}
ip_groups:
  - name: A
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    route_to: Trunk
    reaches: [B]
    edge_proxies: [{EDGE}]
    classification: [{{address: 127.0.0.0/16}}]
  - name: B
    type: user
    realm: b.example
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    max_registered_users: 2
    max_contacts: 2
    classification: [{{address: 127.1.0.0/16}}]
  - name: C
    type: user
    realm: c.example
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    route_to: Peer
    classification: [{{address: 127.2.0.0/16, from_host: c.example}}]
  - name: Trunk
    type: server
    proxy_set: ["sip:{TRUNK[0]}:{TRUNK[1]}"]
  - name: Peer
    type: server
    authentication_mode: sbc-as-client
    username_as_client: us
    password_as_client: our secret
    proxy_set: ["sip:{PEER[0]}:{PEER[1]}"]
"""
USERS = {"A/a1": "secret", "A/a2": "secret", "A/a3": "secret"}
USERS |= {f"B/b{number}": "secret" for number in range(1, 4)}
USERS |= {"C/c1": "secret"}
ANYBODY = "sip:anonymous@anonymous.invalid"


@pytest.fixture
def a1(phone: MakePhone) -> Phone:
    return phone("a1", realm="a.example")


@pytest.fixture
def c1(phone: MakePhone) -> Phone:
    return phone("c1", realm="c.example", address="127.2.0.1")


@pytest.fixture
def trunk(endpoint: MakeEndpoint) -> Endpoint:
    return endpoint(TRUNK[0], port=TRUNK[1])


def call(caller: Phone, uri: str, callee: Endpoint, **how: Any) -> Request:
    """Call with the right password; return the INVITE as the callee has it, which is busy."""
    challenge = caller.request("INVITE", uri, **how)
    caller.send(caller.build("INVITE", uri, answering=challenge, **how))
    invite = callee.incoming("INVITE")
    callee.reply(invite, 486, "Busy Here")
    busy = caller.response(caller.last_branch)
    assert busy.status == 486
    caller.acknowledge(busy)
    return invite


# -- realms


def test_realm_is_reached_where_it_says_so_and_no_other(
    phone: MakePhone, a1: Phone, c1: Phone
) -> None:
    b1 = phone("b1", realm="b.example", address="127.1.0.1")
    assert a1.register().status == b1.register().status == c1.register().status == 200
    call(a1, b1.uri, b1)
    challenge = b1.request("INVITE", a1.uri)
    assert b1.request("INVITE", a1.uri, answering=challenge).status == 404
    assert a1.hears_nothing(0.1)


def test_trunk_reaches_the_users_who_are_routed_to_it_alone(
    phone: MakePhone, a1: Phone, c1: Phone, trunk: Endpoint
) -> None:
    assert a1.register().status == c1.register().status == 200

    def sent_to(uri: str) -> None:
        trunk.send(
            sip.request(
                "MESSAGE", uri, "sip:x@carrier.example", via=trunk.via, branch="z9hG4bK" + uri
            )
        )

    sent_to("sip:a1@127.0.0.1")
    a1.reply(a1.incoming("MESSAGE"), 200)
    assert trunk.response().status == 200
    sent_to("sip:c1@c.example")
    assert trunk.response().status == 404
    assert c1.hears_nothing(0.1)


def test_contact_that_is_called_is_reached_and_no_other_phone_of_the_user(
    phone: MakePhone, a1: Phone
) -> None:
    desks = [phone("a3", realm="a.example", local_user="a3") for _ in range(2)]
    odd = phone("a3", realm="a.example")
    for each in desks:
        assert each.register().status == 200
    challenge = odd.request("REGISTER")
    raw = odd.build("REGISTER", answering=challenge)
    odd.send(raw.replace(b"Contact: <sip:a3@", b"Contact: <sip:x7@"))
    assert odd.response(odd.last_branch).status == 200
    call(a1, f"sip:a3@{desks[0].host}", desks[0])
    assert desks[1].hears_nothing(0.1)
    call(a1, f"sip:x7@{odd.host}", odd)
    stranger = phone("b1", realm="b.example", address="127.1.0.9")
    challenge = stranger.request("INVITE", f"sip:x7@{odd.host}")
    refused = stranger.request("INVITE", f"sip:x7@{odd.host}", answering=challenge)
    assert refused.status == 404
    for each in (*desks, odd):
        each.expires = 0
        each.register()


# -- limits of registrations


def test_no_more_users_than_may_register(phone: MakePhone) -> None:
    b1, b2, b3 = (phone(f"b{n}", realm="b.example", address="127.1.0.2") for n in (1, 2, 3))
    assert b1.register().status == b2.register().status == 200
    assert b1.register().status == 200
    assert b3.register().status == 403
    b2.expires = 0
    assert b2.register().status == 200
    assert b3.register().status == 200
    for each in (b1, b3):
        each.expires = 0
        each.register()


def test_third_contact_takes_the_place_of_the_first_where_two_may_be(phone: MakePhone) -> None:
    for _ in range(3):
        last = phone("b1", realm="b.example", address="127.1.0.3")
        reply = last.register()
        assert reply.status == 200
        kept = ", ".join(reply.all("contact"))
        assert last.host in kept
        assert kept.count("<sip:") <= 2


# -- emergency


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_anybody_who_is_classified_calls_for_help(
    phone: MakePhone, trunk: Endpoint, transport: str, server: Server
) -> None:
    caller = phone("nobody", realm="a.example", address="127.0.4.1", transport=transport)
    caller.send(caller.build("INVITE", "sip:112@a.example"))
    invite = trunk.incoming("INVITE")
    trunk.reply(invite, 486, "Busy Here")
    busy = caller.response(caller.last_branch)
    assert busy.status == 486
    caller.acknowledge(busy)
    assert server.reasons(caller.call_id) == ["emergency"]


def test_emergency_calls_are_limited_in_rate(phone: MakePhone, trunk: Endpoint) -> None:
    caller = phone("nobody", realm="a.example", address="127.0.4.9")
    statuses = set()
    for _ in range(25):  # in two minutes at most
        caller.send(caller.build("INVITE", "sip:112@a.example"))
        reply = None
        while reply is None:
            with suppress(TimeoutError):
                trunk.reply(trunk.incoming("INVITE", patience=0.05), 486, "Busy Here")
            with suppress(TimeoutError):
                reply = caller.response(caller.last_branch, patience=0.2)
        caller.acknowledge(reply)
        statuses.add(reply.status)
    assert statuses == {486, 401}


def test_other_numbers_are_none_for_emergencies(phone: MakePhone, trunk: Endpoint) -> None:
    caller = phone("nobody", realm="a.example")
    assert caller.request("INVITE", "sip:1120@a.example").status == 401
    assert trunk.hears_nothing(0.1)


# -- anonymous callers


@pytest.mark.parametrize("hidden", [ANYBODY, "sip:anonymous@a.example", "sip:a2@anonymous.invalid"])
def test_call_of_who_hides_is_his_own_with_his_password(
    a1: Phone, trunk: Endpoint, hidden: str
) -> None:
    invite = call(a1, "sip:+15550001@a.example", trunk, from_uri=hidden)
    assert hidden in invite.header("from")


def test_name_of_another_is_not_hidden(a1: Phone) -> None:
    challenge = a1.request("INVITE", "sip:1@a.example", from_uri="sip:a2@a.example")
    refused = a1.request(
        "INVITE", "sip:1@a.example", from_uri="sip:a2@a.example", answering=challenge
    )
    assert refused.status == 403


def test_who_hides_is_known_by_preferred_identity_by_whom_he_calls_or_by_his_flow(
    c1: Phone, server: Server
) -> None:
    preferred = ["P-Preferred-Identity: <sip:c1@c.example>"]
    here = f"sip:1@127.0.0.1:{server.port}"
    assert c1.request("INVITE", here, from_uri=ANYBODY, headers=preferred).status == 401
    assert c1.request("INVITE", "sip:1@c.example", from_uri=ANYBODY).status == 401
    c1.send(c1.build("INVITE", here, from_uri=ANYBODY))
    assert c1.hears_nothing(0.3)  # nobody knows who it is
    assert c1.register().status == 200
    assert c1.request("INVITE", here, from_uri=ANYBODY).status == 401


# -- edge proxies


def by_edge(edge: Endpoint, phone: Phone, raw: bytes, *headers: str) -> None:
    """Have an edge proxy relay a phone's request."""
    first, _, rest = raw.decode().partition("\r\n")
    own = [f"Via: SIP/2.0/UDP {edge.host};branch=z9hG4bKedge{phone.last_branch[-9:]}", *headers]
    text = "\r\n".join([first, *own, rest])
    told = f"branch={phone.last_branch};received={phone.address};rport={phone.port}"
    edge.send(text.replace(f"rport;branch={phone.last_branch}", told).encode())


def test_phone_behind_an_edge_proxy_registers_and_is_called(
    phone: MakePhone, endpoint: MakeEndpoint, a1: Phone, server: Server
) -> None:
    edge, a2 = endpoint(EDGE), phone("a2", realm="a.example", address="127.64.0.1")
    path = f"Path: <sip:{edge.host};lr>"
    by_edge(edge, a2, a2.build("REGISTER"), path)
    challenge = edge.response()
    assert challenge.status == 401
    raw = a2.build("REGISTER", answering=challenge, headers=["Supported: path"])
    by_edge(edge, a2, raw, path)
    reply = edge.response()
    assert (reply.status, reply.header("path")) == (200, path.partition(": ")[2])
    sources = {line["source"] for line in server.outcomes(a2.call_id)}
    assert sources == {f"127.64.0.1:{a2.port}/udp"}
    invite = call(a1, a2.uri, edge)
    assert edge.host in invite.header("route")
    by_edge(edge, a2, a2.build("MESSAGE", a1.uri))
    assert edge.response().status == 403  # never by the flow of an edge proxy
    a2.expires = 0
    by_edge(edge, a2, a2.build("REGISTER", answering=challenge, nc=2), path)
    edge.response()


# -- SBC as Client


@pytest.mark.parametrize("realm", ["a.example", "c.example", "peer.example"])
@pytest.mark.parametrize("ours", [True, False])
def test_peer_gets_no_answer_to_our_own_challenge(
    c1: Phone, phone: MakePhone, endpoint: MakeEndpoint, realm: str, ours: bool
) -> None:
    peer = endpoint(PEER[0], port=PEER[1])
    own = phone("a1", realm="a.example").request("INVITE", "sip:1@a.example").challenges[0]
    nonce = own.nonce if ours else "another"
    uri = "sip:+15550001@c.example"
    challenge = c1.request("INVITE", uri)
    c1.send(c1.build("INVITE", uri, answering=challenge))
    invite = peer.incoming("INVITE")
    asked = f'Proxy-Authenticate: Digest realm="{realm}", nonce="{nonce}", algorithm=MD5'
    peer.reply(invite, 407, "Prove It", [asked])
    peer.incoming("ACK")
    if realm == "peer.example" and not ours:
        again = peer.incoming("INVITE")
        assert again.header("proxy-authorization").startswith('Digest username="us"')
        peer.reply(again, 486, "Busy Here")
    else:
        assert peer.hears_nothing(0.3)
    reply = c1.response(c1.last_branch)
    assert nonce not in "".join(reply.all("proxy-authenticate")) or not ours
    c1.acknowledge(reply)


# -- nothing at all for who is of no IP Group


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_stranger_hears_nothing_whatever_is_wrong(phone: MakePhone, transport: str) -> None:
    stranger = phone("a1", realm="a.example", address="127.99.0.1", transport=transport)
    raw = stranger.build("OPTIONS")
    for wrong in (
        raw,
        raw.replace(b"Max-Forwards: 70", b"Max-Forwards: 0"),
        raw.replace(b"Max-Forwards: 70", b"Max-Forwards: 70\r\nProxy-Require: foo"),
        raw.replace(b"CSeq: 1 OPTIONS", b"CSeq: 1 INVITE"),
        stranger.build("CANCEL"),
        stranger.build("BYE", to_tag="x"),
        stranger.build("REGISTER"),
    ):
        stranger.send(wrong)
    assert stranger.hears_nothing(0.4)
