"""SPEC 3, steps 5 and 7: what a challenge looks like, and which answers to it get in."""

import re
from collections.abc import Callable

import pytest
import sip
from kamailio import Server
from phone import MakePhone


def group(name: str, third: int, **settings: object) -> str:
    """Return an IP Group of phones whose addresses are in 127.1.`third`.0/24."""
    lines = "".join(f"    {key}: {value}\n" for key, value in settings.items())
    return f"""
  - name: {name}
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
    classification: [{{address: 127.1.{third}.0/24}}]
    username_as_server: "1001"
    password_as_server: secret
{lines}"""


GROUPS: dict[str, dict[str, int | str]] = {
    "Defaults": {},
    "Proxy": {"auth_challenge_method": 407},
    "Auto": {"auth_challenge_method": "auto"},
    "Int": {"auth_qop": "auth-int"},
    "Both": {"auth_qop": "both"},
    "NoQop": {"auth_qop": "none"},
    "Sha256": {"auth_algorithms": "[SHA-256]"},
    "Sha512": {"auth_algorithms": "[SHA-512-256]"},
    "StrongFirst": {"auth_algorithms": "[SHA-512-256, SHA-256, MD5]"},
    "WeakFirst": {"auth_algorithms": "[MD5, SHA-256]"},
    "OwnRealm": {"realm": "other.example"},
    "StrictURI": {"check_digest_uri": "strict"},
}
ADDRESSES = {name: f"127.1.{third}.1" for third, name in enumerate(GROUPS)}
CONFIG = "realm: example.com\nip_groups:" + "".join(
    group(name, third, **settings) for third, (name, settings) in enumerate(GROUPS.items())
)
NOT_UTF_8 = b"v=0\r\ns=\xff\xfe\x00 \xc3\x28\r\n"


@pytest.fixture
def phone_of(phone: MakePhone) -> MakePhone:
    """Make a phone of an IP Group; none of them stays registered."""
    return lambda name, **how: phone(address=ADDRESSES[name], expires=0, **how)


def test_register_without_credentials_gets_401_and_one_challenge(phone_of: MakePhone) -> None:
    reply = phone_of("Defaults").request("REGISTER")
    assert (reply.status, reply.phrase) == (401, "Unauthorized")
    (challenge,) = reply.challenges
    assert (challenge.header, challenge.realm) == ("WWW-Authenticate", "example.com")
    assert (challenge.algorithm, challenge.qop, challenge.stale) == ("MD5", ("auth",), False)
    assert "stale" not in reply.header("WWW-Authenticate").lower()


def test_nonce_is_short_and_plain_and_never_the_same(phone_of: MakePhone) -> None:
    phone = phone_of("Defaults")
    nonces = {phone.request("REGISTER").challenges[0].nonce for _ in range(20)}
    assert len(nonces) == 20
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{20,63}", nonce) for nonce in nonces)


def test_phone_registers_after_one_challenge(phone_of: MakePhone, server: Server) -> None:
    phone = phone_of("Defaults")
    phone.expires = 60
    challenge = phone.request("REGISTER")
    accepted = phone.request("REGISTER", answering=challenge)
    assert accepted.status == 200
    assert phone.host in accepted.header("Contact")
    assert server.reasons(phone.call_id) == ["challenged", "accepted"]


def test_accepted_registration_is_two_lines_and_nothing_for_an_operator_to_notice(
    phone_of: MakePhone, server: Server
) -> None:
    before = server.log_size()
    phone = phone_of("Defaults")
    assert phone.register().status == 200
    assert server.reasons(phone.call_id) == ["challenged", "accepted"]
    assert "NOTICE" not in server.log(before)


@pytest.mark.parametrize("method", ["register", "REGISTEr", "invite", "InvitE", "message"])
def test_method_in_another_case_is_challenged_all_the_same(
    phone_of: MakePhone, server: Server, method: str
) -> None:
    """Kamailio routes it whatever its case."""
    phone = phone_of("Defaults")
    assert phone.request(method).status == 401
    assert server.reasons(phone.call_id) == ["challenged"]


def test_phone_registers_over_tcp(phone_of: MakePhone) -> None:
    assert phone_of("Defaults", transport="tcp").register().status == 200


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "MESSAGE"])
def test_challenge_method_407_is_proxy_authentication(phone_of: MakePhone, method: str) -> None:
    phone = phone_of("Proxy")
    reply = phone.request(method)
    assert (reply.status, reply.phrase) == (407, "Proxy Authentication Required")
    assert [challenge.header for challenge in reply.challenges] == ["Proxy-Authenticate"]
    assert not reply.header("WWW-Authenticate")
    expected = 200 if method == "REGISTER" else 404  # accepted, and nobody to pass it on to
    assert phone.request(method, answering=reply).status == expected


