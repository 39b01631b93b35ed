"""The attacks on the JSON API, each tried on it."""

import json
from collections.abc import Callable

import pytest
from console_api import ROOT, Program
from console_web import CONFIG, PASSWORD, URL, Client, Clock, Web

from sbcauth.console import guard
from sbcauth.console.accounts import Role
from sbcauth.console.api.operations import OPERATIONS
from sbcauth.console.app import application
from sbcauth.console.console import Console
from sbcauth.console.tokens import TokenError, tokens_file
from sbcauth.monitoring.log_line import Record

ALL = [("GET", "/openapi.json"), *((o.method, o.path) for o in OPERATIONS)]
CHANGES = [(o.method, o.path) for o in OPERATIONS if o.may is Role.CHANGE]
WRONG = ["", "Bearer", "Bearer ", "Bearer hand", "Bearer hand~", "Bearer hand~wrong", "Bearer ~",
         "Basic aGFuZDpoYW5k", f"Bearer admin~{PASSWORD}", f"Bearer {'x' * 10_000}"]  # fmt: skip


def at(path: str) -> str:
    return path.replace("{username}", "1001")


@pytest.mark.parametrize(("method", "path"), ALL)
def test_call_without_a_token_is_refused(
    changing: Program, method: str, path: str, users: Callable[[], list[str]]
) -> None:
    stranger = Program(changing.app, "")
    assert stranger.call(method, at(path)).status_code == 401
    for wrong in WRONG:
        answer = stranger.call(method, at(path), headers={"Authorization": wrong})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith('Bearer realm="sbcauth"')
    assert users() == ["Phones/1001", "Phones/1002"]


def test_two_tokens_are_none(changing: Program) -> None:
    headers = [("Authorization", f"Bearer {changing.token}")] * 2
    client = Client(changing.app, "127.0.0.1")
    assert client.get(f"{ROOT}/users", headers=headers).status_code == 401


@pytest.mark.parametrize(("method", "path"), ALL)
def test_expired_token_is_refused(
    console: Console, clock: Clock, method: str, path: str, users: Callable[[], list[str]]
) -> None:
    program = Program(application(console), console.tokens.add("short", Role.CHANGE, days=1))
    clock.now += 86399
    assert program.call("GET", "/users").status_code == 200
    clock.now += 1
    assert program.call(method, at(path)).status_code == 401
    assert users() == ["Phones/1001", "Phones/1002"]


@pytest.mark.parametrize(("method", "path"), ALL)
def test_removed_token_is_refused(
    console: Console, changing: Program, method: str, path: str
) -> None:
    assert changing.call("GET", "/users").status_code == 200
    console.tokens.remove("hand")
    assert changing.call(method, at(path)).status_code == 401


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_token_to_look_changes_nothing(
    looking: Program, log: list[Record], method: str, path: str, users: Callable[[], list[str]]
) -> None:
    answer = looking.call(method, at(path), json={"enabled": False})
    assert answer.status_code == 403
    assert users() == ["Phones/1001", "Phones/1002"]
    assert log == []


def test_session_of_a_browser_is_no_token(admin: Web, users: Callable[[], list[str]]) -> None:
    """So no other site's page can have a browser call the API."""
    assert admin.client.get("/users").status_code == 200
    for path in ("/users", "/users/1001", "/openapi.json"):
        assert admin.client.get(ROOT + path).status_code == 401
    answer = admin.client.post(f"{ROOT}/reload", headers={"Origin": URL})
    assert answer.status_code == 401
    assert users() == ["Phones/1001", "Phones/1002"]


def test_token_is_no_session(stranger: Web, console: Console) -> None:
    token = console.tokens.add("hand", Role.CHANGE)
    headers = {"Authorization": f"Bearer {token}"}
    assert stranger.client.get("/users", headers=headers).status_code == 303
    stranger.client.cookies.set(console.cookie, token)
    assert stranger.client.get("/users").status_code == 303


