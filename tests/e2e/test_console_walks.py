"""A stranger's walks through the console, under real phones, and pictures of each page.

SBCAUTH_PICTURES=docs writes the pictures of docs/console.md there.
"""

import base64
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kamailio import Server, wait_for
from linphone import Linphone
from phone import Phone
from playwright.sync_api import Browser, Page, expect
from repository import REPOSITORY
from web_console import PASSWORD, PATIENCE, browser, log_in, page, url

__all__ = ["browser", "page", "url"]  # fixtures

CONFIG = """\
# The office, its branch, and the carrier.
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [register, invite]
    classification: [{address: 127.0.0.0/9}]
    route_to: Carrier
  - name: Branch
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [register]
    classification: [{address: 198.51.100.0/24}]
  - name: Carrier
    type: server
    authentication_mode: sbc-as-server
    authentication_method_list: [invite]
    proxy_set: [sip:203.0.113.5]
    username_as_server: carrier
    password_as_server: never-shown-to-anybody
"""
USERS = {
    **{name: f"secret-of-{name}" for name in ("1001", "1002", "1003", "1004", "alice")},
    "Branch/2001": "secret-of-2001",
}
LARGEST = 80_000
"""Bytes of a picture."""


def guess(server: Server, user: str, times: int) -> None:
    """Have a real program register with a wrong password."""
    for number in range(times):
        done = subprocess.run(
            ["sipsak", "-H", "127.0.0.1", "-U", "-i", "-s", f"sip:{user}@127.0.0.1:{server.port}",
             "-u", user, "-a", f"wrong {number}", "-x", "60"],
            capture_output=True,
            timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode != 0


def test_phone_with_a_wrong_password_is_seen_explained_let_in_again_and_registers(
    server: Server, page: Page, tmp_path: Path
) -> None:
    guess(server, "1002", 3)
    refusals = page.locator("#live section", has_text="The last refusals")
    refusals.get_by_role("link", name="1002").first.click(timeout=PATIENCE)
    expect(page.locator("h1")).to_contain_text("locked out")
    expect(page.locator(".advice")).to_contain_text("another password")
    page.get_by_role("button", name="Lift the lockout").click()
    expect(page.get_by_text("Not locked out.")).to_be_visible(timeout=PATIENCE)
    with Linphone(tmp_path, server, "1002", USERS["1002"]):
        expect(page.locator("h1 .tag.in")).to_have_text("registered", timeout=PATIENCE)
        expect(page.locator(".says")).to_contain_text("Linphone")


def test_phone_with_a_wrong_password_is_let_in_again_by_keyboard_alone(
    server: Server, browser: Browser, url: str, baresip: Callable[..., Callable[[], str]]
) -> None:
    guess(server, "1003", 3)
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    page.keyboard.type("admin")  # where the cursor is
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible()
    tab_to(page, "Users")
    page.keyboard.press("Enter")
    page.wait_for_url("**/users")
    page.keyboard.press("/")
    page.keyboard.type("1003")
    expect(page.locator("#found tbody tr")).to_have_count(1)
    tab_to(page, "1003")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("locked out")
    tab_to(page, "Lift the lockout of 1003 from 127.0.0.1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Not locked out.")).to_be_visible()
    log = baresip("1003", USERS["1003"])
    assert wait_for(lambda: "200 OK" in log(), 60), log()
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator("h1 .tag.in")).to_have_text("registered")
    page.context.close()


