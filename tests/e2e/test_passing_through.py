"""What the next hop sees: User Authenticates is no party, SBC as Server takes its own away."""

import pytest
import sip
from kamailio import free_port
from phone import Dialog, Endpoint, MakeEndpoint, MakePhone
from sip import Challenge

PEER = ("127.20.0.1", free_port())
PEER_URI = f"sip:{PEER[0]}:{PEER[1]}"
CONFIG = f"""
realm: example.com
ip_groups:
  - name: Transparent
    type: user
    route_to: Peer
    classification: [{{address: 127.21.0.0/16}}]
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
    auth_challenge_method: auto
    route_to: Peer
    username_as_server: "1001"
    password_as_server: secret
    classification: [{{address: 127.22.0.0/16}}]
  - name: SetupOnly
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [setup-invite]
    route_to: Peer
    username_as_server: "1001"
    password_as_server: secret
    classification: [{{address: 127.23.0.0/16}}]
  - name: NoMethods
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: []
    user_security_mode: accept-all
    route_to: Peer
    classification: [{{address: 127.24.0.0/16}}]
  - name: Peer
    type: server
    proxy_set: ["{PEER_URI}"]
"""
OURS = sip.Challenge("WWW-Authenticate", "example.com", "a-nonce", qop=("auth",))
THEIRS = sip.Challenge("WWW-Authenticate", "peer.example", "their-nonce", qop=("auth-int",))
BASIC = "Authorization: Basic  dXNlcjpwYXNz"


@pytest.fixture
def peer(endpoint: MakeEndpoint) -> Endpoint:
    return endpoint(PEER[0], port=PEER[1])


def credentials(challenge: Challenge, header: str = "Authorization") -> str:
    field = sip.answer(challenge, "MESSAGE", "sip:1@example.com", "1001", "whatever")
    return f"{header}: {field.partition(': ')[2]}"


