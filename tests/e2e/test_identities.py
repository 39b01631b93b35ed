"""Accounts with many numbers: a PBX that registers, is called by each, and speaks for each."""

from collections.abc import Iterable, Iterator
from secrets import token_hex
from typing import Any

import pytest
import sip
from kamailio import Server, free_port
from phone import Endpoint, MakeEndpoint, MakePhone, Phone, Request

TRUNK, OTHER = ("127.71.0.1", free_port()), ("127.72.0.1", free_port())
CONFIG = f"""
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    route_to: Trunk
    classification: [{{address: 127.0.0.0/16}}]
  - name: Forwarding
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    from_screening: asserted-only
    route_to: Trunk
    classification: [{{address: 127.1.0.0/16}}]
  - name: Pair
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    username_as_server: office
    password_as_server: office secret
    identities: ["+4940*"]
    route_to: Trunk
    classification: [{{address: 127.2.0.0/16}}]
  - name: Elsewhere
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    route_to: Other
    classification: [{{address: 127.3.0.0/16}}]
  - name: Trunk
    type: server
    proxy_set: ["sip:{TRUNK[0]}:{TRUNK[1]}"]
  - name: Other
    type: server
    trusted_identity: false
    proxy_set: ["sip:{OTHER[0]}:{OTHER[1]}"]
"""
USERS = {"1001": "secret", "Forwarding/forwarder": "secret", "Elsewhere/1003": "secret"}
OURS, SHORT, STRANGERS = "+49301234567", "+49301999", "+15550001"
FROM_A_STRANGER = f"sip:{STRANGERS}@elsewhere.example"


@pytest.fixture(scope="module", autouse=True)
def pbx_has_numbers(server: Server) -> None:
    server.add_user("pbx", "secret")
    server.administer("user", "set-identities", "pbx", "+49301234*", SHORT)


@pytest.fixture
def trunk(endpoint: MakeEndpoint) -> Endpoint:
    return endpoint(TRUNK[0], port=TRUNK[1])


@pytest.fixture
def pbx(phone: MakePhone) -> Iterator[Phone]:
    pbx = phone("pbx")
    assert pbx.register().status == 200
    yield pbx
    pbx.expires = 0
    pbx.register()


def called(
    trunk: Endpoint, number: str, callee: Phone, method: str = "INVITE", headers: Iterable[str] = ()
) -> Request:
    """Have the trunk call a number; return the request as the callee has it, which is busy."""
    uri, branch = f"sip:{number}@example.com", f"z9hG4bK{token_hex(8)}"
    said = f"sip:{STRANGERS}@carrier.example"
    trunk.send(
        sip.request(
            method,
            uri,
            said,
            via=trunk.via,
            branch=branch,
            contact=trunk.contact,
            call_id=branch,
            headers=list(headers),
        )
    )
    request = callee.incoming(method)
    callee.reply(request, 486, "Busy Here")
    assert trunk.response(branch).status == 486
    return request


def call(caller: Phone, number: str, **how: object) -> int:
    """Call with the right password; return the status."""
    uri = f"sip:{number}@example.com"
    challenge = caller.request("INVITE", uri, **how)
    assert challenge.status == 401
    return caller.request("INVITE", uri, answering=challenge, **how).status


def reaches_trunk(caller: Phone, trunk: Endpoint, **how: Any) -> Request:
    """Call the trunk with the right password; return the INVITE as the trunk has it."""
    uri = f"sip:{STRANGERS}@example.com"
    challenge = caller.request("INVITE", uri, **how)
    caller.send(caller.build("INVITE", uri, answering=challenge, **how))
    invite = trunk.incoming("INVITE")
    trunk.reply(invite, 486, "Busy Here")
    busy = caller.response(caller.last_branch)
    assert busy.status == 486
    caller.acknowledge(busy)
    return invite


# -- calls to its numbers


@pytest.mark.parametrize("number", [OURS, "+493012340", SHORT])
@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_number_that_is_called_reaches_the_pbx_and_is_seen_there(
    trunk: Endpoint, pbx: Phone, number: str, method: str
) -> None:
    request = called(trunk, number, pbx, method)
    assert request.uri.partition("@")[0] == f"sip:{number}"
    assert pbx.host in request.uri


