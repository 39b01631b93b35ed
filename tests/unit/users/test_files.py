"""Users in bulk: what files are read, what is said of a bad one, and what is written."""

import io
import re
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databases import Kind
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.digest.ha1s import HA1s
from sbcauth.exceptions import UserInfoError
from sbcauth.policy.ip_groups import IPGroup, IPGroupType
from sbcauth.users.files import BadUserFile, UserFile, export_users, import_users
from sbcauth.users.table import UserTable

REALM = "example.com"
PHONES = IPGroup(name="Phones", type=IPGroupType.USER, realm=REALM)
ITSP = IPGroup(name="ITSP", type=IPGroupType.SERVER, realm="itsp.example")
PBX = IPGroup(name="IP-PBX", type=IPGroupType.SERVER, realm=REALM)
IP_GROUPS = [PHONES, PBX, ITSP]
MD5 = "0123456789abcdef" * 2
SHA_256 = "0123456789abcdef" * 4

Import = Callable[..., dict[str, int]]


@pytest.fixture
def table(kind: Kind) -> Iterator[UserTable]:
    with UserTable(kind.url, kind.key_file) as table:
        yield table


@pytest.fixture
def imported(table: UserTable) -> Import:
    def import_text(
        text: str | bytes, default: IPGroup | None = PHONES, **how: bool
    ) -> dict[str, int]:
        content = text.encode() if isinstance(text, str) else text
        source = UserFile(io.BytesIO(content), "users.csv", IP_GROUPS, default)
        return dict(import_users(table, source, **how))

    return import_text


def mistakes(imported: Import, text: str | bytes, **how: object) -> list[str]:
    """Return what is said of a bad file, each mistake without the file's name."""
    with pytest.raises(BadUserFile) as caught:
        imported(text, **how)
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    return [line.removeprefix("users.csv:") for line in str(caught.value).splitlines()]


def usernames(table: UserTable) -> list[str]:
    return [row.username for row in table.all()]


# What is read


def test_our_file_is_read(imported: Import, table: UserTable) -> None:
    text = "local_user,username,password,ip_group\n2001,alice,secret,Phones\n,1001,other,ITSP\n"
    assert imported(text) == {"Phones": 1, "ITSP": 1}
    alice, other = table.opened(table.find("alice")), table.find("1001")
    assert (alice.local_user, alice.ip_group, alice.realm) == ("2001", "Phones", REALM)
    assert alice.ha1s == HA1s.of_password("alice", REALM, "secret")
    assert (other.local_user, other.realm) == ("1001", "itsp.example")
    assert bool(other.enabled) is True


def test_file_of_the_box_is_read_as_it_is(imported: Import, table: UserTable) -> None:
    text = "LocalUser,UserName,Password,IPGroupName\nJohn,johnd,2798,ITSP\nSue,suep,1234,IP-PBX\n"
    assert imported(text.replace("\n", "\r\n")) == {"ITSP": 1, "IP-PBX": 1}
    john = table.opened(table.find("johnd"))
    assert (john.local_user, john.ip_group) == ("John", "ITSP")
    assert john.ha1s == HA1s.of_password("johnd", "itsp.example", "2798")


def test_older_file_of_the_box_is_read_as_it_is(imported: Import, table: UserTable) -> None:
    text = (
        "[GW]\nFORMAT PBXExtensionNum,GlobalPhoneNum,DisplayName,UserName,Password\n4040,7,J,j,1\n"
        "[SBC]\n; users of the SBC\nFORMAT LocalUser,UserName,Password,IPGroupID\n\n"
        'John,johnd,27"98,2\nSue,suep,"1234,1\n'
    )
    assert imported(text) == {"ITSP": 1, "IP-PBX": 1}
    assert table.opened(table.find("johnd")).ha1s == HA1s.of_password(
        "johnd", "itsp.example", '27"98'
    )
    assert table.opened(table.find("suep")).ha1s == HA1s.of_password("suep", REALM, '"1234')


