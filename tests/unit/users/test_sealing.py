"""H(A1) at rest: sealed values open with the right key, in their place, and nowhere else."""

import io
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import looking_up
import pytest

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.ha1s import HA1s
from sbcauth.digest.response import ha1
from sbcauth.exceptions import Unavailable
from sbcauth.policy.accounts import User
from sbcauth.users.database_url import sqlite_path
from sbcauth.users.directory import UserDirectory
from sbcauth.users.files import export_users
from sbcauth.users.resealing import plain_users, reseal
from sbcauth.users.sealing import Seals, every_ha1
from sbcauth.users.table import UserTable

NAMES = ("Phones", "1001", "example.com")
HA1S = HA1s({"MD5": "0a" * 16, "SHA-256": "1b" * 32, "SHA-512-256": "2c" * 32})
OLD_HA1S = HA1s({"MD5": "3d" * 16, "SHA-256": "4e" * 32, "SHA-512-256": "5f" * 32})
USER = User("Phones", "1001", "1001", "example.com", True, HA1S, OLD_HA1S, 2000000000)
SCHEMA_2 = (Path(__file__).parent / "schema_2.sql").read_text()


@pytest.fixture
def seals(tmp_path: Path) -> Seals:
    found = Seals(tmp_path / "users.seal")
    found.make()
    return found


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/users.db"


@pytest.fixture
def older(tmp_path: Path, url: str) -> str:
    """Return a database of schema 2 with a user, whose H(A1) are plain."""
    connection = sqlite3.connect(tmp_path / "users.db")
    connection.execute("PRAGMA journal_mode=wal")
    connection.executescript(SCHEMA_2)
    found = HA1s.of_password("1001", "example.com", "secret")
    connection.execute(
        "INSERT INTO user_info (ip_group, local_user, username, realm, ha1_md5, ha1_sha256,"
        " ha1_sha512_256) VALUES ('Phones', '1001', '1001', 'example.com', ?, ?, ?)",
        [ha1 for _, ha1 in found.items()],
    )
    connection.commit()
    connection.close()
    return url


def files(folder: Path) -> bytes:
    """Return all that is in the database's files."""
    return b"".join(path.read_bytes() for path in folder.glob("users.db*"))


def plain(password: str) -> list[bytes]:
    """Return the H(A1) of the user, as hexadecimal and as bytes."""
    found = HA1s.of_password("1001", "example.com", password)
    return [form for _, each in found.items() for form in (each.encode(), bytes.fromhex(each))]


def found(url: str) -> User:
    """Return the user, as a server finds it."""
    with closing(UserDirectory(url)) as users:
        user = looking_up.find(users, *NAMES)
    assert user
    return user


def changed(user: User, ha1: str) -> User:
    """Return the user with another value for MD5."""
    return user._replace(ha1s=HA1s({**dict(user.ha1s.items()), "MD5": ha1}))


def test_sealed_values_open_to_what_they_were(seals: Seals) -> None:
    sealed = seals.seal(USER)
    assert sealed._replace(ha1s=HA1S, old_ha1s=OLD_HA1S) == USER
    pairs = list(zip(every_ha1(USER), every_ha1(sealed), strict=True))
    assert len(pairs) == 6
    assert not any(ha1 in value for ha1, value in pairs)
    assert seals.open(sealed, all_sealed=True) == USER
    assert Seals(seals.path).open(sealed, all_sealed=True) == USER


def test_what_is_not_there_is_not_sealed(seals: Seals) -> None:
    user = USER._replace(ha1s=HA1s({"SHA-256": "1b" * 32}), old_ha1s=HA1s())
    assert len(list(every_ha1(seals.seal(user)))) == 1
    assert seals.open(seals.seal(user), all_sealed=True) == user


