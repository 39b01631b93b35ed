"""Users in PostgreSQL, on the wire: seen at once, served as last seen, and well again."""

import json
import re
import shutil
import sqlite3
import stat
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from kamailio import Server, wait_for
from phone import Phone
from postgresql import Postgresql, urls_of

SOON = 15.0
"""Seconds in which a busy machine sees a change, or connects again; an idle one takes a few ms."""
Start = Callable[..., Server]


def config(url: str) -> str:
    return f"""
realm: example.com
database: {url}
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{{address: 127.0.0.0/8}}]
"""


@pytest.fixture(scope="module")
def one() -> Iterator[Postgresql]:
    with Postgresql() as server:
        yield server


@pytest.fixture
def postgresql(one: Postgresql) -> Postgresql:
    """A server that runs, and whose database is empty."""
    one.empty()
    return one


def registers(server: Server, username: str, password: str) -> bool:
    with Phone(server, username, password, expires=0) as phone:
        return phone.register().status == 200


def seen(server: Server, username: str, password: str = "secret") -> bool:  # noqa: S107
    """Wait until the server knows a user by its password."""
    return wait_for(lambda: registers(server, username, password), SOON)


def has_lost_its_database(server: Server, start: int) -> bool:
    return wait_for(lambda: "phones are served as last seen" in server.log(start), SOON)


def is_copied(server: Server, start: int) -> bool:
    return wait_for(lambda: "User Info is copied from" in server.log(start), SOON)


