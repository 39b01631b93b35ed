"""Every route of the console, as the application has them: a new one cannot be forgotten."""

from collections.abc import Callable

import pytest
from console_api import Program
from console_web import URL, Web
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from sbcauth.console.app import application
from sbcauth.console.console import Console
from sbcauth.console.guard import Guard
from sbcauth.console.problems import ROOT
from sbcauth.monitoring.log_line import Record

PUBLIC = {("GET", "/login"), ("POST", "/login")}
LOOK_MAY_SEND = {("POST", "/login"), ("POST", "/logout"), ("POST", "/explain"),
                 ("POST", "/configuration/check")}  # fmt: skip
API_LOOK_MAY_SEND = {("POST", "/explain"), ("POST", "/configuration/check")}
ACTIONS = ("enable", "disable", "password", "move", "identities", "remove", "drop", "nonsense")
FORM = {"name": "1001", "ip_group": "Phones", "again": "1001", "to": "Branch", "username": "1001"}


def all_routes(console: Console) -> list[tuple[str, str]]:
    """Return method and address of all that is served but the static files."""
    app = application(console, ["console.example"])
    assert isinstance(app, Guard)
    assert isinstance(app._app, Starlette)
    found = []
    for route in app._app.routes:
        if isinstance(route, Mount):
            assert route.path == "/static"
            continue
        assert isinstance(route, Route)
        for method in sorted(route.methods or ()):
            path = route.path.replace("{username:path}", "1001")
            paths = [path.replace("{action}", each) for each in ACTIONS]
            found += [(method, each) for each in dict.fromkeys(paths)]
    return found


def pages(console: Console) -> list[tuple[str, str]]:
    """Return what browsers ask for."""
    return [each for each in all_routes(console) if not each[1].startswith(ROOT)]


def calls(console: Console) -> list[tuple[str, str]]:
    """Return what programs ask for, below the root of the API."""
    found = [each for each in all_routes(console) if each[1].startswith(ROOT)]
    return [(method, path.removeprefix(ROOT)) for method, path in found]


def test_nothing_but_the_login_is_for_strangers(
    stranger: Web, users: Callable[[], list[str]], log: list[Record]
) -> None:
    for method, path in pages(stranger.console):
        if (method, path) not in PUBLIC and method != "HEAD":
            answer = stranger.client.request(method, path, data=FORM, headers={"Origin": URL})
            assert answer.status_code in (303, 401), (method, path)
            assert "1001" not in answer.text
    assert users() == ["Phones/1001", "Phones/1002"]
    assert log == []


def test_role_look_changes_nothing_by_any_route(
    eye: Web, users: Callable[[], list[str]], log: list[Record]
) -> None:
    log.clear()
    before = eye.console.file.read_text()
    for method, path in pages(eye.console):
        if method == "POST" and (method, path) not in LOOK_MAY_SEND:
            assert eye.post(path, **FORM)[0] == 403, path
    assert eye.client.get("/users/add").status_code == 403
    assert users() == ["Phones/1001", "Phones/1002"]
    assert eye.console.file.read_text() == before
    assert log == []


def test_no_route_changes_anything_by_a_form_of_another_site(
    admin: Web, users: Callable[[], list[str]]
) -> None:
    """By its origin, its kind, or without the token of the session."""
    sent = [path for method, path in pages(admin.console) if method == "POST"]
    for path in sent:
        whole = {"csrf": admin.csrf, **FORM}
        ours, others = {"Origin": URL}, {"Origin": "https://evil.example"}
        assert admin.client.post(path, data=whole, headers=others).status_code == 403, path
        assert admin.client.post(path, data=whole).status_code == 403, path
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/json", ""):
            headers = {**ours, "Content-Type": kind}
            answer = admin.client.post(path, content="name=1001", headers=headers)
            assert answer.status_code == 415, path
        if path != "/login":
            assert admin.client.post(path, data=FORM, headers=ours).status_code == 403, path
    assert users() == ["Phones/1001", "Phones/1002"]


def test_to_ask_for_the_head_of_a_page_does_nothing(
    admin: Web, stranger: Web, log: list[Record]
) -> None:
    """A browser sends HEAD for any site, without saying whose; it is no form, and no guess."""
    log.clear()
    for method, path in pages(admin.console):
        if method == "HEAD" and path != "/live":
            answer = admin.client.request(method, path)
            expected = 303 if path in ("/login", "/user") else 200
            assert answer.status_code == expected, path
            assert answer.status_code == admin.client.get(path).status_code
    for _ in range(30):
        assert stranger.client.request("HEAD", "/login").status_code == 200
    assert log == []
    assert stranger.log_in() == 303


def test_token_to_look_changes_nothing_by_any_route(
    console: Console, looking: Program, users: Callable[[], list[str]], log: list[Record]
) -> None:
    for method, path in calls(console):
        if method not in ("GET", "HEAD") and (method, path) not in API_LOOK_MAY_SEND:
            answer = looking.call(method, path, json={"enabled": False})
            assert answer.status_code == 403, (method, path)
    assert users() == ["Phones/1001", "Phones/1002"]
    assert log == []


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PUT", "DELETE", "PATCH", "CONNECT", "X"])
def test_method_that_no_page_has_is_refused(admin: Web, method: str) -> None:
    for _, path in pages(admin.console):
        assert admin.client.request(method, path).status_code == 404
