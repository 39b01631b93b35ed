"""Requests within a dialog: whose they are, whether they come from there, and where they go."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import pytest
from conversation import NOW, phones, rule, trunk

from sbcauth.dialog_keys import SivCipher
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.ip_groups import AuthenticationMode, ProxyAddress
from sbcauth.policy.passages import Claims, Dialogs, Passage
from sbcauth.policy.places import Place
from sbcauth.policy.seals import LIFETIME_OF_CALL, Mark, OpenToken, Seals, Side, Token
from sbcauth.policy.targets import NAME

CALL = "f81d4fae@example.com"
PHONE = Place("udp", "192.0.2.7", 5060)
ELSEWHERE = Place("udp", "203.0.113.9", 5060)
CARRIER = Place("udp", "198.51.100.1", 5060)
SECOND = Place("udp", "198.51.100.2", 5060)
NOT_KNOWN = Place("udp", "0.0.0.0", 0)  # noqa: S104 - nobody listens there
"""The place of a server that is known by name alone."""
ALICE = Side("Phones", "1001", PHONE)
TRUNK = Side("Trunk", "", CARRIER)
GROUPS = IPGroups(
    [
        phones(classification=(rule("192.0.2.0/24"),)),
        phones("Guests", realm="guests.example", classification=(rule("203.0.113.0/24"),)),
        trunk(
            proxy_set=(
                ProxyAddress("sip:198.51.100.1", "198.51.100.1"),
                ProxyAddress("sip:198.51.100.2", "198.51.100.2"),
            )
        ),
        trunk(
            "Named",
            proxy_set=(
                ProxyAddress("sip:carrier.example", "carrier.example"),
                ProxyAddress("sip:second.example", "second.example"),
            ),
        ),
        trunk("ByRule", proxy_set=(), classification=(rule("10.0.0.0/8"),)),
    ]
)
SEALS = Seals([SivCipher(b"k" * 32)], GROUPS.by_name)
DIALOGS = Dialogs(SEALS, GROUPS)


def nowhere(_: Side) -> Sequence[Place]:
    return ()


def at(*places: Place) -> Any:
    """Return a registrar that has each account at these places."""
    return lambda _: places


def token(caller: Side = ALICE, callee: Side = TRUNK, tag: str = "a") -> str:
    return SEALS.seal_token(Token(NOW, tag, caller, callee), CALL)


def claims(sealed: str, **changes: Any) -> Claims:
    """Return a BYE of Alice's to the trunk."""
    route = f"<sip:sbc.example;lr;{NAME}={sealed}>"
    return Claims("BYE", route, CALL, "a", "b", "sip:gw@198.51.100.1", PHONE)._replace(**changes)


def judged(caller: Side = ALICE, callee: Side = TRUNK, **changes: Any) -> Passage:
    """Return how a request of a dialog between these is judged; there must be a way."""
    passage = DIALOGS.judge(claims(token(caller, callee), **changes), nowhere, NOW)
    assert passage
    return passage


def test_request_of_the_caller_goes_to_the_callee() -> None:
    sealed = token()
    assert DIALOGS.judge(claims(sealed), nowhere, NOW) == Passage(
        token=sealed,
        sender=ALICE,
        other=TRUNK,
        from_caller=True,
        is_at_home=True,
        is_marked=False,
        comes_from_user=True,
        goes_to_server=True,
        uri="sip:gw@198.51.100.1",
        place=CARRIER,
        registered=False,
    )


def test_request_of_the_callee_goes_to_the_caller() -> None:
    passage = judged(from_tag="b", to_tag="a", source=SECOND)
    assert (passage.sender, passage.other) == (TRUNK, ALICE)
    assert (passage.from_caller, passage.comes_from_user, passage.goes_to_server) == (False,) * 3
    assert passage.is_at_home
    assert passage.place == PHONE


@pytest.mark.parametrize(
    "changes",
    [
        {"route": ""},
        {"route": "<sip:sbc.example;lr>"},
        {"route": f"<sip:sbc.example;lr;{NAME}=made-up>"},
        {"call_id": "another"},
        {"from_tag": "b", "to_tag": "c"},
    ],
)
def test_dialog_that_we_do_not_know_has_no_way(changes: dict[str, str]) -> None:
    assert DIALOGS.judge(claims(token(), **changes), nowhere, NOW) is None


def test_dialog_that_is_too_old_has_no_way() -> None:
    assert DIALOGS.judge(claims(token()), nowhere, NOW + LIFETIME_OF_CALL)
    assert DIALOGS.judge(claims(token()), nowhere, NOW + LIFETIME_OF_CALL + 1) is None


