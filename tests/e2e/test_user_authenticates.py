"""User Authenticates against a real registrar: phones register through us, call and are called.

The configurations of both servers are those of docs/user-authenticates.md.
"""

import re
import time
from collections.abc import Callable, Iterator
from secrets import token_hex

import pytest
import sip
from kamailio import Server, StartServer, free_port
from peer import PeerKamailio
from phone import Dialog, Endpoint, MakeEndpoint, MakePhone, Phone
from repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "user-authenticates.md").read_text("utf-8")
REGISTRAR = ("127.32.0.1", free_port())
OTHER = ("127.33.0.1", free_port())
OTHER_GROUP = f"""
  - name: Other
    type: server
    proxy_set: ["sip:{OTHER[0]}:{OTHER[1]}"]
  - name: ElsewhereOne
    type: user
    classification: [{{address: 127.34.0.0/16}}]
    route_to: Other
  - name: Moving
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    shadow: true
    classification: [{{address: 127.36.0.0/16}}]
    route_to: PBX
"""


def of_page(name: str) -> str:
    """Return a file of the page, with addresses of this machine."""
    found = re.search(rf"`{name}`:\n\n```\w*\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    text = found[1].replace("198.51.100.10:5060", ":".join(map(str, REGISTRAR)))
    return text.replace("192.0.2.0/24", "127.31.0.0/16")


CONFIG = of_page("sbcauth.yaml") + OTHER_GROUP
WORKERS = 4
LISTEN = (f"udp:127.0.0.2:{free_port()}",)


@pytest.fixture(scope="module", autouse=True)
def registrar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerKamailio]:
    folder = tmp_path_factory.mktemp("registrar")
    with PeerKamailio(folder, of_page("registrar.cfg"), REGISTRAR) as peer:
        yield peer


@pytest.fixture
def user(phone: Callable[..., Phone]) -> Callable[..., Phone]:
    """Make phones of the IP Group Branch, with the passwords that the registrar knows."""
    return lambda name, **how: phone(name, f"secret-of-{name}", address="127.31.0.1", **how)


def call(caller: Phone, callee: Phone) -> tuple[Dialog, Dialog]:
    """Have `caller` call `callee`; return both sides of the call that stands."""
    uri = callee.uri
    challenge = caller.request("INVITE", uri)
    assert challenge.status == 407
    caller.send(caller.build("INVITE", uri, answering=challenge))
    invite = callee.incoming("INVITE")
    callee.reply(invite, 200)
    answer = caller.response(caller.last_branch)
    assert answer.status == 200
    theirs = Dialog.joined_by(callee, invite)
    ours = Dialog.opened_by(caller, answer)
    ours.acknowledge()
    assert callee.incoming("ACK").header("call-id") == caller.call_id
    return ours, theirs


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_phone_registers_again_and_deregisters(
    user: Callable[..., Phone], server: Server, transport: str
) -> None:
    phone = user("1001", transport=transport)
    assert phone.register().status == 200
    again = phone.register()
    assert (again.status, len(again.all("contact"))) == (200, 1)
    phone.expires = 0
    gone = phone.register()
    assert (gone.status, gone.all("contact")) == (200, [])


def test_wrong_password_is_refused_by_the_registrar_and_counted_by_nobody_here(
    user: Callable[..., Phone], server: Server
) -> None:
    phone = user("1001")
    for _ in range(5):
        challenge = phone.request("REGISTER")
        refused = phone.request("REGISTER", answering=challenge, password="wrong")
        assert refused.status == 401
    assert phone.register().status == 200
    assert "locked" not in server.log()


@pytest.mark.parametrize("caller", ["udp", "tcp"])
@pytest.mark.parametrize("callee", ["udp", "tcp"])
def test_phones_call_each_other_via_the_registrar(
    user: Callable[..., Phone], caller: str, callee: str
) -> None:
    one, two = user("1001", transport=caller), user("1002", transport=callee)
    assert one.register().status == two.register().status == 200
    ours, theirs = call(one, two)
    theirs.send("INFO")
    one.reply(one.incoming("INFO"), 200)
    assert two.response().status == 200
    ours.send("BYE")
    two.reply(two.incoming("BYE"), 200)
    assert one.response().status == 200