def test_all_contacts_of_the_pbx_see_the_number(
    trunk: Endpoint, pbx: Phone, phone: MakePhone
) -> None:
    second = phone("pbx")
    assert second.register().status == 200
    uri = f"sip:{OURS}@example.com"
    trunk.send(sip.request("INVITE", uri, "sip:x@y", via=trunk.via, branch="z9hG4bKall"))
    for each in (pbx, second):
        invite = each.incoming("INVITE")
        assert invite.uri.startswith(f"sip:{OURS}@{each.host}")
        each.reply(invite, 486, "Busy Here")
    assert trunk.response("z9hG4bKall").status == 486
    second.expires = 0
    second.register()


def test_phone_calls_a_number_of_the_pbx_within_and_not_by_the_trunk(
    phone: MakePhone, pbx: Phone, trunk: Endpoint
) -> None:
    caller, uri = phone("1001"), f"sip:{OURS}@example.com"
    challenge = caller.request("INVITE", uri)
    caller.send(caller.build("INVITE", uri, answering=challenge))
    invite = pbx.incoming("INVITE")
    assert invite.uri.startswith(f"sip:{OURS}@")
    pbx.reply(invite, 486, "Busy Here")
    caller.acknowledge(caller.response(caller.last_branch))
    assert trunk.hears_nothing(0.1)


def test_other_number_is_not_the_pbxs(trunk: Endpoint, pbx: Phone) -> None:
    branch = "z9hG4bKother"
    uri = "sip:+49301998@example.com"
    trunk.send(sip.request("MESSAGE", uri, "sip:x@y", via=trunk.via, branch=branch))
    assert trunk.response(branch).status == 404
    assert pbx.hears_nothing(0.1)


def test_pair_with_identities_is_one_account(trunk: Endpoint, phone: MakePhone) -> None:
    office = phone("office", "office secret", address="127.2.0.1", local_user="+49401")
    assert office.register().status == 200
    assert called(trunk, "+494022", office).uri.startswith("sip:+494022@")
    assert called(trunk, "office", office)
    assert reaches_trunk(office, trunk, from_uri="sip:+49405@example.com")
    assert call(office, STRANGERS, from_uri="sip:+49415@example.com") == 403
    office.expires = 0
    office.register()


# -- calls from its numbers


@pytest.mark.parametrize("number", ["pbx", OURS, SHORT, "%2B49301999"])
def test_pbx_calls_from_each_of_its_numbers(trunk: Endpoint, pbx: Phone, number: str) -> None:
    invite = reaches_trunk(pbx, trunk, from_uri=f"sip:{number}@example.com")
    assert f"sip:{number}@" in invite.header("from")


@pytest.mark.parametrize("number", [STRANGERS, "1001", "+49301998", "+4930123", "+49301234*"])
def test_pbx_calls_from_no_other(pbx: Phone, number: str, server: Server) -> None:
    assert call(pbx, STRANGERS, from_uri=f"sip:{number}@example.com") == 403
    assert server.reasons(pbx.call_id)[-1] == "identity-mismatch"


def test_phone_does_not_call_from_a_number_of_the_pbx(phone: MakePhone) -> None:
    assert call(phone("1001"), STRANGERS, from_uri=f"sip:{OURS}@example.com") == 403


@pytest.mark.parametrize("field", ["P-Preferred-Identity", "P-Asserted-Identity"])
@pytest.mark.parametrize("uri", [f"<sip:{OURS}@example.com>", f'"x" <tel:{OURS}>'])
def test_strangers_number_is_let_in_beside_one_of_its_own(
    pbx: Phone, trunk: Endpoint, field: str, uri: str
) -> None:
    said = {"from_uri": FROM_A_STRANGER, "headers": [f"{field}: {uri}"]}
    assert STRANGERS in reaches_trunk(pbx, trunk, **said).header("from")


