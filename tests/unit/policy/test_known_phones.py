"""What is remembered of phones: found at once, forgotten when it may have changed, and bounded."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from conversation import NOW, REALM, Phone, UserInfo, accepted, phones, rule, serve, trunk, user

from sbcauth.digest import credentials
from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.credentials import keep_layout, layout_of, usual_credentials
from sbcauth.digest.response import ha2_without_body
from sbcauth.exceptions import Retransmission
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.decision import Accept, Challenge, Decision, Reason, Reject
from sbcauth.policy.gate import KnownPhone
from sbcauth.policy.request import Request
from sbcauth.policy.shared_state import LocalState, Table

FIELD = (
    'Digest username="1001", realm="example.com", nonce="0f", uri="sip:example.com", '
    'response="faeaf2f9", algorithm=MD5, cnonce="334f", qop=auth, nc=00000001'
)


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    credentials._kept.clear()
    layout_of.cache_clear()
    yield
    credentials._kept.clear()


class Looks(LocalState):
    """Shared memory that counts what is looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: Counter[str] = Counter()

    def get(self, *what: Any) -> Any:
        self.looks[what[0]] += 1
        return super().get(*what)

    def set(self, *what: Any) -> None:
        self.looks[f"set {what[0]}"] += 1
        super().set(*what)


# -- phones ------------------------------------------------------------------------------


def test_known_phone_costs_one_look_into_shared_memory_and_none_at_its_user() -> None:
    shared, users = Looks(), UserInfo(user())
    phone = Phone(serve(users=users, shared=shared))
    assert accepted(phone.register())
    shared.looks.clear()
    users.looked_up.clear()
    assert accepted(phone.register())
    assert shared.looks == {Table.ATTEMPTS: 1}
    assert users.looked_up == []


def test_phone_that_another_worker_knows_is_trusted_here_too() -> None:
    shared, users = LocalState(), UserInfo(user())
    assert accepted(Phone(serve(users=users, shared=shared)).register())
    decision = Phone(serve(users=users, shared=shared)).register()
    assert isinstance(decision, Accept)
    assert not decision.is_first


def test_phone_is_forgotten_when_its_user_changes() -> None:
    users = UserInfo(user())
    phone = Phone(serve(users=users))
    assert accepted(phone.register())
    users.users = (user(enabled=False),)
    decision = phone.register()
    assert isinstance(decision, Challenge)
    assert decision.reason is Reason.DISABLED_USER


def test_phone_is_learned_anew_when_its_trust_has_to_be_renewed() -> None:
    shared = Looks()
    phone = Phone(serve(phones(attempt_limit=AttemptLimit(trust_duration=400)), shared=shared))
    assert accepted(phone.register())
    shared.looks.clear()
    later = NOW + 350
    for expected in (1, 0):
        assert accepted(phone.register(now=later))
        assert shared.looks[f"set {Table.TRUSTED}"] == expected
        shared.looks.clear()


def test_known_phone_that_is_locked_out_does_not_get_in() -> None:
    phone = Phone(serve())
    assert accepted(phone.register())
    phone.fail(3)
    decision = phone.register()
    assert isinstance(decision, Reject)
    assert decision.reason is Reason.LOCKED_OUT


def test_known_phone_that_names_another_algorithm_is_refused() -> None:
    phone = Phone(serve())
    assert accepted(phone.register())
    field = phone.field(phone.challenge())
    decision = phone.send("REGISTER", field.replace("algorithm=MD5", "algorithm=SHA-256"))
    assert isinstance(decision, Reject)


def test_phones_of_one_ip_group_are_remembered_within_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sbcauth.policy.gate._REMEMBERED_PHONES", 2)
    server = serve()
    for number in range(5):
        assert accepted(Phone(server, address=f"192.0.2.{number}").register())
        assert len(server._gates["Phones"].phones) <= 2


def test_origins_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbcauth.policy.server._REMEMBERED_ORIGINS", 2)
    server = serve()
    for number in range(5):
        assert accepted(Phone(server, address=f"192.0.2.{number}").register())
        assert len(server._origins) <= 2


@pytest.mark.parametrize("address", ["2001:db8::1", "[2001:DB8:0:0::1]", "::ffff:192.0.2.7"])
def test_phone_on_ipv6_is_known_by_the_prefix_that_counts_as_one_source(address: str) -> None:
    shared = Looks()
    phone = Phone(serve(shared=shared), address=address)
    assert accepted(phone.register())
    if "db8" in address.lower():
        phone.address = "2001:db8::2"  # a privacy extension changes it each day (RFC 8981)
    shared.looks.clear()
    assert accepted(phone.register())
    assert shared.looks == {Table.ATTEMPTS: 1}


