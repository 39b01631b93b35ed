"""The attacks on a web page, each tried on the console."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from console_web import CHEAP, CONFIG, PASSWORD, URL, Client, Clock, Web
from starlette.applications import Starlette
from starlette.routing import Route

from sbcauth.console import guard, live, sessions
from sbcauth.console.accounts import AccountError, Accounts, Role, accounts_file
from sbcauth.console.console import Console
from sbcauth.console.server import NoConsole, listen_at
from sbcauth.monitoring.log_line import Record
from sbcauth.users.table import UserTable

PAGES = ["/", "/users", "/users/add", "/user?name=1001", "/refusals", "/ip-groups", "/explain",
         "/configuration"]  # fmt: skip
CHANGES = ["/users/add", "/user/disable", "/user/enable", "/user/password", "/user/move",
           "/user/identities", "/user/remove", "/user/drop", "/lockouts/lift",
           "/configuration/save", "/configuration/reload"]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_page_is_shown_to_nobody_who_is_not_logged_in(stranger: Web, path: str) -> None:
    answer = stranger.client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=")
    assert "1001" not in answer.text


@pytest.mark.parametrize("path", ["/configuration/check", "/logout", *CHANGES])
def test_form_of_nobody_who_is_logged_in_changes_nothing(
    stranger: Web, path: str, users: Callable[[], list[str]]
) -> None:
    form = {"name": "1001", "ip_group": "Phones", "again": "1001"}
    answer = stranger.client.post(path, data=form, headers={"Origin": URL})
    assert answer.status_code == 401
    assert users() == ["Phones/1001", "Phones/1002"]


def test_live_stream_is_for_those_who_are_logged_in(stranger: Web) -> None:
    assert stranger.client.get("/live").status_code == 401


@pytest.mark.parametrize("path", CHANGES)
def test_role_look_changes_nothing(eye: Web, path: str, users: Callable[[], list[str]]) -> None:
    form = {"name": "1001", "ip_group": "Phones", "again": "1001"}
    assert eye.post(path, **form)[0] == 403
    assert users() == ["Phones/1001", "Phones/1002"]


def test_role_look_is_shown_no_button_that_changes(eye: Web) -> None:
    for path in ("/users", "/user?name=1001", "/configuration"):
        assert "Add a user" not in eye.get(path)
        assert 'action="/user/' not in eye.get(path)
        assert "Reload the server" not in eye.get(path)


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "https://evil.example",
        "http://127.0.0.1:8060.evil.example",
        "http://localhost",
    ],
)
def test_form_from_another_site_is_refused(
    admin: Web, origin: str | None, users: Callable[[], list[str]]
) -> None:
    form = {"csrf": admin.csrf, "name": "1001", "again": "1001"}
    headers = {"Origin": origin} if origin else {}
    assert admin.client.post("/user/remove", data=form, headers=headers).status_code == 403
    assert users() == ["Phones/1001", "Phones/1002"]


@pytest.mark.parametrize("csrf", ["", "wrong", "ä"])
def test_form_without_the_session_s_own_token_is_refused(admin: Web, csrf: str) -> None:
    assert admin.post("/user/disable", csrf=csrf, name="1001")[0] == 403


def test_form_of_another_session_is_refused(admin: Web, eye: Web) -> None:
    assert admin.post("/user/disable", csrf=eye.csrf, name="1001")[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8060", "127.0.0.1.evil.example", ""]
)
def test_name_that_leads_here_is_not_answered(stranger: Web, host: str) -> None:
    """DNS rebinding: the page of another site is the same origin as a name of its own."""
    assert stranger.client.get("/login", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8060", "localhost:9000", "[::1]:8060", "console.example", "192.0.2.1"]
)
def test_own_names_and_addresses_are_answered(stranger: Web, host: str) -> None:
    assert stranger.client.get("/login", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/login", "/", "/nothing", "/static/console.js"])
def test_every_answer_lets_no_foreign_script_run_and_is_kept_by_nobody(
    stranger: Web, path: str
) -> None:
    headers = stranger.client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_pages_have_no_script_or_style_within_them(admin: Web) -> None:
    for path in PAGES:
        text = admin.get(path)
        assert " style=" not in text
        assert "<style" not in text
        assert text.count("<script") == 1
        assert " onclick=" not in text
        assert re.findall(r'(?:src|href|action)="([^"]*)"', text)
        for address in re.findall(r'(?:src|href|action)="([^"]*)"', text):
            assert address.startswith(("/", "#"))
            assert not address.startswith("//")


def test_sixth_attempt_is_refused_even_with_the_right_password(stranger: Web) -> None:
    for number in range(5):
        assert stranger.log_in(password=f"guess number {number}") == 403
    assert stranger.log_in() == 403
    assert "Too many attempts" in stranger.client.post(
        "/login", data={"name": "admin", "password": PASSWORD}, headers={"Origin": URL}
    ).text  # fmt: skip


def test_lockout_ends(stranger: Web, clock: Clock) -> None:
    for number in range(5):
        stranger.log_in(password=f"guess number {number}")
    clock.now += 61
    assert stranger.log_in() == 303


def test_source_that_tries_many_accounts_is_locked_out(stranger: Web) -> None:
    for number in range(20):
        assert stranger.log_in(f"name{number}", "whatever it is") == 403
    assert stranger.log_in() == 403


def test_who_has_logged_in_from_there_is_not_locked_out_by_strangers(console: Console) -> None:
    known = Web(console, "192.0.2.1")
    assert known.log_in() == 303
    for source in range(20):
        web = Web(console, f"203.0.113.{source}")
        for number in range(4):
            web.log_in(password=f"guess number {number}")
    assert Web(console, "192.0.2.99").log_in() == 403
    assert known.log_in() == 303


def test_no_account_is_answered_as_a_wrong_password(stranger: Web) -> None:
    texts = [
        stranger.client.post(
            "/login", data={"name": name, "password": "wrong one"}, headers={"Origin": URL}
        ).text
        for name in ("admin", "nobody")
    ]
    assert texts[0] == texts[1]


def test_session_ends_when_it_is_idle(admin: Web, clock: Clock) -> None:
    clock.now += sessions.IDLE - 1
    assert admin.client.get("/users").status_code == 200
    clock.now += sessions.IDLE + 1
    assert admin.client.get("/users").status_code == 303


def test_session_ends_however_busy_it_is(admin: Web, clock: Clock) -> None:
    for _ in range(sessions.LONGEST // 1000):
        clock.now += 1000
        assert admin.client.get("/users").status_code == 200
    clock.now += 1000
    assert admin.client.get("/users").status_code == 303


def test_session_ends_with_its_account_or_password(console: Console, admin: Web, eye: Web) -> None:
    console.accounts.remove("eye")
    assert eye.client.get("/users").status_code == 303
    console.accounts.set_password("admin", "another password")
    assert admin.client.get("/users").status_code == 303


def test_logout_ends_the_session(admin: Web) -> None:
    token = admin.client.cookies[admin.console.cookie]
    assert admin.post("/logout")[0] == 303
    admin.client.cookies.set(admin.console.cookie, token)
    assert admin.client.get("/users").status_code == 303


def test_sessions_are_bounded(console: Console) -> None:
    account = console.accounts.all()["admin"]
    tokens = [console.sessions.open(account, 1_700_000_000 + n) for n in range(300)]
    found = [console.sessions.find(token, 1_700_000_300) for token in tokens]
    assert sum(each is not None for each in found) == 200


def test_cookie_is_for_no_script_and_no_other_site(stranger: Web) -> None:
    form = {"name": "admin", "password": PASSWORD}
    cookie = stranger.client.post("/login", data=form, headers={"Origin": URL}).headers[
        "set-cookie"
    ]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


def test_over_tls_cookie_and_origin_are_of_tls(console: Console) -> None:
    console.tls, console.cookie = True, "__Host-sbcauth"
    web = Web(console)
    form = {"name": "admin", "password": PASSWORD}
    assert web.client.post("/login", data=form, headers={"Origin": URL}).status_code == 403
    answer = web.client.post(
        "/login", data=form, headers={"Origin": URL.replace("http:", "https:")}
    )
    assert answer.status_code == 303
    assert answer.headers["set-cookie"].startswith("__Host-sbcauth=")
    assert "Secure" in answer.headers["set-cookie"]
    assert "strict-transport-security" in answer.headers


@pytest.mark.parametrize(
    "there", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)"]
)
def test_login_leads_to_no_other_site(stranger: Web, there: str) -> None:
    form = {"name": "admin", "password": PASSWORD, "next": there}
    answer = stranger.client.post("/login", data=form, headers={"Origin": URL})
    assert answer.headers["location"] == "/"


HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"


def test_hostile_names_are_shown_as_text(admin: Web, console: Console) -> None:
    config = console.config()
    with UserTable(config.database, config.ha1_key_file) as table:
        table.add("Phones", HOSTILE, "example.com", "secret", "5005")
    for path in ("/users", f"/users?q={HOSTILE[:4]}", "/user?name=%3Cscript%3Ealert(1)"):
        assert "<script>alert" not in admin.get(path) if "name=" not in path else True
    text = admin.client.get("/user", params={"name": HOSTILE, "ip_group": HOSTILE}).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "49" not in text.partition("<main")[2].partition("</h1>")[0]
    for path in ("/users", "/refusals", "/ip-groups"):
        keys = ("q", "source", "user", "address", "ip_group", "reason")
        text = admin.client.get(path, params=dict.fromkeys(keys, HOSTILE)).text
        assert "<script>alert" not in text


def test_what_turns_the_direction_of_writing_is_shown(admin: Web) -> None:
    text = admin.client.get("/user", params={"name": "10\u202e01\u200b\x07"}).text
    assert "\u202e" not in text
    assert "\\u202e" in text
    assert "\\u200b" in text


def test_hostile_request_is_explained_as_text(admin: Web) -> None:
    request = (
        f"REGISTER sip:{HOSTILE} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.7\nFrom: <sip:{HOSTILE}@x>\n\n"
    )
    status, text = admin.post("/explain", request=request.replace("7*7", "7"))
    assert status == 200
    assert "<script>alert" not in text


def test_form_that_is_too_long_is_refused(admin: Web) -> None:
    assert admin.post("/user/disable", name="x" * 20_000)[0] == 413
    assert admin.post("/explain", request="x" * 200_000)[0] == 413


def test_form_of_another_kind_is_refused(admin: Web) -> None:
    answer = admin.client.post("/user/disable", json={"name": "1001"}, headers={"Origin": URL})
    assert answer.status_code == 415


def test_form_of_many_fields_is_refused(admin: Web) -> None:
    assert admin.post("/user/disable", **{f"field{n}": "" for n in range(100)})[0] == 400


def test_source_that_asks_too_often_is_refused_and_others_are_not(
    console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MOST_REQUESTS", 5)
    busy, other = Web(console, "192.0.2.1"), Web(console, "192.0.2.2")
    app = busy.client.app
    other.client.app = app
    codes = [busy.client.get("/nothing").status_code for _ in range(6)]
    assert codes[-2:] == [404, 429]
    clock.now += 10
    assert busy.client.get("/nothing").status_code == 404


@pytest.mark.parametrize("address", ["0.0.0.0:8060", "192.0.2.1:8060", "[::]:8060"])
def test_elsewhere_than_on_loopback_takes_tls(address: str, tmp_path: Path) -> None:
    with pytest.raises(NoConsole, match="--certificate"):
        listen_at(address, None, None)
    at = listen_at(address, tmp_path / "certificate.pem", tmp_path / "key.pem")
    assert at.url.startswith("https://")


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost:8060", "127.0.0.1:0", "127.0.0.1:x"])
def test_address_that_will_not_do_is_refused(address: str) -> None:
    with pytest.raises(NoConsole):
        listen_at(address, None, None)


def test_certificate_and_key_go_together(tmp_path: Path) -> None:
    with pytest.raises(NoConsole, match="go together"):
        listen_at("127.0.0.1:8060", tmp_path / "certificate.pem", None)


def test_accounts_are_hashed_in_a_file_for_its_owner_alone(console: Console) -> None:
    file = accounts_file(console.config())
    assert file.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in file.read_text()
    assert "$argon2id$" in file.read_text()
    assert "argon2id" not in repr(console.accounts.all()["admin"])


def test_link_in_the_place_of_the_accounts_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("{}")
    (tmp_path / "accounts").symlink_to(target)
    with pytest.raises(OSError, match="link"):
        Accounts(tmp_path / "accounts", CHEAP).add("admin", Role.LOOK, PASSWORD)
    assert target.read_text() == "{}"


@pytest.mark.parametrize("name", ["", "a b", "<b>", "x" * 33, "-x", "ü"])
def test_account_of_an_odd_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AccountError):
        Accounts(tmp_path / "accounts", CHEAP).add(name, Role.LOOK, PASSWORD)


@pytest.mark.parametrize("text", ["", "[]", '{"a": {}}', '{"a": {"role": "root", "hash": ""}}'])
def test_file_of_accounts_that_cannot_be_read_lets_nobody_in(tmp_path: Path, text: str) -> None:
    file = tmp_path / "accounts"
    file.write_text(text)
    with pytest.raises(AccountError):
        Accounts(file, CHEAP).all()


def test_every_change_is_in_the_log_with_who_did_it(admin: Web, log: list[Record]) -> None:
    admin.post("/users/add", name="1003", ip_group="Phones")
    admin.post("/user/disable", name="1003", ip_group="Phones")
    admin.post("/user/move", name="1003", ip_group="Phones", to="Branch")
    admin.post("/user/remove", name="1003", ip_group="Branch", again="1003")
    lines = [entry.line for entry in log]
    assert lines == [
        "change=login by=- source=127.0.0.1 account=admin",
        "change=user-add by=admin source=127.0.0.1 user=1003 ip_group=Phones",
        "change=user-disable by=admin source=127.0.0.1 user=1003 ip_group=Phones",
        "change=user-move by=admin source=127.0.0.1 user=1003 ip_group=Phones to=Branch",
        "change=user-remove by=admin source=127.0.0.1 user=1003 ip_group=Branch",
    ]


def test_refused_login_is_in_the_log_escaped_and_without_its_password(
    stranger: Web, log: list[Record]
) -> None:
    stranger.log_in("admin\nchange=login", "hunter2hunter2")
    assert "hunter2" not in log[0].line
    assert "\n" not in log[0].line
    assert log[0].line.startswith("change=login-refused by=- source=127.0.0.1")


def test_secrets_of_the_configuration_are_shown_nowhere(admin: Web) -> None:
    for path in ("/configuration", "/ip-groups"):
        assert "never-shown-to-anybody" not in admin.get(path)
    assert "«secret 1»" in admin.get("/configuration")


def test_secret_of_a_file_with_a_mistake_is_not_shown_either(admin: Web, console: Console) -> None:
    console.file.write_text(CONFIG + "  - [\n")
    answer = admin.client.get("/configuration")
    assert "never-shown-to-anybody" not in answer.text
    assert "secret 1" in answer.text


@pytest.mark.parametrize("key", ["realm", "log_to", "database", "x"])
def test_secret_is_not_shown_in_the_place_of_something_else(admin: Web, key: str) -> None:
    text = CONFIG.replace("never-shown-to-anybody", "«secret 1»").replace(
        "realm: example.com", f"{key}: «secret 1»"
    )
    _, shown = admin.post("/configuration/check", text=text)
    assert "never-shown-to-anybody" not in shown


def test_files_of_the_server_are_not_read_by_a_reference(admin: Web, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("a-secret-of-the-machine")
    text = CONFIG.replace("example.com", f"${{file:{tmp_path}/precious}}")
    for path in ("/configuration/check", "/configuration/save"):
        _, shown = admin.post(path, text=text)
        assert "a-secret-of-the-machine" not in shown
        assert "write it into the file itself" in shown
    assert admin.console.file.read_text() == CONFIG


def test_generated_password_is_shown_once(admin: Web) -> None:
    _, text = admin.post("/users/add", name="1003", ip_group="Phones")
    password = text.partition('id="password">')[2].partition("<")[0]
    assert len(password) == 20
    for path in PAGES:
        assert password not in admin.get(path)


def test_streams_of_an_account_are_bounded(console: Console, admin: Web) -> None:
    """However many sessions it has, it leaves some to others."""
    assert live._MOST_OF_AN_ACCOUNT < live._MOST
    streams = live.Live(console)
    streams._streams["admin"] = live._MOST_OF_AN_ACCOUNT
    client = Client(Starlette(routes=[Route("/live", streams.endpoint())]), "127.0.0.1")
    client.cookies.set(console.cookie, admin.client.cookies[console.cookie])
    assert client.get("/live").status_code == 503


def test_bug_shows_no_trace(console: Console, admin: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a-secret-in-a-trace")

    monkeypatch.setattr(console, "config", broken)
    answer = admin.client.get("/users")
    assert answer.status_code == 500
    assert "a-secret-in-a-trace" not in answer.text
