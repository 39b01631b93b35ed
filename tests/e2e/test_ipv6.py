"""What nobody proves goes nowhere over IPv6 either, however its addresses are spelled."""

from collections.abc import Callable

import pytest
import sip
from dialogs import Call
from kamailio import free_port
from phone import MakePhone, Phone

HOME = free_port()
LISTEN = [f"udp:[::1]:{HOME}", f"tcp:[::1]:{HOME}"]
CONFIG = """
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{address: "::1"}]
"""
USERS = {"1001": "secret1001", "1002": "secret1002", "1003": "secret1003"}
BOTH = pytest.mark.parametrize("transport", ["udp", "tcp"])

At = Callable[[str, str], Phone]


@pytest.fixture
def at(phone: MakePhone) -> At:
    """Return phones at ::1."""
    return lambda name, transport: phone(
        name, USERS[name], address="::1", transport=transport, home=HOME
    )


@BOTH
@pytest.mark.parametrize("host", ["[::1]", "[0:0:0:0:0:0:0:1]", "[0::1]", "[::1%lo]", "[::1%1]"])
def test_no_spelling_of_the_server_is_a_contact(at: At, transport: str, host: str) -> None:
    one = at("1003", transport)
    challenge = one.request("REGISTER")
    raw = one.build("REGISTER", answering=challenge)
    own = f"Contact: <sip:1003@{host}:{HOME}>".encode()
    one.send(raw.replace(f"Contact: {one.contact}".encode(), own))
    assert one.response(one.last_branch).status == 400


@BOTH
@pytest.mark.parametrize("host", ["[::ffff:127.0.0.1]", "[0::127.0.0.1]", "localhost"])
def test_contact_that_leads_here_all_the_same_is_not_followed(
    at: At, transport: str, host: str
) -> None:
    one, two = at("1001", transport), at("1002", transport)
    challenge = one.request("REGISTER")
    raw = one.build("REGISTER", answering=challenge)
    elsewhere = f"Contact: <sip:1001@{host}:{HOME}>".encode()
    one.send(raw.replace(f"Contact: {one.contact}".encode(), elsewhere))
    assert one.response(one.last_branch).status == 200
    challenge = two.request("INVITE", one.uri)
    two.send(two.build("INVITE", one.uri, answering=challenge))
    invite = one.incoming("INVITE")
    assert len(invite.all("via")) == 2
    one.reply(invite, 486)
    assert two.response(two.last_branch).status == 486


@BOTH
def test_neighbour_neither_reaches_nor_speaks_nor_cancels(at: At, transport: str) -> None:
    one, two, neighbour = at("1001", transport), at("1002", transport), at("1001", "udp")
    assert one.register().status == two.register().status == 200
    for target in (two.uri, f"sip:1002@[0:0::1]:{two.port}"):
        assert neighbour.request("INFO", target).status == 403
    challenge = one.request("INVITE", two.uri)
    one.send(one.build("INVITE", two.uri, answering=challenge))
    invite = two.incoming("INVITE")
    two.reply(invite, 180)
    neighbour.send(sip.cancel(one.last_sent))
    assert neighbour.response().status == 481
    one.send(sip.cancel(one.last_sent))
    two.reply(two.incoming("CANCEL"), 200)
    two.reply(invite, 487)
    assert two.incoming("ACK")
    call = Call.between(one, two, two.uri)
    for side, other in (call.sides(), call.sides()[::-1]):
        assert side.asks("INFO", by=neighbour).status == 401
        side.says("INFO", routes=[*side.routes, f"<sip:[::1]:{neighbour.port};lr>"])
        other.hears("INFO")
        assert side.phone.response(side.branch).status == 200
    assert neighbour.hears_nothing(0.3)
