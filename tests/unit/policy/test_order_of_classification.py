"""What is tried to find the IP Group of a request, in its order, as the console shows it."""

from ipaddress import ip_network

from sbcauth.policy.classification import IPGroups
from sbcauth.policy.ip_groups import (
    ClassificationRule,
    IPGroup,
    IPGroupType,
    ProxyAddress,
    RuleAction,
)


def test_all_that_is_tried_is_told_in_its_order() -> None:
    groups = IPGroups(
        [
            IPGroup(
                name="Phones",
                type=IPGroupType.USER,
                realm="example.com",
                classification=(
                    ClassificationRule(ip_network("0.0.0.0/0")),
                    ClassificationRule(ip_network("2001:db8::/32"), transport="tls"),
                    ClassificationRule(ip_network("192.0.2.9"), action=RuleAction.DENY),
                    ClassificationRule(ip_network("192.0.2.0/24"), from_host="*.example"),
                ),
            )
        ]
    )
    order = [(each.network, each.ip_group) for each in groups.in_order()]
    assert order == [
        ("2001:db8::/32", "Phones"),
        ("192.0.2.9/32", ""),
        ("192.0.2.0/24", "Phones"),
        ("0.0.0.0/0", "Phones"),
    ]
    at = [(each.network, each.ip_group) for each in groups.tried_at("192.0.2.7", 5060, "udp")]
    assert at == [("192.0.2.0/24", "Phones"), ("0.0.0.0/0", "Phones")]
    assert [each.ip_group for each in groups.tried_at("192.0.2.9", 5060, "udp")] == [""]
    assert groups.tried_at("2001:db8::1", 5060, "udp") == []
    assert groups.tried_at("2001:db8::1", 5061, "tls")[0].rule


def test_server_of_a_proxy_set_comes_first() -> None:
    server = ProxyAddress("sip:192.0.2.5:5080", "192.0.2.5", 5080)
    rule = ClassificationRule(ip_network("192.0.2.5"), port=5090, action=RuleAction.DENY)
    trunk = IPGroup(
        name="Trunk",
        type=IPGroupType.SERVER,
        realm="example.com",
        proxy_set=(server,),
        classification=(rule,),
    )
    found = [(each.ip_group, each.port, each.rule) for each in IPGroups([trunk]).in_order()]
    assert found == [("Trunk", 5080, None), ("", 5090, rule), ("Trunk", None, None)]
