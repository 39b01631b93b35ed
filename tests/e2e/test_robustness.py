"""Whatever bytes arrive, there is a correct answer and no worker is lost (SPEC 3, step 9)."""

import random
from collections.abc import Callable, Iterator

import pytest
import sip
from kamailio import Server
from phone import MakeEndpoint, MakePhone, Phone
from sip import Response

CONFIG = """
realm: example.com
max_auth_attempts: 100
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
    username_as_server: "1001"
    password_as_server: secret
    classification: [{address: 127.0.0.0/16}]
"""


@pytest.fixture
def phone(phone: MakePhone) -> Phone:
    return phone(expires=0)


@pytest.fixture
def field(phone: Phone) -> str:
    """The header field that gets a REGISTER in, once."""
    challenge = phone.request("REGISTER").challenges[0]
    return sip.answer(challenge, "REGISTER", phone.registrar, "1001", "secret")


@pytest.fixture(autouse=True)
def still_well(server: Server, phone: Phone) -> Iterator[None]:
    """After each test all processes are there, and right credentials get in."""
    processes = server.processes()
    yield
    assert processes <= server.processes()
    assert phone.register().status == 200


def send(phone: Phone, raw: bytes) -> Response:
    """Send these bytes in place of the request that they were made from; return the answer."""
    phone.send(raw)
    return phone.response(phone.last_branch)


NO_UTF_8 = [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"caf\xe9"]


@pytest.mark.parametrize("junk", NO_UTF_8)
@pytest.mark.parametrize("place", ["username", "realm", "nonce", "uri", "cnonce"])
def test_bytes_that_are_not_utf_8_in_credentials_are_answered(
    phone: Phone, field: str, place: str, junk: bytes
) -> None:
    raw = phone.build("REGISTER", headers=[field])
    raw = raw.replace(b" " + place.encode() + b'="', b" " + place.encode() + b'="' + junk)
    assert send(phone, raw).status in (400, 401, 403)


@pytest.mark.parametrize("junk", NO_UTF_8)
def test_right_credentials_with_a_user_name_that_is_not_utf_8_are_hashed_as_sent(
    phone: Phone, junk: bytes
) -> None:
    """The response is over bytes: the user is unknown, but nothing breaks."""
    name = junk.decode("utf-8", "surrogateescape")
    assert phone.register(username=name).status == 401


@pytest.mark.parametrize("junk", NO_UTF_8)
@pytest.mark.parametrize("header", ["Call-ID: ", "From: <sip:", "To: <sip:", "User-Agent: x"])
def test_bytes_that_are_not_utf_8_elsewhere_do_no_harm(
    phone: Phone, field: str, header: str, junk: bytes
) -> None:
    raw = phone.build("REGISTER", headers=[field, "User-Agent: x"])
    assert send(phone, raw.replace(header.encode(), header.encode() + junk)).status in (
        200,
        400,
        401,
        403,
    )


@pytest.mark.parametrize("junk", NO_UTF_8)
def test_method_that_is_not_utf_8_is_answered(phone: Phone, junk: bytes) -> None:
    raw = phone.build("OPTIONS").replace(b"OPTIONS", b"OPT" + junk + b"IONS")
    assert send(phone, raw).status < 500


@pytest.mark.parametrize("junk", NO_UTF_8)
def test_request_uri_that_is_not_utf_8_is_answered(phone: Phone, junk: bytes) -> None:
    uri = f"sip:{junk.decode('utf-8', 'surrogateescape')}@example.com"
    assert phone.authenticate("MESSAGE", uri).status in (400, 404)


@pytest.mark.parametrize("place", ["username", "realm", "nonce", "uri", "response", "cnonce"])
def test_nul_in_credentials_is_answered(phone: Phone, field: str, place: str) -> None:
    raw = phone.build("REGISTER", headers=[field])
    raw = raw.replace(place.encode() + b'="', place.encode() + b'="\x00')
    assert send(phone, raw).status in (400, 401, 403)


@pytest.mark.parametrize(
    "injected",
    [
        "%0d%0aX-Injected: yes",
        "\\\r\\\nX-Injected: yes",
        "\r\n X-Injected: yes",
        "\nX-Injected: yes",
        "\rX-Injected: yes",
        '\\"\r\n\tX-Injected: yes',
    ],
)
@pytest.mark.parametrize("place", ["username", "realm", "nonce", "opaque"])
def test_line_breaks_reach_neither_the_reply_nor_the_log(
    phone: Phone, server: Server, field: str, place: str, injected: str
) -> None:
    before = server.log_size()
    text = f'{field}, opaque="x"'.replace(f'{place}="', f'{place}="{injected}')
    phone.send(phone.build("REGISTER", headers=[text]))
    reply = phone.response(phone.last_branch)
    assert reply.status in (200, 400, 401, 403)
    assert not any("injected" in name for name, _ in reply.headers)
    for line in server.log(before).splitlines():
        assert not line.lstrip().startswith("X-Injected")