def test_many_phones_are_each_reached_by_every_worker(user: Callable[..., Phone]) -> None:
    one = user("1001")
    two = [user("1002") for _ in range(5)]
    assert one.register().status == 200
    for number, phone in enumerate(two):
        phone.expires = 60
        assert phone.register().status == 200
        challenge = one.request("MESSAGE", phone.uri)
        one.send(one.build("MESSAGE", phone.uri, answering=challenge))
        for reached in two[: number + 1]:
            reached.reply(reached.incoming("MESSAGE"), 200)
        assert one.response(one.last_branch).status == 200
    for phone in two:
        phone.expires = 0
        assert phone.register().status == 200


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_phone_behind_an_address_translator_is_called(
    user: Callable[..., Phone], transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = user("1001"), user("1002", transport=transport)
    hidden = f"<sip:1002@10.1.2.3:5062;transport={transport}>"
    monkeypatch.setattr(
        Phone,
        "contact",
        property(lambda self: hidden if self is two else f"<sip:{self.local_user}@{self.host}>"),
    )
    assert one.register().status == two.register().status == 200
    ours, _ = call(one, two)
    ours.send("BYE")
    two.reply(two.incoming("BYE"), 200)
    assert one.response().status == 200
    two.expires = 0
    assert two.register().status == 200


@pytest.fixture
def elsewhere(endpoint: Callable[..., Endpoint]) -> Endpoint:
    """Return the server of the IP Group Other, by a bare socket."""
    return endpoint(OTHER[0], port=OTHER[1])


def path_of(phone: Phone, registrar: Endpoint) -> str:
    """Return the Path that a REGISTER of the phone has when it comes to the registrar."""
    phone.send(phone.build("REGISTER"))
    request = registrar.incoming("REGISTER")
    registrar.reply(request, 200)
    assert phone.response(phone.last_branch).status == 200
    (path,) = request.all("path")
    return path


def along(path: str, sender: Endpoint, method: str = "MESSAGE") -> bytes:
    """Return a request of the sender that goes along a Path, to nobody whom we know."""
    return sip.request(
        method,
        "sip:1001@10.9.9.9",
        "sip:caller@example.com",
        "sip:1001@example.com",
        via=sender.via,
        contact=sender.contact,
        headers=[f"Route: {path}"],
        branch=f"z9hG4bK{token_hex(8)}",
        call_id=token_hex(8),
    )


def socket_of(path: str) -> tuple[str, int]:
    """Return the address and port that a Path leads to."""
    found = re.match(r"<sip:([\d.]+):(\d+)", path)
    assert found
    return found[1], int(found[2])


def test_everything_but_a_proxys_own_header_fields_passes_byte_for_byte(
    phone: MakePhone, elsewhere: Endpoint
) -> None:
    desk = phone(address="127.34.0.1")
    branch = f"z9hG4bK{token_hex(8)}"
    via = f"Via: SIP/2.0/UDP {desk.host};branch={branch};rport"
    lines = [
        "REGISTER sip:ExAmple.com SIP/2.0",
        "user-agent:  odd\tphone/1.0",
        "X-First: \xe9 not UTF-8",
        via,
        'AUTHORIZATION :Digest  username="1001" ,realm="example.com",nonce="a+/=b",'
        'uri="sip:ExAmple.com",response="0123", foo=bar',
        "f: <sip:1001@ExAmple.com>;tag=9",
        "t: <sip:1001@ExAmple.com>",
        f"i: {token_hex(8)}@Phone",
        "cseq:   7   REGISTER",
        f'm: <sip:1001@{desk.host};ob>;q=0.5;+sip.instance="<urn:uuid:1>"',
        'Authorization: Digest username="1001", realm="another", nonce="n", uri="x", response="y"',
        "Expires: 0060",
        "Supported: path, gruu",
        "Max-Forwards: 17",
        "l: 0",
    ]
    desk.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
    raw = elsewhere.receive()
    ours = ("Via: SIP/2.0/UDP 127.0.0.1", "Path: ", "Via: SIP/2.0/UDP 127.34", "Max-Forwards: 16")
    arrived = raw.decode("latin-1").split("\r\n")
    kept = [line for line in arrived if not line.startswith(ours)]
    assert (
        kept == [line for line in lines if not line.startswith(("Via", "Max-Forwards"))] + [""] * 2
    )
    assert [line.split(":")[0] for line in arrived if line.startswith(ours)][1:] == [
        "Via", "Max-Forwards", "Path"
    ]  # fmt: skip

    vias = "\r\n".join(line for line in arrived if line.startswith("Via"))
    answer = [
        'www-authenticate:Digest  realm="example.com",nonce="1" ,algorithm=SHA-256 , x=y',
        "To: <sip:1001@ExAmple.com>;tag=1",
        "From: <sip:1001@ExAmple.com>;tag=9",
        lines[7],
        lines[8],
        'WWW-Authenticate: Basic realm="basic"',
        "Server:  an odd\tregistrar",
        "l: 0",
    ]
    elsewhere.send("\r\n".join(["SIP/2.0 401 Prove  It", vias, *answer, "", ""]).encode())
    back = desk.receive().decode().split("\r\n")
    assert back[0] == "SIP/2.0 401 Prove  It"
    assert [line for line in back[1:] if not line.startswith("Via")] == [*answer, "", ""]


@pytest.mark.parametrize("method", ["MESSAGE", "INVITE", "NOTIFY", "OPTIONS"])
def test_request_that_comes_along_the_path_reaches_the_phone(
    phone: MakePhone, elsewhere: Endpoint, method: str
) -> None:
    desk = phone(address="127.34.0.1")
    elsewhere.send(along(path_of(desk, elsewhere), elsewhere, method))
    request = desk.incoming(method)
    assert not request.all("route")
    desk.reply(request, 486)
    assert elsewhere.response().status == 486


def test_phone_is_reached_from_the_socket_that_it_registered_at(
    phone: MakePhone, elsewhere: Endpoint
) -> None:
    desk = phone(address="127.34.0.1")
    second = ("127.0.0.2", int(LISTEN[0].rpartition(":")[2]))
    desk.send(desk.build("REGISTER"), second)
    register = elsewhere.incoming("REGISTER")
    elsewhere.reply(register, 200)
    desk.response(desk.last_branch)
    path = register.header("path")
    elsewhere.send(along(path, elsewhere), socket_of(path))
    request = desk.incoming("MESSAGE")
    assert request.sender == second
    desk.reply(request, 200)
    assert elsewhere.response().status == 200


def test_proxies_between_us_and_the_phone_stay_on_the_route(
    phone: MakePhone, elsewhere: Endpoint
) -> None:
    desk = phone(address="127.34.0.1")
    path = path_of(desk, elsewhere)
    elsewhere.send(along(f"{path}, <sip:edge.example;lr>", elsewhere))
    request = desk.incoming("MESSAGE")
    assert request.all("route") == ["<sip:edge.example;lr>"]
    desk.reply(request, 200)


def changed(name: str, value: str) -> Callable[[str], str]:
    return lambda path: re.sub(rf";{name}=[^;>]*", value and f";{name}={value}", path)


@pytest.mark.parametrize(
    "forge",
    [
        changed("sig", "0" * 24),
        changed("sig", ""),
        changed("received", "sip:127.34.0.1:4444"),
        changed("received", ""),
        changed("socket", "udp:127.0.0.2:5060"),
        lambda path: f"<sip:127.34.0.1:4444;lr>, {path}",
        lambda _: "<sip:127.0.0.1;lr;received=sip:127.34.0.1:4444;socket=udp:127.0.0.1:5060;sig=>",
        lambda _: "<sip:\x00>",
        lambda path: path.replace("sip:127", "sip:sip:127"),
    ],
)
def test_path_that_we_did_not_sign_leads_nowhere(
    phone: MakePhone, elsewhere: Endpoint, endpoint: MakeEndpoint, forge: Callable[[str], str]
) -> None:
    desk, target = phone(address="127.34.0.1"), endpoint("127.34.0.1", port=4444)
    elsewhere.send(along(forge(path_of(desk, elsewhere)), elsewhere))
    assert elsewhere.response().status in (400, 404)
    assert desk.hears_nothing(0.2)
    assert target.hears_nothing(0.1)


@pytest.mark.parametrize("address", ["127.31.0.9", "127.34.0.9", "127.35.0.9"])
def test_path_of_ours_is_good_for_no_stranger(
    phone: MakePhone, elsewhere: Endpoint, endpoint: MakeEndpoint, address: str
) -> None:
    """Neither for phones, nor for a source that is of no IP Group."""
    desk, stranger = phone(address="127.34.0.1"), endpoint(address)
    path = path_of(desk, elsewhere)
    stranger.send(along(path, stranger))
    if address.startswith("127.35"):
        assert stranger.response().status == 403
    elif address.startswith("127.34"):
        request = elsewhere.incoming("MESSAGE")  # where its IP Group is routed to
        assert not request.all("route")
        elsewhere.reply(request, 404)
        assert stranger.response().status == 404
    else:
        assert stranger.response().status == 407  # by the registrar
    assert desk.hears_nothing(0.2)


def test_path_that_was_signed_for_another_server_group_leads_nowhere(
    phone: MakePhone, endpoint: MakeEndpoint, elsewhere: Endpoint
) -> None:
    """The registrar's Path is no good for the IP Group Other."""
    desk = phone(address="127.34.0.1")
    path = path_of(desk, elsewhere)
    spy = endpoint(REGISTRAR[0])
    spy.send(along(path, spy))  # from the registrar's address: its IP Group
    assert spy.response().status == 404
    assert desk.hears_nothing(0.2)


def test_path_stays_good_over_a_restart(start_server: StartServer) -> None:
    server = start_server(CONFIG)
    with (
        Phone(server, address="127.34.0.1") as phone,
        Endpoint(server, OTHER[0], port=OTHER[1]) as registrar,
    ):
        path = path_of(phone, registrar)
        server.stop()
        server.start()
        registrar.send(along(path, registrar))
        phone.reply(phone.incoming("MESSAGE"), 200)
        assert registrar.response().status == 200


def test_phone_whose_connection_is_gone_cannot_be_called(
    phone: MakePhone, elsewhere: Endpoint
) -> None:
    desk = phone(address="127.34.0.1", transport="tcp")
    path = path_of(desk, elsewhere)
    desk.close()
    elsewhere.send(along(path, elsewhere))
    assert elsewhere.response().status >= 400


def test_phones_in_shadow_register_as_ever_and_the_log_tells_which_would_fail(
    phone: MakePhone, server: Server
) -> None:
    server.add_user("1001", "secret-of-1001", ip_group="Moving")
    server.add_user("1002", "another password", ip_group="Moving")

    def registers(name: str) -> list[tuple[str, ...]]:
        one = phone(name, f"secret-of-{name}", address="127.36.0.1")
        assert one.register().status == 200
        lines = server.outcomes(one.call_id)
        assert {line["decision"] for line in lines} == {"pass"}
        return [(line["shadow"], line["reason"]) for line in lines]

    unproved = ("challenge", "challenged")
    assert registers("1001") == [unproved, ("accept", "accepted")]
    assert registers("1002") == [unproved, ("challenge", "wrong-credentials")]
    server.administer("user", "remove", "1002", "--ip-group", "Moving")
    time.sleep(0.3)
    assert registers("1002") == [unproved, ("challenge", "unknown-user")]
    found = server.administer("status")
    assert "Moving\tunknown-user\t1" in found
