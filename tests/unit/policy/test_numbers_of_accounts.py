"""Numbers and prefixes: whose a number is, and which of them From may have."""

import pytest
from conversation import REALM, Phone, UserInfo, accepted, phones, serve, user
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.policy.decision import Accept, Decision, Reason, Reject
from sbcauth.policy.identities import as_identity, as_number, has, identities_of, numbers_in
from sbcauth.policy.ip_groups import FromScreening
from sbcauth.policy.request import Request
from sbcauth.policy.server import AuthServer

OURS, STRANGERS = "+49301234567", "+15550001"


@pytest.mark.parametrize("text", ["+4930123", "+4930123*", "1*", "office", "a" * 64])
def test_number_or_prefix_is_an_identity(text: str) -> None:
    assert as_identity(text) == text


@pytest.mark.parametrize(
    "text", ["", "*", "*43", "1**", "1*2", "a b", "a@b", "1;x", "a" * 65, "1\n", "%2B"]
)
def test_all_else_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no identity"):
        as_identity(text)


@given(st.text("+0123456789a", min_size=1, max_size=64))
def test_number_has_itself_and_each_of_its_prefixes(number: str) -> None:
    found = identities_of(number)
    assert found[0] == number
    assert all(number.startswith(each.removesuffix("*")) for each in found)
    assert [len(each) for each in found[1:]] == list(range(len(number) + 1, 1, -1))
    assert all(has([each], number) for each in found)
    assert not has([number + "0", number + "0*"], number)


@pytest.mark.parametrize("number", ["", "1*", "+4930123*", "1" * 65])
def test_what_is_no_number_has_no_identity(number: str) -> None:
    assert identities_of(number) == ()


@pytest.mark.parametrize(
    ("user", "number"),
    [("%2B4930", "+4930"), ("+4930;phone-context=x", "+4930"), ("a", "a"), ("", "")],
)
def test_number_is_without_escapes_and_parameters(user: str, number: str) -> None:
    assert as_number(user) == number


@pytest.mark.parametrize(
    ("field", "numbers"),
    [
        ("<sip:1@h>", ("1",)),
        ('"<sip:2@h>" <sip:1@h>', ("1",)),
        ("sip:1:secret@h;x", ("1",)),
        ("<sip:1@h>, <tel:+2;x=y>", ("1", "+2")),
        ("<SIPS:%2B1@h>", ("+1",)),
        ("<sip:h>", ()),
        ("", ()),
    ],
)
def test_numbers_in_a_header_field(field: str, numbers: tuple[str, ...]) -> None:
    assert numbers_in([field]) == numbers


def server_of(screening: FromScreening = FromScreening.IDENTITIES) -> AuthServer:
    users = UserInfo(user(), user("pbx"), user("branch"))
    users.identities = {"pbx": ("+4930*",), "branch": ("+493099*", "+493011")}
    return serve(phones(from_screening=screening), users=users)


