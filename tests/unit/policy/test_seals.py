"""The seals of dialogs: what opens, and that nothing else does."""

import pytest
from conversation import NOW, deny, phones, rule, trunk
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.dialog_keys import SivCipher, ciphers
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.ip_groups import ProxyAddress
from sbcauth.policy.places import Place
from sbcauth.policy.seals import (
    LIFETIME_OF_CALL,
    LIFETIME_OF_SUBSCRIPTION,
    Mark,
    Seals,
    Side,
    Token,
)

GROUPS = ("Phones", "Head Office", "Trünk")
SEALS = Seals([SivCipher(b"k" * 32)], GROUPS)
CALL = "f81d4fae@example.com"
HOME = Place("udp", "192.0.2.7", 5060)
CARRIER = Place("tls", "2001:db8::1", 5061)
TOKEN = Token(NOW, "from-tag", Side("Phones", "1001", HOME, True), Side("Trünk", "", CARRIER))

places = st.builds(
    Place.of,
    st.sampled_from(["udp", "tcp", "tls", "ws", "wss"]),
    st.ip_addresses().map(str),
    st.integers(1, 65535),
)
sides = st.builds(
    Side, st.sampled_from(GROUPS), st.text(max_size=60), places, registered=st.booleans()
)


def test_token_opens_and_says_what_was_sealed() -> None:
    found = SEALS.open_token(SEALS.seal_token(TOKEN, CALL), CALL, NOW)
    assert found
    assert (found.caller, found.callee, found.began_at) == (TOKEN.caller, TOKEN.callee, NOW)
    assert found.is_of("from-tag")
    assert not found.is_of("another")


@given(sides, sides, st.text(), st.text(), st.integers(0, 2**32 - 1), st.booleans())
def test_any_token_opens(
    caller: Side, callee: Side, tag: str, call_id: str, began_at: int, lasts: bool
) -> None:
    sealed = SEALS.seal_token(Token(began_at, tag, caller, callee, lasts), call_id)
    assert set(sealed) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    found = SEALS.open_token(sealed, call_id, began_at)
    assert found
    assert (found.caller, found.callee) == (caller, callee)
    assert found.is_of(tag)


@given(places, st.booleans(), st.text(max_size=50), st.text(), st.text(), st.text())
def test_any_mark_opens(
    place: Place, registered: bool, inner: str, call_id: str, tag: str, target: str
) -> None:
    mark = Mark(place, registered, inner)
    sealed = SEALS.seal_mark(mark, call_id, tag, target)
    assert SEALS.open_mark(sealed, call_id, tag, target) == mark
    assert SEALS.open_mark(sealed, call_id, tag + "x", target) is None
    assert SEALS.open_mark(sealed, call_id + "x", tag, target) is None
    assert SEALS.open_mark(sealed, call_id, tag, target + "x") is None
    assert SEALS.open_token(sealed, call_id, NOW) is None


@given(st.text(), st.text(), st.integers(0, 2**33))
def test_nothing_made_up_opens(made_up: str, call_id: str, now: int) -> None:
    assert SEALS.open_token(made_up, call_id, now) is None
    assert SEALS.open_mark(made_up, call_id, call_id, call_id) is None


@given(st.integers(0), st.sampled_from("AZaz09-_"))
def test_token_with_one_letter_changed_does_not_open(position: int, letter: str) -> None:
    sealed = SEALS.seal_token(TOKEN, CALL)
    at = position % (len(sealed) - 1)  # the last letter has bits that say nothing
    changed = sealed[:at] + letter + sealed[at + 1 :]
    assert changed == sealed or SEALS.open_token(changed, CALL, NOW) is None


def test_token_of_another_call_or_key_does_not_open() -> None:
    sealed = SEALS.seal_token(TOKEN, CALL)
    assert SEALS.open_token(sealed, "another", NOW) is None
    assert Seals([SivCipher(b"x" * 32)], GROUPS).open_token(sealed, CALL, NOW) is None


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 20, 40])
def test_token_that_was_cut_does_not_open(cut: int) -> None:
    assert SEALS.open_token(SEALS.seal_token(TOKEN, CALL)[:cut], CALL, NOW) is None


def test_token_tells_nothing_of_who_calls() -> None:
    sealed = SEALS.seal_token(TOKEN, CALL)
    other = SEALS.seal_token(TOKEN._replace(caller=Side("Phones", "1002", HOME, True)), CALL)
    assert len(sealed) == len(other)
    assert sum(a == b for a, b in zip(sealed, other, strict=True)) < 20


@pytest.mark.parametrize(
    ("lasts", "lifetime"), [(False, LIFETIME_OF_CALL), (True, LIFETIME_OF_SUBSCRIPTION)]
)
def test_token_gets_too_old(lasts: bool, lifetime: int) -> None:
    sealed = SEALS.seal_token(TOKEN._replace(lasts=lasts), CALL)
    assert SEALS.open_token(sealed, CALL, NOW + lifetime)
    assert SEALS.open_token(sealed, CALL, NOW + lifetime + 1) is None
    assert SEALS.open_token(sealed, CALL, NOW - 100)  # the clock was set back


def test_older_key_opens_and_the_newest_seals() -> None:
    old, new = SivCipher(b"k" * 32), SivCipher(b"n" * 32)
    both = Seals([new, old], GROUPS)
    assert both.open_token(SEALS.seal_token(TOKEN, CALL), CALL, NOW)
    assert SEALS.open_token(both.seal_token(TOKEN, CALL), CALL, NOW) is None


