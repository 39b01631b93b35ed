"""The console of a test's server, and a browser to look at it: Debian's Chromium."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from kamailio import SBCAUTH, Server, free_port, wait_for
from playwright.sync_api import Browser, Page, expect, sync_playwright

PASSWORD = "correct horse battery"
PATIENCE = 60_000
"""Milliseconds that a page may take to show what has happened."""
expect.set_options(timeout=PATIENCE)


@contextmanager
def console_of(server: Server, *options: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the console of a server until the end of the block."""
    with (server.folder / "console.log").open("ab") as log:
        command = [str(SBCAUTH), "--config", str(server.config_file), "console", *options]
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        assert wait_for(lambda: listens(port), 60), (server.folder / "console.log").read_text()
        yield process
    finally:
        process.terminate()
        assert process.wait(60) == 0


def listens(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/login", timeout=10)
    except httpx.RemoteProtocolError:
        return True
    except httpx.HTTPError:
        return False
    return True


@pytest.fixture(scope="module")
def url(server: Server) -> Iterator[str]:
    """Run a console with an account of each role, and return where it is."""
    for name, role in (("admin", "change"), ("eye", "look")):
        server.administer(
            "console-user", "add", name, "--role", role, "--password-stdin", stdin=f"{PASSWORD}\n"
        )
    port = free_port()
    with console_of(server, "--listen", f"127.0.0.1:{port}", port=port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--ignore-certificate-errors"]
        found = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        yield found
        found.close()


def log_in(browser: Browser, url: str, name: str = "admin", **options: object) -> Page:
    page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(PATIENCE)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{url}/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").press("Enter")
    expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible(timeout=PATIENCE)
    assert not errors
    return page


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    page = log_in(browser, url)
    yield page
    page.context.close()