def test_other_site_is_let_read_nothing(changing: Program) -> None:
    answer = changing.call("GET", "/users", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert changing.call("OPTIONS", "/users").status_code == 405
    host = {"Host": "evil.example"}
    assert changing.call("GET", "/users", headers=host).status_code == 421


def test_only_the_hash_of_a_token_is_kept_for_its_owner_alone(console: Console) -> None:
    secret = console.tokens.add("hand", Role.CHANGE).partition("~")[2]
    file = tokens_file(console.config())
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(secret) == 43
    assert secret not in file.read_text()
    token = console.tokens.all()["hand"]
    assert token.hash not in repr(token)


@pytest.mark.parametrize("name", ["", "a b", "a~b", "<b>", "x" * 33, "-x", "ü"])
def test_token_of_an_odd_name_is_refused(console: Console, name: str) -> None:
    with pytest.raises(TokenError):
        console.tokens.add(name, Role.LOOK)


def test_token_of_a_name_that_is_taken_is_refused(console: Console) -> None:
    console.tokens.add("hand", Role.LOOK)
    with pytest.raises(TokenError, match="already"):
        console.tokens.add("hand", Role.CHANGE)
    with pytest.raises(TokenError, match="no token"):
        console.tokens.remove("foot")


@pytest.mark.parametrize("text", ["", "[]", '{"hand": {}}', '{"hand": {"role": "root"}}'])
def test_file_of_tokens_that_cannot_be_read_lets_nobody_in(
    console: Console, changing: Program, text: str
) -> None:
    tokens_file(console.config()).write_text(text)
    assert changing.call("GET", "/users").status_code == 503


def test_guessing_at_a_token_is_limited(console: Console, clock: Clock) -> None:
    token = console.tokens.add("hand", Role.CHANGE)
    app = application(console)
    for number in range(5):
        assert Program(app, f"hand~guess{number}").call("GET", "/users").status_code == 401
    answer = Program(app, token).call("GET", "/users")
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    clock.now += 61
    assert Program(app, token).call("GET", "/users").status_code == 200


def test_token_that_is_used_is_not_locked_out_by_strangers(changing: Program) -> None:
    assert changing.call("GET", "/users").status_code == 200
    for source in range(20):
        for number in range(4):
            guess = Program(changing.app, f"hand~guess{number}", f"203.0.113.{source}")
            guess.call("GET", "/users")
    other = Program(changing.app, changing.token, "203.0.113.99")
    assert other.call("GET", "/users").status_code == 429
    assert changing.call("GET", "/users").status_code == 200


def test_refused_token_is_in_the_log_without_its_secret(
    changing: Program, log: list[Record]
) -> None:
    Program(changing.app, "ha\x1bnd~hunter2hunter2").call("GET", "/users")
    assert len(log) == 1
    assert log[0].line.startswith("change=token-refused by=- source=127.0.0.1 token=")
    assert "hunter2" not in log[0].line
    assert "\x1b" not in log[0].line


def test_every_change_is_in_the_log_with_its_token(changing: Program, log: list[Record]) -> None:
    changing.call("PUT", "/users/1003?ip_group=Phones", json={"password": "secret of 1003"})
    changing.call("PUT", "/users/1003?ip_group=Phones", json={"enabled": True})
    changing.call("PATCH", "/users/1003", json={"enabled": False, "ip_group": "Branch"})
    changing.call("DELETE", "/users/1003")
    assert [entry.line for entry in log] == [
        "change=user-add by=token:hand source=127.0.0.1 user=1003 ip_group=Phones",
        "change=user-set by=token:hand source=127.0.0.1 user=1003 ip_group=Phones",
        "change=user-change by=token:hand source=127.0.0.1 user=1003 ip_group=Phones "
        "what=enabled,ip_group",
        "change=user-remove by=token:hand source=127.0.0.1 user=1003 ip_group=Branch",
    ]


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/users/1001?ip_group=Phones"), ("POST", "/explain"),
                         ("POST", "/configuration/check")]
)  # fmt: skip
def test_body_that_is_too_long_is_refused(changing: Program, method: str, path: str) -> None:
    body = {"request": "x" * (3 << 20)}
    assert changing.call(method, path, json=body).status_code == 413


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 422),
        ("[]", 422),
        ("[" * 50_000, 422),
        ('{"password": 1}', 422),
        ('{"password": ""}', 422),
        ('{"pasword": "x"}', 422),
        ('{"identities": "+49"}', 422),
        ('{"password": "\\ud800"}', 422),
        (json.dumps({"identities": ["1"] * 1001}), 422),
    ],
)
def test_body_that_will_not_do_is_refused_and_not_told_again(
    changing: Program, body: str, status: int, users: Callable[[], list[str]]
) -> None:
    answer = changing.call(
        "PUT", "/users/1003?ip_group=Phones", content=body,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert answer.status_code == status
    assert "1003" not in "".join(users())


def test_password_that_will_not_do_is_not_told_again(changing: Program) -> None:
    body = {"password": "hunter2" * 100}
    answer = changing.call("PUT", "/users/1003?ip_group=Phones", json=body)
    assert answer.status_code == 422
    assert "hunter2" not in answer.text


def test_body_of_another_kind_is_refused(changing: Program) -> None:
    answer = changing.call("PATCH", "/users/1001", data={"enabled": "false"})
    assert answer.status_code == 415
    assert changing.call("POST", "/reload", json={}).status_code == 400


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "q=" + "x" * 300, "other=1", "limit=1&limit=2",
              "after_ip_group=" + "x" * 300, "ip_group="]
)  # fmt: skip
def test_query_that_will_not_do_is_refused(looking: Program, query: str) -> None:
    assert looking.call("GET", f"/users?{query}").status_code == 422


def test_secrets_are_told_nowhere(looking: Program) -> None:
    for path in ("/ip-groups", "/configuration/check", "/classification", "/users", "/users/1001"):
        text = json.dumps(looking.get(path))
        assert "never-shown-to-anybody" not in text
        assert "ha1" not in text


def test_files_of_the_server_are_not_read_by_a_reference(
    looking: Program, console: Console
) -> None:
    precious = console.file.with_name("precious")
    precious.write_text("a-secret-of-the-machine")
    text = CONFIG.replace("example.com", f"${{file:{precious}}}")
    answer = looking.call("POST", "/configuration/check", json={"text": text})
    assert "a-secret-of-the-machine" not in answer.text
    assert "write it into the file itself" in answer.text


def test_text_that_is_checked_opens_no_database(looking: Program, console: Console) -> None:
    other = console.file.with_name("other.db")
    text = CONFIG.replace("users.db", "other.db")
    answer = looking.call("POST", "/configuration/check", json={"text": text})
    assert answer.json()["mistakes"] == []
    assert not other.exists()


def test_source_that_asks_too_often_is_refused(
    looking: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MOST_REQUESTS", 5)
    codes = [looking.call("GET", "/users").status_code for _ in range(6)]
    assert codes[-2:] == [200, 429]


def test_bug_shows_no_trace(
    looking: Program, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a-secret-in-a-trace")

    monkeypatch.setattr(console, "config", broken)
    answer = looking.call("GET", "/users")
    assert answer.status_code == 500
    assert "a-secret-in-a-trace" not in answer.text