def test_keys_of_one_number_are_told_apart() -> None:
    ciphers = [SivCipher(bytes((number,)) * 32) for number in range(64)]
    by_number = {cipher.key_id: cipher for cipher in ciphers}
    first = next(each for each in ciphers if by_number[each.key_id] is not each)
    both = Seals([by_number[first.key_id], first], GROUPS)
    assert both.open_token(Seals([first], GROUPS).seal_token(TOKEN, CALL), CALL, NOW)


def test_keys_of_the_file_seal_in_its_order(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "sbcauth.keys"
    before = Seals(ciphers(path), GROUPS)
    sealed = before.seal_token(TOKEN, CALL)
    kept = tmp_path / "sbcauth.dialog"
    kept.write_text(f"{'ab' * 32}\n{kept.read_text()}")
    after = Seals(ciphers(path), GROUPS)
    assert after.open_token(sealed, CALL, NOW)
    assert before.open_token(after.seal_token(TOKEN, CALL), CALL, NOW) is None


def test_ip_group_that_is_no_more_has_no_name() -> None:
    sealed = SEALS.seal_token(TOKEN, CALL)
    found = Seals([SivCipher(b"k" * 32)], ["Phones"]).open_token(sealed, CALL, NOW)
    assert found
    assert (found.caller.ip_group, found.callee.ip_group) == ("Phones", "")


def test_account_that_is_too_long_is_left_out() -> None:
    token = TOKEN._replace(caller=Side("Phones", "ü" * 128, HOME))
    found = SEALS.open_token(SEALS.seal_token(token, CALL), CALL, NOW)
    assert found
    assert found.caller == Side("Phones", "", HOME)


@pytest.mark.parametrize("content", [b"", b"\0", b"\0" * 11, b"\0" * 16, b"\0" * 15 + b"\xff" * 9])
def test_seal_of_another_version_does_not_open(content: bytes) -> None:
    cipher = SivCipher(b"k" * 32)
    seals = Seals([cipher], GROUPS)
    assert seals.open_token(seals._seal(content, [b"token", b"c"]), "c", 0) is None
    about = [b"mark", b"c", b"t", b"u"]
    assert seals.open_mark(seals._seal(content[:3], about), "c", "t", "u") is None


@pytest.mark.parametrize(
    ("transport", "address", "port"),
    [("udp", "host", 1), ("smoke", "1.2.3.4", 1), ("udp", "1.2.3.4", 0), ("udp", "::1", 65536)],
)
def test_what_is_no_place(transport: str, address: str, port: int) -> None:
    with pytest.raises(ValueError, match=r"place|address"):
        Place.of(transport, address, port)


def test_place_of_an_ipv6_address_has_one_spelling() -> None:
    assert Place.of("TCP", "[2001:0DB8:0:0:0:0:0:1]", 5060) == Place("tcp", "2001:db8::1", 5060)
    assert Place("tcp", "2001:db8::1", 5060).uri == "sip:[2001:db8::1]:5060;transport=tcp"
    assert HOME.uri == "sip:192.0.2.7:5060"


@pytest.mark.parametrize(
    ("source", "admitted"),
    [
        (HOME, True),
        (HOME._replace(port=5061), False),
        (HOME._replace(address="192.0.2.8"), False),
        (HOME._replace(transport="tcp", port=40000), True),
        (HOME._replace(transport="tcp", address="192.0.2.8"), False),
    ],
)
def test_who_comes_from_a_place_over_udp(source: Place, admitted: bool) -> None:
    assert HOME.admits(source) is admitted


def test_who_comes_from_a_connection_may_come_from_another() -> None:
    connection = Place("tcp", "192.0.2.7", 40000)
    assert connection.admits(connection._replace(port=40001))
    assert not connection.admits(Place("udp", "192.0.2.7", 40000))


def test_server_fits_wherever_its_proxy_set_or_rules_do() -> None:
    groups = IPGroups(
        [
            trunk(classification=(rule("198.51.100.0/24", port=5060), rule("10.0.0.0/8"))),
            trunk("Other", proxy_set=(ProxyAddress("sip:10.0.0.1", "10.0.0.1"),)),
            phones(classification=(rule("10.1.0.0/16", from_host="example.com"),)),
            phones("Barred", classification=(deny("10.2.0.0/16"), rule("10.3.0.0/16"))),
        ]
    )
    fits = groups.fits
    assert fits("Trunk", "198.51.100.1", 4444, "udp")  # its Proxy Set
    assert fits("Trunk", "198.51.100.9", 5060, "tcp")
    assert not fits("Trunk", "198.51.100.9", 5061, "tcp")
    assert fits("Trunk", "10.9.9.9", 1, "udp")
    assert fits("Trunk", "10.1.0.1", 1, "udp")  # hosts tell whose it is
    assert not fits("Trunk", "10.0.0.1", 1, "udp")  # another's
    assert not fits("Trunk", "10.2.0.1", 1, "udp")
    assert not fits("Trunk", "10.3.0.1", 1, "udp")
    assert not fits("Trunk", "192.0.2.1", 1, "udp")
    assert groups.likely_at("10.1.0.1", 1, "udp") is groups.by_name["Phones"]
    assert groups.likely_at("192.0.2.1", 1, "udp") is None
