"""H(A1) at rest: sealed values open with the right key, in their place, and nowhere else."""

import io
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from sbcauth.digest.response import Algorithm, ha1
from sbcauth.exceptions import Unavailable
from sbcauth.policy.accounts import User
from sbcauth.users.database import sqlite_path
from sbcauth.users.directory import UserDirectory
from sbcauth.users.files import export_users
from sbcauth.users.resealing import plain_users, reseal
from sbcauth.users.sealing import COLUMNS, Seals
from sbcauth.users.table import UserTable, hashes

NAMES = ("Phones", "1001", "example.com")
HA1S = ("0a" * 16, "1b" * 32, "2c" * 32, None, None, None)
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
    found = hashes("1001", "example.com", "secret")
    connection.execute(
        "INSERT INTO user_info (ip_group, local_user, username, realm, ha1_md5, ha1_sha256,"
        " ha1_sha512_256) VALUES ('Phones', '1001', '1001', 'example.com', ?, ?, ?)",
        tuple(found.values()),
    )
    connection.commit()
    connection.close()
    return url


def files(folder: Path) -> bytes:
    """Return all that is in the database's files."""
    return b"".join(path.read_bytes() for path in folder.glob("users.db*"))


def plain(password: str) -> list[bytes]:
    """Return the H(A1) of the user, as hexadecimal and as bytes."""
    found = hashes("1001", "example.com", password).values()
    return [form for each in found for form in (each.encode(), bytes.fromhex(each))]


def found(url: str) -> User:
    """Return the user, as a server finds it."""
    with closing(UserDirectory(url)) as users:
        user = users.find(*NAMES)
    assert user
    return user


def test_sealed_values_open_to_what_they_were(seals: Seals) -> None:
    sealed = seals.seal(NAMES, HA1S)
    assert [value is None for value in sealed] == [value is None for value in HA1S]
    assert not any(ha1 in value for ha1, value in zip(HA1S, sealed, strict=True) if ha1 and value)
    assert seals.open(NAMES, sealed, all_sealed=True) == list(HA1S)
    assert Seals(seals.path).open(NAMES, sealed, all_sealed=True) == list(HA1S)


def test_the_same_value_is_never_sealed_twice_alike(seals: Seals) -> None:
    assert seals.seal(NAMES, HA1S)[0] != seals.seal(NAMES, HA1S)[0]


def test_plain_values_stay_as_they_are_where_all_may_be(seals: Seals) -> None:
    assert seals.open(NAMES, HA1S, all_sealed=False) == list(HA1S)
    with pytest.raises(Unavailable, match="of the user 1001 in Phones is not sealed"):
        seals.open(NAMES, HA1S, all_sealed=True)


@pytest.mark.parametrize(
    "names",
    [
        ("Others", "1001", "example.com"),
        ("Phones", "1002", "example.com"),
        ("Phones", "1001", "example.net"),
    ],
)
def test_value_opens_nowhere_but_in_its_place(seals: Seals, names: tuple[str, str, str]) -> None:
    sealed = seals.seal(NAMES, HA1S)
    with pytest.raises(Unavailable):
        seals.open(names, sealed, all_sealed=True)


@pytest.mark.parametrize("column", COLUMNS[1:])
def test_value_opens_in_no_other_column(seals: Seals, column: str) -> None:
    sealed = seals.seal(NAMES, HA1S)
    moved: list[str | None] = [None] * len(COLUMNS)
    moved[COLUMNS.index(column)] = sealed[0]
    with pytest.raises(Unavailable):
        seals.open(NAMES, moved, all_sealed=True)


