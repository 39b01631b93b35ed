"""UserTable: what the commands do to User Info."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from databases import Kind

from sbcauth.digest.ha1s import HA1s
from sbcauth.exceptions import NoSuchUser, Unavailable, UserExists, UserInfoError
from sbcauth.policy.ip_groups import AuthenticationMode, IPGroup, IPGroupType
from sbcauth.users.membership import ip_group_named, only_ip_group_of_users, orphans
from sbcauth.users.table import UserTable

REALM = "example.com"
PHONES = IPGroup(
    name="Phones",
    type=IPGroupType.USER,
    realm=REALM,
    authentication_mode=AuthenticationMode.SBC_AS_SERVER,
)
DESK = IPGroup(name="Desk", type=IPGroupType.USER, realm=REALM)
CARRIER = IPGroup(name="Carrier", type=IPGroupType.SERVER, realm=REALM)


@pytest.fixture
def table(kind: Kind) -> Iterator[UserTable]:
    with UserTable(kind.url, kind.key_file) as table:
        yield table


@pytest.fixture
def query(kind: Kind) -> Callable[..., list[tuple[object, ...]]]:
    """Ask the database what is in it, by another connection."""
    return kind.query


def test_added_user_has_an_ha1_for_every_algorithm_and_no_password_is_kept(
    table: UserTable, kind: Kind
) -> None:
    password = "correct horse battery staple"
    row = table.add("Phones", "1001", REALM, password)
    assert (row.ip_group, row.local_user, row.username, row.realm) == (
        *("Phones", "1001", "1001"),
        REALM,
    )
    assert table.algorithms(table.find("1001")) == ["MD5", "SHA-256", "SHA-512-256"]
    assert table.opened(table.find("1001")).ha1s == HA1s.of_password("1001", REALM, password)
    for name in ("user_info", "ha1", "identity", "sealing"):
        assert password not in str(kind.query(f"SELECT * FROM {name}"))  # noqa: S608
    for path in kind.key_file.parent.iterdir():
        assert password.encode() not in path.read_bytes()


def test_ha1_is_of_user_name_realm_and_password() -> None:
    """RFC 7616, 3.9.1: Mufasa's."""
    of_mufasa = HA1s.of_password("Mufasa", "http-auth@example.org", "Circle of Life")
    assert of_mufasa.get("MD5") == "3d78807defe7de2157e2b0b6573a855f"
    assert of_mufasa.get("SHA-256") == (
        "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232"
    )


@pytest.mark.parametrize(
    ("username", "local_user", "expected"),
    [("1001", None, "1001"), ("alice@example.com", None, "alice"), ("alice", "2001", "2001")],
)
def test_address_of_record_is_the_user_name_unless_given(
    username: str, local_user: str | None, expected: str, table: UserTable
) -> None:
    assert table.add("Phones", username, REALM, "secret", local_user).local_user == expected


def test_user_that_exists_is_not_added_again(table: UserTable) -> None:
    table.add("Phones", "1001", REALM, "secret")
    with pytest.raises(UserExists, match="1001 exists already in the IP Group Phones"):
        table.add("Phones", "1001", REALM, "other")
    assert table.opened(table.find("1001")).ha1s == HA1s.of_password("1001", REALM, "secret")
    table.add("Desk", "1001", REALM, "secret")
    table.add("Phones", "1001", "other.example", "secret")


@pytest.mark.parametrize("name", ["", "a\nb", "\0", "\x1b[31m", "x" * 256, "\udcff", "\u202e"])
@pytest.mark.parametrize("column", ["ip_group", "username", "realm", "local_user"])
def test_name_that_could_never_be_looked_up_is_refused(
    column: str, name: str, table: UserTable
) -> None:
    names = {"ip_group": "Phones", "username": "1001", "realm": REALM, "local_user": "1001"}
    if column == "local_user" and not name:
        names["username"], name = "@example.com", names["local_user"]
        names["local_user"] = ""
    else:
        names[column] = name
    with pytest.raises(UserInfoError, match=f"{column} .* is not a name") as caught:
        table.add(**names, password="secret")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
    assert list(table.all()) == []


def test_sql_in_a_name_is_a_name(table: UserTable) -> None:
    name = "'; DROP TABLE user_info; --"
    table.add("Phones", name, REALM, "secret", "1001")
    assert table.find(name).username == name