@pytest.mark.parametrize("gone", ["Phones", "Trunk"])
def test_dialog_of_an_ip_group_that_was_removed_has_no_way(gone: str) -> None:
    left = IPGroups([group for group in GROUPS.by_name.values() if group.name != gone])
    dialogs = Dialogs(Seals([SivCipher(b"k" * 32)], left.by_name), left)
    assert dialogs.judge(claims(token()), nowhere, NOW) is None


@pytest.mark.parametrize(("source", "sender"), [(PHONE, ALICE), (CARRIER, TRUNK)])
def test_source_tells_who_sends_where_both_have_the_same_tag(source: Place, sender: Side) -> None:
    assert judged(from_tag="a", to_tag="a", source=source).sender == sender


@pytest.mark.parametrize(
    ("source", "bindings", "is_at_home"),
    [
        (PHONE, nowhere, True),
        (PHONE._replace(port=5062), nowhere, False),
        (ELSEWHERE, nowhere, False),
        (ELSEWHERE, at(PHONE, ELSEWHERE), True),
    ],
)
def test_phone_is_at_home_where_the_dialog_or_the_registrar_has_it(
    source: Place, bindings: Any, is_at_home: bool
) -> None:
    passage = DIALOGS.judge(claims(token(), source=source), bindings, NOW)
    assert passage
    assert passage.is_at_home is is_at_home


def test_bindings_are_no_home_of_a_server() -> None:
    assert not DIALOGS.is_from(TRUNK, ELSEWHERE, at(ELSEWHERE))
    assert DIALOGS.is_from(TRUNK, SECOND, nowhere)


def test_mark_tells_where_the_other_is_and_is_taken_off() -> None:
    there = Place("tcp", "192.0.2.77", 40000)
    target = "sip:1001@10.0.0.7"
    sealed = SEALS.seal_mark(Mark(there, registered=True, inner="old"), CALL, "a", target)
    passage = judged(
        from_tag="b", to_tag="a", source=CARRIER, request_uri=f"{target};ob;{NAME}={sealed}"
    )
    assert passage.is_marked
    assert (passage.place, passage.registered) == (there, True)
    assert passage.uri == f"{target};ob;{NAME}=old"


def test_mark_that_does_not_open_stays_and_leads_nowhere() -> None:
    of_another = SEALS.seal_mark(Mark(ELSEWHERE), CALL, "c", "sip:gw@198.51.100.1")
    uri = f"sip:gw@198.51.100.1;{NAME}={of_another}"
    passage = judged(request_uri=uri)
    assert not passage.is_marked
    assert (passage.uri, passage.place) == (uri, CARRIER)


@pytest.mark.parametrize(
    ("next_route", "hop"),
    [
        ("", "sip:198.51.100.1:5060"),
        ("sip:198.51.100.2:5070;lr;x=y", "sip:198.51.100.2:5070"),
        ("sip:203.0.113.9;lr", "sip:198.51.100.1:5060"),
        ("sip:carrier.example;lr", "sip:198.51.100.1:5060"),
        ("sip:evil.example;lr", "sip:198.51.100.1:5060"),
    ],
)
def test_route_is_followed_only_to_the_server_that_is_the_other(next_route: str, hop: str) -> None:
    assert DIALOGS.way(judged(), next_route, nowhere) == hop


def test_route_to_a_server_that_is_known_by_its_name_is_followed() -> None:
    passage = judged(callee=Side("Named", "", NOT_KNOWN))
    assert DIALOGS.way(passage, "sip:SECOND.example;lr;x=y", nowhere) == "sip:second.example"


def test_every_party_is_reached_by_a_server_that_stands_alone() -> None:
    assert DIALOGS.node(judged(), nowhere) == ""


def test_server_without_an_address_is_reached_by_its_proxy_set() -> None:
    assert DIALOGS.way(judged(callee=Side("Named", "", NOT_KNOWN)), "", nowhere) == (
        "sip:carrier.example"
    )
    assert DIALOGS.way(judged(callee=Side("ByRule", "", NOT_KNOWN)), "", nowhere) is None


