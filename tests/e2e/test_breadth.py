"""How many phones one request may go to at once, and what would go round (RFC 5393)."""

import socket
import struct
from collections.abc import Callable

import pytest
from kamailio import Server, wait_for
from phone import Phone
from sip import Response

USERS = {"1001": "secret", "1002": "secret", "1003": "secret"}
CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{address: 127.0.0.0/8}]
"""


@pytest.fixture
def phones(phone: Callable[..., Phone]) -> tuple[Phone, Phone, Phone]:
    """Return a caller, and the two phones of the user 1002."""
    caller, one, other = phone("1001"), phone("1002"), phone("1002")
    for each in (caller, one, other):
        assert each.register().status == 200
    return caller, one, other


def sent(caller: Phone, method: str, *said: str, to: str = "1002") -> str:
    """Send a request that has a word; returns its branch."""
    uri = f"sip:{to}@example.com"
    answering = caller.request(method, uri) if method == "INVITE" else None
    caller.send(caller.build(method, uri, answering=answering, headers=said))
    return caller.last_branch


def hang_up(phone: Phone) -> None:
    """Have nothing kept at a user but what other tests register."""
    phone.expires = 0
    assert phone.register().status == 200


@pytest.mark.parametrize(
    ("method", "said", "share"),
    [
        ("MESSAGE", (), "30"),
        ("MESSAGE", ("max-breadth :2",), "1"),
        ("INVITE", ("Max-Breadth: 7",), "3"),
    ],
)
def test_phones_share_the_breadth(
    phones: tuple[Phone, Phone, Phone], method: str, said: tuple[str, ...], share: str
) -> None:
    caller, *called = phones
    branch = sent(caller, method, *said)
    for each in called:
        request = each.incoming(method)
        assert request.all("max-breadth") == [share]
        each.reply(request, 486)
    assert caller.response(branch).status == 486
    for each in called:
        hang_up(each)


@pytest.mark.parametrize(
    ("method", "breadth"), [("INVITE", "1"), ("MESSAGE", "0"), ("MESSAGE", "x")]
)
def test_request_that_may_not_go_to_all_goes_to_none(
    phones: tuple[Phone, Phone, Phone], method: str, breadth: str
) -> None:
    caller, *called = phones
    branch = sent(caller, method, f"Max-Breadth: {breadth}")
    assert caller.response(branch).status == 440
    for each in called:
        assert each.hears_nothing(0.2)
        hang_up(each)


def test_one_phone_is_called_with_all_of_the_breadth(phone: Callable[..., Phone]) -> None:
    caller, called = phone("1001"), phone("1003")
    for each in (caller, called):
        assert each.register().status == 200
    for said, left in (("1", ["1"]), ("9", ["9"]), ("", [])):
        headers = [f"Max-Breadth: {said}"] if said else []
        branch = sent(caller, "MESSAGE", *headers, to="1003")
        request = called.incoming("MESSAGE")
        assert request.all("max-breadth") == left
        called.reply(request, 200)
        assert caller.response(branch).status == 200
    branch = sent(caller, "MESSAGE", "Max-Breadth: 0", to="1003")
    assert caller.response(branch).status == 440


def test_stranger_is_not_told_of_breadth(phone: Callable[..., Phone]) -> None:
    stranger = phone("1001", "guess", address="127.0.0.9")
    for method, status in (("INVITE", 401), ("MESSAGE", 403)):
        answer = stranger.request(method, "sip:1002@example.com", headers=["Max-Breadth: 0"])
        assert answer.status == status


def test_nobody_registers_at_the_server_s_own_address(
    server: Server, phone: Callable[..., Phone]
) -> None:
    """Calls to him would come round, as often as he has Contacts: a source can be forged."""
    there = phone("1001")
    challenge: Response = there.request("REGISTER")
    before = server.administer("registered")
    raw = there.build("REGISTER", answering=challenge)
    own = f"127.0.0.1:{server.port}"
    raw = raw.replace(there.host.encode(), own.encode())
    for _ in range(2):
        from_address(("127.0.0.1", server.port), ("127.0.0.1", server.port), raw)
    assert wait_for(lambda: "bad-registration" in server.reasons(there.call_id))
    assert own not in server.administer("registered").replace(before, "")


def from_address(source: tuple[str, int], to: tuple[str, int], payload: bytes) -> None:
    """Send a datagram with a source address that is not ours to have."""
    header = struct.pack("!HHHH", source[1], to[1], 8 + len(payload), 0)  # no checksum
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        raw.bind((source[0], 0))
        raw.sendto(header + payload, (to[0], 0))
