"""The console in a real browser, of a real server with real phones."""

import argparse
import json
import re
import shlex
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from jsonschema import Draft202012Validator
from kamailio import Server, free_port, wait_for
from phone import Phone
from playwright.sync_api import Browser, Page, expect
from repository import REPOSITORY
from web_console import PASSWORD, PATIENCE, browser, console_of, log_in, page, url

__all__ = ["browser", "page", "url"]  # fixtures

CONFIG = """\
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [register]
    classification: [{address: 127.0.0.0/8}]
  - name: Branch
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [register]
    classification: [{address: 198.51.100.0/24}]
"""
USERS = {"1001": "secret-of-1001", "1002": "secret-of-1002"}
AXE = REPOSITORY / "tests" / "peers" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
PAGES = ("/", "/users", "/users/add", "/user?name=1002", "/refusals", "/explain",
         "/ip-groups?address=127.0.0.1", "/configuration")  # fmt: skip


def test_wrong_password_is_seen_explained_and_its_lockout_lifted(
    server: Server, page: Page
) -> None:
    with Phone(server, "1002", "wrong", address="127.0.0.2") as phone:
        for guess in ("wrong 1", "wrong 2", "wrong 3"):
            phone.password = guess
            assert phone.authenticate("REGISTER").status in (401, 403)
    refusals = page.locator("#live section", has_text="The last refusals")
    refusals.get_by_role("link", name="1002").first.click(timeout=PATIENCE)
    expect(page.get_by_role("heading", name="What to do")).to_be_visible()
    expect(page.locator(".advice")).to_contain_text("another password")
    page.get_by_role("button", name="Lift the lockout").click()
    expect(page.get_by_text("Not locked out.")).to_be_visible(timeout=PATIENCE)
    assert "1002" not in server.administer("lockout", "list")
    with Phone(server, "1002", USERS["1002"], address="127.0.0.2") as phone:
        assert phone.authenticate("REGISTER").status == 200
    page.reload()
    expect(page.locator(".says")).to_contain_text("from 127.0.0.2:", timeout=PATIENCE)


def test_user_that_is_added_registers_with_the_password_that_is_shown(
    server: Server, page: Page
) -> None:
    page.get_by_role("link", name="Users").click()
    page.get_by_role("link", name="Add a user").click()
    page.get_by_role("textbox", name="User name as the phone").fill("1003")
    page.get_by_role("button", name="Add", exact=True).click()
    password = page.locator("#password").inner_text(timeout=PATIENCE)

    def registers() -> bool:
        with Phone(server, "1003", password) as phone:
            return phone.authenticate("REGISTER").status == 200

    assert wait_for(registers, 60)
    page.goto(page.url.partition("/users")[0] + "/users")
    page.get_by_label("User name begins with").press_sequentially("1003")
    expect(page.locator("#found tbody tr")).to_have_count(1, timeout=PATIENCE)

    def shows() -> bool:
        page.reload()
        text = page.locator("#found").inner_text()
        return "accepted" in text and "127.0.0.1:" in text

    assert wait_for(shows, 60)


def test_mistake_is_marked_at_its_line_as_one_types_and_not_reloaded(
    server: Server, page: Page
) -> None:
    page.get_by_role("link", name="Configuration").click()
    page.wait_for_url("**/configuration", timeout=PATIENCE)  # loaded, with its script
    text = page.get_by_label("The configuration")
    before = text.input_value()
    text.fill(before.replace("type: user", "type: usr", 1))
    expect(page.locator("#gutter .error")).to_have_text("4", timeout=PATIENCE)
    expect(page.locator("#findings")).to_contain_text("is not one of user, server")
    text.fill(before.replace("198.51.100.0/24", "198.51.100.0/25"))
    expect(page.locator("#gutter .error")).to_have_count(0, timeout=PATIENCE)
    expect(page.locator("#findings")).to_contain_text("IP Group Branch: classification")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Saved.", timeout=PATIENCE)
    page.get_by_role("button", name="Reload the server").click()
    expect(page.locator(".changes").first).to_contain_text("198.51.100.0/25", timeout=PATIENCE)
    with Phone(server) as phone:  # a process loads it with its next request
        assert wait_for(lambda: phone.request("REGISTER").status and loaded(server))


