"""Whoever has no right password costs the same work: nobody learns which user names exist."""

from collections import Counter
from typing import Any

import pytest
from conversation import Phone, UserInfo, phones, read, serve, user

from sbcauth.digest.algorithms import HASHES
from sbcauth.digest.response import ha2_without_body
from sbcauth.policy.decision import Challenge, Decision
from sbcauth.policy.shared_state import LocalState

USERS = UserInfo(
    user("known"), user("disabled", enabled=False), user("elsewhere", ip_group="Others")
)


class Counted(LocalState):
    """Shared memory that counts what is asked of it."""

    def __init__(self, work: Counter[str]) -> None:
        super().__init__()
        self._work = work

    def get(self, *what: Any) -> Any:
        self._work[f"get {what[0]}"] += 1
        return super().get(*what)

    def set(self, *what: Any) -> None:
        self._work[f"set {what[0]}"] += 1
        super().set(*what)

    def update(self, *what: Any) -> Any:
        self._work[f"update {what[0]}"] += 1
        return super().update(*what)


def attempt(username: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Counter[str], list[Decision]]:
    """Return the work that four wrong answers are, and what comes of them."""
    work: Counter[str] = Counter()
    ha2_without_body.cache_clear()
    for algorithm, h in HASHES.items():

        def counted(data: bytes, h: Any = h, algorithm: str = algorithm) -> Any:
            work[f"{algorithm} blocks"] += len(data) // 64 + 1
            return h(data)

        monkeypatch.setitem(HASHES, algorithm, counted)
    shared = Counted(work)
    phone = Phone(serve(phones(), users=USERS, shared=shared), username.ljust(9, "_"))
    phone.username = username
    before = len(USERS.looked_up)
    decisions = [
        phone.answer(phone.challenge(), password="secret" if username == "disabled" else "wrong")
        for _ in range(4)
    ]
    work["look-ups"] = len(USERS.looked_up) - before
    monkeypatch.undo()
    return work, decisions


@pytest.mark.parametrize("username", ["unknown", "disabled", "elsewhere"])
def test_no_user_is_the_same_work_as_a_wrong_password(
    username: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, decisions = attempt(username, monkeypatch)
    other_work, other_decisions = attempt("known", monkeypatch)
    assert work == other_work
    assert work["look-ups"] == 3, "who is locked out is not looked up"
    for one, other in zip(decisions, other_decisions, strict=True):
        assert type(one) is type(other)
        if isinstance(one, Challenge):
            assert [c._replace(nonce="") for c in read(one)] == [
                c._replace(nonce="") for c in read(other)
            ]
