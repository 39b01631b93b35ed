"""AuthServer.decide, row by row: how a request is decided."""

from typing import Any

import pytest
from conversation import (
    KEYS,
    NOW,
    REALM,
    URI,
    Phone,
    UserInfo,
    accepted,
    deny,
    is_stale,
    phones,
    read,
    rule,
    serve,
    trunk,
    user,
)

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.ha1s import NO_HA1S
from sbcauth.digest.nonces import NonceKey
from sbcauth.exceptions import Unavailable
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.decision import Accept, Challenge, Decision, Drop, Pass, Reason, Reject
from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    AuthQop,
    ChallengeMethod,
    CheckDigestURI,
    ProxyAddress,
    UnclassifiedRequests,
)
from sbcauth.policy.shared_state import LocalState, Table
from sbcauth.policy.words import Word

ALGORITHMS = tuple(Algorithm)[::-1]


def forbidden(
    reason: Reason, username: str = "1001", ip_group: str = "Phones", detail: str = ""
) -> Reject:
    return Reject(403, "Forbidden", reason, ip_group, username, detail=detail)


def detail_of(decision: Decision) -> str:
    """Return what the log has beside the reason of a refusal."""
    assert isinstance(decision, Reject), decision
    return decision.detail


def at_work(**settings: Any) -> Phone:
    """Return the phone of user 1001, at a server whose IP Group has these settings."""
    return Phone(serve(phones(**settings)))


# -- 1. Never challenged -----------------------------------------------------------------


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_ack_and_cancel_are_never_challenged(phone: Phone, method: str) -> None:
    assert phone.send(method) == Pass(Reason.NEVER_CHALLENGED)


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_ack_and_cancel_pass_though_unclassified_or_listed(method: str) -> None:
    assert Phone(serve(trunk())).send(method) == Pass(Reason.NEVER_CHALLENGED)
    assert at_work(methods=frozenset({method})).send(method) == Pass(Reason.NEVER_CHALLENGED)


# -- 2. Classification -------------------------------------------------------------------


def test_unclassified_request_is_rejected() -> None:
    assert Phone(serve(trunk())).send() == Reject(403, "Forbidden", Reason.UNCLASSIFIED)


def test_unclassified_request_is_dropped_where_asked_for() -> None:
    server = serve(trunk(), unclassified_requests=UnclassifiedRequests.DROP)
    assert Phone(server).send() == Drop(Reason.UNCLASSIFIED)


def test_denied_request_is_unclassified_whatever_its_credentials() -> None:
    open_door = serve(phones())
    challenge = Phone(open_door).challenge()
    denied = serve(phones(classification=(rule("0.0.0.0/0"), deny("192.0.2.7/32"))))
    assert Phone(denied).answer(challenge) == Reject(403, "Forbidden", Reason.UNCLASSIFIED)
    assert accepted(Phone(denied, address="192.0.2.8").register())


def test_peer_server_is_classified_by_its_proxy_set_before_any_rule() -> None:
    server = serve(phones(), trunk(realm="trunk.example.net"))
    assert Phone(server, address="198.51.100.1").challenge().realm == "trunk.example.net"
    assert Phone(server, address="198.51.100.2").challenge().realm == REALM


def test_proxy_set_port_does_not_matter_to_a_peer_that_sends_from_another() -> None:
    group = trunk(proxy_set=(ProxyAddress("sip:198.51.100.1:5080", "198.51.100.1", 5080),))
    assert accepted(Phone(serve(group), "trunk", "trunk-secret", "198.51.100.1").register())


def test_phone_on_ipv6_registers() -> None:
    assert accepted(Phone(serve(), address="2001:db8::7").register())


# -- 3. Authentication Mode --------------------------------------------------------------


@pytest.mark.parametrize(
    "mode", [AuthenticationMode.USER_AUTHENTICATES, AuthenticationMode.SBC_AS_CLIENT]
)
@pytest.mark.parametrize(
    "field",
    [
        "Authorization: Digest username",
        f'Authorization: Digest username="x", realm="{REALM}", nonce="", uri="", response=""',
        "Accept: */*",
    ],
)
def test_request_of_another_mode_passes_untouched(mode: AuthenticationMode, field: str) -> None:
    phone = at_work(authentication_mode=mode)
    assert phone.send("MESSAGE", field) == Pass(Reason.PASS_THROUGH, "Phones", word=Word.CONFIGURED)