@pytest.mark.parametrize("method", ["REGISTER", "MESSAGE", "SUBSCRIBE", "PUBLISH"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_user_authenticates_passes_credentials_untouched(
    phone: MakePhone, peer: Endpoint, method: str, transport: str
) -> None:
    desk = phone(address="127.21.0.1", transport=transport)
    fields = [
        credentials(OURS),
        credentials(THEIRS),
        BASIC,
        credentials(OURS, "Proxy-Authorization"),
        credentials(THEIRS, "Proxy-Authorization").replace(", ", "  ,\t"),
    ]
    desk.send(desk.build(method, "sip:1002@example.com", headers=fields))
    request = peer.incoming(method)
    for name in ("Authorization", "Proxy-Authorization"):
        sent = [
            value for found, _, value in (each.partition(": ") for each in fields) if found == name
        ]
        assert request.all(name) == [value.strip() for value in sent]
    peer.reply(request, 200)
    assert desk.response(desk.last_branch).status == 200


@pytest.mark.parametrize(("status", "header"), [(401, "WWW"), (407, "Proxy")])
def test_user_authenticates_passes_the_peers_challenge_untouched(
    phone: MakePhone, peer: Endpoint, status: int, header: str
) -> None:
    desk = phone(address="127.21.0.2")
    challenges = [
        f'{header}-Authenticate: Digest realm="peer.example", nonce="a+/=b", algorithm=SHA-256',
        f'{header}-Authenticate: Digest  realm="peer.example",nonce="c", algorithm=MD5, foo=bar',
    ]
    desk.send(desk.build("REGISTER"))
    request = peer.incoming("REGISTER")
    peer.reply(request, status, "Prove It", challenges)
    reply = desk.response(desk.last_branch)
    assert (reply.status, reply.phrase) == (status, "Prove It")
    assert reply.all(f"{header}-Authenticate") == [each.partition(": ")[2] for each in challenges]
    desk.send(desk.build("REGISTER", answering=reply))
    request = peer.incoming("REGISTER")
    answer = request.header("Authorization" if status == 401 else "Proxy-Authorization")
    assert answer in desk.last_sent.decode()
    assert 'nonce="a+/=b"' in answer
    peer.reply(request, 200)
    assert desk.response(desk.last_branch).status == 200


def test_users_own_call_through_a_challenge_of_the_peer(phone: MakePhone, peer: Endpoint) -> None:
    desk = phone(address="127.21.0.3")
    desk.send(desk.build("INVITE", "sip:1002@example.com"))
    invite = peer.incoming("INVITE")
    peer.reply(invite, 407, headers=['Proxy-Authenticate: Digest realm="peer.example", nonce="n"'])
    reply = desk.response(desk.last_branch)
    desk.acknowledge(reply)
    assert peer.incoming("ACK").header("cseq") == "1 ACK"
    desk.send(desk.build("INVITE", "sip:1002@example.com", answering=reply))
    invite = peer.incoming("INVITE")
    assert 'realm="peer.example"' in invite.header("Proxy-Authorization")
    peer.reply(invite, 486, "Busy Here")
    reply = desk.response(desk.last_branch)
    assert reply.status == 486
    desk.acknowledge(reply)


@pytest.mark.parametrize("others_first", [True, False])
def test_credentials_for_our_realm_are_removed_and_others_kept(
    phone: MakePhone, peer: Endpoint, others_first: bool
) -> None:
    desk = phone(address="127.22.0.1")
    uri = "sip:1002@example.com"
    challenge = desk.request("MESSAGE", uri).challenges[0]
    ours = sip.answer(challenge, "MESSAGE", uri, "1001", "secret")
    others = [
        credentials(THEIRS, "Proxy-Authorization"),
        credentials(THEIRS).replace("1001", "caf\udce9 \u00e9"),
        BASIC,
    ]
    also_ours = credentials(OURS)
    fields = [*others, ours, also_ours] if others_first else [ours, also_ours, *others]
    desk.send(desk.build("MESSAGE", uri, headers=fields))
    request = peer.incoming("MESSAGE")
    kept = [each.partition(":")[2].strip() for each in others]
    assert request.all("Proxy-Authorization") == kept[:1]
    assert request.all("Authorization") == kept[1:]
    peer.reply(request, 200)
    assert desk.response(desk.last_branch).status == 200


def test_accepted_registration_stays_here(phone: MakePhone, peer: Endpoint) -> None:
    desk = phone(address="127.22.0.2")
    assert desk.register().status == 200
    assert peer.hears_nothing()


def test_setup_invite_challenges_initial_invites_only(phone: MakePhone, peer: Endpoint) -> None:
    desk = phone(address="127.23.0.1")
    uri = "sip:1002@example.com"
    assert desk.request("MESSAGE", uri).status == 403
    challenge = desk.request("INVITE", uri)
    assert challenge.status == 401
    desk.send(desk.build("INVITE", uri, answering=challenge))
    invite = peer.incoming("INVITE")
    assert not invite.all("Authorization")
    peer.reply(invite, 200)
    answer = desk.response(desk.last_branch)
    dialog = Dialog.opened_by(desk, answer)
    dialog.acknowledge()
    assert peer.incoming("ACK").uri == peer.contact.strip("<>")
    dialog.send("INVITE")
    peer.reply(peer.incoming("INVITE"), 200)
    assert desk.response().status == 200


def test_invite_on_the_list_challenges_re_invites_too(phone: MakePhone, peer: Endpoint) -> None:
    desk = phone(address="127.22.0.3")
    uri = "sip:1002@example.com"
    challenge = desk.request("INVITE", uri)
    desk.send(desk.build("INVITE", uri, answering=challenge))
    peer.reply(peer.incoming("INVITE"), 200)
    answer = desk.response(desk.last_branch)
    dialog = Dialog.opened_by(desk, answer)
    dialog.acknowledge()
    peer.incoming("ACK")
    dialog.send("INVITE")
    challenge = desk.response()
    assert challenge.status == 407
    dialog.send("INVITE", answering=challenge)
    peer.reply(peer.incoming("INVITE"), 200)
    assert desk.response().status == 200


def test_empty_method_list_challenges_nothing(phone: MakePhone, peer: Endpoint) -> None:
    desk = phone(address="127.24.0.1")
    desk.send(desk.build("MESSAGE", "sip:1002@example.com", headers=[credentials(THEIRS)]))
    request = peer.incoming("MESSAGE")
    assert len(request.all("Authorization")) == 1
    peer.reply(request, 200)
    assert desk.response(desk.last_branch).status == 200
