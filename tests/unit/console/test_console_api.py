"""The JSON API of the console: every answer is held to its OpenAPI document."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from console_api import ROOT, Program, assert_fits
from console_web import CONFIG
from jsonschema import Draft202012Validator
from repository import REPOSITORY
from starlette.routing import Route

from sbcauth.console.api.openapi import document
from sbcauth.console.api.operations import OPERATIONS
from sbcauth.console.api.routes import routes
from sbcauth.console.api.shapes import shape
from sbcauth.console.console import Console
from sbcauth.digest.ha1s import HA1s
from sbcauth.monitoring.plain import plain
from sbcauth.monitoring.registrations import Registration, shown_registration
from sbcauth.monitoring.why import Outcome
from sbcauth.policy.classification import IPGroups
from sbcauth.users.table import UserTable

REQUEST = """\
REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1
From: <sip:1001@example.com>;tag=1
To: <sip:1001@example.com>
Call-ID: 1
CSeq: 1 REGISTER

"""


def has_password(console: Console, name: str, password: str, ip_group: str = "Phones") -> bool:
    """Tell whether User Info has this password for a user."""
    config = console.config()
    with UserTable(config.database, config.ha1_key_file) as table:
        user = table.opened(table.find(name, ip_group))
    return user.ha1s == HA1s.of_password(name, user.realm, password)


def test_document_describes_every_route_and_no_other(console: Console, looking: Program) -> None:
    found = looking.get("/openapi.json")
    assert found == document()
    described = {
        (method.upper(), path) for path, methods in found["paths"].items() for method in methods
    }
    served = {
        (method, route.path.removeprefix(ROOT).replace(":path", ""))
        for route in routes(console)
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert served - described == {("GET", "/openapi.json")}
    assert described <= served
    assert found["openapi"] == "3.1.0"
    assert found["servers"] == [{"url": ROOT}]


def test_document_is_whole() -> None:
    """Its schemas are valid, every reference leads somewhere, and every operation has words."""
    found = document()
    schemas = found["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    references = re.findall(r"'\$ref': '([^']*)'", str(found))
    assert {each.removeprefix("#/components/schemas/") for each in references} <= schemas.keys()
    operations = [each for methods in found["paths"].values() for each in methods.values()]
    names = [each["operationId"] for each in operations]
    assert len(set(names)) == len(names) == len(OPERATIONS)
    for each in operations:
        assert each["summary"].endswith(".")
        assert "default" in each["responses"]
        for parameter in each["parameters"]:
            Draft202012Validator.check_schema(parameter["schema"])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_operation_is_documented(operation: Any) -> None:
    text = (REPOSITORY / "docs" / "console.md").read_text("utf-8")
    assert f"| `{operation.method} {operation.path}` |" in text


def test_users_are_found_page_by_page(looking: Program, console: Console) -> None:
    config = console.config()
    with UserTable(config.database, config.ha1_key_file) as table:
        for number in range(2000, 2070):
            table.add("Branch", str(number), "example.com", "secret")
    found, address = [], "/users?limit=30"
    while address:
        page = looking.get(address.removeprefix(ROOT))
        found += [each["username"] for each in page["users"]]
        address = page["next"] or ""
    assert found == [*map(str, range(2000, 2070)), "1001", "1002"]
    page = looking.get("/users", q="20", ip_group="Branch", limit=5)
    assert [each["username"] for each in page["users"]] == [f"200{n}" for n in range(5)]
    following = looking.get(page["next"].removeprefix(ROOT))
    assert [each["username"] for each in following["users"]] == [f"200{n}" for n in range(5, 10)]


def test_user_who_is_put_is_added_once(changing: Program, console: Console) -> None:
    body = {"password": "the secret of 1003", "identities": ["+4930123*"], "local_user": "3003"}
    first, second = (
        changing.call("PUT", "/users/1003?ip_group=Phones", json=body) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (201, 200)
    user = first.json()["user"]
    assert (user["local_user"], user["identities"]) == ("3003", ["+4930123*"])
    assert (user["realm"], user["enabled"]) == ("example.com", True)
    again = second.json()["user"]
    assert {**again, "updated_at": ""} == {**user, "updated_at": ""}
    assert first.json()["password"] is second.json()["password"] is None
    assert has_password(console, "1003", "the secret of 1003")


def test_password_is_made_where_none_is_given_and_shown_once(
    changing: Program, console: Console
) -> None:
    first = changing.call("PUT", "/users/1003?ip_group=Phones").json()["password"]
    assert len(first) == 20
    assert has_password(console, "1003", first)
    assert changing.call("PUT", "/users/1003?ip_group=Phones").json()["password"] is None
    assert has_password(console, "1003", first)
    made = changing.call("PATCH", "/users/1003", json={"generate": True}).json()["password"]
    assert has_password(console, "1003", made)
    assert made not in str(changing.get("/users/1003"))


def test_what_is_not_given_stays_as_it_is(changing: Program, console: Console) -> None:
    body = {"password": "the secret of 1003", "identities": ["777"], "enabled": False}
    changing.call("PUT", "/users/1003?ip_group=Phones", json=body)
    user = changing.call("PUT", "/users/1003?ip_group=Phones", json={}).json()["user"]
    assert (user["identities"], user["enabled"]) == (["777"], False)
    assert has_password(console, "1003", "the secret of 1003")
    changing.call("PUT", "/users/1003?ip_group=Phones", json={"identities": [], "enabled": True})
    user = changing.get("/users/1003")
    assert (user["identities"], user["enabled"]) == ([], True)


def test_user_is_changed_moved_and_removed(
    changing: Program, users: Callable[[], list[str]], console: Console
) -> None:
    body = {"password": "another secret", "enabled": False, "ip_group": "Branch"}
    answer = changing.call("PATCH", "/users/1001", json=body)
    assert answer.status_code == 200
    assert answer.json()["user"]["enabled"] is False
    assert users() == ["Branch/1001", "Phones/1002"]
    assert has_password(console, "1001", "another secret", "Branch")
    assert changing.get("/users", disabled=True)["users"][0]["username"] == "1001"
    assert changing.call("DELETE", "/users/1001").status_code == 204
    assert users() == ["Phones/1002"]
    assert changing.call("DELETE", "/users/1001").status_code == 404


def test_change_that_cannot_be_whole_changes_nothing(changing: Program) -> None:
    body = {"enabled": False, "ip_group": "Carrier"}
    answer = changing.call("PATCH", "/users/1001", json=body)
    assert answer.status_code == 422
    assert "type server" in answer.json()["detail"]
    body = {"enabled": False, "identities": ["1002"]}
    assert changing.call("PATCH", "/users/1001", json=body).status_code == 422
    assert changing.get("/users/1001")["enabled"] is True
    assert changing.call("PUT", "/users/1003?ip_group=Phones", json=body).status_code == 422
    assert changing.call("GET", "/users/1003").status_code == 404


def test_user_of_several_has_to_be_said_which(changing: Program) -> None:
    answer = changing.call("PUT", "/users/1003")
    assert answer.status_code == 422
    assert "Phones, Branch" in answer.json()["detail"]
    assert changing.call("PUT", "/users/1003?ip_group=Fones").status_code == 422
    assert changing.call("PUT", "/users/1001?ip_group=Branch").status_code == 201
    answer = changing.call("GET", "/users/1001")
    assert answer.status_code == 409
    assert changing.get("/users/1001", ip_group="Branch")["ip_group"] == "Branch"


def test_user_who_is_there_for_another_address_is_not_put(changing: Program) -> None:
    body = {"local_user": "3003"}
    answer = changing.call("PUT", "/users/1001?ip_group=Phones", json=body)
    assert answer.status_code == 409
    body = {"generate": True, "password": "x"}  # type: ignore[dict-item]
    assert changing.call("PATCH", "/users/1001", json=body).status_code == 422


@pytest.mark.parametrize("name", ["a/b", "a%b", "ä", "?", "1001@example.com", "<script>"])
def test_user_may_have_any_name(changing: Program, name: str) -> None:
    path = "/users/" + "".join(f"%{byte:02X}" for byte in name.encode())
    body = {"local_user": "3003"}
    assert changing.call("PUT", f"{path}?ip_group=Phones", json=body).status_code == 201
    assert changing.get(path)["username"] == name
    assert changing.call("DELETE", path).status_code == 204


def test_name_that_nobody_can_have_is_refused(changing: Program) -> None:
    for path in ("/users/a%00b", "/users/%0A", f"/users/{'x' * 300}"):
        assert changing.call("GET", path).status_code == 422


def test_why_says_what_is_known_without_a_server(looking: Program) -> None:
    found = looking.get("/why/1001", ip_group="Phones")
    assert found["users"][0]["username"] == "1001"
    assert found["lockouts"] is None
    assert looking.get("/why/nobody")["users"] == []


def test_refusals_are_those_of_the_log(looking: Program, console: Console) -> None:
    log = console.file.with_name("sbcauth.log")
    console.file.write_text(f"{CONFIG}log_to: {log}\n")
    line = (
        "2026-01-01T00:00:0{}Z decision=reject status=403 reason=unknown-user ip_group=Phones "
        'method=REGISTER source=192.0.2.{}:5060/udp username="<b>{}" from=1\n'
    )
    log.write_text("".join(line.format(n, n, n) for n in range(1, 5)))
    found = looking.get("/refusals", limit=2)
    assert [each["username"] for each in found["outcomes"]] == ['"<b>3"', '"<b>4"']
    assert found["advice"]
    found = looking.get("/refusals", source="192.0.2.1", reason="unknown-user", ip_group="Phones")
    assert len(found["outcomes"]) == 1
    for wrong in ("source=x", "reason=x"):
        assert looking.call("GET", f"/refusals?{wrong}").status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/status"), ("GET", "/registered"), ("GET", "/lockouts"), ("POST", "/reload"),
     ("DELETE", "/lockouts?username=1001"), ("DELETE", "/registered/1001")],
)  # fmt: skip
def test_without_a_server_it_says_so(changing: Program, method: str, path: str) -> None:
    answer = changing.call(method, path)
    assert answer.status_code == 503
    assert "no.sock" in answer.json()["detail"]
    assert answer.headers["retry-after"]


def test_lockouts_of_everybody_are_not_lifted_by_mistake(changing: Program) -> None:
    assert changing.call("DELETE", "/lockouts").status_code == 422


def test_ip_groups_are_told_as_config_show_does(looking: Program) -> None:
    found = looking.get("/ip-groups")
    assert [each["name"] for each in found["ip_groups"]] == ["Phones", "Branch", "Carrier"]
    assert found["ip_groups"][2]["password_as_server"] == "********"
    page = looking.get("/ip-groups", limit=1, skip=1)
    assert ([each["name"] for each in page["ip_groups"]], page["total"]) == (["Branch"], 3)


def test_classification_is_told_in_its_order(looking: Program, console: Console) -> None:
    found = looking.get("/classification")
    order = IPGroups(console.config().ip_groups).in_order()
    assert [each["network"] for each in found["rules"]] == [each.network for each in order]
    found = looking.get("/classification", address="tls:198.51.100.7:5061")
    assert [(each["ip_group"], each["transport"]) for each in found["rules"]] == [("Branch", "tls")]
    assert looking.get("/classification", address="203.0.113.9")["rules"] == []
    assert looking.call("GET", "/classification?address=x").status_code == 422


def test_request_is_explained(looking: Program) -> None:
    found = looking.call("POST", "/explain", json={"request": REQUEST}).json()
    assert found["reason"] == "challenged"
    assert found["answer"].startswith("401")
    body = {"request": REQUEST, "source": "203.0.113.9"}
    assert looking.call("POST", "/explain", json=body).json()["reason"] == "unclassified"
    for wrong in ({"request": "x"}, {"request": REQUEST, "source": "x"}, {}):
        assert looking.call("POST", "/explain", json=wrong).status_code == 422


def test_configuration_is_checked(looking: Program, console: Console) -> None:
    found = looking.get("/configuration/check")
    assert (found["ip_groups"], found["mistakes"]) == (["Phones", "Branch", "Carrier"], [])
    text = CONFIG.replace("type: user", "type: usr", 1)
    found = looking.call("POST", "/configuration/check", json={"text": text}).json()
    assert found["mistakes"][0]["line"] == 5
    console.file.write_text(text)
    assert looking.get("/configuration/check")["mistakes"][0]["line"] == 5
    answer = looking.call("GET", "/users")
    assert answer.status_code == 503
    assert "is not one of user, server" in answer.json()["errors"][0]["message"]


def test_what_is_not_there_is_a_problem(looking: Program) -> None:
    assert looking.call("GET", "/nothing").status_code == 404
    answer = looking.call("DELETE", "/status")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


def test_hostile_text_is_plain_ascii(looking: Program, console: Console) -> None:
    config = console.config()
    with UserTable(config.database, config.ha1_key_file) as table:
        table.add("Phones", "ü</script>", "example.com", "secret", "5005")
    answer = looking.call("GET", "/users")
    assert answer.text.isascii()
    assert "ü</script>" in [each["username"] for each in answer.json()["users"]]


def test_every_field_of_ours_is_told() -> None:
    registration = Registration("a", "b", "", "c", "d", "udp", "", 1, 2)
    shown = plain(shown_registration(registration))
    assert_fits("Registration", shown)
    assert (shown["local_user"], shown["since"]) == ("a", "1970-01-01T00:00:01Z")
    assert set(shape(Outcome).model_fields) == set(Outcome._fields)