# -- 4. Authentication Method List -------------------------------------------------------


def test_method_that_is_not_listed_needs_a_registration(phone: Phone) -> None:
    assert phone.send("INFO") == Reject(403, "Forbidden", Reason.NOT_REGISTERED, "Phones")


def test_empty_method_list_challenges_nothing() -> None:
    phone = at_work(methods=frozenset())
    refused = Reject(403, "Forbidden", Reason.REGISTRATION_UNPROVED, "Phones")
    assert phone.send("REGISTER") == refused


def test_setup_invite_challenges_initial_invites_only() -> None:
    phone = at_work(methods=frozenset(), setup_invite=True)
    assert phone.challenges("INVITE")
    assert phone.send("INVITE", in_dialog=True) == Pass(Reason.METHOD_NOT_LISTED, "Phones")
    assert phone.send("BYE", in_dialog=True) == Pass(Reason.METHOD_NOT_LISTED, "Phones")


def test_invite_challenges_re_invites_too() -> None:
    phone = at_work(methods=frozenset({"INVITE"}))
    assert phone.challenges("INVITE")
    assert phone.challenges("INVITE", in_dialog=True)


def test_bye_can_be_listed(phone: Phone) -> None:
    assert at_work(methods=frozenset({"BYE"})).challenges("BYE", in_dialog=True)


# -- 5. Credentials for our realm --------------------------------------------------------


def test_request_without_credentials_is_challenged(phone: Phone) -> None:
    decision = phone.send()
    assert isinstance(decision, Challenge)
    assert (decision.status, decision.reason) == (401, Reason.CHALLENGED)
    (challenge,) = read(decision)
    assert challenge._replace(nonce="") == ("WWW-Authenticate", REALM, "", "MD5", ("auth",), 0, "")


@pytest.mark.parametrize(
    ("setting", "method", "status", "header"),
    [
        (ChallengeMethod.WWW, "REGISTER", 401, "WWW-Authenticate"),
        (ChallengeMethod.WWW, "INVITE", 401, "WWW-Authenticate"),
        (ChallengeMethod.PROXY, "REGISTER", 407, "Proxy-Authenticate"),
        (ChallengeMethod.PROXY, "INVITE", 407, "Proxy-Authenticate"),
        (ChallengeMethod.AUTO, "REGISTER", 401, "WWW-Authenticate"),
        (ChallengeMethod.AUTO, "INVITE", 407, "Proxy-Authenticate"),
    ],
)
def test_challenge_method_sets_status_and_header_and_its_answer_is_accepted(
    setting: ChallengeMethod, method: str, status: int, header: str
) -> None:
    phone = at_work(auth_challenge_method=setting)
    decision = phone.send(method)
    assert isinstance(decision, Challenge)
    (challenge,) = read(decision)
    assert (decision.status, challenge.header) == (status, header)
    assert accepted(phone.answer(challenge, method))


def test_each_algorithm_has_its_challenge_in_the_order_given() -> None:
    for algorithms in (ALGORITHMS, ALGORITHMS[::-1]):
        challenges = at_work(auth_algorithms=algorithms).challenges()
        assert [challenge.algorithm for challenge in challenges] == list(algorithms)
        assert len({challenge.nonce for challenge in challenges}) == len(algorithms)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("qop", AuthQop)
def test_right_answer_in_any_algorithm_and_qop_is_accepted(
    algorithm: Algorithm, qop: AuthQop
) -> None:
    phone = at_work(auth_algorithms=ALGORITHMS, auth_qop=qop)
    for chosen in qop.offered or ("",):
        challenges = phone.challenges("MESSAGE")
        (challenge,) = (each for each in challenges if each.algorithm == algorithm)
        assert challenge.qop == qop.offered
        decision = phone.answer(challenge, "MESSAGE", qop=chosen, body=b"\0\xffhello\r\n")
        assert isinstance(decision, Accept)
        assert decision[:4] == ("Phones", "1001", "1001", REALM)


def test_auth_int_covers_the_body_to_the_last_byte() -> None:
    phone = at_work(auth_qop=AuthQop.AUTH_INT)
    good = phone.challenge("MESSAGE")
    field = phone.field(good, "MESSAGE", body=b"pay 1")
    assert not accepted(phone.send("MESSAGE", field, body=b"pay 1000"))
    assert accepted(phone.send("MESSAGE", field, body=b"pay 1"))
    assert accepted(phone.answer(phone.challenge("MESSAGE"), "MESSAGE", body=b""))