def tab_to(page: Page, name: str) -> None:
    """Go by the Tab key alone to what is called so."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == name:
            return
    pytest.fail(f"no way leads to {name!r}")


def test_advice_leads_to_where_the_password_is_set(
    server: Server, page: Page, url: str, baresip: Callable[..., Callable[[], str]]
) -> None:
    guess(server, "1001", 1)
    page.goto(f"{url}/user?name=1001")
    page.locator(".advice").get_by_role("link", name="Set the password of 1001").click()
    expect(page.get_by_role("textbox", name="Password")).to_be_focused()
    page.get_by_role("button", name="Set the password").click()
    password = page.locator("#password").inner_text()
    log = baresip("1001", password)
    assert wait_for(lambda: "200 OK" in log(), 60), log()
    expect(page.locator("h1 .tag.in")).to_have_text("registered", timeout=PATIENCE)


def test_user_that_is_added_registers_with_the_password_that_is_shown(
    server: Server, page: Page, url: str, baresip: Callable[..., Callable[[], str]]
) -> None:
    server.sbcauth("user", "remove", "1005")  # of a run before
    page.goto(f"{url}/users/add")
    page.keyboard.type("1005")  # where the cursor is
    page.keyboard.press("Enter")
    password = page.locator("#password").inner_text()
    time.sleep(2)  # until a running server knows it
    log = baresip("1005", password)
    assert wait_for(lambda: "200 OK" in log(), 60), log()
    expect(page.locator("h1 .tag.in")).to_have_text("registered", timeout=PATIENCE)


def test_user_of_another_ip_group_is_moved_by_the_advice_and_registers(
    server: Server, page: Page, url: str, baresip: Callable[..., Callable[[], str]]
) -> None:
    """By keyboard alone, from the page Now."""
    server.sbcauth("user", "remove", "2002")  # of a run before
    server.add_user("2002", "secret-of-2002", "Branch")
    page.goto(url)
    guess(server, "2002", 1)
    refusals = page.locator("#live section", has_text="The last refusals")
    expect(refusals.get_by_role("link", name="2002").first).to_be_visible(timeout=PATIENCE)
    tab_to(page, "2002")
    page.keyboard.press("Enter")
    expect(page.locator(".advice")).to_contain_text("User Info has 2002 in Branch")
    tab_to(page, "move it there")
    page.keyboard.press("Enter")
    choice = page.get_by_role("combobox", name="To the IP Group")
    expect(choice).to_be_focused()
    choice.press_sequentially("Phones")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".says")).to_contain_text("in Phones, for", timeout=PATIENCE)
    time.sleep(2)  # until a running server knows it
    log = baresip("2002", "secret-of-2002")
    assert wait_for(lambda: "200 OK" in log(), 60), log()
    page.reload()
    expect(page.locator("h1 .tag.in")).to_have_text("registered", timeout=PATIENCE)


def test_address_of_no_ip_group_is_seen_and_classified(
    server: Server, page: Page, url: str
) -> None:
    address = "127.200.0.9"
    text = server.config_file.read_text()  # as a run before may have left it
    server.config_file.write_text(text.replace("127.0.0.0/8", "127.0.0.0/9"))
    server.administer("reload")
    with Phone(server, "1001", USERS["1001"], address=address) as phone:
        assert wait_for(lambda: phone.request("REGISTER").status == 403, 60)
        page.goto(f"{url}/refusals?source={address}")
        expect(page.locator("#found")).to_contain_text("unclassified")
        expect(page.locator(".advice").get_by_role("link", name="classification")).to_be_visible()
        page.locator("#found").get_by_role("link", name="of no IP Group").first.click()
        expect(page.get_by_role("heading", name="IP Groups", exact=True)).to_be_visible()
        expect(page.get_by_role("status").first).to_contain_text("no IP Group")
        page.get_by_role("link", name="the configuration").first.click()
        editor = page.get_by_label("The configuration")
        before = editor.input_value()
        editor.fill(before.replace("127.0.0.0/9", "127.0.0.0/8"))
        expect(page.locator("#findings")).to_contain_text("What a reload would change")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("button", name="Reload the server").click()
        expect(page.get_by_role("alert")).to_be_visible()
        assert wait_for(lambda: phone.request("REGISTER").status == 401, 60)
    page.get_by_label("The configuration").fill(before)
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Reload the server").click()


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_times_are_in_the_reader_s_zone(
    server: Server, browser: Browser, url: str, zone: str
) -> None:
    page = log_in(browser, url, timezone_id=zone, locale="en-GB")
    page.goto(f"{url}/user?name=alice")
    shown = page.locator(".says time").first
    expect(shown).to_be_visible()
    format_there = "(t, zone) => new Date(t).toLocaleTimeString('en-GB', {timeZone: zone})"
    told = shown.get_attribute("datetime")
    hour = page.evaluate(f"([t, zone]) => ({format_there})(t, zone)", [told, zone])
    expect(shown).to_contain_text(hour)
    expect(page.locator("[data-zone]")).to_contain_text(
        re.compile(f"{zone}|Asia/Calcutta")  # its older name
    )
    page.context.close()


REQUEST = """\
REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.7:5060;branch=z9hG4bK1
From: <sip:1001@example.com>;tag=1
To: <sip:1001@example.com>
Call-ID: 1
CSeq: 1 REGISTER
"""
PICTURES = {
    "now": "/",
    "users": "/users",
    "user": "/user?name=1004",
    "refusals": "/refusals",
    "ip-groups": "/ip-groups?address=127.0.0.7",
    "explain": "/explain",
    "configuration": "/configuration",
}
DARK = {"user", "explain"}


def test_each_page_has_a_small_picture(
    server: Server, browser: Browser, url: str, tmp_path: Path
) -> None:
    (tmp_path / "phone").mkdir()
    folder = Path(os.environ.get("SBCAUTH_PICTURES") or tmp_path)
    guess(server, "1004", 3)
    with Linphone(tmp_path / "phone", server, "alice", USERS["alice"]):
        assert wait_for(lambda: "alice" in server.administer("registered"), 60)
        for name, path in PICTURES.items():
            page = log_in(
                browser,
                url,
                color_scheme="dark" if name in DARK else "light",
                viewport={"width": 1200, "height": 800},
                locale="en-GB",
            )
            page.goto(url + path)
            if name == "explain":
                page.get_by_label("The request").fill(REQUEST)
                page.get_by_role("button", name="Explain").click()
                page.get_by_role("heading", name="How it is decided").scroll_into_view_if_needed()
            if name == "configuration":
                text = page.get_by_label("The configuration")
                text.fill(text.input_value().replace("type: user", "type: usr", 1))
                expect(page.locator("#gutter .error")).to_have_text("5")
            shot = page.context.new_cdp_session(page).send(
                "Page.captureScreenshot", {"format": "webp", "quality": 80}
            )
            picture = base64.b64decode(shot["data"])
            assert 5_000 < len(picture) < LARGEST, name
            (folder / f"console-{name}.webp").write_bytes(picture)
            page.context.close()


def test_docs_show_the_picture_of_each_page() -> None:
    docs = REPOSITORY / "docs"
    shown = re.findall(r"!\[[^\]]+\]\((console-[\w-]+)\.webp\)", (docs / "console.md").read_text())
    assert sorted(shown) == sorted(f"console-{name}" for name in PICTURES)
    for name in shown:
        picture = (docs / f"{name}.webp").read_bytes()
        assert picture[:4] == b"RIFF"
        assert picture[8:12] == b"WEBP"
        assert len(picture) < LARGEST
