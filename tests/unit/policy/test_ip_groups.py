"""IP Groups: who a request comes from, against a search through everything."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import pytest
from conversation import deny, phones, rule, trunk
from hypothesis import given
from hypothesis import strategies as st

import sbcauth.policy.rules
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    AuthQop,
    ChallengeMethod,
    ClassificationRule,
    IPGroup,
    IPGroupType,
    ProxyAddress,
    RuleAction,
)
from sbcauth.policy.request import Request
from sbcauth.policy.targets import host_of


def request(address: str = "192.0.2.7", **changes: Any) -> Request:
    return Request(
        "REGISTER",
        "sip:example.com",
        address,
        5060,
        "udp",
        from_user="1001",
        from_host="example.com",
        to_user="1001",
        in_dialog=False,
        call_id="f81d4fae",
    )._replace(**changes)


def classify(groups: Sequence[IPGroup], *args: Any, **changes: Any) -> str | None:
    group = IPGroups(groups).classify(request(*args, **changes))
    return group.name if group else None


def group(name: str, *rules: ClassificationRule, **settings: Any) -> IPGroup:
    return phones(name, classification=rules, **settings)


def peer(name: str, host: str, port: int | None = None, *rules: ClassificationRule) -> IPGroup:
    return trunk(name, proxy_set=(ProxyAddress(f"sip:{host}", host, port),), classification=rules)


# -- classification, sentence by sentence ------------------------------------------------


def test_address_of_no_rule_is_unclassified() -> None:
    assert classify([group("Phones", rule("192.0.2.0/24"))], "198.51.100.1") is None
    assert classify([], "198.51.100.1") is None


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.7", "Phone"),
        ("192.0.2.8", "Phones"),
        ("192.0.3.8", "Network"),
        ("198.51.100.1", "Anyone"),
        ("2001:db8::7", "Phone6"),
        ("[2001:db8::7]", "Phone6"),
        ("2001:db8::8", "Phones6"),
        ("2001:db9::8", None),
        ("::ffff:192.0.2.8", "Phones"),
    ],
)
def test_longest_prefix_comes_first(address: str, name: str | None) -> None:
    groups = [
        group("Anyone", rule("0.0.0.0/0")),
        group("Network", rule("192.0.0.0/16")),
        group("Phones", rule("192.0.2.0/24")),
        group("Phone", rule("192.0.2.7/32")),
        group("Phones6", rule("2001:db8::/32")),
        group("Phone6", rule("2001:db8::7/128")),
    ]
    assert classify(groups, address) == name
    assert classify(groups[::-1], address) == name


def test_proxy_set_comes_before_any_rule() -> None:
    groups = [group("Phones", rule("198.51.100.1/32", port=5060)), peer("Trunk", "198.51.100.1")]
    assert classify(groups, "198.51.100.1") == "Trunk"
    assert classify(groups, "198.51.100.1", source_port=1024) == "Trunk"


def test_proxy_set_with_a_port_comes_first_from_that_port_and_last_from_any_other() -> None:
    groups = [
        peer("Trunk", "198.51.100.1", 5080),
        group("Phone", rule("198.51.100.1/32", transport="udp")),
        group("Phones", rule("198.51.100.0/24")),
    ]
    assert classify(groups, "198.51.100.1", source_port=5080) == "Trunk"
    assert classify(groups, "198.51.100.1", source_port=1024) == "Phone"
    assert classify(groups, "198.51.100.1", source_port=1024, transport="tcp") == "Trunk"


def test_two_peers_at_one_address_are_told_apart_by_their_ports() -> None:
    groups = [peer("One", "198.51.100.1", 5060), peer("Other", "198.51.100.1", 5080)]
    assert classify(groups, "198.51.100.1", source_port=5060) == "One"
    assert classify(groups, "198.51.100.1", source_port=5080) == "Other"
    assert classify(groups, "198.51.100.1", source_port=1024) == "One"


def test_peer_that_names_its_port_comes_before_one_that_does_not() -> None:
    groups = [peer("Any", "198.51.100.1"), peer("One", "198.51.100.1", 5060)]
    assert classify(groups, "198.51.100.1", source_port=5060) == "One"
    assert classify(groups[::-1], "198.51.100.1", source_port=5060) == "One"
    assert classify(groups, "198.51.100.1", source_port=1024) == "Any"


def test_proxy_set_of_a_name_classifies_by_rules_only() -> None:
    groups = [peer("Trunk", "carrier.example.net", None, rule("198.51.100.1/32"))]
    assert classify(groups, "198.51.100.1") == "Trunk"
    assert classify(groups, "198.51.100.2") is None


@pytest.mark.parametrize(
    ("condition", "changes"),
    [
        ({"port": 5060}, {"source_port": 5061}),
        ({"transport": "udp"}, {"transport": "tcp"}),
        ({"from_host": "example.com"}, {"from_host": "example.org"}),
        ({"request_uri_host": "example.com"}, {"request_uri": "sip:1002@example.org"}),
        ({"request_uri_host": "example.com"}, {"request_uri": "tel:+4930123456"}),
    ],
)
def test_rule_fits_where_all_its_conditions_do(
    condition: dict[str, Any], changes: dict[str, Any]
) -> None:
    groups = [
        group("Any", rule("192.0.2.0/24")),
        group("Strict", rule("192.0.2.0/24", **condition)),
    ]
    assert classify(groups) == "Strict"
    assert classify(groups, **changes) == "Any"


def test_among_equal_prefixes_the_port_counts_most_then_transport_then_hosts() -> None:
    address = "192.0.2.0/24"
    groups = [
        group("Uri", rule(address, request_uri_host="*")),
        group("From", rule(address, from_host="*")),
        group("Both", rule(address, from_host="*", request_uri_host="*")),
        group("Transport", rule(address, transport="udp")),
        group("Port", rule(address, port=5060)),
    ]
    for left, name in ((5, "Port"), (4, "Transport"), (3, "Both"), (2, "From"), (1, "Uri")):
        assert classify(groups[:left]) == name
        assert classify(groups[:left][::-1]) == name


def test_among_equal_rules_the_order_of_the_file_counts() -> None:
    assert (
        classify([group("One", rule("192.0.2.0/24")), group("Two", rule("192.0.2.0/24"))]) == "One"
    )


def test_deny_rule_makes_unclassified_and_ends_the_search() -> None:
    groups = [group("Phones", rule("192.0.2.0/24"), deny("192.0.2.7/32"))]
    assert classify(groups, "192.0.2.7") is None
    assert classify(groups, "192.0.2.8") == "Phones"


def test_more_specific_rule_is_an_exception_from_a_deny_rule() -> None:
    groups = [group("Phones", deny("192.0.2.0/24"), rule("192.0.2.7/32"))]
    assert classify(groups, "192.0.2.7") == "Phones"
    assert classify(groups, "192.0.2.8") is None


@pytest.mark.parametrize(
    ("pattern", "host", "fits"),
    [
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "A.EXAMPLE.COM", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.example.com.evil.net", False),
        ("example.com", "exampleXcom", False),
        ("example.co?", "example.com", False),
        ("[2001:db8::1]", "[2001:db8::1]", True),
        ("[2001:db8::1]", "2", False),
        ("[2001:db8:*", "[2001:db8::1]", True),
        ("*", "", True),
        ("*", "line\nbreak", True),
    ],
)
def test_only_a_star_stands_for_any_text(pattern: str, host: str, fits: bool) -> None:
    groups = [group("Phones", rule("192.0.2.0/24", from_host=pattern))]
    assert classify(groups, from_host=host) == ("Phones" if fits else None)


def test_what_is_remembered_of_a_source_is_its_address_alone() -> None:
    groups = IPGroups(
        [group("Udp", rule("192.0.2.0/24", transport="udp")), group("Any", rule("192.0.2.0/24"))]
    )
    for transport, name in (("udp", "Udp"), ("tcp", "Any"), ("udp", "Udp")):
        found = groups.classify(request(transport=transport))
        assert found is not None
        assert found.name == name


def test_flood_of_sources_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sbcauth.policy.rules, "_REMEMBERED_SOURCES", 10)
    groups = IPGroups([group("Phones", rule("0.0.0.0/0"))])
    for number in range(100):
        assert groups.classify(request(f"192.0.2.{number}"))
    assert len(groups._rules._known) <= 10


# -- classification, against a search through everything ---------------------------------

# A small world, so that rules meet and overlap.
_V4 = [f"192.0.{third}.{last}" for third in (2, 3) for last in (1, 2, 255)]
_V6 = [f"2001:db8:{third}::{last}" for third in (1, 2) for last in (1, 2)]
_addresses = st.sampled_from([*_V4, *_V6])
_ports = st.sampled_from([5060, 5080])
_transports = st.sampled_from(["udp", "tcp"])
_hosts = st.sampled_from(["a.example.com", "b.example.com"])


@st.composite
def networks(draw: st.DrawFn) -> IPv4Network | IPv6Network:
    address = draw(_addresses)
    length = draw(st.sampled_from([0, 16, 24, 31, 32] if "." in address else [0, 32, 48, 64, 128]))
    return ip_network(f"{address}/{length}", strict=False)


_rules = st.builds(
    ClassificationRule,
    networks(),
    st.none() | _ports,
    st.none() | _transports,
    st.none() | _hosts,
    st.none() | _hosts,
    st.sampled_from(RuleAction),
)
_proxies = st.builds(
    ProxyAddress, st.just("sip:x"), _addresses | st.just("host"), st.none() | _ports
)


@st.composite
def worlds(draw: st.DrawFn) -> list[IPGroup]:
    return [
        phones(
            f"Group {number}",
            classification=tuple(draw(st.lists(_rules, max_size=4))),
            proxy_set=tuple(draw(st.lists(_proxies, max_size=2))),
        )
        for number in range(draw(st.integers(0, 4)))
    ]


def naive(groups: Sequence[IPGroup], r: Request) -> str | None:
    """Return what the text at the top of ip_groups.py says, found the long way."""
    source = ip_address(r.source_address)
    found: list[tuple[tuple[Any, ...], str | None]] = []
    for g in groups:
        for server in g.proxy_set:
            if server.host != r.source_address:
                continue
            if server.port == r.source_port:
                found.append(((0, 0), g.name))
            elif server.port is None:
                found.append(((0, 1), g.name))
            else:
                found.append(((1, -source.max_prefixlen, 1), g.name))
        for each in g.classification:
            conditions = [
                (each.port, r.source_port),
                (each.transport, r.transport),
                (each.from_host, r.from_host),
                (each.request_uri_host, r.request_uri.removeprefix("sip:")),
            ]
            if source in each.address and all(c in (None, value) for c, value in conditions):
                rank = (1, -each.address.prefixlen, 0, *(c is None for c, _ in conditions))
                found.append((rank, g.name if each.action is RuleAction.ALLOW else None))
    return min(found, key=lambda item: item[0])[1] if found else None


@given(
    worlds(),
    st.lists(
        st.tuples(_addresses, _ports | st.just(1024), _transports, _hosts, _hosts), min_size=1
    ),
)
def test_classification_finds_what_a_search_through_everything_finds(
    groups: list[IPGroup], sources: list[tuple[str, int, str, str, str]]
) -> None:
    table = IPGroups(groups)
    for address, port, transport, from_host, uri_host in sources * 2:
        r = request(
            address,
            source_port=port,
            transport=transport,
            from_host=from_host,
            request_uri=f"sip:{uri_host}",
        )
        found = table.classify(r)
        assert (found.name if found else None) == naive(groups, r)


# -- hosts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("sip:example.com", "example.com"),
        ("SIPS:1001@example.com", "example.com"),
        ("sip:1001:secret@example.com:5060;transport=tcp?subject=x", "example.com"),
        ("sip:alice;day=tuesday@example.com", "example.com"),
        ("sip:alice?x:y@example.com;lr", "example.com"),
        ("sip:1001@[2001:db8::1]:5060", "[2001:db8::1]"),
        ("sip:[2001:db8::1]", "[2001:db8::1]"),
        ("sip:1001@192.0.2.1>", "192.0.2.1"),
        ("tel:+4930123456", ""),
        ("http://example.com", ""),
        ("", ""),
        ("sip:", ""),
    ],
)
def test_host_is_that_of_a_sip_uri(uri: str, host: str) -> None:
    assert host_of(uri) == host


@given(
    user=st.none() | st.text("ab;=?:/&+$%", max_size=8),
    host=st.from_regex(r"[a-z0-9.-]{1,12}|\[[0-9a-f:]{2,12}\]", fullmatch=True),
    port=st.none() | st.integers(1, 65535),
    rest=st.sampled_from(["", ";lr", ";transport=tcp", "?subject=x", ";a=b?c=d"]),
)
def test_host_is_found_whatever_stands_around_it(
    user: str | None, host: str, port: int | None, rest: str
) -> None:
    userinfo = "" if user is None else f"{user}@"
    assert host_of(f"sip:{userinfo}{host}{f':{port}' if port else ''}{rest}") == host


@given(st.text())
def test_any_text_has_a_host_or_none(text: str) -> None:
    assert host_of(text) in text
    assert host_of(f"sip:{text}") in text


# -- what is asked -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "register", "other"),
    [
        (ChallengeMethod.WWW, 401, 401),
        (ChallengeMethod.PROXY, 407, 407),
        (ChallengeMethod.AUTO, 401, 407),
    ],
)
def test_challenge_method_sets_the_status(
    method: ChallengeMethod, register: int, other: int
) -> None:
    assert (method.status("REGISTER"), method.status("INVITE")) == (register, other)


def test_qop_offers_what_it_says() -> None:
    assert {qop.value: qop.offered for qop in AuthQop} == {
        "auth": ("auth",),
        "auth-int": ("auth-int",),
        "both": ("auth", "auth-int"),
        "none": (),
    }


def test_password_is_in_no_repr() -> None:
    assert "trunk-secret" not in repr(trunk())
    assert "client-secret" not in repr(trunk(password_as_client="client-secret"))


# -- where it goes -----------------------------------------------------------------------


def test_requests_are_routed_to_the_proxy_set_of_route_to() -> None:
    servers = (ProxyAddress("sip:a", "a"), ProxyAddress("sip:b", "b"))
    groups = IPGroups([phones(route_to="Trunk"), trunk(proxy_set=servers)])
    assert groups.next_hops("Phones") == ("sip:a", "sip:b")


def test_group_without_route_to_has_no_next_hop() -> None:
    assert IPGroups([phones()]).next_hops("Phones") == ()


def test_requests_find_users_in_the_realm_of_their_group() -> None:
    assert IPGroups([phones(realm="phones.example")]).realms_reached("Phones") == (
        "phones.example",
    )


def test_requests_of_a_peer_find_the_users_who_are_routed_to_it() -> None:
    peer = trunk(realm="carrier.example")
    groups = IPGroups([phones(realm="phones.example", route_to="Trunk"), peer])
    assert groups.realms_reached("Trunk") == ("phones.example",)
    assert IPGroups([peer]).realms_reached("Trunk") == ()


def test_users_of_other_realms_are_reached_where_it_is_said() -> None:
    groups = IPGroups(
        [
            phones("A", realm="a.example", reaches=("B",), route_to="Trunk"),
            phones("B", realm="b.example", route_to="Trunk"),
            phones("C", realm="c.example"),
            trunk(),
        ]
    )
    assert groups.realms_reached("A") == ("a.example", "b.example")
    assert groups.realms_reached("B") == ("b.example",)
    assert groups.realms_reached("Trunk") == ("a.example", "b.example")


def test_edge_proxy_classifies_after_the_rules_that_name_it() -> None:
    edge = ip_network("192.0.2.9/32")
    groups = [
        phones("Behind", classification=(), edge_proxies=(edge,)),
        phones("Named", classification=(rule("192.0.2.9/32", from_host="named.example"),)),
    ]
    assert classify(groups, "192.0.2.9") == "Behind"
    assert classify(groups, "192.0.2.9", from_host="named.example") == "Named"


BALANCER = (ip_network("192.0.2.9/32"),)
OFFICE = phones(
    "Office",
    classification=(rule("10.1.0.0/16"), deny("10.1.9.0/24")),
    edge_proxies=BALANCER,
)
HOMES = phones("Homes", classification=(rule("10.2.0.0/16"),), edge_proxies=BALANCER)
ELSEWHERE = phones("Elsewhere", classification=(rule("10.2.7.0/24"), rule("192.0.2.8/32")))
AS_TOLD = "SIP/2.0/UDP 192.0.2.9:5060;branch=1", "SIP/2.0/UDP phone;received={};rport=5064;branch=2"


@pytest.mark.parametrize(
    ("source", "told", "name"),
    [
        ("192.0.2.9", "10.1.0.7", "Office"),
        ("192.0.2.9", "10.2.0.7", "Homes"),
        ("192.0.2.9", "10.2.7.7", "Homes"),  # which the other IP Group has no balancer for
        ("192.0.2.9", "10.1.9.7", None),
        ("192.0.2.9", "10.3.0.7", None),
        ("192.0.2.8", "10.1.0.7", "Elsewhere"),  # nobody else is believed
        ("203.0.113.1", "10.1.0.7", None),
    ],
)
def test_behind_a_load_balancer_the_phones_address_decides(
    source: str, told: str, name: str | None
) -> None:
    vias = tuple(via.format(told) for via in AS_TOLD)
    groups = IPGroups([OFFICE, HOMES, ELSEWHERE])
    found = groups.classify(request(source, vias=vias))
    assert (found.name if found else None) == name


def test_what_a_load_balancer_sends_itself_is_of_the_first() -> None:
    groups = IPGroups([OFFICE, HOMES])
    assert groups.classify(request("192.0.2.9", vias=AS_TOLD[:1])) is OFFICE
    assert groups.of_all_from("192.0.2.9") is None
    assert IPGroups([HOMES]).of_all_from("192.0.2.9") is HOMES


def test_groups_of_a_realm_that_a_trunk_does_not_serve_are_out_of_its_reach() -> None:
    def user(name: str, realm: str, route_to: str | None = None, **more: Any) -> IPGroup:
        return IPGroup(name=name, type=IPGroupType.USER, realm=realm, route_to=route_to, **more)

    groups = IPGroups(
        [
            user("Phones", "a.example", "Carrier"),
            user("Office", "a.example", "PBX", reaches=("Guests",)),
            user("Guests", "b.example"),
            user("Others", "b.example"),
            IPGroup(name="Carrier", type=IPGroupType.SERVER, realm="c.example"),
            IPGroup(name="PBX", type=IPGroupType.SERVER, realm="c.example", reaches=("Phones",)),
        ]
    )
    assert groups.out_of_reach("Carrier") == {"Office"}
    assert groups.out_of_reach("PBX") == frozenset()
    assert groups.out_of_reach("Phones") == frozenset()
    assert groups.out_of_reach("Office") == {"Others"}


@pytest.mark.parametrize(
    ("ours", "theirs", "is_answered"),
    [
        (AuthenticationMode.SBC_AS_CLIENT, AuthenticationMode.USER_AUTHENTICATES, True),
        (AuthenticationMode.USER_AUTHENTICATES, AuthenticationMode.SBC_AS_CLIENT, True),
        (AuthenticationMode.SBC_AS_SERVER, AuthenticationMode.SBC_AS_CLIENT, True),
        (AuthenticationMode.SBC_AS_SERVER, AuthenticationMode.SBC_AS_SERVER, False),
    ],
)
def test_peer_is_answered_where_either_of_both_is_a_client(
    ours: AuthenticationMode, theirs: AuthenticationMode, is_answered: bool
) -> None:
    peer = trunk(authentication_mode=theirs)
    groups = IPGroups([phones(authentication_mode=ours, route_to="Trunk"), peer])
    assert groups.peer_answered("Phones") is (peer if is_answered else None)


def test_group_without_route_to_answers_no_peer() -> None:
    alone = phones(authentication_mode=AuthenticationMode.SBC_AS_CLIENT)
    assert IPGroups([alone, trunk()]).peer_answered("Phones") is None


@pytest.mark.parametrize(
    ("uri", "is_the_peer"),
    [
        ("sip:gw@198.51.100.1", True),
        ("sip:198.51.100.1:5060;lr", True),
        ("sip:198.51.100.1:5070", False),
        ("sips:198.51.100.1", False),
        ("sip:198.51.100.1;transport=tls", False),
        ("tel:+15550001", False),
        ("", False),
    ],
)
def test_peer_is_known_by_address_and_port(uri: str, is_the_peer: bool) -> None:
    found = IPGroups([phones(), trunk()]).peer_of(uri)
    assert (found is not None and found.name == "Trunk") is is_the_peer