def test_credentials_in_the_wrong_header_are_as_none(phone: Phone) -> None:
    challenge = phone.challenge()
    decision = phone.answer(challenge._replace(header="Proxy-Authenticate"))
    assert isinstance(decision, Challenge)
    assert decision.reason is Reason.CHALLENGED


def test_credentials_for_another_realm_are_as_none(phone: Phone) -> None:
    decision = phone.answer(phone.challenge()._replace(realm="example.net"))
    assert isinstance(decision, Challenge)
    assert decision.reason is Reason.CHALLENGED


def test_challenge_to_credentials_for_another_realm_names_both_realms(phone: Phone) -> None:
    theirs = "r" * 61
    decision = phone.answer(phone.challenge()._replace(realm=theirs))
    assert isinstance(decision, Challenge)
    assert decision.username == "1001"
    said = f"the credentials are for the realm {theirs[:60]}, ours is {REALM}"
    assert decision.detail == said


@pytest.mark.parametrize("value", ["Basic MTAwMTpzZWNyZXQ=", "Bearer x", "", "Digestive a=b"])
def test_credentials_of_another_scheme_are_as_none(phone: Phone, value: str) -> None:
    decision = phone.send("REGISTER", f"Authorization: {value}")
    assert isinstance(decision, Challenge)
    assert decision.reason is Reason.CHALLENGED


def test_answer_for_our_realm_is_found_among_others(phone: Phone) -> None:
    challenge = phone.challenge()
    ours = phone.field(challenge)
    other = phone.field(challenge._replace(realm="example.net"))
    broken = "Authorization: Digest username="
    assert accepted(phone.send("REGISTER", other, broken, ours))


def test_strongest_of_several_answers_counts() -> None:
    phone = at_work(auth_algorithms=(Algorithm.MD5, Algorithm.SHA_256))
    md5, sha = phone.challenges()
    wrong_md5 = phone.field(md5, password="wrong")
    wrong_sha = phone.field(sha, password="wrong")
    right_md5 = phone.field(md5)
    right_sha = phone.field(sha)
    unknown = right_md5.replace("algorithm=MD5", "algorithm=SHA3")
    assert not accepted(phone.send("REGISTER", right_md5, wrong_sha))
    assert accepted(phone.send("REGISTER", unknown, wrong_md5, right_sha))


# -- 6. Locked out -----------------------------------------------------------------------


def test_locked_out_claimant_is_refused_though_its_password_is_right(phone: Phone) -> None:
    phone.fail(3)
    assert phone.register() == forbidden(Reason.LOCKED_OUT)
    assert phone.register(now=NOW + 59) == forbidden(Reason.LOCKED_OUT)


def test_locked_out_claimant_is_let_in_after_the_lockout_duration() -> None:
    phone = at_work(attempt_limit=AttemptLimit(max_auth_attempts=1, lockout_duration=10))
    phone.fail()
    assert phone.register(now=NOW + 9) == forbidden(Reason.LOCKED_OUT)
    assert accepted(phone.register(now=NOW + 10))


def test_locked_out_claimant_is_refused_before_any_look_up() -> None:
    users = UserInfo(user())
    phone = Phone(serve(users=users))
    phone.fail(3)
    users.looked_up.clear()
    phone.register()
    assert users.looked_up == []


def test_request_without_credentials_is_challenged_though_locked_out(phone: Phone) -> None:
    phone.fail(3)
    assert phone.challenges()


def test_others_are_not_locked_out() -> None:
    users = UserInfo(user(), user("1002"))
    server = serve(users=users)
    Phone(server).fail(3)
    assert accepted(Phone(server, "1002").register())
    assert accepted(Phone(server, address="192.0.2.8").register())


# -- 7. Validation -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "Digest",
        "Digest username",
        'Digest username="1001',
        f'Digest username="1001", realm="{REALM}", nonce="x", uri="{URI}"',
        f'Digest username="1001", realm="{REALM}", nonce="x", uri="{URI}", response="no"',
        f'Digest realm="{REALM}", realm="{REALM}", username="1001", nonce="x", uri="", response=""',
        "Digest " + "x" * 5000,
        "Digest \0\udcff\r\n",
    ],
)
def test_malformed_credentials_are_a_bad_request(phone: Phone, value: str) -> None:
    decision = phone.send("REGISTER", f"Authorization: {value}")
    assert isinstance(decision, Reject)
    assert (decision.status, decision.phrase) == (400, "Bad Credentials")
    assert decision.reason is Reason.MALFORMED_CREDENTIALS