@pytest.mark.parametrize("uri", ["<sip:1001@example.com>", f'"<sip:{OURS}@x>" <sip:1@x>'])
def test_strangers_number_is_not_let_in_beside_anothers(pbx: Phone, uri: str) -> None:
    said = {"from_uri": FROM_A_STRANGER, "headers": [f"P-Preferred-Identity: {uri}"]}
    assert call(pbx, STRANGERS, **said) == 403


def test_number_of_another_account_is_never_let_in(pbx: Phone) -> None:
    own = [f"P-Preferred-Identity: <sip:{OURS}@example.com>"]
    assert call(pbx, STRANGERS, from_uri="sip:1001@example.com", headers=own) == 403


def test_pbx_that_forwards_may_have_any_from_and_registers_itself_alone(
    phone: MakePhone, trunk: Endpoint
) -> None:
    pbx = phone("forwarder", address="127.1.0.1")
    assert pbx.register().status == 200
    assert reaches_trunk(pbx, trunk, from_uri=FROM_A_STRANGER)
    challenge = pbx.request("REGISTER", to="sip:1001@example.com")
    refused = pbx.request("REGISTER", to="sip:1001@example.com", answering=challenge)
    assert refused.status == 403


# -- what else it sends, and registers


def test_registering_for_a_number_registers_the_account(trunk: Endpoint, phone: MakePhone) -> None:
    pbx = phone("pbx", local_user=SHORT)
    assert pbx.register().status == 200
    assert called(trunk, OURS, pbx)
    pbx.expires = 0
    assert pbx.register().status == 200


def test_unlisted_method_from_one_of_its_numbers_goes_on_from_where_it_is_registered(
    pbx: Phone, phone: MakePhone, trunk: Endpoint
) -> None:
    uri, said = f"sip:{STRANGERS}@example.com", f"sip:{OURS}@example.com"
    pbx.send(pbx.build("MESSAGE", uri, from_uri=said))
    trunk.reply(trunk.incoming("MESSAGE"), 200)
    assert pbx.response(pbx.last_branch).status == 200
    assert phone("1001").request("MESSAGE", uri, from_uri=said).status == 403


def test_change_of_identities_is_in_force_at_once(
    server: Server, phone: MakePhone, trunk: Endpoint
) -> None:
    server.add_user("late", "secret")
    late = phone("late")
    said = f"sip:{STRANGERS[:-1]}7@example.com"
    assert call(late, STRANGERS, from_uri=said) == 403
    server.administer("user", "set-identities", "late", f"{STRANGERS[:-1]}*")
    assert reaches_trunk(late, trunk, from_uri=said)
    server.administer("user", "set-identities", "late")
    assert call(late, STRANGERS, from_uri=said) == 403


# -- who is told who calls


@pytest.mark.parametrize(
    ("said", "field", "asserted"),
    [
        ("pbx", "", "sip:pbx@example.com"),
        (OURS, "", f"sip:{OURS}@example.com"),
        (OURS, f"P-Preferred-Identity: <sip:{SHORT}@x>", f"sip:{SHORT}@example.com"),
        (OURS, "P-Asserted-Identity: <sip:boss@x>", f"sip:{OURS}@example.com"),
        ("anonymous", f"P-Preferred-Identity: <tel:{SHORT}>", f"sip:{SHORT}@example.com"),
        ("anonymous", "", "sip:pbx@example.com"),
    ],
)
def test_trunk_is_told_a_number_of_the_account(
    pbx: Phone, trunk: Endpoint, said: str, field: str, asserted: str
) -> None:
    headers = ["Privacy: id", "Remote-Party-ID: <sip:boss@x>", *([field] if field else [])]
    invite = reaches_trunk(pbx, trunk, from_uri=f"sip:{said}@example.com", headers=headers)
    assert invite.all("p-asserted-identity") == [f"<{asserted}>"]
    assert invite.header("privacy") == "id"
    assert not invite.all("p-preferred-identity") + invite.all("remote-party-id")