def cannot_write(server: Server, *arguments: str) -> str:
    done = server.sbcauth("user", *arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("postgresql://")
    return done.stderr


@contextmanager
def frozen(postgresql: Postgresql) -> Iterator[None]:
    postgresql.freeze()
    try:
        yield
    finally:
        postgresql.thaw()


def test_change_is_seen_and_the_copy_is_its_owners_alone(
    postgresql: Postgresql, start_server: Start
) -> None:
    server = start_server(config(postgresql.url()))
    server.add_user("1001", "secret")
    assert seen(server, "1001")
    server.add_user("1002", "secret")
    assert seen(server, "1002")
    assert not registers(server, "1001", "wrong")
    server.administer("user", "set-password", "1001", "--password-stdin", stdin="changed\n")
    assert seen(server, "1001", "changed")
    server.administer("user", "disable", "1001")
    assert wait_for(lambda: not registers(server, "1001", "changed"), SOON)
    server.administer("user", "remove", "1002")
    assert wait_for(lambda: not registers(server, "1002", "secret"), SOON)
    copy = server.folder / "users-copy.db"
    for file in copy.parent.glob("users-copy.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("SELECT count(*) FROM user_info").fetchone() == (1,)
        ha1s = [ha1 for (ha1,) in database.execute("SELECT ha1 FROM ha1")]
    assert len(ha1s) == 3
    assert all(ha1.startswith("v1:") for ha1 in ha1s)
    assert "has every change" in server.administer("doctor")
    copied = json.loads(server.administer("status", "--json"))["users_copy"]
    assert copied["server"] == f"127.0.0.1:{postgresql.port}"
    assert copied["error"] == ""
    assert time.time() - copied["seen_at"] < SOON
    assert copied["users"] == 1
    metrics = server.administer("status", "--prometheus")
    assert "\nsbcauth_users_copy_up 1\n" in metrics
    assert "\nsbcauth_users_copy_users 1\n" in metrics
    assert "\nsbcauth_users_copy_failures_total 0\n" in metrics


CHANGES = {
    "add": (["--ip-group", "Phones"], "first", True),
    "set-password": ([], "second", True),
    "disable": ([], "", False),
    "enable": ([], "", True),
    "remove": ([], "", False),
}
"""Commands that change a user, one after the other; the password that each sets, if any, and
whether the user is let in from then on.
"""


def test_change_of_a_user_is_seen_at_all_nodes_within_a_second(
    postgresql: Postgresql, start_server: Start
) -> None:
    nodes = [start_server(config(postgresql.url())) for _ in range(3)]
    nodes[0].add_user("1001", "secret")
    for node in nodes[1:]:
        shutil.copy(nodes[0].folder / "sbcauth.seal", node.folder / "sbcauth.seal")
    assert all(wait_for(partial(row_of, node, "1001"), SOON) for node in nodes)
    password, took = "", []
    for command, (options, new, is_let_in) in CHANGES.items():
        before = [row_of(node, "1002") for node in nodes]
        stdin = ["--password-stdin"] * bool(new)
        nodes[1].administer("user", command, "1002", *options, *stdin, stdin=f"{new}\n")
        began = time.monotonic()
        for node, old in zip(nodes, before, strict=True):
            assert wait_for(partial(has_changed, node, "1002", old), SOON), command
        took.append(time.monotonic() - began)
        password = new or password
        for node in nodes:
            assert registers(node, "1002", password) is is_let_in, (command, node.log()[-2000:])
    assert statistics.median(took) < 1.0, took


ROW = """
    SELECT enabled, group_concat(ha1) FROM user_info JOIN ha1 ON ha1.user = user_info.id
    WHERE username = ? GROUP BY user_info.id
"""


def row_of(node: Server, username: str) -> object:
    """Return what a node's copy has of a user; its workers look there."""
    try:
        with closing(sqlite3.connect(node.folder / "users-copy.db", timeout=5)) as copy:
            return copy.execute(ROW, (username,)).fetchone()
    except sqlite3.OperationalError:  # it is not there yet
        return None


def has_changed(node: Server, username: str, old: object) -> bool:
    return row_of(node, username) != old


def test_row_that_something_else_changes_is_seen(
    postgresql: Postgresql, start_server: Start
) -> None:
    server = start_server(config(postgresql.url()))
    server.add_user("1001", "secret")
    assert seen(server, "1001")
    postgresql.execute("UPDATE user_info SET enabled = false")
    assert wait_for(lambda: not registers(server, "1001", "secret"), SOON)
    postgresql.execute("TRUNCATE user_info CASCADE")
    copy = server.folder / "users-copy.db"

    def is_empty() -> bool:
        with closing(sqlite3.connect(copy)) as database:
            found = database.execute("SELECT count(*) FROM user_info").fetchone()
            return bool(found == (0,))

    assert wait_for(is_empty, SOON)


@pytest.mark.parametrize("how", ["stopped", "killed", "frozen"])
def test_phones_are_served_as_last_seen(
    how: str, postgresql: Postgresql, start_server: Start
) -> None:
    server = start_server(config(postgresql.url()))
    server.add_user("1001", "secret")
    assert seen(server, "1001")
    start = server.log_size()
    {"stopped": postgresql.stop, "killed": postgresql.kill, "frozen": postgresql.freeze}[how]()
    try:
        assert has_lost_its_database(server, start)
        assert registers(server, "1001", "secret")
        assert not registers(server, "1001", "wrong")
        cannot_write(server, "disable", "1001")
        assert "as last seen: postgresql://" in server.administer("status")
        assert "\nsbcauth_users_copy_up 0\n" in server.administer("status", "--prometheus")
        listed = server.sbcauth("user", "list")
        assert listed.returncode == 0
        assert "1001" in listed.stdout
        assert "as last seen" in listed.stderr
        start = server.log_size()
        if how == "stopped":
            server.restart()  # from the disk
            assert registers(server, "1001", "secret")
            start = server.log_size()
    finally:
        postgresql.thaw() if how == "frozen" else postgresql.start()
    assert is_copied(server, start)
    server.add_user("1002", "secret")
    assert seen(server, "1002")


def test_node_without_a_copy_turns_nobody_away_for_good(
    postgresql: Postgresql, start_server: Start
) -> None:
    first = start_server(config(postgresql.url()))
    first.add_user("1001", "secret")
    with frozen(postgresql):
        second = start_server(config(postgresql.url()))
        (second.folder / "sbcauth.seal").write_bytes((first.folder / "sbcauth.seal").read_bytes())
        with Phone(second, "1001", "secret", expires=0) as phone:
            answer = phone.register()
        assert answer.status == 503
        assert not list(second.folder.glob("users-copy.db-*"))
    assert seen(second, "1001")


def test_copy_that_is_removed_is_made_anew(postgresql: Postgresql, start_server: Start) -> None:
    server = start_server(config(postgresql.url()))
    server.add_user("1001", "secret")
    assert seen(server, "1001")
    for file in server.folder.glob("users-copy.db*"):
        file.unlink(missing_ok=True)
    assert wait_for((server.folder / "users-copy.db").exists, SOON)
    assert seen(server, "1001")


def test_password_of_the_database_changes(postgresql: Postgresql, start_server: Start) -> None:
    hba = postgresql.data / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(f"host all sbcauth 127.0.0.1/32 scram-sha-256\n{before}")
    postgresql.execute("ALTER ROLE sbcauth PASSWORD 'first/@:%'")
    postgresql.execute("SELECT pg_reload_conf()")
    url = postgresql.url().replace("sbcauth@", "sbcauth:${file:database.password}@")
    try:
        server = start_server(config(postgresql.url()), well=True)
        secret = server.folder / "database.password"
        secret.write_text("first/@:%\n")
        server.config_file.write_text(config(url) + "log: all\n")
        server.administer("reload")
        server.add_user("1001", "secret")
        assert seen(server, "1001")
        assert "first" not in server.administer("config", "show")
        postgresql.execute("ALTER ROLE sbcauth PASSWORD 'second'")
        postgresql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sbcauth'"
        )
        said = cannot_write(server, "disable", "1001")
        assert "password authentication failed" in said
        assert "first" not in said
        assert registers(server, "1001", "secret")
        secret.write_text("second\n")
        assert "password of the database changed" in server.administer("reload")
        server.add_user("1002", "secret")
        assert seen(server, "1002")
        assert "first" not in server.log()
    finally:
        hba.write_text(before)
        postgresql.execute("SELECT pg_reload_conf()")
        postgresql.execute("ALTER ROLE sbcauth PASSWORD NULL")


def test_standby_takes_over(start_server: Start) -> None:
    with Postgresql(tls=True) as primary, Postgresql(of=primary, tls=True) as standby:
        url = f"{urls_of([primary, standby])}&sslmode=require"
        server = start_server(config(url))
        server.add_user("1001", "secret")
        assert seen(server, "1001")
        caught_up = "SELECT count(*) FROM user_info"
        assert wait_for(lambda: standby.execute(caught_up) == [(1,)], SOON)
        start = server.log_size()
        primary.kill()
        assert has_lost_its_database(server, start)
        assert registers(server, "1001", "secret")
        start = server.log_size()
        standby.promote()
        assert is_copied(server, start)
        server.add_user("1002", "secret")
        assert seen(server, "1002")
        assert re.search(rf"copied from 127\.0\.0\.1:{standby.port}", server.log(start))


def test_another_server_that_lacks_the_last_changes_is_copied_anew(
    postgresql: Postgresql, start_server: Start, tmp_path: Path
) -> None:
    """As a standby that takes over before it has seen all; by another name of the last change."""
    server = start_server(config(postgresql.url()))
    for username in ("1001", "1002"):
        server.add_user(username, "secret")
    assert seen(server, "1002")
    postgresql.execute("ALTER TABLE user_info DISABLE TRIGGER ALL")
    postgresql.execute("ALTER TABLE ha1 DISABLE TRIGGER ALL")
    postgresql.execute('DELETE FROM ha1 WHERE "user" = 2')
    postgresql.execute("DELETE FROM user_info WHERE username = '1002'")
    postgresql.execute("UPDATE revision SET stamp = gen_random_uuid()")
    assert wait_for(lambda: not registers(server, "1002", "secret"), SOON)
    assert registers(server, "1001", "secret")