def test_values_of_earlier_versions_open(tmp_path: Path) -> None:
    """Sealed when H(A1) were columns of user_info: what they are bound to never changes."""
    (tmp_path / "users.seal").write_text(f"0 {'ab' * 32}\n")
    sealed = USER._replace(
        ha1s=HA1s(
            {
                "MD5": "v1:0:pgY24FcUOYl1oyD9YybCPT96S98cb44xcGcE9ubwHbVs/aTuDMN0tPb8oTM=",
                "SHA-256": "v1:0:DUFtaZ2PsbTh8lMq+haz17HakytVawsWZApoeA00vzCrzBerNs/+DaBKoy5xSNl0"
                "S81522Boo/arnsD7",
                "SHA-512-256": "v1:0:L+digWBor3xGevLDPYSVsOB6M/A6syHeqFpZGHUmY11DNeIfa+nh0JGw8ysR"
                "8AXGEI0mxVfAJ4v/gsKG",
            }
        ),
        old_ha1s=HA1s(
            {
                "MD5": "v1:0:JQg8y6feSOZ0VAxpAHHYn5H9b+nj6EJDgrUxhnDQ1vB8FW2KM608wRXdWkk=",
                "SHA-256": "v1:0:pymvulJeRMuZGePyCqIQTvJkjQgQOEDefLvMaBX9McxZTpixZRIsUGuVdcEofpZo"
                "4aH4PD/ZMYbZHYUi",
                "SHA-512-256": "v1:0:bAz5L3nm4iM/6MXsiJmVEDnRdIfPlKvAq7hoNOftvG3xPuTLgp1HimztHYZ5"
                "Bqgtdvgy+cKr/+7LlQR1",
            }
        ),
    )
    assert Seals(tmp_path / "users.seal").open(sealed, all_sealed=True) == USER


def test_the_same_value_is_never_sealed_twice_alike(seals: Seals) -> None:
    pairs = zip(every_ha1(seals.seal(USER)), every_ha1(seals.seal(USER)), strict=True)
    assert not any(one == other for one, other in pairs)


def test_plain_values_stay_as_they_are_where_all_may_be(seals: Seals) -> None:
    assert seals.open(USER, all_sealed=False) == USER
    with pytest.raises(Unavailable, match="of the user 1001 in Phones is not sealed"):
        seals.open(USER, all_sealed=True)


@pytest.mark.parametrize(
    "names", [{"ip_group": "Others"}, {"username": "1002"}, {"realm": "example.net"}]
)
def test_value_opens_nowhere_but_in_its_place(seals: Seals, names: dict[str, str]) -> None:
    with pytest.raises(Unavailable):
        seals.open(seals.seal(USER)._replace(**names), all_sealed=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["SHA-256", "SHA-512-256"])
def test_value_opens_for_no_other_algorithm(seals: Seals, place: str) -> None:
    moved = HA1s({place: seals.seal(USER).ha1s.get("MD5")})
    with pytest.raises(Unavailable):
        seals.open(USER._replace(ha1s=moved, old_ha1s=HA1s()), all_sealed=True)


def test_value_of_the_old_password_opens_in_no_place_of_the_new(seals: Seals) -> None:
    sealed = seals.seal(USER)
    for user in (
        USER._replace(ha1s=sealed.old_ha1s, old_ha1s=HA1s()),
        USER._replace(ha1s=HA1s(), old_ha1s=sealed.ha1s),
    ):
        with pytest.raises(Unavailable):
            seals.open(user, all_sealed=True)