def test_ha1s_are_read_in_place_of_passwords(imported: Import, table: UserTable) -> None:
    imported(f"username,ha1_md5,ha1_sha256\n1001,{MD5.upper()},\n1002,,{SHA_256}\n")
    assert (
        table.opened(table.find("1001")).ha1s.get("MD5"),
        table.opened(table.find("1001")).ha1s.get("SHA-256"),
    ) == (MD5, None)
    assert (
        table.opened(table.find("1002")).ha1s.get("MD5"),
        table.opened(table.find("1002")).ha1s.get("SHA-256"),
    ) == (None, SHA_256)


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ('username,password\n1001,"a,b"', "a,b"),
        ('username,password\n1001,"say ""hi"""', 'say "hi"'),
        ("username,password\n1001, spaces \n", " spaces "),
        ("username;password\n1001;a,b\n", "a,b"),
        ("\ufeffusername,password\n1001,pässwörd\n", "pässwörd"),
        ("\n\nusername,password\n\n1001,x\n\n", "x"),
        ("PASSWORD,User_Name\nx,1001\n", "x"),
        ("localuser,password\n1001,x\n", "x"),
    ],
)
def test_file_is_read_however_it_is_written(
    text: str, password: str, imported: Import, table: UserTable
) -> None:
    assert imported(text) == {"Phones": 1}
    assert table.opened(table.find("1001")).ha1s == HA1s.of_password("1001", REALM, password)


@pytest.mark.parametrize(
    ("word", "enabled"),
    [("yes", True), ("No", False), ("TRUE", True), ("false", False), ("1", True), ("0", False)],
)
def test_user_may_be_imported_disabled(
    word: str, enabled: bool, imported: Import, table: UserTable
) -> None:
    imported(f"username,password,enabled\n1001,x,{word}\n")
    assert bool(table.find("1001").enabled) is enabled


def test_realm_may_be_given(imported: Import, table: UserTable) -> None:
    imported("username,password,realm\n1001,x,other.example\n1001,x,\n")
    assert {row.realm for row in table.all()} == {REALM, "other.example"}


# What is refused


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1001,x", "has 2 values for 3 columns"),
        ("1001,x,Phones,", "has 4 values for 3 columns"),
        ("1001,,Phones", "has neither a password nor an H(A1)"),
        (",x,Phones", "username '' is not a name of 1 to 255 bytes without control characters"),
        (
            "\t,x,Phones",
            r"username '\t' is not a name of 1 to 255 bytes",
        ),
        ("1001,x,Fones", "there is no IP Group 'Fones'; did you mean 'Phones'?"),
        ("1001,x,zzzz", "there is no IP Group 'zzzz'; there are: Phones, IP-PBX, ITSP"),
        ('1001,"x,Phones', "a quotation mark is open at the end of the line"),
        ('1001,"x" y,Phones', "no CSV: ',' expected after '\"'"),
        ("0000,x,Phones", "0000 exists already in the IP Group Phones, realm example.com"),
        (f"{'x' * 256},x,Phones", f"username '{'x' * 40}\\u2026' is not a name of 1 to 255 bytes"),
        (f"1001,{'x' * 9000},Phones", "the line is longer than 8192 bytes"),
    ],
)
def test_bad_row_is_named_by_its_line_and_nothing_is_done(
    row: str, said: str, imported: Import, table: UserTable
) -> None:
    text = f"username,password,ip_group\n0000,x,Phones\n\n{row}\n9999,x,Phones\n"
    (mistake,) = mistakes(imported, text)
    assert mistake.startswith(f"4: {said}")
    assert usernames(table) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "1: the first row must name the columns: "),
        (b"1001,secret,Phones\n", "1: there is no column '1001': local_user, username, "),
        (b"username,username\n", "1: a column is there twice"),
        (b"password,ip_group\nx,Phones\n", "1: the first row must name the columns: "),
        (b"username,password\n1001,f\xfcr\n", "2: is not UTF-8"),
        (b"u\0,password\n", "1: there is no column 'u\\x00'"),
        (b"[SBC]\nJohn,johnd,1,2\n", "2: comes before the line FORMAT"),
        (b"[SBC]\nFORMAT LocalUser,Password,IPGroupID\nJ,x,3\n", "3: '3' is no place of an IP Gr"),
        (b"[SBC]\nFORMAT LocalUser,Password,IPGroupID\nJ,x,-1\n", "3: '-1' is no place of an IP"),
        (b"username,enabled,password\n1001,maybe,x\n", "2: enabled is neither yes nor no"),
        (b"username,ha1_md5\n1001,abc\n", "2: ha1_md5 is not 32 hexadecimal digits"),
        (b"username,ha1_md5\n1001," + b"g" * 32 + b"\n", "2: ha1_md5 is not 32 hexadecimal dig"),
        (
            f"username,password,ha1_md5\n1001,x,{MD5}\n".encode(),
            "2: has a password and an H(A1): one is enough",
        ),
    ],
)
def test_bad_file_is_named(text: bytes, said: str, imported: Import, table: UserTable) -> None:
    (mistake,) = mistakes(imported, text)
    assert mistake.startswith(said)
    assert usernames(table) == []


def test_row_without_an_ip_group_needs_a_default(imported: Import) -> None:
    text = "username,password\n1001,x\n"
    assert mistakes(imported, text, default=None) == [
        "2: names no IP Group; --ip-group, or --realm REALM=IP_GROUP, is for such rows"
    ]