@pytest.mark.parametrize(
    ("callee", "bindings", "hop"),
    [
        (ALICE, at(ELSEWHERE), PHONE.uri),
        (ALICE._replace(registered=True), at(ELSEWHERE), ELSEWHERE.uri),
        (ALICE._replace(registered=True), at(ELSEWHERE, PHONE), PHONE.uri),
        (ALICE._replace(registered=True), nowhere, PHONE.uri),
        (ALICE._replace(place=NOT_KNOWN), at(ELSEWHERE), ELSEWHERE.uri),
        (ALICE._replace(place=NOT_KNOWN), nowhere, None),
    ],
)
def test_phone_that_was_registered_is_followed_to_where_it_is_now(
    callee: Side, bindings: Any, hop: str | None
) -> None:
    passage = judged(caller=TRUNK, callee=callee, source=CARRIER)
    assert DIALOGS.way(passage, "sip:evil.example;lr", bindings) == hop


@pytest.mark.parametrize(
    ("side", "contact", "seen_at", "home"),
    [
        (ALICE, "sip:1001@198.51.100.1", PHONE, PHONE),
        (TRUNK, "sip:gw@198.51.100.2:5070", CARRIER, SECOND._replace(port=5070)),
        (TRUNK, "sip:gw@203.0.113.9", CARRIER, CARRIER),
        (TRUNK, "sip:gw@carrier.example", CARRIER, CARRIER),
        (TRUNK, "sip:gw@carrier.example", Place("tcp", "198.51.100.2", 40000), SECOND),
        (
            Side("Named", "", NOT_KNOWN),
            "sip:gw@carrier.example",
            Place("tcp", "198.51.100.7", 40000),
            Place("tcp", "198.51.100.7", 40000),
        ),
    ],
)
def test_only_a_server_names_another_place_of_its_own(
    side: Side, contact: str, seen_at: Place, home: Place
) -> None:
    assert DIALOGS.home(side, contact, seen_at) == home


@pytest.mark.parametrize(
    ("uri", "route_to", "account", "realm", "callee"),
    [
        ("sip:198.51.100.1", "Trunk", "", "", TRUNK),
        ("sip:198.51.100.2", "Named", "x", "example.com", Side("Trunk", "", SECOND)),
        ("sip:carrier.example", "Named", "x", "example.com", Side("Named", "", NOT_KNOWN)),
        ("sip:10.1.2.3", "", "x", "", Side("ByRule", "", Place("udp", "10.1.2.3", 5060))),
        ("sip:1001@192.0.2.7", "", "1001", "example.com", ALICE),
        (
            "sip:1001@203.0.113.9",
            "",
            "1001",
            "example.com",
            Side("Phones", "1001", ELSEWHERE),
        ),
        ("sip:1001@8.8.8.8", "", "1001", "guests.example", None),
        ("sip:1001@8.8.8.8", "Gone", "1001", "unknown.example", None),
        ("sip:1001@192.0.2.7", "", "1001", "unknown.example", ALICE),
    ],
)
def test_whom_a_request_goes_to_is_told_by_where_it_is_routed(
    uri: str, route_to: str, account: str, realm: str, callee: Side | None
) -> None:
    if callee is None:
        group = "Guests" if realm == "guests.example" else ""
        callee = Side(group, "1001", Place("udp", "8.8.8.8", 5060))
    assert DIALOGS.callee_at(uri, route_to, account, realm) == callee


def test_server_named_by_the_route_is_the_callee_though_another_has_the_same_address() -> None:
    shared = (ProxyAddress("sip:198.51.100.1", "198.51.100.1"),)
    groups = IPGroups([trunk("First", proxy_set=shared), trunk("Second", proxy_set=shared)])
    dialogs = Dialogs(SEALS, groups)
    assert dialogs.callee_at("sip:198.51.100.1", "Second", "", "").ip_group == "Second"
    assert dialogs.callee_at("sip:198.51.100.1", "", "", "").ip_group == "First"


def test_answer_belongs_to_the_dialog_whose_callee_sends_it() -> None:
    to_trunk, to_alice = token(), token(caller=TRUNK, callee=ALICE)
    both = ["made-up", to_trunk, to_alice]

    def found(source: Place) -> tuple[str, OpenToken] | None:
        return DIALOGS.token_of_answer(both, CALL, source, NOW)

    for source, text, callee in (
        (CARRIER, to_trunk, TRUNK),
        (PHONE, to_alice, ALICE),
        (ELSEWHERE, to_trunk, TRUNK),  # of neither: the first
    ):
        answer = found(source)
        assert answer
        assert (answer[0], answer[1].callee) == (text, callee)
    assert DIALOGS.token_of_answer(["made-up"], CALL, CARRIER, NOW) is None