def test_challenge_method_auto_is_401_for_register_and_407_for_the_rest(
    phone_of: MakePhone,
) -> None:
    phone = phone_of("Auto")
    assert phone.request("REGISTER").status == 401
    assert phone.request("INVITE").status == 407
    assert phone.request("MESSAGE").status == 407
    assert phone.register().status == 200
    assert phone.authenticate("MESSAGE").status == 404


@pytest.mark.parametrize("group_name", ["Defaults", "Proxy"])
def test_credentials_in_the_wrong_header_are_as_none(
    phone_of: MakePhone, server: Server, group_name: str
) -> None:
    phone = phone_of(group_name)
    (challenge,) = phone.request("REGISTER").challenges
    other = {"WWW-Authenticate": "Proxy-Authenticate"}.get(challenge.header, "WWW-Authenticate")
    reply = phone.request("REGISTER", answering=challenge._replace(header=other))
    assert reply.status in (401, 407)
    assert server.reasons(phone.call_id) == ["challenged", "challenged"]


@pytest.mark.parametrize(
    ("group_name", "offered"),
    [
        ("Defaults", ("auth",)),
        ("Int", ("auth-int",)),
        ("Both", ("auth", "auth-int")),
        ("NoQop", ()),
    ],
)
def test_each_qop_is_offered_as_configured_and_every_offered_one_gets_in(
    phone_of: MakePhone, group_name: str, offered: tuple[str, ...]
) -> None:
    phone = phone_of(group_name)
    reply = phone.request("REGISTER")
    assert reply.challenges[0].qop == offered
    for qop in offered or ("",):
        assert phone.authenticate("REGISTER", qop=qop).status == 200


@pytest.mark.parametrize(
    ("group_name", "qop"), [("Defaults", "auth-int"), ("Int", "auth"), ("Both", ""), ("Int", "")]
)
def test_qop_that_was_not_offered_or_left_out_is_forbidden(
    phone_of: MakePhone, server: Server, group_name: str, qop: str
) -> None:
    phone = phone_of(group_name)
    assert phone.authenticate("REGISTER", qop=qop).status == 403
    assert server.reasons(phone.call_id)[-1] == "qop-not-offered"


@pytest.mark.parametrize(
    "body",
    [b"", NOT_UTF_8, bytes(range(256)), b"\r\n\r\n" * 50, b"x" * 30_000, b"\xfe" * 50_001],
    ids=["empty", "not-utf-8", "every-byte", "empty-lines", "30000-bytes", "50001-bytes"],
)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_auth_int_covers_the_very_bytes_of_the_body(
    phone_of: MakePhone, body: bytes, transport: str
) -> None:
    phone = phone_of("Int", transport=transport)
    kind = "Content-Type: application/octet-stream"
    challenge = phone.request("MESSAGE", headers=[kind])
    raw = phone.build("MESSAGE", answering=challenge, body=body, headers=[kind])
    phone.send(raw)
    assert phone.response(phone.last_branch).status == 404  # accepted; nobody to send it to


def test_auth_int_refuses_a_body_that_was_changed(phone_of: MakePhone, server: Server) -> None:
    phone = phone_of("Int")
    kind = "Content-Type: application/octet-stream"
    challenge = phone.request("MESSAGE")
    raw = phone.build("MESSAGE", answering=challenge, body=NOT_UTF_8, headers=[kind])
    phone.send(raw.replace(b"\xff\xfe", b"\xff\xff"))
    assert phone.response(phone.last_branch).status == 401
    assert server.reasons(phone.call_id)[-1] == "wrong-credentials"


@pytest.mark.parametrize(
    ("group_name", "algorithms"),
    [
        ("Defaults", ["MD5"]),
        ("Sha256", ["SHA-256"]),
        ("Sha512", ["SHA-512-256"]),
        ("StrongFirst", ["SHA-512-256", "SHA-256", "MD5"]),
        ("WeakFirst", ["MD5", "SHA-256"]),
    ],
)
def test_one_challenge_for_each_algorithm_in_the_order_given_and_any_is_answered(
    phone_of: MakePhone, group_name: str, algorithms: list[str]
) -> None:
    phone = phone_of(group_name)
    challenges = phone.request("REGISTER").challenges
    assert [challenge.algorithm for challenge in challenges] == algorithms
    assert len({challenge.nonce for challenge in challenges}) == len(algorithms)
    for challenge in challenges:
        assert phone.request("REGISTER", answering=challenge).status == 200


def test_algorithm_that_was_not_offered_is_forbidden(phone_of: MakePhone, server: Server) -> None:
    phone = phone_of("Defaults")
    (challenge,) = phone.request("REGISTER").challenges
    reply = phone.request("REGISTER", answering=challenge._replace(algorithm="SHA-256"))
    assert reply.status == 403
    assert server.reasons(phone.call_id)[-1] == "algorithm-not-offered"