def test_value_that_was_changed_does_not_open(seals: Seals) -> None:
    sealed = seals.seal(NAMES, HA1S)
    value = sealed[0]
    assert value
    for place in (len("v1:0:"), len(value) // 2, len(value) - 4):
        other = "A" if value[place] != "A" else "B"
        with pytest.raises(Unavailable, match="1001"):
            seals.open(
                NAMES, [value[:place] + other + value[place + 1 :], *sealed[1:]], all_sealed=True
            )
    for broken in ("v1:", "v1:0", "v1:0:", "v1:0:!", "v1:x:AAAA"):
        with pytest.raises(Unavailable):
            seals.open(NAMES, [broken, *sealed[1:]], all_sealed=True)


def test_value_does_not_open_with_another_key(seals: Seals, tmp_path: Path) -> None:
    other = Seals(tmp_path / "other.seal")
    other.make()
    with pytest.raises(Unavailable):
        other.open(NAMES, seals.seal(NAMES, HA1S), all_sealed=True)


def test_no_complaint_shows_a_key_or_a_value(seals: Seals, tmp_path: Path) -> None:
    other = Seals(tmp_path / "other.seal")
    other.make()
    sealed = seals.seal(NAMES, HA1S)
    with pytest.raises(Unavailable) as refusal:
        other.open(NAMES, sealed, all_sealed=True)
    secrets = [line.split()[1] for line in seals.path.read_text().splitlines() if line[0] != "#"]
    for secret in (*secrets, *filter(None, sealed), *filter(None, HA1S)):
        assert secret not in str(refusal.value)


def test_older_keys_open_and_the_newest_seals(seals: Seals) -> None:
    before = seals.seal(NAMES, HA1S)
    assert seals.make(anew=True) == 1
    after = seals.seal(NAMES, HA1S)
    assert [value[:5] for value in (before[0], after[0]) if value] == ["v1:0:", "v1:1:"]
    assert (
        seals.open(NAMES, before, all_sealed=True)
        == seals.open(NAMES, after, all_sealed=True)
        == list(HA1S)
    )


def test_keys_are_their_owners_alone(seals: Seals) -> None:
    assert seals.path.stat().st_mode & 0o777 == 0o600


def test_new_database_has_sealed_values_alone(url: str, tmp_path: Path) -> None:
    with UserTable(url) as table:
        row = table.add("Phones", "1001", "example.com", "secret")
        table.set_password(row, "changed", memory=60)
    assert not any(value in files(tmp_path) for value in plain("secret") + plain("changed"))
    user = found(url)
    assert user.ha1_md5 == ha1(Algorithm.MD5, "1001", "example.com", "changed")
    assert user.old_ha1(Algorithm.MD5, int(time.time())) == ha1(
        Algorithm.MD5, "1001", "example.com", "secret"
    )


def test_keys_that_are_gone_let_nobody_be_found(url: str, tmp_path: Path) -> None:
    with UserTable(url) as table:
        table.add("Phones", "1001", "example.com", "secret")
    key_file, aside = tmp_path / "users.seal", tmp_path / "aside"
    with closing(UserDirectory(url)) as users:
        users.refresh(0)
        assert users.find(*NAMES)
        key_file.rename(aside)
        users.refresh(1)
        for name in ("1001", "nobody"):
            with pytest.raises(Unavailable, match=r"users\.seal"):
                users.find("Phones", name, "example.com")
        assert users.has_local_user("Phones", "1001")
        aside.rename(key_file)
        users.refresh(2)
        assert users.find(*NAMES)
        assert users.find("Phones", "nobody", "example.com") is None


def test_database_of_an_older_version_stays_plain_until_it_is_resealed(older: str) -> None:
    with UserTable(older) as table:
        table.add("Phones", "1002", "example.com", "secret")
        assert plain_users(table) == ["1001 in Phones", "1002 in Phones"]
        assert found(older).ha1_md5 == hashes("1001", "example.com", "secret")["ha1_md5"]
        assert reseal(table) == (0, 2)
        assert plain_users(table) == []
        assert reseal(table) == (0, 0)
    assert found(older).ha1_md5 == hashes("1001", "example.com", "secret")["ha1_md5"]


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
            user = users.find(*NAMES)
            assert user
            assert user.ha1_md5 == hashes("1001", "example.com", "secret")["ha1_md5"]
            if now:
                reseal(table, rotate=rotate)


def test_export_has_every_ha1_opened(url: str) -> None:
    with UserTable(url) as table:
        table.add("Phones", "1001", "example.com", "secret")
        written = io.StringIO()
        export_users(table, written)
    assert hashes("1001", "example.com", "secret")["ha1_sha256"] in written.getvalue()


def test_group_of_the_file_keeps_its_right_to_read(seals: Seals) -> None:
    seals.path.chmod(0o640)
    seals.make(anew=True)
    assert seals.path.stat().st_mode & 0o777 == 0o640


def tamper(url: str, statement: str, *values: object) -> None:
    """Do what somebody does who can write to the database, but has not the keys."""
    with closing(sqlite3.connect(sqlite_path(url))) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


@pytest.mark.parametrize("column", ["ha1_md5", "old_ha1_md5"])
def test_value_that_is_not_sealed_lets_nobody_in_where_all_are(url: str, column: str) -> None:
    with UserTable(url) as table:
        table.add("Phones", "1001", "example.com", "secret")
        table.add("Phones", "1002", "example.com", "secret")
    known = hashes("1001", "example.com", "of-the-attacker")["ha1_md5"]
    tamper(url, f"UPDATE user_info SET {column} = ? WHERE username = '1001'", known)  # noqa: S608
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
    assert user.ha1_md5 == hashes("1001", "example.com", "anew")["ha1_md5"]
    assert known not in user


def test_proof_that_was_taken_away_does_not_open_the_database(url: str) -> None:
    with UserTable(url) as table:
        table.add("Phones", "1001", "example.com", "secret")
        table.add("Phones", "1002", "example.com", "secret")
    known = hashes("1001", "example.com", "of-the-attacker")["ha1_md5"]
    tamper(url, "UPDATE user_info SET ha1_md5 = ? WHERE username = '1001'", known)
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
    assert found(url).ha1_md5 == hashes("1001", "example.com", "secret")["ha1_md5"]


# What shows which keys a database is sealed with


def test_proof_is_of_the_keys_that_made_it(seals: Seals, tmp_path: Path) -> None:
    other = Seals(tmp_path / "other.seal")
    other.make()  # a key of the same number
    seals.check(seals.prove())
    with pytest.raises(Unavailable, match="is not the file of sealing keys"):
        other.check(seals.prove())


def test_what_is_sealed_for_a_user_is_no_proof(seals: Seals) -> None:
    (sealed, *_) = seals.seal(NAMES, HA1S)
    assert sealed
    with pytest.raises(Unavailable, match="is not the file of sealing keys"):
        seals.check(sealed)


def test_other_keys_are_known_before_anybody_is_looked_up(url: str, tmp_path: Path) -> None:
    """Nobody is there whose H(A1) could fail to open."""
    with UserTable(url):
        pass
    (tmp_path / "users.seal").unlink()
    Seals(tmp_path / "users.seal").make()
    with pytest.raises(Unavailable, match="is not the file of sealing keys"):
        UserDirectory(url).find("Phones", "1001", "example.com")


def test_as_much_is_opened_for_a_user_who_is_not_there(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with UserTable(url) as table:
        table.add("Phones", "1001", "example.com", "secret")
    directory = UserDirectory(url)
    directory.find("Phones", "first", "example.com")  # it has read the keys then
    opened: list[bytes] = []
    decrypt = Seals._open

    def counted(seals: Seals, text: str, place: bytes) -> bytes:
        opened.append(place)
        return decrypt(seals, text, place)

    monkeypatch.setattr(Seals, "_open", counted)
    assert directory.find("Phones", "1001", "example.com")
    known = len(opened)
    assert directory.find("Phones", "nobody", "example.com") is None
    assert known == len(opened) - known == 3