@pytest.mark.parametrize(
    ("tag", "source", "goes_to", "is_between"),
    [
        ("a", CARRIER, PHONE, True),
        ("b", CARRIER, PHONE, False),
        ("a", ELSEWHERE, PHONE, False),
        ("a", CARRIER, ELSEWHERE, False),
        ("a", CARRIER, None, False),
    ],
)
def test_late_answer_goes_from_the_callee_to_the_caller_alone(
    tag: str, source: Place, goes_to: Place | None, is_between: bool
) -> None:
    opened = SEALS.open_token(token(), CALL, NOW)
    assert opened
    assert DIALOGS.is_answer_between(opened, tag, source, goes_to, nowhere) is is_between


@pytest.mark.parametrize(
    ("source", "invited", "may"),
    [
        (PHONE, PHONE, True),
        (PHONE._replace(port=PHONE.port + 1), PHONE, False),  # a neighbour
        (PHONE._replace(transport="tcp"), PHONE, False),
        (PHONE._replace(transport="tcp", port=1), PHONE._replace(transport="tcp"), True),
        (PHONE._replace(transport="tls"), PHONE._replace(transport="tcp"), False),
        (Place.of("udp", "[2001:DB8:0::7]", 5060), Place.of("udp", "2001:db8::7", 5060), True),
        (Place.of("udp", "2001:db8::7", 5061), Place.of("udp", "2001:db8::7", 5060), False),
    ],
)
def test_cancel_comes_from_where_its_invite_came_from(
    source: Place, invited: Place, may: bool
) -> None:
    assert DIALOGS.may_cancel(source, invited, "1001", nowhere) is may


@pytest.mark.parametrize(
    ("source", "invited", "may"),
    [
        (SECOND, CARRIER, True),  # another node of the trunk
        (ELSEWHERE, CARRIER, False),
        (CARRIER, ELSEWHERE, False),
        (Place("udp", "10.0.0.1", 5060), Place("udp", "10.0.0.2", 5060), True),
        (Place("udp", "10.0.0.1", 5060), CARRIER, False),  # a node of another's
        (Place("udp", "192.0.2.8", 5060), PHONE, False),
        (PHONE, CARRIER, False),
    ],
)
def test_cancel_from_elsewhere_comes_from_a_server_of_the_same_group(
    source: Place, invited: Place, may: bool
) -> None:
    assert DIALOGS.may_cancel(source, invited, "1001", nowhere) is may


@pytest.mark.parametrize(
    ("source", "may"), [("192.0.2.201", True), ("192.0.2.7", False), ("203.0.113.9", False)]
)
def test_cancel_may_come_by_another_edge_proxy(source: str, may: bool) -> None:
    edges = phones(edge_proxies=(ip_network("192.0.2.200/29"),))
    dialogs = Dialogs(SEALS, IPGroups([edges]))
    invited = Place("udp", "192.0.2.200", 5060)
    assert dialogs.may_cancel(Place("udp", source, 5060), invited, "1001", nowhere) is may


@pytest.mark.parametrize(
    ("invited", "account", "may"),
    [
        (PHONE, "1001", True),
        (PHONE, "1002", False),
        (Place("udp", "10.9.0.1", 5060), "1001", False),
    ],
)
def test_cancel_may_come_from_where_the_caller_is_registered_by_now(
    invited: Place, account: str, may: bool
) -> None:
    now_at = Place("udp", "203.0.113.77", 5060)

    def registered(side: Side) -> Sequence[Place]:
        return (now_at,) if (side.ip_group, side.account) == ("Phones", "1001") else ()

    groups = IPGroups([phones(classification=(rule("192.0.2.0/24"),))])
    assert Dialogs(SEALS, groups).may_cancel(now_at, invited, account, registered) is may


def test_credentials_are_withheld_from_others_where_we_challenge() -> None:
    groups = IPGroups(
        [
            phones(),
            phones("Shadow", shadow=True),
            phones("Unasked", authentication_mode=AuthenticationMode.USER_AUTHENTICATES),
        ]
    )
    withheld = Dialogs(SEALS, groups).withholds_from
    names = ("Phones", "Shadow", "Unasked", "Gone")
    assert [withheld(name) for name in names] == ["example.com", None, None, None]


def test_server_that_has_proved_itself_may_be_where_it_did() -> None:
    here = Place("udp", "203.0.113.50", 5060)
    proved = trunk("Proved", digest_username="trunk", proxy_set=())
    dialogs = Dialogs(SEALS, IPGroups([proved]))
    side = Side("Proved", "", here)
    assert dialogs.is_from(side, here, nowhere)
    assert not dialogs.is_from(side, here._replace(address="203.0.113.51"), nowhere)
