"""Phones in a real browser: JsSIP and sip.js on a page in Debian's Chromium, without a screen.

    with Browser(folder) as browser:
        phone = browser.phone("JsSIP", "wss://127.0.0.1:5061", "1001", "example.com", "secret")
        phone.register()
        phone.call("1002")

The page is served from this machine; microphone and camera are Chromium's fake ones.
"""

import subprocess
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).with_name("browser")
LIBRARIES = ("JsSIP", "sip.js")
_CHROMIUM = "/usr/bin/chromium"
_OPTIONS = [
    "--no-sandbox",  # as root it has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",  # where there is no other interface
    "--ignore-certificate-errors",  # the test's own certificate
]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class BrowserPhone:
    """One phone on a page of its own."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Call a method of the phone in the page; see phones.js."""

        def call(*arguments: object) -> Any:
            script = "([name, given]) => window.phone[name](...given)"
            return self.page.evaluate(script, [name, arguments])

        return call


class Browser:
    """Chromium, and the web server that its pages come from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        bundle = [f"{HERE}/node_modules/.bin/esbuild", f"{HERE}/phones.js", "--bundle"]
        bundle += ["--format=iife", f"--outfile={self._folder}/phones.bundle.js"]
        subprocess.run(bundle, check=True, capture_output=True, timeout=120)
        page = "<!doctype html><title>phone</title><script src=phones.bundle.js></script>"
        (self._folder / "index.html").write_text(page)
        serve = partial(_Quiet, directory=str(self._folder))
        self._web = ThreadingHTTPServer(("127.0.0.1", 0), serve)
        threading.Thread(target=self._web.serve_forever, daemon=True).start()
        self._playwright = sync_playwright().start()
        chromium = self._playwright.chromium
        self._browser = chromium.launch(executable_path=_CHROMIUM, args=_OPTIONS)
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._playwright.stop()
        self._web.shutdown()
        self._web.server_close()

    @property
    def origin(self) -> str:
        """Return the origin of the pages, as the browser sends it."""
        return f"http://localhost:{self._web.server_address[1]}"

    def phone(self, library: str, url: str, user: str, realm: str, password: str) -> BrowserPhone:
        """Open a page with a phone of one of LIBRARIES; `url` is where it opens its WebSocket."""
        page = self._browser.new_page()
        page.goto(f"{self.origin}/index.html")
        account = {"url": url, "user": user, "realm": realm, "password": password}
        page.evaluate("([kind, a]) => { window.phone = new phones[kind](a) }", [library, account])
        return BrowserPhone(page)