def loaded(server: Server) -> bool:
    return "configuration reloaded" in server.log()


def test_role_look_sees_no_button_that_changes(browser: Browser, url: str) -> None:
    page = log_in(browser, url, "eye")
    page.goto(f"{url}/user?name=1001")
    expect(page.get_by_role("heading", name="1001")).to_be_visible()
    names = {each.inner_text() for each in page.get_by_role("button").all()}
    assert names == {"Log out"}
    page.context.close()


def test_hostile_name_runs_no_script(server: Server, page: Page) -> None:
    name = "<img src=x onerror=document.title='hit'>"
    with Phone(server, name, "secret", local_user="5005") as phone:
        assert phone.authenticate("REGISTER").status == 401
    refusals = page.locator("#live section", has_text="The last refusals")
    expect(refusals).to_contain_text("onerror", timeout=PATIENCE)
    page.goto(page.url.rstrip("/") + "/refusals")
    expect(page.locator("#found")).to_contain_text("<img src=x")
    assert page.title() == "Refusals · sbcauth"
    assert page.locator("#found img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screen_readers_find_nothing_serious_amiss(browser: Browser, url: str, scheme: str) -> None:
    page = log_in(browser, url, color_scheme=scheme, bypass_csp=True)
    found = []
    for path in PAGES:
        page.goto(url + path)
        page.add_script_tag(path=AXE)
        result = page.evaluate("() => axe.run(document)")
        found += [
            f"{path}: {each['id']}: {each['nodes'][0]['html'][:200]}"
            for each in result["violations"]
            if each["impact"] in ("serious", "critical")
        ]
    page.context.close()
    assert found == []


@pytest.mark.parametrize("width", [360, 3840])
def test_page_is_never_wider_than_the_screen(
    server: Server, browser: Browser, url: str, width: int
) -> None:
    with Phone(server, "1002", "no password", address="127.0.0.8") as phone:
        assert phone.authenticate("REGISTER").status in (401, 403)
    page = log_in(browser, url, viewport={"width": width, "height": 800})
    expect(page.locator("#live section", has_text="The last refusals")).to_be_visible()
    for path in PAGES:
        page.goto(url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        heights = page.locator("td, dd, li p").evaluate_all("all => all.map(e => e.offsetHeight)")
        assert max(heights, default=0) < 250, path  # nothing stands one letter to a line
    page.context.close()


def test_pages_work_by_keyboard(page: Page) -> None:
    page.get_by_role("link", name="Users").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/users", timeout=PATIENCE)  # loaded, with its script
    expect(page.get_by_role("heading", name="Users")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("1001")
    expect(page.locator("#found tbody tr")).to_have_count(1, timeout=PATIENCE)
    page.get_by_role("link", name="1001").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="1001")).to_be_visible()


def test_request_that_never_comes_ends_and_others_are_served_meanwhile(url: str) -> None:
    """Neither a header nor a form may be slow."""
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    form = (
        f"POST /login HTTP/1.1\r\nHost: {url.partition('//')[2]}\r\nOrigin: {url}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\nname="
    )
    with (
        socket.create_connection(address, timeout=60) as silent,
        socket.create_connection(address, timeout=60) as slow,
    ):
        silent.sendall(b"GET / HTTP/1.1\r\nHost: ")
        slow.sendall(form.encode())
        assert httpx.get(f"{url}/login", timeout=60).status_code == 200
        assert silent.recv(1000) == b""
        assert slow.recv(1000).split(maxsplit=2)[1] == b"408"


def test_elsewhere_it_takes_tls_and_serves_it(server: Server, url: str, tls_config: Path) -> None:
    port = free_port()
    refused = server.sbcauth("console", "--listen", f"0.0.0.0:{port}")
    assert refused.returncode == 1
    assert "--certificate" in refused.stderr
    folder = tls_config.parent
    files = ("--certificate", f"{folder}/certificate.pem", "--key", f"{folder}/key.pem")
    with console_of(server, "--listen", f"0.0.0.0:{port}", *files, port=port):
        trusted = ssl.create_default_context(cafile=folder / "certificate.pem")
        with httpx.Client(verify=trusted, base_url=f"https://localhost:{port}") as client:
            origin = {"Origin": f"https://localhost:{port}"}
            form = {"name": "admin", "password": PASSWORD}
            answer = client.post("/login", data=form, headers=origin)
            assert answer.status_code == 303
            assert client.get("/users").status_code == 200
            assert re.match("__Host-sbcauth=.*Secure", answer.headers["set-cookie"])


def played(line: str, url: str, folder: Path) -> httpx.Response:
    """Return the answer to a line of curl in the page, with the files that it names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-H", required=True)
    parser.add_argument("-X", default="GET")
    parser.add_argument("--json")
    parser.add_argument("url")
    given = parser.parse_args(shlex.split(line)[1:])
    body = (folder / given.json[1:]).read_text() if given.json else None
    header = dict([(folder / given.H[1:]).read_text().strip().split(": ", 1)])
    if body:
        header["Content-Type"] = "application/json"
    address = given.url.replace("http://127.0.0.1:8060", url)
    return httpx.request(given.X, address, headers=header, content=body, timeout=60)


def test_program_adds_a_user_sees_why_it_is_refused_and_lifts_its_lockout(
    server: Server, url: str, tmp_path: Path
) -> None:
    """By the lines of curl in the page, and what answers is as the OpenAPI document has it."""
    printed = server.administer("console-token", "add", "provisioning", "--role", "change")
    token = printed.partition("token: ")[2].partition("\n")[0]
    (tmp_path / "header").write_text(f"Authorization: Bearer {token}\n")
    text = (REPOSITORY / "docs" / "console.md").read_text()
    password = re.findall(r'`\{"password": "([^"]*)"\}`', text)[0]
    (tmp_path / "user.json").write_text(json.dumps({"password": password}))
    find, put, why, lift = re.findall(r"^curl .*$", text, re.MULTILINE)
    assert "1001" in played(find, url, tmp_path).text
    put = put.replace("1003", "1005")
    assert [played(put, url, tmp_path).status_code for _ in range(2)] == [201, 200]

    def registers(secret: str) -> bool:
        with Phone(server, "1005", secret, address="127.0.0.5") as phone:
            return phone.authenticate("REGISTER").status == 200

    assert wait_for(lambda: registers(password), 60)
    why, lift = (line.replace("1003", "1005") for line in (why, lift))
    for guess in ("wrong 1", "wrong 2", "wrong 3"):
        assert not registers(guess)

    def is_explained() -> bool:
        found = played(why, url, tmp_path).json()
        reasons = {each["reason"] for each in found["outcomes"]}
        return bool(found["lockouts"]) and reasons >= {"accepted", "wrong-credentials"}

    assert wait_for(is_explained, 60)
    found = played(why, url, tmp_path).json()
    assert found["registered"][0]["source"].startswith("127.0.0.5:")
    lifted = played(lift, url, tmp_path).json()["lifted"]
    assert [each["username"] for each in lifted] == ["1005"]
    assert played(lift, url, tmp_path).json()["lifted"] == []
    assert wait_for(lambda: registers(password), 60)

    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=60) as client:
        document = client.get("/openapi.json").json()
        for path, methods in document["paths"].items():
            if "get" in methods:
                answer = client.get(path.replace("{username}", "1005"))
                assert answer.status_code == 200, answer.text
                kind = methods["get"]["responses"]["200"]["content"]["application/json"]["schema"]
                Draft202012Validator({**document, **kind}).validate(answer.json())
        assert client.post("/reload").json()["changes"] == []
        assert client.delete("/registered/1005").json() == {"dropped": ["sip:1005@example.com"]}
        assert client.delete("/users/1005").status_code == 204
        server.administer("console-token", "remove", "provisioning")
        assert client.get("/users").status_code == 401
    log = (server.folder / "console.log").read_text()
    assert "change=user-add by=token:provisioning source=127.0.0.1 user=1005" in log
    assert token not in log