def test_value_that_was_changed_does_not_open(seals: Seals) -> None:
    sealed = seals.seal(USER)
    value = sealed.ha1s.get("MD5")
    assert value
    for place in (len("v1:0:"), len(value) // 2, len(value) - 4):
        other = "A" if value[place] != "A" else "B"
        with pytest.raises(Unavailable, match="1001"):
            seals.open(changed(sealed, value[:place] + other + value[place + 1 :]), all_sealed=True)
    for broken in ("v1:", "v1:0", "v1:0:", "v1:0:!", "v1:x:AAAA"):
        with pytest.raises(Unavailable):
            seals.open(changed(sealed, broken), all_sealed=True)


def test_value_does_not_open_with_another_key(seals: Seals, tmp_path: Path) -> None:
    other = Seals(tmp_path / "other.seal")
    other.make()
    with pytest.raises(Unavailable):
        other.open(seals.seal(USER), all_sealed=True)


def test_no_mistake_shows_a_key_or_a_value(seals: Seals, tmp_path: Path) -> None:
    other = Seals(tmp_path / "other.seal")
    other.make()
    sealed = seals.seal(USER)
    with pytest.raises(Unavailable) as refusal:
        other.open(sealed, all_sealed=True)
    secrets = [line.split()[1] for line in seals.path.read_text().splitlines() if line[0] != "#"]
    for secret in (*secrets, *every_ha1(sealed), *every_ha1(USER)):
        assert secret not in str(refusal.value)


def test_sealed_value_is_one_line_of_the_documented_form(seals: Seals) -> None:
    for value in (*every_ha1(seals.seal(USER)), seals.prove()):
        assert re.fullmatch(r"v1:0:[A-Za-z0-9+/]+=*", value)


def test_key_that_is_missing_is_named(seals: Seals, tmp_path: Path) -> None:
    sealed = seals.seal(USER)
    newer = changed(sealed, sealed.ha1s.get("MD5").replace("v1:0:", "v1:7:"))  # type: ignore[union-attr]
    with pytest.raises(Unavailable) as refusal:
        seals.open(newer, all_sealed=True)
    assert str(refusal.value) == (
        "H(A1) of the user 1001 in Phones is sealed with key '7', "
        f"which {tmp_path}/users.seal has not: put it back"
    )


def test_mistakes_say_what_to_do(seals: Seals, tmp_path: Path) -> None:
    other = Seals(tmp_path / "other.seal")
    other.make()
    with pytest.raises(Unavailable, match=r"nobody in; `sbcauth user set-password` or `remove`$"):
        seals.open(USER, all_sealed=True)
    with pytest.raises(Unavailable, match=r"another's; remove the user and add it again$"):
        other.open(seals.seal(USER), all_sealed=True)
    with pytest.raises(Unavailable, match=r"sealed with; put the right one back$"):
        other.check(seals.prove())


def test_file_of_keys_says_what_it_is(seals: Seals) -> None:
    first = seals.path.read_text().splitlines()[0]
    assert first == "# sbcauth sealing keys, the newest first: it seals, all open"


def test_file_that_has_no_keys_is_named_with_what_to_do(seals: Seals) -> None:
    seals.path.write_text("# nothing of use\n")
    said = re.escape(f"{seals.path}:1:1: holds no key; put back one that does")
    for attempt in (seals.make, lambda: seals.check("v1:0:AAAA")):
        with pytest.raises(Unavailable, match=f"^{said}"):
            attempt()


def test_file_that_cannot_be_read_is_named_with_what_it_holds(seals: Seals) -> None:
    seals.path.unlink()
    seals.path.mkdir()
    with pytest.raises(Unavailable, match=r"sealing keys"):
        seals.make()


def test_keys_that_are_gone_are_missed_each_time_and_found_again(seals: Seals) -> None:
    sealed, aside = seals.seal(USER), seals.path.with_name("aside")
    seals.path.rename(aside)
    with pytest.raises(Unavailable):
        seals.check(seals.prove())
    for _ in range(2):
        with pytest.raises(Unavailable, match="User Info is sealed: put the file back"):
            seals.open(sealed, all_sealed=True)
    aside.rename(seals.path)
    assert seals.open(sealed, all_sealed=True) == USER


def test_keys_that_are_there_stay_unless_new_ones_are_asked_for(seals: Seals) -> None:
    before = seals.path.read_text()
    assert seals.make() == Seals(seals.path).make() == 0
    assert seals.path.read_text() == before
    assert Seals(seals.path.with_name("new.seal")).make(anew=True) == 0


def test_older_keys_open_and_the_newest_seals(seals: Seals) -> None:
    before = seals.seal(USER)
    assert seals.make(anew=True) == 1
    after = seals.seal(USER)
    assert {ha1[:5] for ha1 in every_ha1(before)} == {"v1:0:"}
    assert {ha1[:5] for ha1 in every_ha1(after)} == {"v1:1:"}
    assert seals.open(before, all_sealed=True) == seals.open(after, all_sealed=True) == USER


def test_keys_are_their_owners_alone(seals: Seals) -> None:
    assert seals.path.stat().st_mode & 0o777 == 0o600


def test_new_database_has_sealed_values_alone(url: str, tmp_path: Path) -> None:
    with UserTable(url) as table:
        row = table.add("Phones", "1001", "example.com", "secret")
        table.set_password(row, "changed", memory=60)
    assert not any(value in files(tmp_path) for value in plain("secret") + plain("changed"))
    user = found(url)
    assert user.ha1s == HA1s.of_password("1001", "example.com", "changed")
    assert user.old_ha1(Algorithm.MD5, int(time.time())) == ha1(
        Algorithm.MD5, "1001", "example.com", "secret"
    )


def test_keys_that_are_gone_let_nobody_be_found(url: str, tmp_path: Path) -> None:
    with UserTable(url) as table:
        table.add("Phones", "1001", "example.com", "secret")
    key_file, aside = tmp_path / "users.seal", tmp_path / "aside"
    with closing(UserDirectory(url)) as users:
        users.refresh(0)
        assert looking_up.find(users, *NAMES)
        key_file.rename(aside)
        users.refresh(1)
        for name in ("1001", "nobody"):
            with pytest.raises(Unavailable, match=r"users\.seal"):
                looking_up.find(users, "Phones", name, "example.com")
        assert users.has_local_user("Phones", "1001")
        aside.rename(key_file)
        users.refresh(2)
        assert looking_up.find(users, *NAMES)
        assert users.find("Phones", "nobody", "example.com") is None


def test_database_of_an_older_version_stays_plain_until_it_is_resealed(older: str) -> None:
    with UserTable(older) as table:
        table.add("Phones", "1002", "example.com", "secret")
        assert plain_users(table) == ["1001 in Phones", "1002 in Phones"]
        assert found(older).ha1s == HA1s.of_password("1001", "example.com", "secret")
        assert reseal(table) == (0, 2)
        assert plain_users(table) == []
        assert reseal(table) == (0, 0)
    assert found(older).ha1s.get("MD5") == HA1s.of_password("1001", "example.com", "secret").get(
        "MD5"
    )


def test_plain_ha1s_of_an_older_version_leave_nothing_when_they_are_sealed(
    older: str, tmp_path: Path
) -> None:
    assert any(value in files(tmp_path) for value in plain("secret"))
    with UserTable(older) as table:
        reseal(table)
    assert not any(value in files(tmp_path) for value in plain("secret"))


def test_worker_goes_on_through_resealing_and_rotation(older: str) -> None:
    with closing(UserDirectory(older)) as users, UserTable(older) as table:
        for now, rotate in enumerate((False, False, True, True)):
            users.refresh(now)
            user = looking_up.find(users, *NAMES)
            assert user
            assert user.ha1s.get("MD5") == HA1s.of_password("1001", "example.com", "secret").get(
                "MD5"
            )
            if now:
                reseal(table, rotate=rotate)


def test_export_has_every_ha1_opened(url: str) -> None:
    with UserTable(url) as table:
        table.add("Phones", "1001", "example.com", "secret")
        written = io.StringIO()
        export_users(table, written)
    assert ha1(Algorithm.SHA_256, "1001", "example.com", "secret") in written.getvalue()


def test_group_of_the_file_keeps_its_right_to_read(seals: Seals) -> None:
    seals.path.chmod(0o640)
    seals.make(anew=True)
    assert seals.path.stat().st_mode & 0o777 == 0o640


ID = "(SELECT id FROM user_info WHERE username = '1001')"


def tamper(url: str, statement: str, *values: object) -> None:
    """Do what somebody does who can write to the database, but has not the keys."""
    with closing(sqlite3.connect(sqlite_path(url))) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


@pytest.mark.parametrize("column", ["ha1", "old_ha1"])
def test_value_that_is_not_sealed_lets_nobody_in_where_all_are(url: str, column: str) -> None:
    with UserTable(url) as table:
        table.add("Phones", "1001", "example.com", "secret")
        table.add("Phones", "1002", "example.com", "secret")
    known = ha1(Algorithm.MD5, "1001", "example.com", "of-the-attacker")
    tamper(url, f"UPDATE ha1 SET {column} = ? WHERE algorithm = 'MD5' AND user = {ID}", known)  # noqa: S608
    tamper(url, "UPDATE user_info SET old_until = 2000000000 WHERE username = '1001'")
    with pytest.raises(Unavailable, match="1001 in Phones is not sealed"):
        found(url)
    with UserTable(url) as table:
        assert plain_users(table) == ["1001 in Phones"]
        with pytest.raises(Unavailable, match=r"not written by sbcauth: H.A1. of 1001 in Phones"):
            reseal(table, rotate=True)
        with pytest.raises(Unavailable):
            list(table.users())
        table.set_password(table.find("1001"), "anew", 3600)
        assert plain_users(table) == []
        assert reseal(table)
    user = found(url)
    assert user.ha1s == HA1s.of_password("1001", "example.com", "anew")
    assert known not in every_ha1(user)


def test_proof_that_was_taken_away_does_not_open_the_database(url: str) -> None:
    with UserTable(url) as table:
        table.add("Phones", "1001", "example.com", "secret")
        table.add("Phones", "1002", "example.com", "secret")
    known = ha1(Algorithm.MD5, "1001", "example.com", "of-the-attacker")
    tamper(url, f"UPDATE ha1 SET ha1 = ? WHERE algorithm = 'MD5' AND user = {ID}", known)  # noqa: S608
    tamper(url, "DELETE FROM sealing")
    with pytest.raises(Unavailable, match="does not show that it is sealed"):
        found(url)
    with UserTable(url) as table:
        with pytest.raises(Unavailable, match="does not show that it is sealed"):
            table.add("Phones", "1003", "example.com", "secret")
        with pytest.raises(Unavailable, match="not written by sbcauth"):
            reseal(table)
        table.remove(table.find("1001"))
        reseal(table)
        table.add("Phones", "1001", "example.com", "secret")
    assert found(url).ha1s.get("MD5") == HA1s.of_password("1001", "example.com", "secret").get(
        "MD5"
    )


# What shows which keys a database is sealed with


def test_proof_is_of_the_keys_that_made_it(seals: Seals, tmp_path: Path) -> None:
    other = Seals(tmp_path / "other.seal")
    other.make()  # a key of the same number
    seals.check(seals.prove())
    with pytest.raises(Unavailable, match="is not the file of sealing keys"):
        other.check(seals.prove())


def test_what_is_sealed_for_a_user_is_no_proof(seals: Seals) -> None:
    sealed = seals.seal(USER).ha1s.get("MD5")
    assert sealed
    with pytest.raises(Unavailable, match="is not the file of sealing keys"):
        seals.check(sealed)


def test_other_keys_are_known_before_anybody_is_looked_up(url: str, tmp_path: Path) -> None:
    """Nobody is there whose H(A1) could fail to open."""
    with UserTable(url):
        pass
    (tmp_path / "users.seal").unlink()
    Seals(tmp_path / "users.seal").make()
    with (
        closing(UserDirectory(url)) as directory,
        pytest.raises(Unavailable, match="is not the file of sealing keys"),
    ):
        directory.find("Phones", "1001", "example.com")


def test_as_much_is_opened_for_a_user_who_is_not_there(
    url: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    with UserTable(url) as table:
        table.add("Phones", "1001", "example.com", "secret")
    directory = UserDirectory(url)
    request.addfinalizer(directory.close)
    directory.find("Phones", "first", "example.com", "MD5")  # it has read the keys then
    opened: list[bytes] = []
    decrypt = Seals._open

    def counted(seals: Seals, text: str, place: bytes) -> bytes:
        opened.append(place)
        return decrypt(seals, text, place)

    monkeypatch.setattr(Seals, "_open", counted)
    assert directory.find("Phones", "1001", "example.com", "MD5")
    known = len(opened)
    assert directory.find("Phones", "nobody", "example.com", "MD5") is None
    assert known == len(opened) - known == 1
