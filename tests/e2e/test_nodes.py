"""Several nodes: a call that comes in at one reaches a phone that registered at another."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from secrets import token_hex

import pytest
from certificates import make_tls_config
from dialogs import Call, Side, reached
from kamailio import wait_for
from log_of_kamailio import check_log, unexpected_errors
from nodes import Cluster, Node
from phone import Endpoint, MakeEndpoint, MakePhone, Phone

CONFIG = """
realm: example.com
auth_challenge_method: auto
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{address: 127.0.0.0/8}]
"""
USERS = {user: f"secret of {user}" for user in ("1001", "1002", "1003")}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    certificate = make_tls_config(folder)
    with Cluster(folder, CONFIG, users=USERS, tls_config=certificate) as cluster:
        yield cluster
        for node in cluster.nodes:
            check_log(node)
            assert not unexpected_errors(node.log())


@pytest.fixture
def phone(cluster: Cluster) -> Iterator[MakePhone]:
    """Make phones of a node, which go on to be registered for a minute."""

    def make(user: str, node: int, transport: str = "udp") -> Phone:
        server = cluster[node]
        home = server.tls if transport == "tls" else 0
        phone = Phone(server, user, USERS[user], transport=transport, home=home)
        return stack.enter_context(phone)

    with ExitStack() as stack:
        yield make
        for user in USERS:
            for node in cluster.nodes:
                node.forget(user)


@pytest.fixture
def endpoint() -> Iterator[MakeEndpoint]:
    with ExitStack() as stack:
        yield lambda node, transport="udp": stack.enter_context(Endpoint(node, transport=transport))


PAIRS = [("udp", "udp"), ("tcp", "udp"), ("udp", "tcp"), ("tcp", "tls"), ("tls", "tcp")]


@pytest.mark.parametrize("transports", PAIRS, ids="-".join)
def test_call_reaches_a_phone_of_another_node_and_both_end_it(
    cluster: Cluster, phone: MakePhone, transports: tuple[str, str]
) -> None:
    caller, callee = phone("1001", 1, transports[0]), phone("1002", 0, transports[1])
    assert caller.register().status == 200
    assert callee.register().status == 200
    assert cluster[1].knows("1002", callee.host)
    assert cluster[0].knows("1001", caller.host)
    call = Call.between(caller, callee, "sip:1002@example.com")
    for side, other in (call.sides(), call.sides()[::-1]):
        challenge = side.asks("INVITE")
        assert challenge.status == 407
        side.says("ACK", cseq=side.cseq, branch=side.branch)
        side.says("INVITE", answering=challenge)
        other.hears("INVITE")
        assert side.phone.response(side.branch).status == 200
        side.says("ACK", cseq=side.cseq)
        assert other.phone.incoming("ACK")
    call.callee.says("BYE")
    call.caller.hears("BYE")
    assert call.callee.phone.response(call.callee.branch).status == 200


SDP = ("Content-Type: application/sdp",)
HOLD = (
    b"v=0\r\no=- 1 2 IN IP4 203.0.113.9\r\ns=-\r\nc=IN IP4 203.0.113.9\r\nt=0 0\r\na=sendonly\r\n"
)


def hold(side: Side, other: Side) -> None:
    """Have one side put the other on hold, at the price of its password."""
    challenge = side.asks("INVITE", body=HOLD, headers=SDP)
    assert challenge.status == 407
    side.says("ACK", cseq=side.cseq, branch=side.branch)
    side.says("INVITE", answering=challenge, body=HOLD, headers=SDP)
    request = other.hears("INVITE")
    assert request.body == HOLD
    assert side.phone.response(side.branch).status == 200
    side.says("ACK", cseq=side.cseq)
    assert other.phone.incoming("ACK")


def exchange(side: Side, other: Side, method: str, **how: object) -> None:
    """Have a request go from one side to the other, and its answer back."""
    side.says(method, **how)
    other.hears(method)
    assert side.phone.response(side.branch).status == 200


def test_hold_and_transfer_between_phones_of_three_nodes(
    cluster: Cluster, phone: MakePhone
) -> None:
    """1001 has 1002 on hold, asks 1003, and has both talk with each other (RFC 5589, 7)."""
    transferor, transferee, target = phone("1001", 1), phone("1002", 0, "tcp"), phone("1003", 2)
    for each in (transferor, transferee, target):
        assert each.register().status == 200
        for node in cluster.nodes:
            assert node.knows(each.username, each.host)
    call = Call.between(transferor, transferee, "sip:1002@example.com")
    for side, other in (call.sides(), call.sides()[::-1]):
        hold(side, other)
    transferor.call_id = f"{token_hex(8)}@consultation"
    consultation = Call.between(transferor, target, "sip:1003@example.com")
    refer_to = f"Refer-To: <{consultation.caller.target}>"
    exchange(call.caller, call.callee, "REFER", headers=(refer_to,))
    exchange(call.callee, call.caller, "NOTIFY", headers=("Event: refer",))
    replaces = f"Replaces: {consultation.caller.call_id};to-tag=1;from-tag=2"
    new = Call.between(transferee, target, consultation.caller.target, headers=[replaces])
    assert new.invite.header("replaces")
    exchange(call.callee, call.caller, "NOTIFY", headers=("Event: refer",))
    exchange(consultation.callee, consultation.caller, "BYE")
    exchange(call.caller, call.callee, "BYE")
    exchange(new.callee, new.caller, "BYE")


@pytest.mark.parametrize(
    "transports", [("udp", "udp"), ("tcp", "udp"), ("udp", "tcp")], ids="-".join
)
def test_caller_alone_gives_up_a_call_to_a_phone_of_another_node(
    cluster: Cluster, phone: MakePhone, transports: tuple[str, str]
) -> None:
    """Who was called sees all that makes a CANCEL, of either node's transaction."""
    home, other = cluster[0], cluster[1]
    caller, callee = phone("1001", 1, transports[0]), phone("1002", 0, transports[1])
    assert caller.register().status == 200
    assert callee.register().status == 200
    assert other.knows("1002", callee.host)
    ringing = reached(caller, callee, "sip:1002@example.com")
    callee.reply(ringing, 180, tag="ringing")
    while caller.response(caller.last_branch, provisional=True).status != 180:
        pass
    cancel = cancel_of(caller.last_sent)
    handed_on = re.sub(rb"Via: [^\r]+", f"Via: {ringing.all('via')[1]}".encode(), cancel)
    with Endpoint(home, address="127.0.0.66") as stranger:
        for raw, node in ((cancel, other), (handed_on, home)):
            stranger.send(raw, ("127.0.0.1", node.port))
            assert wait_for(partial(refuses_to_cancel, node, caller.call_id), 10)
        stranger.send(handed_on, home.private)
        assert wait_for(lambda: "no-node" in home.reasons(caller.call_id), 10)
    assert callee.hears_nothing()
    caller.send(cancel)
    callee.reply(callee.incoming("CANCEL"), 200)
    callee.reply(ringing, 487, tag="ringing")
    seen = sorted(caller.response(caller.last_branch).status for _ in range(2))
    assert seen == [200, 487]