def test_malformed_credentials_are_not_counted(phone: Phone) -> None:
    for _ in range(5):
        phone.send("REGISTER", 'Authorization: Digest username="1001"')
    assert accepted(phone.register())


def test_empty_answer_of_an_ims_phone_is_challenged(phone: Phone) -> None:
    """3GPP TS 24.229, 5.1.1.2.2: the first REGISTER has an empty nonce and response."""
    empty = f'Digest username="1001", realm="{REALM}", nonce="", uri="{URI}", response=""'
    (challenge,) = read(phone.send("REGISTER", f"Authorization: {empty}"))
    assert accepted(phone.answer(challenge))


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5-sess", "SHA3-512", "", "é"])
def test_algorithm_that_was_not_offered_is_refused(phone: Phone, algorithm: str) -> None:
    field = phone.field(phone.challenge()).replace("=MD5", f'="{algorithm}"')
    decision = phone.send("REGISTER", field)
    assert decision == forbidden(Reason.ALGORITHM_NOT_OFFERED, detail=detail_of(decision))


def test_md5_by_default_is_refused_where_only_sha_256_was_offered() -> None:
    phone = at_work(auth_algorithms=(Algorithm.SHA_256,))
    field = phone.field(phone.challenge()).replace(", algorithm=SHA-256", "")
    decision = phone.send("REGISTER", field)
    assert decision == forbidden(Reason.ALGORITHM_NOT_OFFERED, detail=detail_of(decision))


def test_nonce_of_one_algorithm_is_worth_nothing_under_another() -> None:
    phone = at_work(auth_algorithms=(Algorithm.SHA_256, Algorithm.MD5))
    sha, _ = phone.challenges()
    assert not accepted(phone.answer(sha._replace(algorithm="MD5")))


@pytest.mark.parametrize(
    ("offered", "used"),
    [
        (AuthQop.AUTH, "auth-int"),
        (AuthQop.AUTH, ""),
        (AuthQop.AUTH, "auth-conf"),
        (AuthQop.AUTH_INT, "auth"),
        (AuthQop.AUTH_INT, "auth,auth-int"),
        (AuthQop.AUTH_INT, ""),
        (AuthQop.BOTH, ""),
        (AuthQop.NONE, "auth-int"),
    ],
)
def test_qop_that_was_not_offered_or_left_out_though_offered_is_refused(
    offered: AuthQop, used: str
) -> None:
    phone = at_work(auth_qop=offered)
    decision = phone.answer(phone.challenge(), qop=used)
    assert decision == forbidden(Reason.QOP_NOT_OFFERED, detail=detail_of(decision))


def test_refusals_of_algorithm_and_qop_are_not_counted() -> None:
    phone = at_work(attempt_limit=AttemptLimit(max_auth_attempts=1))
    phone.answer(phone.challenge(), qop="")
    phone.answer(phone.challenge()._replace(algorithm="SHA-256"))
    assert accepted(phone.register())


def _foreign() -> dict[str, str]:
    ours = Phone(serve()).challenge().nonce
    return {
        "another server's": "6525e3f8:4f0b5d8c3a",
        "forged": "A" * 44,
        "ours but for a letter": ours[:-1] + ("A" if ours[-1] != "A" else "B"),
        "of another key": Phone(serve(keys=[NonceKey(0, b"x" * 32)])).challenge().nonce,
        "of another IP Group": Phone(serve(phones("Others"))).challenge().nonce,
        "of another realm": Phone(serve(phones(realm="x"))).challenge().nonce,
        "of another qop": Phone(serve(phones(auth_qop=AuthQop.BOTH))).challenge().nonce,
        "empty": "",
        "huge": "x" * 3000,
    }


@pytest.mark.parametrize("nonce", _foreign().values(), ids=_foreign().keys())
def test_foreign_nonce_is_challenged_again_and_not_counted(phone: Phone, nonce: str) -> None:
    challenge = phone.challenge()._replace(nonce=nonce)
    for password in ("secret", "wrong", "wrong", "wrong", "wrong"):
        decision = phone.answer(challenge, password=password)
        assert isinstance(decision, Challenge)
        assert decision.reason is Reason.FOREIGN_NONCE
        assert not is_stale(decision)
    assert accepted(phone.answer(read(decision)[0]))


