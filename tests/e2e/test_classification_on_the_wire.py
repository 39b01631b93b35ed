"""SPEC 3, step 2: which IP Group a request is from, by its source and its hosts."""

from typing import Any

import pytest
import sip
from kamailio import Server, StartServer, free_port
from phone import MakePhone, Phone

PORT = free_port()
LISTEN = [f"udp:[::1]:{PORT}", f"tcp:[::1]:{PORT}"]
CONFIG = """
realm: example.com
auth_challenge_method: 407
ip_groups:
  - name: Wide
    type: user
    realm: wide
    authentication_mode: sbc-as-server
    authentication_method_list: [OPTIONS]
    classification: [{address: 127.10.0.0/16}]
  - name: Narrow
    type: user
    realm: narrow
    authentication_mode: sbc-as-server
    authentication_method_list: [OPTIONS]
    classification:
      - address: 127.10.20.0/24
      - {address: 127.10.20.66, action: deny}
      - {address: 127.66.0.0/16, action: deny}
  - name: Trunk
    type: server
    realm: trunk
    authentication_mode: sbc-as-server
    authentication_method_list: [OPTIONS]
    username_as_server: trunk
    password_as_server: secret
    proxy_set: ["sip:127.10.20.30"]
  - name: Tcp
    type: user
    realm: tcp
    authentication_mode: sbc-as-server
    authentication_method_list: [OPTIONS]
    classification: [{address: 127.10.20.0/24, transport: tcp}]
  - name: FromHost
    type: user
    realm: from-host
    authentication_mode: sbc-as-server
    authentication_method_list: [OPTIONS]
    classification: [{address: 127.10.0.0/16, from_host: "*.customer.example"}]
  - name: RequestHost
    type: user
    realm: request-host
    authentication_mode: sbc-as-server
    authentication_method_list: [OPTIONS]
    classification: [{address: 127.10.0.0/16, request_uri_host: pbx.example}]
  - name: Six
    type: user
    realm: six
    authentication_mode: sbc-as-server
    authentication_method_list: [OPTIONS]
    classification: [{address: "::1"}]
    username_as_server: "1001"
    password_as_server: secret
"""


def realm_for(phone: Phone, **how: Any) -> str:
    """Return the realm that a request is challenged with: every IP Group here has its own."""
    reply = phone.request("OPTIONS", **how)
    assert reply.status == 407
    return reply.challenges[0].realm


@pytest.mark.parametrize(
    ("address", "realm"),
    [
        ("127.10.0.1", "wide"),
        ("127.10.19.255", "wide"),
        ("127.10.20.1", "narrow"),
        ("127.10.20.30", "trunk"),
        ("::1", "six"),
    ],
)
def test_proxy_set_and_the_most_specific_prefix_classify(
    phone: MakePhone, address: str, realm: str
) -> None:
    assert realm_for(phone(address=address)) == realm


def test_transport_of_a_rule_must_fit(phone: MakePhone) -> None:
    assert realm_for(phone(address="127.10.20.2", transport="tcp")) == "tcp"
    assert realm_for(phone(address="127.10.20.2", transport="udp")) == "narrow"


def test_host_patterns_of_a_rule_must_fit(phone: MakePhone) -> None:
    desk = phone(address="127.10.0.2")
    assert realm_for(desk, from_uri="sip:1001@north.Customer.example") == "from-host"
    assert realm_for(desk, from_uri="sip:1001@customer.example") == "wide"
    assert realm_for(desk, uri="sip:PBX.example") == "request-host"


@pytest.mark.parametrize("address", ["127.10.20.66", "127.66.1.1", "127.99.0.1"])
def test_denied_and_unknown_sources_are_forbidden(
    phone: MakePhone, server: Server, address: str
) -> None:
    desk = phone(address=address)
    for method in ("OPTIONS", "REGISTER", "INVITE", "MESSAGE", "SUBSCRIBE"):
        reply = desk.request(method)
        assert (reply.status, reply.challenges) == (403, [])
    assert set(server.reasons(desk.call_id)) == {"unclassified"}


def test_credentials_do_not_help_an_unclassified_source(phone: MakePhone) -> None:
    challenge = phone(address="127.10.0.3").request("OPTIONS")
    assert phone(address="127.99.0.2").request("OPTIONS", answering=challenge).status == 403


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_phone_authenticates_over_ipv6(phone: MakePhone, transport: str) -> None:
    desk = phone("1001", "secret", address="::1", transport=transport)
    assert desk.authenticate("OPTIONS").status == 200


def test_unclassified_requests_can_be_dropped_without_an_answer(start_server: StartServer) -> None:
    server = start_server("unclassified_requests: drop\n" + CONFIG.replace("::1", "::2"))
    with Phone(server, address="127.99.0.3") as phone:
        guess = sip.Challenge("WWW-Authenticate", "example.com", "nonce")
        for method in ("OPTIONS", "REGISTER", "INVITE"):
            phone.send(phone.build(method))
            phone.send(phone.build(method, answering=guess))
        assert phone.hears_nothing()
        assert server.reasons(phone.call_id) == ["unclassified"] * 6
        assert server.outcomes(phone.call_id)[0]["decision"] == "drop"
        assert "WARNING" not in server.log()
    with Phone(server, address="127.10.0.4") as phone:
        assert phone.request("OPTIONS").status == 407
