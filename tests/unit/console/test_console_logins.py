"""Who is kept out by guesses, and who is not."""

import httpx
import pytest
from console_web import PASSWORD, URL, Clock, Web

from sbcauth.console import guard
from sbcauth.console.accounts import AccountError, Role
from sbcauth.console.connections import source
from sbcauth.console.console import Console
from sbcauth.console.sessions import Sessions

FORM = {"name": "admin", "password": PASSWORD}


def login_of(web: Web, **form: str) -> httpx.Response:
    return web.client.post("/login", data={**FORM, **form}, headers={"Origin": URL})


def guess_from_many(console: Console, account: str = "admin") -> None:
    """Have an account locked out wherever nobody has logged in before."""
    for number in range(1, 14):
        web = Web(console, f"203.0.113.{number}")
        for guess in range(4):
            assert web.log_in(account, f"guess number {guess}") == 403


def test_browser_that_has_logged_in_is_kept_out_by_no_stranger(
    console: Console, admin: Web
) -> None:
    """Not at another address either, nor when the console was started anew."""
    guess_from_many(console)
    assert Web(console, "192.0.2.50").log_in() == 403
    admin.post("/logout")
    elsewhere = Web(console, "192.0.2.51")
    elsewhere.client.cookies = admin.client.cookies
    assert elsewhere.log_in() == 303


def test_browser_that_has_logged_in_has_five_attempts_too(admin: Web, clock: Clock) -> None:
    admin.post("/logout")
    for number in range(5):
        assert admin.log_in(password=f"guess number {number}") == 403
    assert admin.log_in() == 403
    clock.now += 61
    assert admin.log_in() == 303


def test_cookie_of_a_browser_is_of_one_account_and_password(console: Console, admin: Web) -> None:
    console.accounts.add("other", Role.CHANGE, PASSWORD)
    guess_from_many(console, "other")
    admin.post("/logout")
    assert admin.log_in("other") == 403
    console.accounts.set_password("admin", "another password")
    guess_from_many(console)
    elsewhere = Web(console, "192.0.2.51")
    elsewhere.client.cookies = admin.client.cookies
    assert elsewhere.log_in(password="another password") == 403


@pytest.mark.parametrize("cookie", ["", ".", "x", "x.y", "x." + "0" * 64, "ü.ü", "x" * 5000])
def test_cookie_of_a_browser_cannot_be_made_up(console: Console, cookie: str) -> None:
    for name in ("admin", "nobody"):
        assert console.devices.known(name, cookie) == ""


def test_cookie_of_a_browser_is_for_the_login_alone(stranger: Web) -> None:
    found = login_of(stranger).headers.get_list("set-cookie")
    device = next(each for each in found if each.startswith("sbcauth-console-device="))
    assert "Path=/login;" in device
    assert "HttpOnly" in device
    assert "SameSite=strict" in device
    admin = Web(stranger.console)
    admin.client.cookies.set(
        stranger.console.cookie, stranger.client.cookies["sbcauth-console-device"]
    )
    assert admin.client.get("/users").status_code == 303


def test_login_ends_the_session_before(console: Console, admin: Web) -> None:
    """So that nobody goes on in a session that another has opened."""
    before = admin.client.cookies[console.cookie]
    assert admin.log_in("eye") == 303
    after = admin.client.cookies[console.cookie]
    assert before != after
    assert console.sessions.find(before, console.clock()) is None
    session = console.sessions.find(after, console.clock())
    assert session is not None
    assert session.role is Role.LOOK


def test_session_that_another_has_made_up_is_none(console: Console, stranger: Web) -> None:
    """Session fixation: the login takes no token that the browser had before."""
    stranger.client.cookies.set(console.cookie, "made-up-by-somebody")
    assert stranger.log_in() == 303
    assert console.sessions.find("made-up-by-somebody", console.clock()) is None


@pytest.mark.parametrize("name", ["x" * 4000, "../../etc/passwd", "<b>", "ü", " admin"])
def test_odd_name_is_a_wrong_one(stranger: Web, name: str) -> None:
    answer = login_of(stranger, name=name)
    assert answer.status_code == 403
    assert "Name or password is wrong." in answer.text


def test_form_with_a_nul_is_refused(stranger: Web) -> None:
    assert login_of(stranger, name="\0").status_code == 400
    assert login_of(stranger, password="\0").status_code == 400


def test_addresses_of_one_network_are_one_source() -> None:
    """Whoever has one IPv6 address has 2**64 of them (RFC 4291, 2.5.4)."""
    assert source("2001:db8::1") == source("2001:db8::ffff:1") != source("2001:db8:0:1::1")
    assert source("::ffff:192.0.2.1") == source("192.0.2.1") == "192.0.2.1"
    assert source("what:ever") == "-"  # a proxy may say so


def test_guesses_from_one_network_are_of_one_source(console: Console) -> None:
    for number in range(20):
        web = Web(console, f"2001:db8::{number:x}")
        assert web.log_in(f"name{number}", "whatever it is") == 403
    assert Web(console, "2001:db8::ffff").log_in() == 403
    assert Web(console, "2001:db8:0:1::1").log_in() == 303


def test_who_is_logged_in_is_not_slowed_down_by_strangers_at_the_address(
    console: Console, admin: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MOST_REQUESTS", 5)
    stranger = Web(console)
    stranger.client.app = admin.client.app
    codes = [stranger.client.get("/nothing").status_code for _ in range(6)]
    assert codes[-1] == 429
    assert admin.client.get("/users").status_code == 200
    token = console.tokens.add("hand", Role.LOOK)
    headers = {"Authorization": f"Bearer {token}"}
    assert stranger.client.get("/api/v1/users", headers=headers).status_code == 200
    headers = {"Authorization": "Bearer hand~wrong"}
    assert stranger.client.get("/api/v1/users", headers=headers).status_code == 429
    codes = [admin.client.get("/nothing").status_code for _ in range(6)]
    assert codes[-1] == 429


def test_accounts_that_cannot_be_read_let_nobody_in(console: Console, admin: Web) -> None:
    console.accounts._entries.path.write_text("{")
    for path in ("/users", "/login", "/static/console.css"):
        answer = admin.client.get(path)
        assert answer.status_code == (200 if "static" in path else 503)
    assert admin.log_in() == 503


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_accounts_that_others_may_write_let_nobody_in(
    console: Console, admin: Web, mode: int
) -> None:
    """Whoever may write there could give himself an account."""
    console.accounts._entries.path.chmod(mode)
    assert admin.client.get("/users").status_code == 503
    assert admin.log_in() == 503
    with pytest.raises(AccountError, match="chmod 600"):
        console.accounts.add("another", Role.CHANGE, PASSWORD)
    console.accounts._entries.path.chmod(0o600)
    assert admin.client.get("/users").status_code == 200


def test_sessions_come_and_go_at_once(console: Console) -> None:
    account = console.accounts.all()["admin"]
    found = Sessions(console.accounts)
    tokens = [found.open(account, now) for now in range(200)]
    assert found.find(tokens[0], 200) is not None  # it is used, so another gives way
    found.open(account, 201)
    assert found.find(tokens[0], 202) is not None
    assert found.find(tokens[1], 202) is None
