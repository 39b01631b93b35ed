"""The password before a change: recognised for a time, never accepted, an attempt as any other."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import looking_up
import pytest
from conversation import NOW, Phone, UserInfo, accepted, is_stale, phones, serve, user

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.ha1s import NO_HA1S, HA1s
from sbcauth.policy import claim as claim_module
from sbcauth.policy.accounts import User
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.decision import Challenge, Reason, Reject
from sbcauth.users.directory import UserDirectory
from sbcauth.users.files import UserFile, import_users
from sbcauth.users.table import UserTable

REALM = "example.com"
DAY = 86400


def changed(**how: object) -> Phone:
    """Return a phone that knows the new password, `secret`; the old one was `before`."""
    return Phone(serve(users=UserInfo(user(old_password="before", **how))))  # type: ignore[arg-type]


OLD, WRONG, RIGHT = "before", "a guess", "secret"


def answers(phone: Phone, *passwords: str) -> list[object]:
    """Return what shows on the wire of each answer: status, phrase, and whether it is stale."""
    found: list[object] = []
    for password in passwords:
        decision = phone.register(password=password)
        if isinstance(decision, Challenge):
            found.append((decision.status, is_stale(decision)))
        else:
            found.append(decision[:2] if isinstance(decision, Reject) else "accepted")
    return found


@pytest.mark.parametrize("before", range(3))
@pytest.mark.parametrize("after", range(4))
def test_old_password_is_not_told_by_what_it_costs(before: int, after: int) -> None:
    """Wherever a guess that is the old password stands, all answers are as if it were not."""
    guesses = [WRONG] * (before + 1 + after)
    with_old = [*guesses[:before], OLD, *guesses[before + 1 :]]
    assert answers(changed(), *with_old) == answers(changed(), *guesses)


@pytest.mark.parametrize("stale", [True, False])
def test_old_password_is_not_told_by_what_it_locks_out(stale: bool) -> None:
    for password in (OLD, WRONG):
        phone = changed()
        assert answers(phone, *[password] * 3)[-1] == (403, "Forbidden")
        old = phone.challenge(now=NOW - 1000) if stale else phone.challenge()
        fields = [phone.field(old, password=WRONG, nc=nc) for nc in (1, 1, 2)]
        statuses = [getattr(phone.send("REGISTER", each), "status", 200) for each in fields]
        assert statuses == [403] * 3


def test_phone_that_was_left_behind_gets_in_as_soon_as_it_has_the_new_password() -> None:
    phone = changed()
    assert answers(phone, *[OLD] * 50)[2:] == [(403, "Forbidden")] * 48
    assert accepted(phone.register())
    assert answers(phone, OLD) == [(401, False)]


def test_right_password_lifts_no_lockout_with_a_nonce_of_another() -> None:
    phone = changed()
    answers(phone, OLD, OLD, OLD)
    mover = Phone(phone.server, address="192.0.2.9")
    assert mover.answer(phone.challenge()).reason is Reason.LOCKED_OUT
    assert accepted(phone.register())


def test_right_password_lifts_no_lockout_of_its_source() -> None:
    group = phones(attempt_limit=AttemptLimit(max_failures_per_source=2))
    phone = Phone(serve(group, users=UserInfo(user(old_password=OLD))))
    answers(phone, OLD)
    Phone(phone.server, "1002").fail()
    assert phone.register().reason is Reason.SOURCE_LOCKED_OUT


def test_old_password_buys_no_guess_more() -> None:
    """Two wrong ones before it and one in the lockout are three; the right one is too late."""
    for guesses in ([WRONG, WRONG, OLD, WRONG], [OLD, OLD, OLD, WRONG], [OLD, WRONG, WRONG, WRONG]):
        phone = changed()
        answers(phone, *guesses)
        assert answers(phone, RIGHT, OLD, RIGHT) == [(403, "Forbidden")] * 3


def test_answer_that_was_accepted_before_lifts_no_lockout() -> None:
    phone = changed()
    accepted_before = phone.field(phone.challenge())
    assert accepted(phone.send("REGISTER", accepted_before))
    answers(phone, *[OLD] * 3)
    decision = phone.send("REGISTER", accepted_before)
    assert isinstance(decision, Reject)
    assert decision.reason is Reason.LOCKED_OUT
    assert accepted(phone.register()), "the right one, with a count that is not used up"


def test_user_who_was_disabled_gets_in_with_no_password_during_a_lockout() -> None:
    phone = changed(enabled=False)
    answers(phone, OLD, OLD, OLD)
    assert answers(phone, RIGHT) == [(403, "Forbidden")]


def test_log_names_the_old_password() -> None:
    phone = changed()
    assert [phone.register(password=OLD).reason for _ in range(4)] == [
        *[Reason.OLD_PASSWORD] * 3,
        Reason.LOCKED_OUT,
    ]


def test_old_password_is_a_wrong_one_when_its_time_is_over() -> None:
    phone = changed(old_until=NOW)
    assert phone.register(password="before").reason is Reason.WRONG_CREDENTIALS


def test_disabled_user_is_disabled_with_any_password() -> None:
    phone = changed(enabled=False)
    for password in ("before", "secret"):
        assert phone.register(password=password).reason is Reason.DISABLED_USER


@pytest.mark.parametrize("algorithm", Algorithm)
def test_old_password_is_known_in_every_algorithm(algorithm: Algorithm) -> None:
    group = phones(auth_algorithms=(algorithm,))
    phone = Phone(serve(group, users=UserInfo(user(old_password="before"))))
    assert phone.register(password="before").reason is Reason.OLD_PASSWORD


@pytest.mark.parametrize("username", ["1001", "never changed", "disabled", "unknown"])
def test_whoever_fails_is_hashed_for_as_often(
    username: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    measure: Callable[..., bool] = vars(claim_module)["response_is_right"]

    def counted(*arguments: object) -> bool:
        nonlocal count
        count += 1
        return measure(*arguments)

    monkeypatch.setattr(claim_module, "response_is_right", counted)
    users = UserInfo(
        user(old_password="before"), user("never changed"), user("disabled", enabled=False)
    )
    Phone(serve(users=users), username).fail()
    assert count == 2


# Keeping it


@pytest.fixture
def table(tmp_path: Path) -> Iterator[UserTable]:
    with UserTable(f"sqlite:///{tmp_path}/sbcauth.db") as table:
        table.add("Phones", "1001", REALM, "first")
        yield table


def old_passwords(table: UserTable, tmp_path: Path) -> User:
    directory = UserDirectory(f"sqlite:///{tmp_path}/sbcauth.db")
    directory.refresh(0)
    found = looking_up.find(directory, "Phones", "1001", REALM)
    directory.close()
    assert found
    return found


def remembered(user: User, password: str, now: int) -> bool:
    """Tell whether exactly this password is remembered, in every algorithm."""
    old = [user.old_ha1(algorithm, now) for algorithm in Algorithm]
    return old == [ha1 for _, ha1 in HA1s.of_password("1001", REALM, password).items()]


def replace(table: UserTable, password: str, memory: int) -> None:
    content = io.BytesIO(f"username,password\n1001,{password}\n1002,x\n".encode())
    group = phones(realm=REALM)
    import_users(table, UserFile(content, "users.csv", [group], group), replace=True, memory=memory)


def set_password(table: UserTable, password: str, memory: int) -> None:
    table.set_password(table.find("1001"), password, memory)


@pytest.mark.parametrize("change", [set_password, replace])
def test_password_that_is_replaced_is_remembered_for_a_time(
    change: object, table: UserTable, tmp_path: Path
) -> None:
    assert callable(change)
    now = int(time.time())
    change(table, "second", DAY)
    user = old_passwords(table, tmp_path)
    assert user.old_until is not None
    assert user.old_until in range(now + DAY, now + DAY + 10)
    assert remembered(user, "first", user.old_until - 1)
    assert not remembered(user, "first", user.old_until)
    change(table, "second", DAY)
    assert remembered(old_passwords(table, tmp_path), "first", now), "the same again is no change"
    change(table, "third", DAY)
    assert remembered(old_passwords(table, tmp_path), "second", now)


@pytest.mark.parametrize("change", [set_password, replace])
def test_nothing_is_remembered_where_it_is_switched_off(
    change: object, table: UserTable, tmp_path: Path
) -> None:
    assert callable(change)
    change(table, "second", DAY)
    change(table, "third", 0)
    assert old_passwords(table, tmp_path)[-2:] == (NO_HA1S, None)


def test_import_that_is_tried_only_changes_nothing(table: UserTable, tmp_path: Path) -> None:
    before = old_passwords(table, tmp_path)
    content = io.BytesIO(b"username,password\n1001,second\n")
    source = UserFile(content, "users.csv", [phones(realm=REALM)], phones(realm=REALM))
    import_users(table, source, replace=True, dry_run=True, memory=DAY)
    assert old_passwords(table, tmp_path) == before
    replace(table, "second", DAY)