def test_foreign_nonce_comes_before_what_another_server_offered() -> None:
    """A phone that comes over from another server must not be turned away."""
    phone = at_work()
    elsewhere = phone.challenge()._replace(nonce="6525e3f8", algorithm="SHA-256")
    for qop in ("", "auth-int"):
        assert isinstance(phone.answer(elsewhere, qop=qop), Challenge)


def test_nonce_count_used_before_is_challenged_again_with_stale(phone: Phone) -> None:
    challenge = phone.challenge()
    assert accepted(phone.answer(challenge))
    for _ in range(5):
        decision = phone.answer(challenge)
        assert isinstance(decision, Challenge)
        assert decision.reason is Reason.REPLAYED
        assert is_stale(decision)
    assert accepted(phone.answer(read(decision)[0]))


def test_nonce_is_used_again_with_a_higher_count(phone: Phone) -> None:
    challenge = phone.challenge()
    assert all(accepted(phone.answer(challenge, nc=nc)) for nc in (1, 2, 10))


def test_reordered_nonce_count_is_accepted_once(phone: Phone) -> None:
    challenge = phone.challenge()
    assert [accepted(phone.answer(challenge, nc=nc)) for nc in (2, 1, 1, 2)] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("first", [0, 0x8000, 0xFFFFFFFE])
def test_phone_may_count_from_wherever_it_likes(phone: Phone, first: int) -> None:
    challenge = phone.challenge()
    for nc in (first, first + 1):
        assert accepted(phone.answer(challenge, nc=nc))
        assert is_stale(phone.answer(challenge, nc=nc))


def test_nonce_without_qop_is_good_for_one_use() -> None:
    phone = at_work(auth_qop=AuthQop.NONE)
    challenge = phone.challenge()
    assert accepted(phone.answer(challenge))
    assert is_stale(phone.answer(challenge))
    assert is_stale(phone.answer(challenge, qop="auth", nc=1))


def test_digest_uri_is_hashed_as_sent(phone: Phone) -> None:
    for uri in ("sip:example.com:5060", "SIP:EXAMPLE.COM", "sip:1001@example.com", "*", ""):
        assert accepted(phone.register(uri=uri))


def test_digest_uri_that_differs_is_refused_where_it_is_checked() -> None:
    phone = at_work(check_digest_uri=CheckDigestURI.STRICT)
    assert phone.register(uri="sip:example.com:5060") == forbidden(Reason.DIGEST_URI_MISMATCH)
    assert accepted(phone.register(uri=URI))


def test_expired_nonce_with_the_right_password_is_challenged_again_with_stale() -> None:
    phone = at_work(auth_nonce_duration=30)
    challenge = phone.challenge()
    assert accepted(phone.answer(challenge, now=NOW + 30))
    decision = phone.answer(challenge, now=NOW + 31, nc=2)
    assert isinstance(decision, Challenge)
    assert decision.reason is Reason.STALE_NONCE
    assert is_stale(decision)
    assert accepted(phone.answer(read(decision)[0], now=NOW + 31))


def test_expired_nonce_is_not_counted_and_tells_nothing_of_the_password(phone: Phone) -> None:
    challenge = phone.challenge()
    later = NOW + 301
    for password in ("wrong", "wrong", "wrong", "wrong", "secret"):
        decision = phone.answer(challenge, now=later, password=password)
        assert isinstance(decision, Challenge)
        assert (decision.reason, is_stale(decision)) == (Reason.STALE_NONCE, True)


def test_nonce_from_before_a_restart_is_challenged_again_with_stale() -> None:
    challenge = Phone(serve()).challenge()
    restarted = Phone(serve(started_at=NOW + 1))
    assert is_stale(restarted.answer(challenge, now=NOW + 1))


def test_nonce_of_another_worker_is_as_our_own() -> None:
    shared = LocalState()
    one, other = Phone(serve(shared=shared)), Phone(serve(shared=shared))
    challenge = one.challenge()
    assert accepted(other.answer(challenge))
    assert is_stale(one.answer(challenge))


def test_servers_with_the_same_keys_and_policy_take_each_others_nonces() -> None:
    challenge = Phone(serve(keys=KEYS)).challenge()
    rotated = Phone(serve(keys=(NonceKey(1, b"n" * 32), *KEYS)))
    assert accepted(rotated.answer(challenge))