def call(server: AuthServer, from_user: str, method: str = "INVITE", **changes: object) -> Decision:
    pbx = Phone(server, "pbx")
    return pbx.answer(pbx.challenge(method), method, from_user=from_user, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", ["pbx", OURS, "%2B4930", "+4930"])
def test_account_calls_from_its_numbers_and_stays_the_account(number: str) -> None:
    decision = call(server_of(), number)
    assert isinstance(decision, Accept)
    assert decision.local_user == "pbx"


@pytest.mark.parametrize("number", ["+4930991", "+493011", "1001", STRANGERS, "+49"])
def test_account_calls_from_no_other(number: str) -> None:
    decision = call(server_of(), number)
    assert decision == Reject(403, "Forbidden", Reason.IDENTITY_MISMATCH, "Phones", "pbx")


def test_strangers_number_goes_beside_one_of_its_own() -> None:
    assert accepted(call(server_of(), STRANGERS, preferred_identity=f"<tel:{OURS}>"))
    assert accepted(call(server_of(), STRANGERS, asserted_identities=("<sip:pbx@h>",)))
    assert not accepted(call(server_of(), STRANGERS, preferred_identity="<sip:+493011@h>"))
    assert not accepted(call(server_of(), "1001", preferred_identity=f"<tel:{OURS}>"))


@pytest.mark.parametrize("screening", [FromScreening.ASSERTED_ONLY, FromScreening.OFF])
def test_any_from_goes_where_it_is_not_screened_and_no_other_registers(
    screening: FromScreening,
) -> None:
    server = server_of(screening)
    for number in (STRANGERS, "1001", "+493011"):
        decision = call(server, number)
        assert isinstance(decision, Accept)
        assert decision.local_user == "pbx"
    assert not accepted(call(server, "pbx", "REGISTER", to_user="1001"))
    assert accepted(call(server, "pbx", "REGISTER", to_user=OURS))


def test_pair_with_identities_is_one_account() -> None:
    pair = phones(username_as_server="all@x", password_as_server="pw", identities=("+49*",))
    server = serve(pair, users=UserInfo(user()))
    for number in ("all", OURS):
        phone = Phone(server, "all@x", "pw", local_user=number)
        decision = phone.register()
        assert isinstance(decision, Accept)
        assert decision.local_user == "all"
    for number in ("1001", STRANGERS):
        assert not accepted(Phone(server, "all@x", "pw", local_user=number).register())


def test_shared_pair_does_not_speak_for_a_users_number() -> None:
    users = UserInfo(user(), user("pbx"))
    users.identities = {"pbx": ("+4930*",)}
    server = serve(phones(username_as_server="all", password_as_server="pw"), users=users)
    assert not accepted(Phone(server, "all", "pw", local_user=OURS).register())
    assert accepted(Phone(server, "all", "pw", local_user=STRANGERS).register())


@pytest.mark.parametrize(
    ("from_user", "said", "number"),
    [
        (OURS, "", OURS),
        ("pbx", "", "pbx"),
        (OURS, "<tel:+493012>", "+493012"),
        (OURS, f"<tel:{STRANGERS}>", OURS),
        ("anonymous", "", "pbx"),
        ("anonymous", f"<tel:{OURS}>", OURS),
    ],
)
def test_account_is_known_by_the_number_that_it_prefers_if_that_is_its_own(
    from_user: str, said: str, number: str
) -> None:
    server = server_of()
    accept = Accept("Phones", "pbx", "pbx", REALM)
    request = Request("INVITE", "sip:x", "192.0.2.7", 5060, "udp", from_user, "h", "x", False, "c")
    request = request._replace(preferred_identity=said)
    assert server.screening.asserted_number(accept, request) == number
    assert server_of(FromScreening.OFF).screening.asserted_number(accept, request) == ""


def test_numbers_are_an_accounts_own_where_it_has_all_of_them() -> None:
    server = server_of()
    assert server.screening.are_own("Phones", "pbx", "x", [OURS, "pbx", "+493012"])
    assert not server.screening.are_own("Phones", "pbx", "x", [OURS, STRANGERS])
    assert not server.screening.are_own("Phones", "pbx", "x", ["+493011"])


def test_number_has_the_owner_with_the_most_specific_identity() -> None:
    server, group = server_of(), phones()
    for number, owner in ((OURS, "pbx"), ("+4930991", "branch")):
        found = server.accounts.owner(number, group)
        assert found is not None
        assert found.local_user == owner
    assert server.accounts.owner(STRANGERS, group) is None


def test_pair_that_all_share_is_who_it_says_in_from() -> None:
    shared = serve(phones(username_as_server="all", password_as_server="pw"), users=UserInfo())
    assert shared.screening.are_own("Phones", "all", STRANGERS, [STRANGERS])
    assert not shared.screening.are_own("Phones", "all", STRANGERS, [OURS])


def test_numbers_are_of_an_account_that_owns_all_of_them() -> None:
    server = server_of()
    assert server.screening.are_of("Phones", "pbx", [OURS, "pbx", "+493012"])
    assert server.screening.are_of("Phones", "pbx", [])
    assert not server.screening.are_of("Phones", "pbx", [OURS, STRANGERS])
    assert not server.screening.are_of("Phones", "branch", [OURS])


@pytest.mark.parametrize(
    ("said", "number"),
    [([], "pbx"), ([OURS], OURS), ([STRANGERS, OURS], OURS), ([STRANGERS], "pbx")],
)
def test_party_is_known_by_the_first_of_its_own_numbers(said: list[str], number: str) -> None:
    assert server_of().screening.number_of("Phones", "pbx", said) == number
    assert server_of(FromScreening.OFF).screening.number_of("Phones", "pbx", said) == ""