@pytest.mark.parametrize("length", [100, 1000, 4000, 30_000])
@pytest.mark.parametrize("place", ["username", "realm", "nonce", "uri", "response", "cnonce"])
def test_overlong_values_are_answered_and_cut_in_the_log(
    phone: Phone, server: Server, field: str, place: str, length: int
) -> None:
    before = server.log_size()
    text = field.replace(f'{place}="', f'{place}="' + "a" * length)
    phone.send(phone.build("REGISTER", headers=[text]))
    assert phone.response(phone.last_branch).status in (400, 401, 403)
    assert "a" * 100 not in server.log(before)


@pytest.mark.parametrize("header", ["From: <sip:", "To: <sip:", "Call-ID: "])
def test_overlong_names_are_cut_in_the_log(phone: Phone, server: Server, header: str) -> None:
    before = server.log_size()
    raw = phone.build("REGISTER").replace(header.encode(), header.encode() + b"b" * 1000)
    assert send(phone, raw).status in (400, 401)
    assert "b" * 100 not in server.log(before)


@pytest.mark.parametrize("count", [1, 7, 8, 20, 300])
def test_many_authorization_headers_are_answered(phone: Phone, field: str, count: int) -> None:
    others = ['Authorization: Digest username="x", realm="other", nonce="", uri="", response="0"']
    assert phone.request("REGISTER", headers=others * count + [field]).status in (200, 401)


@pytest.mark.parametrize("empty", ["Authorization:", "Authorization: ", "Authorization: Digest"])
def test_empty_authorization_before_the_right_one_does_not_hide_it(
    phone: Phone, field: str, empty: str
) -> None:
    assert phone.request("REGISTER", headers=[empty, field]).status == 200


def test_folded_header_field_is_read_as_one_line(phone: Phone, field: str) -> None:
    folded = field.replace(", ", ",\r\n  ")
    assert phone.request("REGISTER", headers=[folded]).status == 200


@pytest.mark.parametrize(
    "spelled",
    [
        lambda field: field.replace("Authorization:", "AUTHORIZATION  :"),
        lambda field: field.replace("Digest ", "dIGEST   "),
        lambda field: field.replace(", ", ","),
        lambda field: field.replace(", ", "  ,  "),
        lambda field: field.replace("qop=auth", 'qop="auth"').replace("nc=", "NC="),
        lambda field: field.replace("algorithm=MD5", 'algorithm="md5"'),
        lambda field: field + ', unknown="x,y=\\"z", other=1',
        lambda field: "Authorization: Digest " + ", ".join(
            reversed(field.removeprefix("Authorization: Digest ").split(", "))
        ),
    ],
)  # fmt: skip
def test_every_legal_spelling_gets_in(
    phone: Phone, field: str, spelled: Callable[[str], str]
) -> None:
    assert phone.request("REGISTER", headers=[spelled(field)]).status == 200


def test_method_that_nobody_knows_is_answered(phone: Phone) -> None:
    assert phone.request("FROBNICATE").status == 403


def test_random_credentials_are_always_answered(phone: Phone, field: str) -> None:
    """Bytes of right credentials are changed, dropped and doubled; the seed is fixed."""
    chance = random.Random(7616)  # noqa: S311 - the same bytes in every run
    name, _, value = field.partition(": ")
    for _ in range(150):
        raw = bytearray(value.encode())
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(raw))
            raw[place : place + chance.randint(0, 3)] = bytes(
                chance.choice(b'",=\\ \xff\x00%aZ0;') for _ in range(chance.randint(0, 3))
            )
        mark = f"{name}: @@@"
        built = phone.build("REGISTER", headers=[mark])
        reply = send(phone, built.replace(b"@@@", bytes(raw)))
        assert reply.status in (200, 400, 401, 403), bytes(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00" * 100,
        b"\r\n\r\n",
        b"REGISTER",
        b"REGISTER sip:example.com SIP/2.0\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
        bytes(range(256)) * 100,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_sip_does_no_harm(phone: Phone, raw: bytes) -> None:
    phone.send(raw)


def test_junk_over_tcp_does_no_harm(endpoint: MakeEndpoint) -> None:
    for raw in (b"\x00" * 5000, b"REGISTER sip:x SIP/2.0\r\nContent-Length: 999999999\r\n\r\n"):
        endpoint("127.0.0.1", "tcp").send(raw)