def cancel_of(invite: bytes) -> bytes:
    """Return the CANCEL of an INVITE (RFC 3261, 9.1)."""
    first, *lines = invite.split(b"\r\n\r\n")[0].split(b"\r\n")
    kept = (b"Via", b"Max-Forwards", b"From", b"To", b"Call-ID", b"CSeq")
    lines = [first, *(line for line in lines if line.startswith(kept)), b"Content-Length: 0"]
    return b"\r\n".join([*lines, b"", b""]).replace(b"INVITE", b"CANCEL")


def refuses_to_cancel(node: Node, call_id: str) -> bool:
    return any(
        each["method"] == "CANCEL" and each["status"] == "481" for each in node.outcomes(call_id)
    )


KDMQ = (
    "KDMQ sip:usrloc@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {by};rport;branch=z9hG4bK{branch}\r\n"
    "Max-Forwards: 1\r\nFrom: <sip:usrloc@{claims}>;tag=1\r\nTo: <sip:usrloc@{to}>\r\n"
    "Call-ID: {branch}\r\nCSeq: 1 KDMQ\r\nContent-Type: application/json\r\n"
    "Content-Length: {length}\r\n\r\n{body}"
)
FORGED = (
    '{"action":1,"aor":"1001@example.com","ruid":"uloc-9","c":"sip:1001@127.9.9.9:5060",'
    '"received":"","path":"","callid":"c","user_agent":"","instance":"","expires":4000000000,'
    '"cseq":1,"flags":0,"cflags":0,"q":-1,"last_modified":1,"methods":16383,"reg_id":0,'
    '"server_id":1}'
)