def test_nonce_of_a_strong_challenge_is_worth_nothing_for_a_weaker_algorithm(
    phone_of: MakePhone, server: Server
) -> None:
    phone = phone_of("StrongFirst")
    strongest = phone.request("REGISTER").challenges[0]
    reply = phone.request("REGISTER", answering=strongest._replace(algorithm="MD5"))
    assert reply.status == 403
    assert server.reasons(phone.call_id)[-1] == "mixed-challenges"


def test_phone_may_answer_all_challenges_at_once_and_the_strongest_is_judged(
    phone_of: MakePhone,
) -> None:
    phone = phone_of("StrongFirst")
    challenges = phone.request("REGISTER").challenges
    arguments = ("REGISTER", phone.registrar, "1001")
    weak_wrong = [sip.answer(challenges[2], *arguments, "wrong")]
    strong_right = [sip.answer(challenges[0], *arguments, "secret")]
    assert phone.request("REGISTER", headers=weak_wrong + strong_right).status == 200
    challenges = phone.request("REGISTER").challenges
    weak_right = [sip.answer(challenges[2], *arguments, "secret")]
    strong_wrong = [sip.answer(challenges[0], *arguments, "wrong")]
    assert phone.request("REGISTER", headers=weak_right + strong_wrong).status == 401


def test_ip_group_has_a_realm_of_its_own(phone_of: MakePhone) -> None:
    phone = phone_of("OwnRealm")
    reply = phone.request("REGISTER")
    assert reply.challenges[0].realm == "other.example"
    assert phone.request("REGISTER", answering=reply).status == 200


def test_credentials_for_another_realm_are_as_none(phone_of: MakePhone, server: Server) -> None:
    phone = phone_of("Defaults")
    (challenge,) = phone.request("REGISTER").challenges
    reply = phone.request("REGISTER", answering=challenge._replace(realm="elsewhere.example"))
    assert reply.status == 401
    assert server.reasons(phone.call_id) == ["challenged", "challenged"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda field: re.sub(r'username="[^"]*", ', "", field),
        lambda field: re.sub(r'nonce="[^"]*", ', "", field),
        lambda field: re.sub(r'uri="[^"]*", ', "", field),
        lambda field: re.sub(r'response="[^"]*", ', "", field),
        lambda field: re.sub(r'response="[^"]*"', 'response="zz"', field),
        lambda field: field + ', realm="example.com"',
        lambda field: re.sub(r"nc=\w+", "nc=one", field),
        lambda field: field + ', username="unfinished',
        lambda field: field + ", " + "x" * 5000,
    ],
)
def test_malformed_credentials_get_400(
    phone_of: MakePhone, server: Server, spoil: Callable[[str], str]
) -> None:
    phone = phone_of("Defaults")
    (challenge,) = phone.request("REGISTER").challenges
    field = sip.answer(challenge, "REGISTER", phone.registrar, "1001", "secret")
    assert phone.request("REGISTER", headers=[spoil(field)]).status == 400
    assert server.reasons(phone.call_id)[-1] == "malformed-credentials"


def test_basic_credentials_are_as_none(phone_of: MakePhone) -> None:
    assert (
        phone_of("Defaults").request("REGISTER", headers=["Authorization: Basic eA=="]).status
        == 401
    )


def test_digest_uri_is_hashed_as_the_phone_wrote_it(phone_of: MakePhone) -> None:
    phone = phone_of("Defaults")
    assert phone.register(digest_uri="sip:127.0.0.1:5060;transport=UDP").status == 200


def test_strict_digest_uri_must_be_the_request_uri(phone_of: MakePhone, server: Server) -> None:
    phone = phone_of("StrictURI")
    assert phone.register(digest_uri="sip:example.com:5060").status == 403
    assert server.reasons(phone.call_id)[-1] == "digest-uri-mismatch"
    assert phone.register().status == 200


def test_log_line_says_who_and_from_where_and_holds_no_secret(
    phone_of: MakePhone, server: Server
) -> None:
    before = server.log_size()
    phone = phone_of("Defaults", transport="tcp")
    challenge = phone.request("REGISTER")
    assert phone.request("REGISTER", answering=challenge).status == 200
    server.reasons(phone.call_id)
    refused, accepted = server.outcomes(phone.call_id)
    expected = {
        "ip_group": "Defaults",
        "method": "REGISTER",
        "source": f"{phone.host}/tcp",
        "from": "1001",
        "to": "1001",
        "call_id": phone.call_id,
    }
    assert refused == {
        "decision": "challenge",
        "status": "401",
        "reason": "challenged",
        "username": "-",
        **expected,
    }
    assert accepted == {
        "decision": "accept",
        "reason": "accepted",
        "word": "digest",
        "username": "1001",
        **expected,
    }
    found = re.search(rb'response="(\w+)"', phone.last_sent)
    assert found
    response = found[1].decode()
    log = server.log(before)
    assert not any(secret in log for secret in ("secret", response, challenge.challenges[0].nonce))