def test_invalid_nonces_are_refused_where_asked_for() -> None:
    phone = at_work(reject_invalid_nonce=True)
    challenge = phone.challenge()
    assert phone.answer(challenge._replace(nonce="x")) == forbidden(Reason.FOREIGN_NONCE)
    assert accepted(phone.answer(challenge))
    assert phone.answer(challenge) == forbidden(Reason.REPLAYED)
    assert phone.answer(challenge, nc=2, now=NOW + 301) == forbidden(Reason.STALE_NONCE)


# -- 8. Identification -------------------------------------------------------------------


def test_right_user_is_accepted_and_its_account_is_told() -> None:
    users = UserInfo(user("bob@example.com", local_user="1001"))
    phone = Phone(serve(users=users), "bob@example.com", local_user="1001")
    assert phone.register() == Accept("Phones", "bob@example.com", "1001", REALM, is_first=True)


def test_wrong_password_is_challenged_again_until_the_last_attempt(phone: Phone) -> None:
    for _ in range(2):
        decision = phone.fail()
        assert isinstance(decision, Challenge)
        assert (decision.status, decision.reason) == (401, Reason.WRONG_CREDENTIALS)
        assert not is_stale(decision)
    assert phone.fail() == forbidden(Reason.WRONG_CREDENTIALS)


@pytest.mark.parametrize("max_attempts", [1, 2, 10])
def test_limit_of_attempts_is_the_ip_groups(max_attempts: int) -> None:
    phone = at_work(attempt_limit=AttemptLimit(max_attempts))
    for _ in range(max_attempts - 1):
        assert isinstance(phone.fail(), Challenge)
    assert isinstance(phone.fail(), Reject)


def test_same_wrong_request_again_is_counted_once(phone: Phone) -> None:
    challenge = phone.challenge()
    for _ in range(10):
        assert isinstance(phone.answer(challenge, password="wrong"), Challenge)
    assert isinstance(phone.fail(1), Challenge)
    assert isinstance(phone.fail(1), Reject)


def test_success_clears_the_attempts(phone: Phone) -> None:
    phone.fail(2)
    assert accepted(phone.register())
    assert isinstance(phone.fail(2), Challenge)


def test_wrong_answer_does_not_use_up_a_nonce_count(phone: Phone) -> None:
    challenge = phone.challenge()
    stranger = Phone(phone.server, address="203.0.113.9")
    stranger.answer(challenge, password="wrong")
    assert accepted(phone.answer(challenge))


@pytest.mark.parametrize(
    ("username", "password", "reason"),
    [
        ("1001", "wrong", Reason.WRONG_CREDENTIALS),
        ("nobody", "secret", Reason.UNKNOWN_USER),
        ("", "", Reason.UNKNOWN_USER),
        ("gone", "secret", Reason.DISABLED_USER),
        ("gone", "wrong", Reason.DISABLED_USER),
        ("no-ha1", "secret", Reason.WRONG_CREDENTIALS),
    ],
)
def test_reasons_for_a_wrong_answer_differ_in_the_log_only(
    username: str, password: str, reason: Reason
) -> None:
    no_ha1 = user("no-ha1")._replace(ha1s=NO_HA1S)
    users = UserInfo(user(), user("gone", enabled=False), no_ha1)
    phone = Phone(serve(users=users), username, password)
    for _ in range(2):
        decision = phone.register()
        assert isinstance(decision, Challenge)
        assert (decision.status, decision.reason) == (401, reason)
        (challenge,) = read(decision)
        assert challenge._replace(nonce="") == (
            "WWW-Authenticate",
            REALM,
            "",
            "MD5",
            ("auth",),
            False,
            "",
        )
    assert phone.register() == forbidden(reason, username)
    assert phone.register() == forbidden(Reason.LOCKED_OUT, username)


def test_user_of_another_ip_group_or_realm_is_unknown() -> None:
    for stranger in (user(ip_group="Others"), user(realm="example.net")):
        decision = Phone(serve(users=UserInfo(stranger))).register()
        assert isinstance(decision, Challenge)
        assert decision.reason is Reason.UNKNOWN_USER


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_user_cannot_call_as_another(phone: Phone, method: str) -> None:
    decision = phone.answer(phone.challenge(method), method, from_user="1002")
    assert decision == forbidden(Reason.IDENTITY_MISMATCH)
    assert accepted(phone.answer(phone.challenge(method), method, to_user="1002"))