def test_trunk_is_asked_for_its_own_pair_each_time() -> None:
    server = serve(trunk(classification=(rule("0.0.0.0/0"),)))
    peer = Phone(server, "trunk", "trunk-secret")
    assert accepted(peer.register())
    assert accepted(peer.register())
    assert not server._gates["Trunk"].phones


def test_known_phone_shows_no_secret() -> None:
    assert "f00d" not in repr(KnownPhone(NOW, "pair", "1001", "f00d", leaves_trace=True))


# -- registrations that come again -------------------------------------------------------


class Repeated(Request):
    """A registration that the registrar has carried out before, or a transaction has answered."""

    asked: list[str]
    answered = False
    carried_out = True

    def begin_transaction(self) -> None:
        self.asked.append("transaction")

    def begin_registration(self, nonce_count: str) -> str | None:
        self.asked.append("registration")
        return super().begin_registration(nonce_count)

    def absorb_repeat(self) -> None:
        if self.answered:
            raise Retransmission

    def repeat_as_query(self, local_user: str, realm: str) -> bool:
        self.asked.append(f"{local_user}@{realm}")
        return self.carried_out


def repeated(phone: Phone, method: str = "REGISTER", **changes: Any) -> Repeated:
    """Return a request that is right."""
    field = phone.field(phone.challenge(method), method).partition(": ")[2]
    plain = Request(
        *(method, "sip:example.com", phone.address, 5060, "udp", phone.local_user, REALM),
        *(phone.local_user, False, "c", (field,)),
        leaves_binding=True,
    )
    request = Repeated(*plain)
    request.asked = []
    for name, value in changes.items():
        setattr(request, name, value)
    return request


def again(phone: Phone, *, method: str = "REGISTER", **changes: Any) -> tuple[Decision, list[str]]:
    """Send a request that is right twice; return the second decision, and what it asked."""
    request = repeated(phone, method, **changes)
    assert isinstance(phone.server.decide(request, NOW), Accept)
    request.asked.clear()
    return phone.server.decide(request, NOW), request.asked


def test_registration_that_comes_again_is_accepted_as_a_query() -> None:
    decision, asked = again(Phone(serve()))
    assert decision == Accept("Phones", "1001", "1001", REALM, is_repeat=True)
    assert asked == ["registration", f"1001@{REALM}"]


def test_first_registration_of_a_phone_needs_no_transaction() -> None:
    phone = Phone(serve())
    request = repeated(phone)
    assert isinstance(phone.server.decide(request, NOW), Accept)
    assert request.asked == ["registration"]


def test_registration_of_which_there_is_no_trace_is_a_replay() -> None:
    decision, _ = again(Phone(serve()), carried_out=False)
    assert decision.reason is Reason.REPLAYED


def test_call_that_comes_again_is_absorbed_by_its_transaction() -> None:
    with pytest.raises(Retransmission):
        again(Phone(serve()), method="INVITE", answered=True)


def test_replays_that_are_refused_need_a_transaction() -> None:
    decision, asked = again(Phone(serve(phones(reject_invalid_nonce=True))))
    assert isinstance(decision, Reject)
    assert asked == ["transaction"]


def test_user_whom_no_registrar_keeps_needs_a_transaction() -> None:
    users = UserInfo(user(local_user="caf\u00e9"))
    _, asked = again(Phone(serve(users=users), local_user="caf\u00e9"))
    assert asked == ["transaction"]


# -- how credentials are written ---------------------------------------------------------


def test_nonce_count_is_no_part_of_a_way_of_writing() -> None:
    for number in range(1, 300):
        counted = FIELD.replace("nc=00000001", f"nc={number:08x}")
        read = usual_credentials(counted)
        assert read is not None
        assert read.nc == f"{number:08x}"
    assert layout_of.cache_info().currsize == 1


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("nc=00000001", "nc=1"),
        ("nc=00000001", "nc=000000011"),
        ("nc=00000001", "nc=0000000A"),
        ("nc=00000001", 'nc="00000001"'),
        ("nc=00000001", "xnc=00000001"),
        (", nc=00000001", ""),
        ("nc=00000001", "nc=00000001, nc=00000002"),
        ("algorithm=MD5", 'algorithm="md5"'),
        ('cnonce="334f"', 'cnonce="33\\"4f"'),
        ("qop=auth", 'qop=""'),
        ('response="faeaf2f9"', 'response="FAEA"'),
        ("cnonce=", 'opaque="o, cnonce='),
        ("cnonce=", f'opaque="{"o" * 5000}", cnonce='),
        ("cnonce=", f"opaque={'o' * 600}, cnonce="),
        ("cnonce=", "opaque=\1, cnonce="),
    ],
)
def test_unusual_spelling_is_looked_at_closely(written: str, instead: str) -> None:
    assert written in FIELD
    assert usual_credentials(FIELD.replace(written, instead)) is None