def test_user_is_found_where_only_one_is_meant(table: UserTable) -> None:
    for group, realm in (("Phones", REALM), ("Desk", REALM), ("Desk", "other.example")):
        table.add(group, "1001", realm, "secret")
    assert table.find("1001", "Phones").ip_group == "Phones"
    assert table.find("1001", "Desk", REALM).realm == REALM
    with pytest.raises(NoSuchUser) as caught:
        table.find("1001")
    for way in ("--ip-group Phones --realm example.com", "--ip-group Desk --realm other.example"):
        assert way in str(caught.value)
    with pytest.raises(NoSuchUser, match="no user 1002; sbcauth user list"):
        table.find("1002")
    with pytest.raises(NoSuchUser, match="no user 1001 in the IP Group Carrier"):
        table.find("1001", "Carrier")


def test_users_are_listed_in_order(table: UserTable) -> None:
    for group, username in (("Phones", "b"), ("Desk", "c"), ("Phones", "a")):
        table.add(group, username, REALM, "secret")
    assert [(r.ip_group, r.username) for r in table.all()] == [
        *(("Desk", "c"), ("Phones", "a"), ("Phones", "b")),
    ]
    assert [row.username for row in table.all("Phones")] == ["a", "b"]


def test_change_renews_the_time_of_the_change_alone(
    table: UserTable, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    table.add("Phones", "1001", REALM, "secret")
    table.add("Phones", "1002", REALM, "secret")
    query("UPDATE user_info SET created_at = 'then', updated_at = 'then'")
    table.set_password(table.find("1001"), "changed")
    (changed,) = query("SELECT updated_at FROM user_info WHERE username = '1001'")[0]
    assert str(changed).endswith("Z")
    assert query("SELECT updated_at FROM user_info WHERE username = '1002'") == [("then",)]
    assert query("SELECT DISTINCT created_at FROM user_info") == [("then",)]


def test_new_password_replaces_every_ha1(table: UserTable) -> None:
    table.add("Phones", "1001", REALM, "secret")
    table.set_password(table.find("1001"), "changed")
    changed = table.opened(table.find("1001"))
    assert changed.ha1s == HA1s.of_password("1001", REALM, "changed")


def test_user_who_is_moved_keeps_the_password(table: UserTable) -> None:
    table.add("Phones", "1001", REALM, "before")
    table.set_password(table.find("1001"), "secret", memory=60)
    before = table.opened(table.find("1001"))
    table.move(table.find("1001"), "Desk")
    assert table.opened(table.find("1001")) == before._replace(ip_group="Desk")


def test_user_takes_every_ha1_along(
    table: UserTable, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    table.add("Phones", "1001", REALM, "secret")
    table.add("Phones", "1002", REALM, "secret")
    table.remove(table.find("1001"))
    assert query("SELECT DISTINCT ha1.user FROM ha1") == [(table.find("1002").id,)]
    table.clear()
    assert query("SELECT * FROM ha1") == []


def test_ha1_that_a_user_left_behind_is_nobodys(
    table: UserTable, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    """SQLite's own shell does not look at foreign keys."""
    table.add("Phones", "1001", REALM, "secret")
    query("DELETE FROM user_info")
    table.add("Phones", "1001", REALM, "another")
    assert table.opened(table.find("1001")).ha1s == HA1s.of_password("1001", REALM, "another")


def test_user_is_disabled_and_enabled(table: UserTable) -> None:
    table.add("Phones", "1001", REALM, "secret")
    for enabled in (False, False, True, True):
        table.set_enabled(table.find("1001"), enabled)
        assert bool(table.find("1001").enabled) is enabled


def test_removed_user_is_gone_and_another_is_not(table: UserTable) -> None:
    table.add("Phones", "1001", REALM, "secret")
    table.add("Desk", "1001", REALM, "secret")
    table.remove(table.find("1001", "Phones"))
    assert [row.ip_group for row in table.all()] == ["Desk"]


def test_change_of_a_user_that_is_gone_is_no_success(table: UserTable) -> None:
    table.add("Phones", "1001", REALM, "secret")
    row = table.find("1001")
    table.remove(row)
    with pytest.raises(NoSuchUser, match="has just been removed"):
        table.set_password(row, "changed")
    with pytest.raises(NoSuchUser, match="has just been removed"):
        table.set_enabled(row, True)


def test_transaction_is_kept_or_taken_back_as_a_whole(table: UserTable) -> None:
    table.add("Phones", "1001", REALM, "secret")
    with table.transaction(keep=False):
        table.clear()
        table.add("Phones", "1002", REALM, "secret")

    def fail() -> None:
        with table.transaction():
            table.clear()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [row.username for row in table.all()] == ["1001"]


def test_database_that_breaks_is_unavailable(table: UserTable, kind: Kind) -> None:
    kind.query(f"DROP TABLE user_info {'CASCADE' if kind.server else ''}")
    with pytest.raises(Unavailable, match=r"no such table|does not exist") as caught:
        list(table.all())
    assert "\n" not in str(caught.value)
    with pytest.raises(Unavailable, match=r"no such table|does not exist"):
        table.insert([])


# IP Groups


def test_ip_group_is_found_by_name_and_the_nearest_is_named() -> None:
    assert ip_group_named([PHONES, CARRIER], "Carrier") is CARRIER
    with pytest.raises(UserInfoError, match="there is no IP Group 'Fones'; did you mean 'Phones'"):
        ip_group_named([PHONES, CARRIER], "Fones")
    with pytest.raises(UserInfoError, match="'zzz'; there are: Phones, Carrier"):
        ip_group_named([PHONES, CARRIER], "zzz")


def test_only_ip_group_of_users_need_not_be_named() -> None:
    assert only_ip_group_of_users([CARRIER, PHONES]) is PHONES
    assert only_ip_group_of_users([PHONES, DESK]) is None
    assert only_ip_group_of_users([CARRIER]) is None


def test_user_that_the_configuration_no_longer_fits_is_a_stray(table: UserTable) -> None:
    table.add("Phones", "1001", REALM, "secret")
    table.add("Phones", "1002", "old.example", "secret")
    table.add("Gone", "1003", REALM, "secret")
    assert list(orphans(table, [PHONES])) == [
        "user 1003: there is no IP Group Gone",
        "user 1002: the password is bound to the realm old.example, but that of the IP Group "
        "Phones is example.com: remove the user and add it again",
    ]


def test_user_whose_ip_group_keeps_registrations_unasked_is_a_stray(table: UserTable) -> None:
    table.add("Phones", "1001", REALM, "secret")
    unasked = replace(PHONES, authentication_mode=AuthenticationMode.USER_AUTHENTICATES)
    (found,) = orphans(table, [unasked])
    assert found.startswith("user 1001: the IP Group Phones asks nobody")
    assert list(orphans(table, [replace(unasked, route_to="PBX")])) == []


# The numbers of a user


def test_identities_go_with_their_user_and_are_one_users(table: UserTable) -> None:
    first = table.add("Phones", "pbx", REALM, "secret", identities=["+4930*", "+49401", "+4930*"])
    assert table.identities(first) == ["+4930*", "+49401"]
    other = table.add("Phones", "other", REALM, "secret", identities=["+493012*"])
    for taken in ("+4930*", "+49401", "pbx"):
        with pytest.raises(UserInfoError, match=r"is the number of pbx already"):
            table.set_identities(other, [taken])
    assert table.identities(other) == ["+493012*"]
    table.remove(first)
    table.set_identities(other, ["+4930*", "+49401"])
    assert table.all_identities() == {("Phones", "other", REALM): ["+4930*", "+49401"]}
    table.clear()
    assert table.all_identities() == {}


def test_user_moves_with_its_identities_where_they_are_nobodys(table: UserTable) -> None:
    table.add("Desk", "desk", REALM, "secret", identities=["99"])
    taken = table.add("Phones", "a", REALM, "secret", identities=["99"])
    free = table.add("Phones", "b", REALM, "secret", identities=["98"])
    with pytest.raises(UserInfoError, match="99 is the number of desk already, in Desk"):
        table.move(taken, "Desk")
    table.move(free, "Desk")
    assert table.all_identities()["Desk", "b", REALM] == ["98"]
    assert table.all_identities()["Phones", "a", REALM] == ["99"]