def test_all_bad_rows_are_named_in_order_up_to_a_limit(imported: Import, table: UserTable) -> None:
    table.add("Phones", "1001", REALM, "secret")
    text = "username,password\n1001,x\n1002,\n1003,x\n1003,x\n"
    assert mistakes(imported, text) == [
        "2: 1001 exists already in the IP Group Phones, realm example.com",
        "3: has neither a password nor an H(A1)",
        "5: 1003 exists already in the IP Group Phones, realm example.com",
    ]
    found = mistakes(imported, "username,password\n" + "1009,\n" * 3000)
    assert len(found) == 21
    assert found[-1].endswith(" 2980 more rows are wrong")
    assert usernames(table) == ["1001"]


def test_mistake_tells_no_password(imported: Import) -> None:
    secret = "hunter2-is-secret"
    for text in (
        f"username,password\n1001,{secret},x\n",
        f'username,password\n1001,"{secret}\n',
        f'username,password\n1001,"{secret}"x\n',
        f"username,password,enabled\n1001,{secret},x\n",
        f"username,password,ha1_md5\n1001,{secret},{secret}\n",
        f"username,ha1_md5\n1001,{secret}\n",
        f"[SBC]\n1001,{secret}\n",
    ):
        assert secret not in str(mistakes(imported, text))


# Replacing, trying


def test_table_is_replaced_as_a_whole(imported: Import, table: UserTable) -> None:
    for username in ("1001", "1002"):
        table.add("Phones", username, REALM, "secret")
    assert imported("username,password\n1002,new\n1003,new\n", replace=True) == {"Phones": 2}
    assert usernames(table) == ["1002", "1003"]
    assert table.opened(table.find("1002")).ha1s == HA1s.of_password("1002", REALM, "new")


@pytest.mark.parametrize(
    "text", ["username,password\n", "username,password\n1002,x\n1003,\n", "nonsense", ""]
)
def test_bad_or_empty_file_does_not_replace_the_table(
    text: str, imported: Import, table: UserTable
) -> None:
    table.add("Phones", "1001", REALM, "secret")
    assert mistakes(imported, text, replace=True)
    assert usernames(table) == ["1001"]


def test_dry_run_tells_the_same_and_changes_nothing(imported: Import, table: UserTable) -> None:
    table.add("Phones", "1001", REALM, "secret")
    assert imported("username,password\n1002,x\n", dry_run=True) == {"Phones": 1}
    assert imported("username,password\n1002,x\n", dry_run=True, replace=True) == {"Phones": 1}
    assert mistakes(imported, "username,password\n1001,x\n", dry_run=True)
    assert usernames(table) == ["1001"]


# What is written


def test_what_is_exported_is_imported_as_it_was(imported: Import, table: UserTable) -> None:
    table.add("Phones", "1001", REALM, "secret")
    table.add("ITSP", 'o"neil, jürgen', "itsp.example", "secret", local_user="=2001")
    table.set_enabled(table.find("1001"), False)
    table.set_identities(table.find("1001"), ["+4930*", "99"])
    before, numbers = list(table.users()), table.all_identities()
    assert numbers == {("Phones", "1001", REALM): ["+4930*", "99"]}
    written = io.StringIO()
    assert export_users(table, written) == 2
    assert written.getvalue().startswith(
        "local_user,username,ip_group,realm,enabled,ha1_md5,ha1_sha256,ha1_sha512_256,identities\n"
    )
    imported(written.getvalue(), replace=True)
    assert list(table.users()) == before
    assert table.all_identities() == numbers


def test_identities_are_imported_each_for_one_user(imported: Import, table: UserTable) -> None:
    first = "username,password,identities\n1001,x,+4930* +49401\n1002,x,\n"
    imported(first)
    assert table.all_identities() == {("Phones", "1001", REALM): ["+4930*", "+49401"]}
    assert mistakes(imported, "username,password,identities\n1003,x,+49401\n1004,x,a@b\n") == [
        "2: +49401 is the number of 1001 already, in Phones",
        "3: 'a@b' is no identity: a number such as +4930123456, or a prefix such as +4930123*",
    ]
    assert table.count() == 2


def test_password_is_never_exported(imported: Import, table: UserTable) -> None:
    imported("username,password\n1001,hunter2-is-secret\n")
    written = io.StringIO()
    export_users(table, written)
    assert "hunter2" not in written.getvalue()
    assert "password" not in written.getvalue()


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.isprintable)
LOCAL_USERS = NAMES.filter(lambda name: not re.search(r'[\s@:<>"]', name))
"""What can stand in a SIP address."""