def test_strangers_displace_no_way_of_writing_that_was_right() -> None:
    phone = Phone(serve())
    assert accepted(phone.register())
    kept = dict(credentials._kept)
    assert len(kept) == 1
    for number in range(1500):
        odd = FIELD.replace("qop=auth", f"a{number}=1, qop=auth")
        phone.send("REGISTER", f"Authorization: {odd}")
        phone.answer(phone.challenge(), uri=f"sip:{number}")
    for remembered in (layout_of, ha2_without_body):
        assert remembered.cache_info().currsize == 1000
    assert credentials._kept == kept


def test_ways_of_writing_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_MOST_LAYOUTS", 2)
    for number in range(5):
        keep_layout(FIELD.replace("qop=auth", f"a{number}=1, qop=auth"))
    keep_layout("Digest nonsense")
    assert len(credentials._kept) == 2


class Bytes(Request):
    """A request whose first header field is no UTF-8."""

    def first(self, name: str) -> str | None:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


def test_credentials_that_are_no_utf8_are_read_byte_for_byte() -> None:
    phone = Phone(serve())
    field = phone.field(phone.challenge()).partition(": ")[2] + ', opaque="\udcff"'
    plain = Request(
        *("REGISTER", "sip:example.com", phone.address, 5060, "udp", "1001", REALM, "1001"),
        *(False, "c", (field,)),
    )
    assert accepted(phone.server.decide(Bytes(*plain), NOW))


def test_answer_is_found_where_credentials_for_others_come_first() -> None:
    phone = Phone(serve(phones(auth_algorithms=tuple(Algorithm))))
    challenge = phone.challenges()[0]
    field = phone.field(challenge)
    assert accepted(phone.send("REGISTER", f"Authorization: {FIELD}x", field))


def test_registration_that_comes_again_is_a_replay_where_no_registrar_tells() -> None:
    phone = Phone(serve())
    field = phone.field(phone.challenge())
    assert isinstance(phone.send("REGISTER", field, leaves_binding=True), Accept)
    again = phone.send("REGISTER", field, leaves_binding=True)
    assert (type(again), again.reason) == (Challenge, Reason.REPLAYED)


# -- the same Contact again --------------------------------------------------------------


class Renewed(Request):
    """A registration of a Contact that is nothing to look at twice, if it `is_usual`."""

    contact: str
    is_usual = True

    def begin_registration(self, nonce_count: str) -> str | None:
        assert nonce_count.endswith("00000001")
        return self.contact

    def usual_contact(self) -> str:
        return self.contact if self.is_usual else ""


def registered(phone: Phone, contact: str, **changes: Any) -> Accept:
    """Register a Contact."""
    field = phone.field(phone.challenge()).partition(": ")[2]
    request = Renewed(
        *("REGISTER", "sip:example.com", phone.address, 5060, "udp", phone.local_user, REALM),
        *(phone.local_user, False, "c", (field,)),
    )
    request.contact = contact
    for name, value in changes.items():
        setattr(request, name, value)
    decision = phone.server.decide(request, NOW)
    assert isinstance(decision, Accept)
    return decision


def test_same_contact_from_the_same_place_is_a_renewal() -> None:
    phone = Phone(serve())
    contacts = ["5060 <a>", "5060 <a>", "5061 <a>", "5061 <a>", "5061 <b>", "5061 <b>", "5060 <a>"]
    renewals = [registered(phone, contact).is_renewal for contact in contacts]
    assert renewals == [False, True, False, True, False, True, False]


def test_contact_that_has_to_be_looked_at_is_no_renewal() -> None:
    phone = Phone(serve())
    assert not any(registered(phone, "5060 <a>", is_usual=False).is_renewal for _ in range(3))
    assert not registered(phone, "5060 <a>").is_renewal
    assert registered(phone, "5060 <a>").is_renewal


@pytest.mark.parametrize("limit", [{"max_contacts": 2}, {"max_registered_users": 5}])
def test_nothing_is_renewed_where_registrations_are_limited(limit: dict[str, Any]) -> None:
    phone = Phone(serve(phones(**limit)))
    assert not any(registered(phone, "5060 <a>").is_renewal for _ in range(3))


def test_contact_at_another_address_is_no_renewal() -> None:
    server = serve(users=UserInfo(user(), user("1002")))
    assert not registered(Phone(server), "5060 <a>").is_renewal
    assert not registered(Phone(server, address="192.0.2.9"), "5060 <a>").is_renewal
    assert not registered(Phone(server, "1002"), "5060 <a>").is_renewal


def test_nothing_is_renewed_after_user_info_has_changed() -> None:
    phone = Phone(serve())
    registered(phone, "5060 <a>")
    phone.server._gates["Phones"].phones.clear()  # as a memo is
    assert not registered(phone, "5060 <a>").is_renewal