@pytest.mark.parametrize("where", ["private", "public", "public over tcp"])
def test_nobody_but_a_node_tells_who_is_registered(
    cluster: Cluster, endpoint: MakeEndpoint, where: str
) -> None:
    node = cluster[0]
    stranger = endpoint(node, "tcp" if "tcp" in where else "udp")
    to = node.private if where == "private" else ("127.0.0.1", node.port)
    branch = token_hex(8)
    message = KDMQ.format(
        to=f"{to[0]}:{to[1]}", by=stranger.host, branch=branch, body=FORGED, length=len(FORGED),
        claims="{}:{}".format(*cluster[1].private),
    )  # fmt: skip
    if "tcp" in where:
        message = message.replace("SIP/2.0/UDP", "SIP/2.0/TCP")
    stranger.send(message.encode(), to)
    assert stranger.response(branch).status == 403
    assert wait_for(lambda: "no-node" in node.reasons(branch), 10)
    assert not any("127.9.9.9" in each["Address"] for each in node.contacts("1001"))


def test_a_node_says_nothing_else_to_whoever_is_no_node(
    cluster: Cluster, endpoint: MakeEndpoint
) -> None:
    stranger = endpoint(cluster[0])
    branch = token_hex(8)
    request = KDMQ.format(
        to="example.com", by=stranger.host, branch=branch, body="", length=0, claims="x"
    ).replace("KDMQ", "OPTIONS")
    stranger.send(request.encode(), cluster[0].private)
    assert stranger.response(branch).status == 403


def test_a_message_reaches_a_phone_of_another_node(cluster: Cluster, phone: MakePhone) -> None:
    caller, callee = phone("1001", 2), phone("1002", 0, "tcp")
    assert caller.register().status == 200
    assert callee.register().status == 200
    assert cluster[2].knows("1002", callee.host)
    caller.send(caller.build("MESSAGE", "sip:1002@example.com", body=b"hello"))
    message = callee.incoming("MESSAGE")
    assert message.body == b"hello"
    assert message.all("route") == []
    callee.reply(message, 200)
    assert caller.response(caller.last_branch).status == 200


@pytest.mark.parametrize("registrations", [1, 3], ids=["new", "renewed"])
def test_parties_are_told_no_private_address(
    cluster: Cluster, phone: MakePhone, registrations: int
) -> None:
    caller, callee = phone("1001", 1), phone("1002", 0)
    assert caller.register().status == 200
    for _ in range(registrations):
        assert callee.register().status == 200
    assert wait_for(lambda: cluster[1].has_newest(cluster[0], "1002"), 10)
    call = Call.between(caller, callee, "sip:1002@example.com")
    for message in (call.invite, call.answer):
        routes = message.all("record-route")
        told = re.findall(r"127\.0\.0\.1:(\d+)", " ".join(routes))
        assert told == [str(cluster[0].port), str(cluster[1].port)]
        assert "127.0.1." not in "".join(routes) + message.header("contact")
