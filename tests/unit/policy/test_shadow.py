"""An IP Group in shadow: everything is decided, and nothing is carried out."""

from pathlib import Path

import pytest
import sip
from conversation import PASSWORD, REALM, URI, Phone, UserInfo, phones, serve, user

from sbcauth.config.load import Config, load
from sbcauth.exceptions import ConfigError
from sbcauth.monitoring.log_line import outcome
from sbcauth.policy.decision import Accept, Pass, Reason, Reject
from sbcauth.policy.request import Request
from sbcauth.policy.shared_state import LocalState
from sbcauth.policy.words import Word


def shadowed(username: str = "1001", **settings: str) -> Phone:
    users = UserInfo(user(), user("1003", enabled=False))
    return Phone(serve(phones(shadow=True, route_to="PBX", **settings), users=users), username)


def answer(phone: Phone, password: str = PASSWORD, nonce: str = "of another server") -> Pass:
    """Return what is decided on the answer to another server's challenge."""
    challenge = sip.Challenge("WWW-Authenticate", REALM, nonce, qop=("auth",))
    field = sip.answer(challenge, "REGISTER", URI, phone.username, password)
    decision = phone.send("REGISTER", field)
    assert isinstance(decision, Pass)
    return decision


def test_request_without_credentials_passes_and_would_be_challenged() -> None:
    assert shadowed().send() == Pass(
        Reason.CHALLENGED, "Phones", "", "challenge", word=Word.CONFIGURED
    )


@pytest.mark.parametrize(
    ("username", "password", "reason", "shadow"),
    [
        ("1001", "secret", Reason.ACCEPTED, "accept"),
        ("1001", "wrong", Reason.WRONG_CREDENTIALS, "challenge"),
        ("nobody", "secret", Reason.UNKNOWN_USER, "challenge"),
        ("1003", "secret", Reason.DISABLED_USER, "challenge"),
    ],
)
def test_answer_to_another_server_is_measured_against_user_info(
    username: str, password: str, reason: Reason, shadow: str
) -> None:
    phone = shadowed(username)
    decision = answer(phone, password)
    first = reason is Reason.ACCEPTED
    word = Word.CONFIGURED
    assert decision == Pass(reason, "Phones", username, shadow, is_first=first, word=word)


def test_answer_to_another_server_is_measured_though_it_offers_what_we_do_not() -> None:
    phone = shadowed()
    challenge = sip.Challenge("WWW-Authenticate", REALM, "of another server", qop=())
    field = sip.answer(challenge, "REGISTER", URI, "1001", PASSWORD)
    assert "qop" not in field
    decision = phone.send("REGISTER", field)
    assert isinstance(decision, Pass)
    assert (decision.reason, decision.shadow) == (Reason.ACCEPTED, "accept")


def test_the_same_answer_again_is_right_again() -> None:
    phone = shadowed()
    assert [answer(phone).reason for _ in range(3)] == [Reason.ACCEPTED] * 3


def test_attempts_are_counted_and_a_lockout_passes_as_well() -> None:
    phone = shadowed()
    found = [answer(phone, f"wrong {number}") for number in range(4)]
    assert [each.shadow for each in found] == ["challenge", "challenge", "reject", "reject"]
    assert found[-1].reason is Reason.LOCKED_OUT


def test_malformed_credentials_and_a_broken_database_pass() -> None:
    phone = shadowed()
    decision = phone.send("REGISTER", "Authorization: Digest nonsense")
    assert isinstance(decision, Pass)
    assert decision.reason is Reason.MALFORMED_CREDENTIALS
    phone.server.accounts._users.broken = True  # type: ignore[attr-defined]
    found = answer(phone)
    assert (found.reason, found.shadow) == (Reason.UNAVAILABLE, "reject")
    assert found.detail


def test_long_nonces_of_others_are_kept_nowhere() -> None:
    shared = LocalState()
    group = phones(shadow=True, route_to="PBX")
    answer(Phone(serve(group, users=UserInfo(user()), shared=shared)), nonce="n" * 2000)
    assert all(len(key) < 100 for _, key in shared._values)


def test_algorithm_that_is_not_offered_would_be_refused() -> None:
    phone = shadowed()
    decision = phone.send(
        "REGISTER",
        f'Authorization: Digest username="1001", realm="{REALM}", nonce="n", uri="{URI}", '
        'response="00", algorithm=AKAv1-MD5, qop=auth, nc=00000001, cnonce="c"',
    )
    detail = "answers AKAV1-MD5 auth; offered: MD5, qop auth; User-Agent: none"
    assert decision == Pass(
        Reason.ALGORITHM_NOT_OFFERED, "Phones", "1001", "reject", detail, word=Word.CONFIGURED
    )


def test_without_shadow_the_same_is_challenged_or_refused() -> None:
    phone = Phone(serve())
    assert not isinstance(phone.send(), Pass)
    assert isinstance(phone.register(), Accept)
    assert isinstance(phone.fail(3), Reject)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ("", "is on: every request passes, whoever sent it"),
        ("authentication_mode: user-authenticates", "has no effect but in mode sbc-as-server"),
    ],
)
def test_check_says_that_it_is_on(tmp_path: Path, keys: str, found: str) -> None:
    assert [each.message for each in configured(tmp_path, keys).warnings] == [found]


def test_check_refuses_it_where_radius_would_be_asked(tmp_path: Path) -> None:
    keys = "server_auth_mode: radius\n    radius: {servers: [{address: 192.0.2.1, secret: x}]}"
    with pytest.raises(ConfigError, match="no external server is asked"):
        configured(tmp_path, keys)


def test_check_refuses_to_keep_what_nobody_has_proved(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a route_to"):
        configured(tmp_path, "", route_to="")


def test_registration_is_not_kept_where_it_is_routed_nowhere() -> None:
    phone = Phone(serve(phones(shadow=True)))
    assert not isinstance(phone.send("REGISTER"), Pass)


def configured(folder: Path, keys: str, route_to: str = "route_to: PBX") -> Config:
    mode = "" if "authentication_mode" in keys else "authentication_mode: sbc-as-server"
    (folder / "sbcauth.yaml").write_text(f"""\
realm: example.com
ip_groups:
  - name: Phones
    type: user
    {mode}
    authentication_method_list: [REGISTER]
    classification: [{{address: 192.0.2.0/24}}]
    shadow: true
    {route_to}
    {keys}
  - name: PBX
    type: server
    proxy_set: ["sip:192.0.2.9"]
""")
    return load(folder / "sbcauth.yaml", {})


def test_line_says_that_it_is_shadow() -> None:
    request = Request(
        *("REGISTER", URI, "192.0.2.7", 5060, "udp", "1001", REALM, "1001"),
        in_dialog=False,
        call_id="c",
    )
    line = outcome(request, answer(shadowed(), "wrong")).line
    assert line.startswith(
        "decision=pass shadow=challenge reason=wrong-credentials word=configured ip_group=Phones"
    )
    assert "username=1001" in line
