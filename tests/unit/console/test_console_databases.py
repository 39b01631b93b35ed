"""Users of the console and its API, in SQLite and in a real PostgreSQL."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from console_api import ROOT, Program
from console_web import CHEAP, CONFIG, PASSWORD, Clock, Web
from databases import Kind, kind, postgresql, postgresql_server

from sbcauth.console.accounts import Role
from sbcauth.console.console import Console
from sbcauth.digest.ha1s import HA1s
from sbcauth.monitoring.log_line import Record
from sbcauth.users.table import UserTable

__all__ = ["kind", "postgresql", "postgresql_server"]  # fixtures
ODD = ["a/b", "a%b_c", "\u00e4\u00f6", "'; DROP TABLE user_info; --", "\U0001f600", "x" * 255]

REQUEST = """\
REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1
From: <sip:1001@example.com>;tag=1
To: <sip:1001@example.com>
Call-ID: 1
CSeq: 1 REGISTER
Authorization: Digest username="{}", realm="example.com", nonce="x", uri="sip:example.com",
 response="00000000000000000000000000000000", algorithm=MD5

"""


@pytest.fixture
def console(kind: Kind, tmp_path: Path, log: list[Record], clock: Clock) -> Console:
    """Return a console of each kind of database, with two accounts and two users."""
    file = tmp_path / "sbcauth.yaml"
    file.write_text(CONFIG.replace("sqlite:///users.db", kind.url))
    console = Console(file, {}, clock, log.append, tmp_path / "no.sock", hasher=CHEAP)
    console.accounts.add("admin", Role.CHANGE, PASSWORD)
    console.accounts.add("eye", Role.LOOK, PASSWORD)
    config = console.config()
    with UserTable(config.database, config.ha1_key_file) as table:
        for name in ("1001", "1002"):
            table.add("Phones", name, "example.com", "secret")
    return console


def has_password(console: Console, name: str, password: str, ip_group: str = "Phones") -> bool:
    config = console.config()
    with UserTable(config.database, config.ha1_key_file) as table:
        user = table.opened(table.find(name, ip_group))
    return user.ha1s == HA1s.of_password(name, user.realm, password)


def names(text: str) -> list[str]:
    return re.findall(r'<th scope="row"[^>]*><a [^>]*>([^<]*)</a>', text)


def test_user_is_added_changed_and_removed_by_the_pages(
    admin: Web, console: Console, users: Callable[[], list[str]]
) -> None:
    status, text = admin.post("/users/add", name="1003", ip_group="Phones", identities="+4930123*")
    made = text.partition('id="password">')[2].partition("<")[0]
    assert status == 200
    assert has_password(console, "1003", made)
    assert admin.post("/users/add", name="1003", ip_group="Phones")[0] == 422
    assert names(admin.get("/users?q=1003")) == ["1003"]
    assert admin.post("/user/disable", name="1003")[0] == 303
    assert names(admin.get("/users?state=disabled")) == ["1003"]
    assert admin.post("/user/enable", name="1003")[0] == 303
    assert admin.post("/user/password", name="1003", password="another secret")[0] == 303
    assert has_password(console, "1003", "another secret")
    assert admin.post("/user/identities", name="1003", identities="777")[0] == 303
    assert admin.post("/user/move", name="1003", to="Branch")[0] == 303
    assert has_password(console, "1003", "another secret", "Branch")
    assert "777" in admin.get("/user?name=1003")
    assert admin.post("/user/remove", name="1003", again="1003")[0] == 303
    assert users() == ["Phones/1001", "Phones/1002"]


def test_user_is_added_changed_and_removed_by_the_api(
    changing: Program, console: Console, users: Callable[[], list[str]]
) -> None:
    body = {"password": "a long one", "identities": ["+4930123*"], "enabled": False}
    first, second = (
        changing.call("PUT", "/users/1003?ip_group=Phones", json=body) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (201, 200)
    assert has_password(console, "1003", "a long one")
    assert [each["username"] for each in changing.get("/users", disabled=True)["users"]] == ["1003"]
    made = changing.call("PATCH", "/users/1003", json={"generate": True, "enabled": True}).json()
    assert has_password(console, "1003", made["password"])
    moved = changing.call("PATCH", "/users/1003", json={"ip_group": "Branch"}).json()["user"]
    assert (moved["ip_group"], moved["identities"]) == ("Branch", ["+4930123*"])
    assert has_password(console, "1003", made["password"], "Branch")
    body = {"enabled": False, "identities": ["1002"]}  # which another has
    assert changing.call("PATCH", "/users/1001", json=body).status_code == 422
    assert changing.get("/users/1001")["enabled"] is True  # all or nothing
    assert changing.call("DELETE", "/users/1003").status_code == 204
    assert changing.call("DELETE", "/users/1003").status_code == 404
    assert users() == ["Phones/1001", "Phones/1002"]


@pytest.mark.parametrize("name", ODD)
def test_user_of_an_odd_name_is_found(changing: Program, admin: Web, name: str) -> None:
    path = "/users/" + "".join(f"%{byte:02X}" for byte in name.encode())
    body = {"local_user": "3003"}
    assert changing.call("PUT", f"{path}?ip_group=Phones", json=body).status_code == 201
    assert changing.get(path)["username"] == name
    assert [each["username"] for each in changing.get("/users", q=name)["users"]] == [name]
    answer = admin.client.get("/users", params={"q": name})
    assert len(names(answer.text)) == 1
    assert changing.call("DELETE", path).status_code == 204


@pytest.mark.parametrize("text", ["\0", "10\0", "\ufffd", "x" * 4000, "%00", "\u202e", "'", "\\"])
def test_any_text_may_be_searched_for(admin: Web, looking: Program, text: str) -> None:
    for where in ("q", "ip_group", "after", "after_group", "after_realm"):
        assert admin.client.get("/users", params={where: text}).status_code == 200
        answer = admin.client.get("/users", params={"after_group": "Phones", where: text})
        assert answer.status_code == 200
    assert admin.client.get("/user", params={"name": text}).status_code in (200, 404)
    refusals = [
        admin.client.get("/refusals", params={"user": user}).status_code for user in (text, "1001")
    ]
    assert refusals[0] == refusals[1]
    for action in ("disable", "password", "move", "remove"):
        assert admin.post(f"/user/{action}", name=text, again=text)[0] in (400, 404, 422)
    request = REQUEST.format(text).replace("\n", "\r\n")
    assert admin.post("/explain", request=request)[0] in (200, 400)
    answer = looking.call("POST", "/explain", json={"request": request})
    assert answer.status_code in (200, 422)
    for where in ("q", "ip_group", "after_ip_group", "after_username", "after_realm"):
        answer = looking.call("GET", "/users", params={where: text})
        assert answer.status_code in (200, 422)
    for path, status in (("/users/1001", 404), ("/why/1001", 200)):
        answer = looking.call("GET", path, params={"ip_group": text})
        assert answer.status_code in (status, 422)


def all_of(looking: Program, address: str, between: Callable[[int], Any]) -> list[str]:
    """Return the users on all pages, while something is done between one and the next."""
    found: list[str] = []
    number = 0
    while address:
        page = looking.get(address.removeprefix(ROOT))
        assert len(page["users"]) <= 10
        found += [each["username"] for each in page["users"]]
        address = page["next"] or ""
        between(number)
        number += 1
    return found


def test_pages_go_on_where_they_were_whatever_changes_meanwhile(
    changing: Program, console: Console
) -> None:
    """Nobody who is there all the time is left out, or told twice."""
    config = console.config()
    with UserTable(config.database, config.ha1_key_file) as table:
        for number in range(2000, 2050):
            table.add("Branch", str(number), "example.com", "secret")

    def change(number: int) -> None:
        if number == 0:
            changing.call("DELETE", "/users/2009?ip_group=Branch")  # the last that was told
            changing.call("DELETE", "/users/2010?ip_group=Branch")  # the next
            changing.call("PUT", "/users/2000a?ip_group=Branch")  # behind us
            changing.call("PUT", "/users/2015a?ip_group=Branch")  # before us
            changing.call("PATCH", "/users/2020?ip_group=Branch", json={"ip_group": "Phones"})

    found = all_of(changing, "/users?limit=10", change)
    stayed = [str(n) for n in range(2000, 2050) if n not in (2010, 2020)]
    expected = [*sorted([*stayed, "2015a"]), "1001", "1002", "2020"]
    assert found == expected
    found = all_of(changing, "/users?limit=10&q=20&ip_group=Branch", lambda _: None)
    assert found == sorted(["2000a", "2015a", *(n for n in stayed if n != "2009")])


def test_database_that_is_away_is_said_and_comes_back(
    kind: Kind, admin: Web, looking: Program, console: Console
) -> None:
    text = console.file.read_text()
    console.file.write_text(text.replace(kind.url, url_of_nothing(kind)))
    answer = admin.client.get("/users")
    assert (answer.status_code, "Not done" in answer.text) == (503, True)
    assert "Traceback" not in answer.text
    assert looking.call("GET", "/users").status_code == 503
    console.file.write_text(text)
    assert names(admin.get("/users")) == ["1001", "1002"]
    assert len(looking.get("/users")["users"]) == 2


def url_of_nothing(kind: Kind) -> str:
    """Return the URL of a database that cannot be opened."""
    if kind.server:
        return kind.url.replace(f":{kind.server.port}/", ":1/")
    return "sqlite:////dev/null/users.db"
