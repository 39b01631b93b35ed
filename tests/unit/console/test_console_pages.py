"""The pages of the console, as a browser gets them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from console_web import CONFIG, Web

from sbcauth.console.console import Console
from sbcauth.console.masking import Masked
from sbcauth.console.pictures import by_group, hour
from sbcauth.console.watch import Counts, Minute
from sbcauth.console.words import commands, duration, kind, number, templates, visible, when
from sbcauth.policy.decision import Reason
from sbcauth.users.table import UserTable

REQUEST = """\
REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1
From: <sip:1001@example.com>;tag=1
To: <sip:1001@example.com>
Call-ID: 1
CSeq: 1 REGISTER

"""


def names(text: str) -> list[str]:
    """Return the users that a page lists."""
    return re.findall(r'<th scope="row"[^>]*><a [^>]*>([^<]*)</a>', text)


def test_without_a_server_the_page_says_how_to_start_one(admin: Web) -> None:
    admin.console.watch.look()
    text = admin.get("/")
    assert "No server answers." in text
    assert "sbcauth run" in text


def test_first_visit_says_how_to_make_an_account(console: Console, stranger: Web) -> None:
    assert "console-user add" not in stranger.get("/login")
    for name in ("admin", "eye"):
        console.accounts.remove(name)
    assert "console-user add" in stranger.get("/login")


def test_after_the_login_comes_the_page_that_was_asked_for(stranger: Web) -> None:
    where = stranger.client.get("/users?q=10&ip_group=Phones").headers["location"]
    page = stranger.get(where)
    assert 'name="next" value="/users?q=10&amp;ip_group=Phones"' in page


def test_users_are_found_by_how_their_names_begin(admin: Web) -> None:
    assert names(admin.get("/users")) == ["1001", "1002"]
    assert names(admin.get("/users?q=1002")) == ["1002"]
    assert "No user name begins so" in admin.get("/users?q=9")
    assert names(admin.get("/users?ip_group=Branch")) == []


def test_part_is_the_list_alone(admin: Web) -> None:
    part = admin.get("/users?q=1001", **{"X-Part": "1"})
    assert names(part) == ["1001"]
    assert "<html" not in part


def test_pages_of_users_follow_each_other(admin: Web, console: Console) -> None:
    config = console.config()
    with UserTable(config.database, config.ha1_key_file) as table:
        for number in range(2000, 2070):
            table.add("Branch", str(number), "example.com", "secret")
    found, address = [], "/users"
    while address:
        text = admin.get(address)
        found += names(text)
        following = re.search(r'rel="next" href="([^"]*)"', text)
        address = following[1].replace("&amp;", "&") if following else ""
    assert found == [*map(str, range(2000, 2070)), "1001", "1002"]


def test_user_is_added_with_the_password_that_is_given(
    admin: Web, users: Callable[[], list[str]]
) -> None:
    status, text = admin.post("/users/add", name="1003", ip_group="Phones", password="my own one")
    assert (status, "my own one" in text) == (200, False)
    assert "Phones/1003" in users()


def test_user_who_is_there_already_is_not_added(admin: Web) -> None:
    status, text = admin.post("/users/add", name="1001", ip_group="Phones")
    assert status == 422
    assert "exists already" in text


def test_user_is_moved_and_removed(admin: Web, users: Callable[[], list[str]]) -> None:
    assert admin.post("/user/move", name="1001", ip_group="Phones", to="Branch")[0] == 303
    assert users() == ["Branch/1001", "Phones/1002"]
    assert admin.post("/user/remove", name="1001", again="1002")[0] == 422
    assert admin.post("/user/remove", name="1001", again="1001")[0] == 303
    assert users() == ["Phones/1002"]


def test_user_is_disabled_and_enabled(admin: Web) -> None:
    admin.post("/user/disable", name="1001")
    assert names(admin.get("/users?state=disabled")) == ["1001"]
    admin.post("/user/enable", name="1001")
    assert names(admin.get("/users?state=disabled")) == []


def test_password_that_is_made_is_shown(admin: Web) -> None:
    status, text = admin.post("/user/password", name="1001")
    assert status == 200
    assert "shown this once" in text


def test_numbers_of_a_user_are_set(admin: Web) -> None:
    assert admin.post("/user/identities", name="1001", identities="+4930123* 777")[0] == 303
    assert "+4930123* 777" in admin.get("/user?name=1001")
    assert admin.post("/user/identities", name="1001", identities="*")[0] == 422


def test_what_a_user_cannot_have_done_is_not_there(admin: Web) -> None:
    assert admin.post("/user/nonsense", name="1001")[0] == 404


def test_user_that_is_not_there_may_be_added(admin: Web) -> None:
    answer = admin.client.get("/user?name=4711")
    assert answer.status_code == 404
    assert 'href="/users/add?name=4711"' in answer.text


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("192.0.2.7", "Phones"),
        ("tls:198.51.100.1:5061", "Branch"),
        ("198.51.100.1", "no IP Group"),
        ("203.0.113.5", "Carrier"),
        ("[2001:db8::1]:5060", "no IP Group"),
        ("nonsense", "is no address"),
    ],
)
def test_box_tells_whose_an_address_is(admin: Web, address: str, said: str) -> None:
    text = admin.client.get("/ip-groups", params={"address": address}).text
    assert said in text.partition('role="status"')[2].partition("</div>")[0]


def test_classification_is_shown_in_its_order(admin: Web) -> None:
    text = admin.get("/ip-groups").partition('class="order"')[2].partition("</ol>")[0]
    found = re.findall(r"<code>([0-9./]+)</code>", text)
    assert found == ["203.0.113.5/32", "198.51.100.0/24", "192.0.2.0/24"]


def test_request_is_explained_step_by_step(admin: Web) -> None:
    _, text = admin.post("/explain", request=REQUEST)
    assert "192.0.2.7 is of the IP Group Phones" in text
    assert "no credentials for our realm: a challenge is sent" in text
    _, text = admin.post("/explain", request=REQUEST, source="10.0.0.1")
    assert "no IP Group takes requests from there" in text
    _, text = admin.post("/explain", request="hello")
    assert "no request line" in text
    _, text = admin.post("/explain", request=REQUEST, source="hello")
    assert "no IP address" in text


def test_mistake_is_shown_at_its_line_while_one_types(admin: Web) -> None:
    status, text = admin.post(
        "/configuration/check", text=CONFIG.replace("type: user\n", "type: usr\n", 1)
    )
    assert status == 200
    assert 'data-line="5"' in text
    assert "is not one of user, server" in text


def test_configuration_is_saved_with_its_secrets(admin: Web, console: Console) -> None:
    page = admin.get("/configuration")
    digest = re.search(r'name="digest" value="(\w+)"', page)
    assert digest
    text = Masked(CONFIG).shown.replace("192.0.2.0/24", "192.0.2.0/25")
    status, shown = admin.post("/configuration/save", text=text, digest=digest[1])
    assert (status, "Saved." in shown) == (200, True)
    assert console.file.read_text() == CONFIG.replace("192.0.2.0/24", "192.0.2.0/25")
    status, shown = admin.post("/configuration/save", text=text, digest=digest[1])
    assert status == 409


def test_configuration_with_a_mistake_is_not_saved(admin: Web, console: Console) -> None:
    digest = re.search(r'name="digest" value="(\w+)"', admin.get("/configuration"))
    assert digest
    _, shown = admin.post(
        "/configuration/save", text=CONFIG.replace("realm", "reaml"), digest=digest[1]
    )
    assert "Not saved: it has a mistake." in shown
    assert console.file.read_text() == CONFIG


def test_reload_without_a_server_says_so(admin: Web) -> None:
    _, text = admin.post("/configuration/reload")
    assert "Not reloaded" in text


def test_broken_configuration_is_shown_with_its_mistakes_everywhere(
    admin: Web, console: Console
) -> None:
    console.file.write_text(CONFIG.replace("realm:", "reaml:"))
    answer = admin.client.get("/users")
    assert answer.status_code == 503
    assert "reaml" in answer.text
    assert "1 mistake" in admin.get("/configuration") or "mistakes" in admin.get("/configuration")


def test_picture_of_an_hour_has_a_bar_for_each_minute_and_kind() -> None:
    counts = Counts({("Phones", "accepted"): 6, ("Phones", "locked-out"): 4})
    picture = hour([Minute(0, Counts()), Minute(60, counts)])
    assert [(bar.kind, bar.height) for bar in picture.bars] == [("in", 96), ("refused", 64)]
    assert sum(bar.height for bar in picture.bars) == picture.height
    assert picture.top == 10
    assert hour([]).bars == []


def test_ip_groups_are_shown_by_how_busy_they_are() -> None:
    groups = by_group(Counts({("A", "accepted"): 1, ("B", "challenged"): 3, ("B", "accepted"): 1}))
    assert [(group.name, group.times) for group in groups] == [("B", 4), ("A", 1)]
    assert [(part.reason, part.x, part.width) for part in groups[0].parts] == [
        ("accepted", 0, 25),
        ("challenged", 25, 75),
    ]


def test_every_reason_is_of_one_kind() -> None:
    kinds = {reason: kind(reason) for reason in Reason}
    assert {*kinds.values()} == {"in", "asked", "passed", "refused"}
    assert kinds[Reason.ACCEPTED] == "in"
    assert kinds[Reason.WRONG_CREDENTIALS] == kinds[Reason.UNCLASSIFIED] == "refused"
    assert kinds[Reason.PASS_THROUGH] == "passed"


def test_words() -> None:
    assert duration(59) == "59 seconds"
    assert duration(3 * 3600) == "3 hours"
    assert duration(90_000) == "1 day"
    assert visible("a\u202eb") == "a\\u202eb"
    assert visible(7) == 7
    assert templates().from_string("{{ 4739 | number }}").render() == "4\u202f739"
    assert number(0.25) == "0.2"
    assert len(visible("x" * 1000)) == 300
    assert "<time" in when(0)
    assert when("<b>") == "&lt;b&gt;"
    assert commands("do `sbcauth user add <b>`.") == (
        'do <a href="/users/add?name=%3Cb%3E">Add the user &lt;b&gt;</a>.'
    )
    assert commands("<i>No classification") == (
        '&lt;i&gt;No <a href="/ip-groups">classification</a>'
    )
    assert commands("do `sbcauth user add <b>`.", may_change=False) == (
        "do <code>sbcauth user add &lt;b&gt;</code>."
    )


def test_log_file_is_read_where_outcomes_are_written_to_one(
    admin: Web, console: Console, tmp_path: Path
) -> None:
    console.file.write_text(f"{CONFIG}log_to: {tmp_path}/outcomes.log\n")
    (tmp_path / "outcomes.log").write_text(
        "2026-01-01T00:00:00+0000 decision=reject status=403 reason=locked-out ip_group=Phones "
        "method=REGISTER source=192.0.2.9:5060/udp username=<b>1001 from=1001\n"
        "2026-01-01T00:00:01+0000 decision=pass reason=registered ip_group=Phones "
        "method=MESSAGE source=192.0.2.9:5060/udp username=1002 from=1002\n"
    )
    text = admin.get("/refusals")
    assert "192.0.2.9" in text
    assert "locked-out" in text
    assert "<b>1001" not in text
    assert "1002" not in text  # it was let through
    assert "Nothing has been refused" in admin.get("/refusals?source=10.0.0.0/8")
    assert "is no address or prefix" in admin.get("/refusals?source=hello")