@given(users=st.dictionaries(NAMES, LOCAL_USERS, min_size=1, max_size=5))
def test_any_names_survive_export_and_import(
    users: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with UserTable(f"sqlite:///{tmp_path_factory.getbasetemp()}/any.db") as table:
        table.clear()
        for username, local_user in users.items():
            table.add("Phones", username, REALM, "secret", local_user)
        written = io.StringIO()
        export_users(table, written)
        source = UserFile(io.BytesIO(written.getvalue().encode()), "users.csv", IP_GROUPS)
        import_users(table, source, replace=True)
        assert {row.username: row.local_user for row in table.all()} == users


@given(content=st.binary() | st.text("username,password\n\"'[SBC];FORMAT \r\0é").map(str.encode))
def test_any_file_is_imported_or_refused_with_its_line(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with UserTable(f"sqlite:///{tmp_path_factory.getbasetemp()}/any.db") as table:
        source = UserFile(io.BytesIO(content), "users.csv", IP_GROUPS, PHONES)
        said = ""
        try:
            import_users(table, source, dry_run=True)
        except UserInfoError as error:
            said = str(error)
        assert all(line.startswith("users.csv:") for line in said.splitlines())


# Size


class Endless(io.RawIOBase):
    """A file of `count` users that is made while it is read."""

    def __init__(self, count: int) -> None:
        self._lines = (f"{number},x\n".encode() for number in range(count))
        self._first = [b"username,ha1_md5\n"]

    def readline(self, size: int | None = -1, /) -> bytes:
        if self._first:
            return self._first.pop()
        return next(self._lines, b"").replace(b"x", MD5.encode())


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_memory_does_not_grow_with_the_file(table: UserTable) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        source = UserFile(Endless(count), "users.csv", IP_GROUPS, PHONES)  # type: ignore[arg-type]
        import_users(table, source, replace=True)
        with open("/dev/null", "w") as nothing:  # noqa: PTH123
            assert export_users(table, nothing) == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(20_000) < peak(3_000) * 2  # a batch may wait for the garbage collector


def test_readers_see_the_old_users_until_all_are_there(table: UserTable, kind: Kind) -> None:
    table.add("Phones", "1001", REALM, "secret")

    class Watched(Endless):
        def readline(self, size: int | None = -1, /) -> bytes:
            assert kind.query("SELECT username FROM user_info") == [("1001",)]
            return super().readline(size)

    source = UserFile(Watched(3000), "users.csv", IP_GROUPS, PHONES)  # type: ignore[arg-type]
    import_users(table, source, replace=True)
    assert kind.query("SELECT count(*) FROM user_info") == [(3000,)]


def test_rows_that_fit_are_imported_though_others_do_not(tmp_path: Path) -> None:
    group = IPGroup(name="Phones", type=IPGroupType.USER, realm="example.com")
    content = io.BytesIO(b"username\trealm\tpassword\n1\t\tx\n\t\ty\n1\t\tz\n2\t\tx\n")
    source = UserFile(content, "users.tsv", [group], group, skip=True)
    with UserTable(f"sqlite:///{tmp_path}/sbcauth.db") as table:
        assert import_users(table, source) == {"Phones": 2}
        assert [user.username for user in table.users()] == ["1", "2"]
    assert source.skipped == 2
    assert [line.partition(": ")[0] for line in source.mistakes()] == [
        "users.tsv:3",
        "users.tsv:4",
    ]


def test_file_that_cannot_be_read_on_is_not_skipped(tmp_path: Path) -> None:
    group = IPGroup(name="Phones", type=IPGroupType.USER, realm="example.com")
    source = UserFile(
        io.BytesIO(b"username,password\n1,x\n2,\xff\n"), "users.csv", [group], group, skip=True
    )
    with UserTable(f"sqlite:///{tmp_path}/sbcauth.db") as table:
        with pytest.raises(BadUserFile, match="is not UTF-8"):
            import_users(table, source)
        assert table.count() == 0


def test_realm_says_which_ip_group(tmp_path: Path) -> None:
    groups = [
        IPGroup(name=name, type=IPGroupType.USER, realm=realm)
        for name, realm in (("Phones", "example.com"), ("Branch", "example.org"))
    ]
    content = io.BytesIO(b"username,realm,password\n1,example.com,x\n2,example.org,x\n")
    source = UserFile(content, "users.csv", groups, None, {group.realm: group for group in groups})
    with UserTable(f"sqlite:///{tmp_path}/sbcauth.db") as table:
        assert import_users(table, source) == {"Phones": 1, "Branch": 1}