def test_user_cannot_register_another(phone: Phone) -> None:
    assert phone.register(to_user="1002") == forbidden(Reason.IDENTITY_MISMATCH)
    assert accepted(phone.register(from_user="1002"))


@pytest.mark.parametrize(
    "claimed", ["1002", "", "10011", "1001 ", "1001\0", "%31002", "%", "1001;x"]
)
def test_name_that_is_not_quite_the_users_own_is_refused(phone: Phone, claimed: str) -> None:
    assert phone.register(to_user=claimed) == forbidden(Reason.IDENTITY_MISMATCH)


def test_identity_mismatch_is_not_counted(phone: Phone) -> None:
    for _ in range(5):
        phone.register(to_user="1002")
    assert accepted(phone.register())


def test_peer_server_answers_with_its_own_username_and_password() -> None:
    peer = Phone(serve(trunk()), "trunk", "trunk-secret", "198.51.100.1", local_user="+4930123456")
    decision = peer.answer(peer.challenge("INVITE"), "INVITE")
    assert decision == Accept("Trunk", "trunk", "+4930123456", REALM, word=Word.PEER, is_first=True)


@pytest.mark.parametrize(
    ("username", "password", "reason"),
    [
        ("trunk", "wrong", Reason.WRONG_CREDENTIALS),
        ("1001", "secret", Reason.UNKNOWN_USER),
        ("", "", Reason.UNKNOWN_USER),
    ],
)
def test_peer_server_with_any_other_pair_is_refused(
    username: str, password: str, reason: Reason
) -> None:
    server = serve(trunk(), users=UserInfo(user(ip_group="Trunk")))
    peer = Phone(server, username, password, "198.51.100.1")
    decision = peer.register()
    assert isinstance(decision, Challenge)
    assert decision.reason is reason


def test_group_without_a_shared_pair_does_not_take_empty_ones() -> None:
    for group in (phones(), trunk(username_as_server="", password_as_server="")):
        peer = Phone(serve(group, users=UserInfo()), "", "", "198.51.100.1")
        assert not accepted(peer.register())


def test_shared_pair_of_a_user_group_speaks_for_any_user_without_a_row() -> None:
    group = phones(username_as_server="shared", password_as_server="shared-secret")
    phone = Phone(serve(group), "shared", "shared-secret", local_user="2001")
    assert phone.register() == Accept("Phones", "shared", "2001", REALM, is_first=True)


def test_shared_pair_does_not_speak_for_a_user_with_a_row() -> None:
    group = phones(username_as_server="shared", password_as_server="shared-secret")
    phone = Phone(serve(group), "shared", "shared-secret", local_user="1001")
    assert not accepted(phone.register())
    assert not accepted(phone.register(to_user="%31001"))


def test_users_own_row_wins_over_the_shared_pair() -> None:
    group = phones(username_as_server="1001", password_as_server="shared-secret")
    server = serve(group)
    assert accepted(Phone(server).register())
    assert not accepted(Phone(server, password="shared-secret").register())


# -- 9. Anything unexpected --------------------------------------------------------------


def test_database_that_does_not_answer_is_unavailable_and_the_next_request_is_served() -> None:
    users = UserInfo(user())
    phone = Phone(serve(users=users))
    users.broken = True
    decision = phone.register()
    assert decision == Reject(
        503,
        "Service Unavailable",
        Reason.UNAVAILABLE,
        "Phones",
        "1001",
        retry_after=5,
        detail="database is locked",
    )
    users.broken = False
    assert accepted(phone.register())


class FullState(LocalState):
    """Shared memory that takes nothing more."""

    def increment(self, table: Table, key: str) -> int:
        return -255

    def update(self, table: Table, key: str, lifetime: int, change: Any) -> Any:
        raise Unavailable("shared memory is full")


def test_full_shared_memory_lets_nobody_in() -> None:
    phone = Phone(serve(shared=FullState()))
    for password in ("secret", "wrong"):
        decision = phone.register(password=password)
        assert isinstance(decision, Reject)
        assert (decision.status, decision.retry_after) == (503, 5)


def test_bug_is_no_decision() -> None:
    class Broken(UserInfo):
        def find(self, ip_group: str, username: str, realm: str, algorithm: str = "") -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Phone(serve(users=Broken())).register()