def test_server_that_is_not_trusted_is_not_told_under_privacy(
    phone: MakePhone, endpoint: MakeEndpoint
) -> None:
    other, caller = endpoint(OTHER[0], port=OTHER[1]), phone("1003", address="127.3.0.1")
    assert reaches_trunk(caller, other).all("p-asserted-identity")
    hidden = reaches_trunk(caller, other, headers=["Privacy: user;id"])
    assert not hidden.all("p-asserted-identity")


def test_phone_is_told_no_number_of_another_phone(phone: MakePhone, pbx: Phone) -> None:
    caller, uri = phone("1001"), f"sip:{OURS}@example.com"
    challenge = caller.request("INVITE", uri)
    said = ["P-Asserted-Identity: <sip:boss@x>", "P-Preferred-Identity: <sip:1001@x>"]
    caller.send(caller.build("INVITE", uri, answering=challenge, headers=said))
    invite = pbx.incoming("INVITE")
    assert not invite.all("p-asserted-identity") + invite.all("p-preferred-identity")
    pbx.reply(invite, 486, "Busy Here")
    caller.acknowledge(caller.response(caller.last_branch))


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
@pytest.mark.parametrize(
    ("private", "is_told"), [("", True), ("none", True), ("id", False), ("header;critical", False)]
)
def test_phone_is_told_who_calls_but_under_privacy(
    trunk: Endpoint, pbx: Phone, method: str, private: str, is_told: bool
) -> None:
    headers = [f"P-Asserted-Identity: <sip:{STRANGERS}@carrier.example>"]
    headers += [f"Privacy: {private}"] if private else []
    request = called(trunk, "pbx", pbx, method, headers)
    assert bool(request.all("p-asserted-identity")) == is_told


def test_what_a_server_asserts_that_is_not_trusted_does_not_arrive(
    phone: MakePhone, endpoint: MakeEndpoint
) -> None:
    other, callee = endpoint(OTHER[0], port=OTHER[1]), phone("1003", address="127.3.0.1")
    assert callee.register().status == 200
    headers = [f"P-Asserted-Identity: <sip:{STRANGERS}@carrier.example>"]
    assert not called(other, "1003", callee, headers=headers).all("p-asserted-identity")
    callee.expires = 0
    callee.register()


@pytest.mark.parametrize(("private", "is_told"), [("none", True), ("id", False)])
def test_caller_is_told_who_answers_but_under_privacy(
    pbx: Phone, trunk: Endpoint, private: str, is_told: bool
) -> None:
    uri = f"sip:{STRANGERS}@example.com"
    challenge = pbx.request("INVITE", uri)
    pbx.send(pbx.build("INVITE", uri, answering=challenge))
    said = [f"P-Asserted-Identity: <sip:{STRANGERS}@carrier.example>", f"Privacy: {private}"]
    trunk.reply(trunk.incoming("INVITE"), 486, "Busy Here", said)
    busy = pbx.response(pbx.last_branch)
    assert bool(busy.all("p-asserted-identity")) == is_told
    pbx.acknowledge(busy)


# -- who has diverted a call

CALLED = f"<sip:{STRANGERS}@example.com>;index=1.1"


@pytest.mark.parametrize(
    ("field", "goes_on"),
    [
        (f"Diversion: <sip:{OURS}@example.com>;reason=unconditional", True),
        (f"Diversion: <tel:{SHORT}>, <sip:pbx@x>", True),
        ("Diversion: <sip:1001@example.com>;reason=unconditional", False),
        (f'Diversion: "<sip:{OURS}@x>" <sip:+4989@x>', False),
        (f"Diversion: <sip:{OURS}@x>, <sip:+4989@x>", False),
        (f"History-Info: <sip:{OURS}@example.com>;index=1, {CALLED}", True),
        (f"History-Info: <sip:+4989@x>;index=1, {CALLED}", False),
        (f"History-Info: {CALLED}", False),
    ],
)
def test_diversion_goes_on_only_with_numbers_of_its_own(
    pbx: Phone, trunk: Endpoint, field: str, goes_on: bool
) -> None:
    said = {"from_uri": f"sip:{OURS}@example.com", "headers": [field]}
    invite = reaches_trunk(pbx, trunk, **said)
    assert bool(invite.all(field.partition(":")[0])) == goes_on
