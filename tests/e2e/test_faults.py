"""docs/faults.md, row by row: what is served, what is refused, and when it is well again."""

import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from kamailio import SBCAUTH, Server, StartServer, wait_for
from memory import rpc
from phone import Phone
from repository import REPOSITORY
from sip import Response

from sbcauth.installation import kamailio_cfg

ERRORS_MEANT = (
    r"shm|out of mem|shared memory",
    r"htable .*cannot (create|set)",
    r"t_newtran\(\): new_t failed",
)  # memory ends
CONFIG = """\
realm: example.com
attempt_window: 2
max_auth_attempts: 100
max_failures_per_source: 0
max_failures_per_user: 0
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
    classification: [{address: 127.0.0.0/8}]
"""
WITH_A_BUG = Path(__file__).with_name("faults") / "with_a_bug.py"
STRONG = "no scanner has this one"
NOTICED = 0.3
"""Seconds after which each worker has noticed a change of the files, with its next request."""
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture
def server(start_server: StartServer) -> Server:
    server = start_server(CONFIG)
    server.add_user("1001", "secret")
    server.add_user("1002", "secret")
    assert registers(server, "1001")
    return server


def answer(server: Server, username: str = "1001", **how: Any) -> tuple[Response, dict[str, str]]:
    """Return what a right password gets, and what the log says of it."""
    with Phone(server, username, expires=0, **how) as phone:
        reply = phone.register()
        return reply, server.outcomes(phone.call_id)[-1]


def registers(server: Server, username: str = "1001") -> bool:
    return answer(server, username)[0].status == 200


def is_unavailable(server: Server, username: str = "1001") -> bool:
    """Tell whether a right password gets 503, with when to come again, and why in the log."""
    reply, line = answer(server, username)
    if reply.status != 503:
        return False
    assert int(reply.header("Retry-After")) > 0
    assert line["reason"] == "unavailable"
    assert line["detail"]
    return True


def database(server: Server) -> Path:
    return server.folder / "sbcauth.db"


def sealing_keys(server: Server) -> Path:
    return server.folder / "sbcauth.seal"


@contextmanager
def locked(file: Path, *, readers_too: bool) -> Iterator[None]:
    """Hold a lock as another program does that writes, or that wants the file for itself."""
    other = sqlite3.connect(file, isolation_level=None)
    try:
        if readers_too:
            other.execute("PRAGMA locking_mode=exclusive")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE user_info SET updated_at=updated_at")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


def test_database_that_another_program_writes_to_is_read_all_the_while(server: Server) -> None:
    with locked(database(server), readers_too=False):
        for username in ("1001", "1002"):
            assert registers(server, username)


def test_database_that_another_program_has_locked_means_503_until_it_lets_go(
    server: Server,
) -> None:
    server.stop()  # so that nobody else has it open
    server.start()
    with locked(database(server), readers_too=True):
        for _ in range(4):
            before = time.monotonic()
            assert is_unavailable(server)
            assert time.monotonic() - before < 3, "a SIP worker waits no longer than it must"
        with Phone(server) as phone:
            assert phone.request("REGISTER").status == 401
    assert wait_for(lambda: registers(server))


def test_database_on_a_file_system_that_is_read_only_means_503(server: Server) -> None:
    server.stop()
    mounted = server.folder / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "--bind", mounted, mounted], check=True)  # as root
    try:
        shutil.move(database(server), mounted / "sbcauth.db")
        shutil.move(sealing_keys(server), mounted / "sbcauth.seal")
        text = server.config_file.read_text()
        server.config_file.write_text(f"database: sqlite:///{mounted}/sbcauth.db\n{text}")
        server.options += ["--registrations", str(server.folder / "registrations.db")]
        server.start()
        subprocess.run(["mount", "-o", "remount,ro,bind", mounted], check=True)
        assert all(is_unavailable(server) for _ in range(4))
        done = server.sbcauth("user", "disable", "1001", "--ip-group", "Phones")
        assert done.returncode == 1
        assert re.search("read-?only", done.stderr, re.IGNORECASE), done.stderr
        subprocess.run(["mount", "-o", "remount,rw,bind", mounted], check=True)
        assert wait_for(lambda: registers(server))
    finally:
        server.stop()
        subprocess.run(["umount", mounted], check=True)


def test_database_that_is_replaced_is_the_one_that_counts(server: Server) -> None:
    other = server.folder / "other.db"
    with sqlite3.connect(database(server)) as source, sqlite3.connect(other) as copy:
        source.backup(copy)
    source.close()
    copy.execute("DELETE FROM user_info WHERE username='1001'")
    copy.commit()
    copy.close()
    other.rename(database(server))
    assert wait_for(lambda: not registers(server, "1001"))
    assert registers(server, "1002")


def test_full_disk_fails_the_command_and_nothing_is_half_done(
    server: Server, tmp_path: Path
) -> None:
    """A limit on the size of files does to a command what a full disk does."""
    users = tmp_path / "users.csv"
    rows = [f"n{number},n{number},secret,Phones" for number in range(5000)]
    users.write_text("\n".join(["local_user,username,password,ip_group", *rows, ""]))
    limit = database(server).stat().st_size + 200_000
    done = subprocess.run(
        [str(SBCAUTH), "--config", str(server.config_file), "user", "import", str(users)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert registers(server)
    assert server.administer("user", "list", "--json").count('"username"') == 2
    server.administer("user", "import", str(users))
    assert wait_for(lambda: registers(server, "n4999"))


def test_import_that_is_killed_leaves_the_table_as_it_was(server: Server, tmp_path: Path) -> None:
    users = tmp_path / "users.csv"
    rows = [f"n{number},n{number},secret,Phones" for number in range(100_000)]
    users.write_text("\n".join(["local_user,username,password,ip_group", *rows, ""]))
    size = database(server).with_name("sbcauth.db-wal")
    command = [str(SBCAUTH), "--config", str(server.config_file), "user", "import", str(users)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        before = size.stat().st_size
        assert wait_for(lambda: size.stat().st_size > before or process.poll() is not None, 20)
        assert process.poll() is None, "it was too fast to be killed"
        process.kill()
    assert registers(server)
    assert server.administer("user", "list", "--json").count('"username"') == 2
    server.add_user("1003", "secret")
    assert wait_for(lambda: registers(server, "1003"))


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock of the servers that the test starts, in seconds from the true one."""
    assert FAKETIME, "apt install faketime, as `make test` does"
    file = tmp_path / "clock"

    def step(seconds: float) -> None:
        draft = tmp_path / "draft"
        draft.write_text(f"{seconds:+}")
        draft.rename(file)

    step(0)
    monkeypatch.setenv("LD_PRELOAD", str(FAKETIME))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(file))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    return step


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_clock_that_is_set_costs_a_phone_one_challenge_more(
    clock: Callable[[float], None], start_server: StartServer, seconds: int
) -> None:
    server = start_server(CONFIG)
    server.add_user("1001", "secret")
    with Phone(server, expires=0) as phone:
        challenge = phone.request("REGISTER")
        assert phone.request("REGISTER", answering=challenge).status == 200
        clock(seconds)
        stale = phone.request("REGISTER", answering=challenge, nc=2)
        assert (stale.status, stale.challenges[0].stale) == (401, True)
        assert phone.request("REGISTER", answering=stale).status == 200
        assert phone.request("REGISTER", answering=stale).status == 401, "a replay"
    assert all(registers(server) for _ in range(8))


def with_little_room(
    start_server: StartServer, tmp_path: Path, config: str, kib: int, **how: Any
) -> Server:
    """Start a server that has no more than that left of its shared memory.

    So it is soon full, however fast the machine is.
    """
    cfg = tmp_path / "little-room.cfg"
    filler = 'modparam("htable", "htable", "filler=>size=8;")\n'
    text = kamailio_cfg().read_text()
    cfg.write_text(text.replace('modparam("app_py', f'{filler}modparam("app_py'))
    server = start_server(config, options=["--shared-memory", "16", "--cfg", str(cfg)], **how)
    server.add_user("1001", "secret")
    line = rpc(server)
    number = 0
    while int(line.call("core.shmmem")["free"]) >= kib * 1024:
        line.call("htable.sets", "filler", str(number), "x" * 2000)
        number += 1
    return server


def test_full_table_means_503_and_never_a_pass_until_its_entries_have_ended(
    start_server: StartServer, tmp_path: Path
) -> None:
    config = CONFIG.replace("window: 2", "window: 10")
    server = with_little_room(start_server, tmp_path, config, 150)
    with Phone(server) as stranger:
        stranger.patience = 5
        replies: list[int] = []
        while 503 not in replies[-20:] and len(replies) < 60_000:
            challenge = stranger.request("REGISTER")
            if not challenge.challenges:
                replies.append(challenge.status)
                continue
            name = f"u{len(replies)}"
            with suppress(TimeoutError):  # Kamailio may have no room for the answer either
                guess = stranger.request("REGISTER", answering=challenge, username=name)
                replies.append(guess.status)
        assert replies[-1] == 503
        assert set(replies) <= {401, 403, 503}
    assert wait_for(lambda: registers(server), 120)


def test_memory_full_of_transactions_means_503_and_never_half_an_account(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = with_little_room(start_server, tmp_path, CONFIG, 600, well=False)
    torn = "unable to set pv [$avp(sbcauth_"  # Kamailio has no room for what the route is told
    statuses = set()
    with Phone(server) as phone:
        phone.patience = 5
        for _ in range(20):
            if torn in server.log() and 503 in statuses:
                break
            for _ in range(500):
                challenge = phone.request("MESSAGE", "sip:nobody@example.com")
                assert challenge.status == 401
                with suppress(TimeoutError):  # nor for the answer
                    reply = phone.request("MESSAGE", "sip:nobody@example.com", answering=challenge)
                    statuses.add(reply.status)
    assert torn in server.log()
    assert 503 in statuses
    assert statuses <= {404, 503}
    assert wait_for(lambda: registers(server))


def test_bug_means_500_and_the_next_request_is_served(
    start_server: StartServer, tmp_path: Path
) -> None:
    cfg = tmp_path / "with_a_bug.cfg"
    product = '"load", SBCAUTH_SCRIPT)'
    text = (REPOSITORY / "kamailio.cfg").read_text()
    assert text.count(product) == 1
    cfg.write_text(text.replace(product, f'"load", "{WITH_A_BUG}")'))
    server = start_server(CONFIG, options=["--cfg", str(cfg)], well=False)
    server.add_user("1001", "secret")
    processes = server.processes()
    for _ in range(4):
        with Phone(server, "bug") as phone:
            assert phone.request("REGISTER").status == 500
            assert server.reasons(phone.call_id) == ["internal-error"]
        assert registers(server)
    assert server.processes() == processes
    lines = [line for line in server.log().splitlines() if "a bug, please report it" in line]
    assert len(lines) == 4
    assert all("ZeroDivisionError" in line for line in lines)


def test_sighup_changes_nothing(server: Server) -> None:
    processes = server.processes()
    os.kill(server.pid, signal.SIGHUP)
    assert registers(server)
    assert server.processes() == processes


def test_sigterm_in_the_middle_of_load_stops_it_in_time_and_loses_no_user(server: Server) -> None:
    over = threading.Event()

    def load() -> None:
        with Phone(server, expires=0) as phone:
            phone.patience = 3
            while not over.is_set():
                try:
                    phone.register()
                except (TimeoutError, OSError):
                    return

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    before = time.monotonic()
    code = server.stop()
    over.set()
    assert (code, time.monotonic() - before < 15) == (0, True)
    for thread in threads:
        thread.join()
    server.start()
    assert registers(server)
    assert registers(server, "1002")


def test_registration_outlives_faults_of_the_database_reloads_and_signals(server: Server) -> None:
    """A fault of the database, a reload or a signal takes no contact away."""
    with Phone(server, "1002") as callee, Phone(server, "1001") as caller:
        assert callee.register().status == 200
        os.kill(server.pid, signal.SIGHUP)
        server.config_file.write_text("no: yaml: at all")
        assert server.sbcauth("reload").returncode == 1
        file = database(server)
        file.rename(file.with_name("away.db"))
        assert wait_for(lambda: is_unavailable(server))
        file.with_name("away.db").rename(file)
        assert wait_for(lambda: registers(server))
        caller.send(caller.build("INVITE", "sip:1002@example.com"))
        challenge = caller.response(caller.last_branch)
        caller.acknowledge(challenge)
        caller.send(caller.build("INVITE", "sip:1002@example.com", answering=challenge))
        assert callee.incoming("INVITE").method == "INVITE"


@pytest.mark.parametrize("page", ["faults.md", "threat-model.md"])
def test_every_row_of_the_page_is_shown_by_a_test(page: str) -> None:
    rows = re.findall(
        r"^\| [^|\n]*[a-z].*$", (REPOSITORY / "docs" / page).read_text(), re.MULTILINE
    )
    rows = [row for row in rows if not row.endswith("| test |")]
    tests = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert len(rows) > 10
    for row in rows:
        names = re.findall(r"`(test_\w+)`", row.rpartition(" | ")[2])
        assert names, row
        for name in names:
            assert f"def {name}(" in tests, name


def test_sealing_keys_that_are_gone_mean_503_until_they_are_back(server: Server) -> None:
    aside = server.folder / "aside"
    sealing_keys(server).rename(aside)
    time.sleep(NOTICED)
    assert all(is_unavailable(server, name) for name in ("1001", "1002", "nobody"))
    assert "sbcauth.seal" in answer(server)[1]["detail"]
    with Phone(server) as phone:
        assert phone.request("REGISTER").status == 401
    done = server.sbcauth("user", "set-password", "1001", "--password-stdin", stdin=f"{STRONG}\n")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    aside.rename(sealing_keys(server))
    assert wait_for(lambda: registers(server))


def test_sealing_keys_that_may_not_be_read_mean_503(server: Server) -> None:
    keys = sealing_keys(server).read_text()
    sealing_keys(server).unlink()
    sealing_keys(server).mkdir()  # root reads every file, but no folder as one
    time.sleep(NOTICED)
    assert all(is_unavailable(server, name) for name in ("1001", "1002", "nobody"))
    sealing_keys(server).rmdir()
    sealing_keys(server).write_text(keys)
    assert wait_for(lambda: registers(server))


def test_sealing_keys_that_are_others_mean_503(server: Server) -> None:
    keys = sealing_keys(server).read_text()
    sealing_keys(server).write_text(f"0 {'ab' * 32}\n")
    time.sleep(NOTICED)
    assert all(is_unavailable(server, name) for name in ("1001", "1002", "nobody"))
    assert "is not the file" in answer(server)[1]["detail"]
    sealing_keys(server).write_text(keys)
    assert wait_for(lambda: registers(server))


def test_sealed_value_that_was_changed_means_503_for_its_user_alone(server: Server) -> None:
    with sqlite3.connect(database(server)) as other:
        other.execute(
            "UPDATE ha1 SET ha1="
            "(SELECT ha1 FROM ha1 JOIN user_info ON user=id"
            " WHERE username='1002' AND algorithm='MD5')"
            " WHERE user=(SELECT id FROM user_info WHERE username='1001') AND algorithm='MD5'"
        )
    other.close()
    time.sleep(NOTICED)
    assert is_unavailable(server)
    assert "1001" in answer(server)[1]["detail"]
    assert registers(server, "1002")
    server.administer("user", "set-password", "1002", "--password-stdin", stdin="secret\n")
    server.administer("user", "remove", "1001")
    server.add_user("1001", "secret")
    assert wait_for(lambda: registers(server))


def test_phones_register_while_users_are_sealed_anew(server: Server) -> None:
    for _ in range(3):
        server.administer("user", "reseal", "--rotate")
        assert all(registers(server, username) for username in ("1001", "1002"))


def test_sealing_keys_can_be_moved_and_no_phone_notices(server: Server) -> None:
    elsewhere = server.folder / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(sealing_keys(server), elsewhere / "ha1.seal")
    with server.config_file.open("a") as config:
        config.write("ha1_key_file: elsewhere/ha1.seal\n")
    server.administer("reload")
    assert registers(server, "1001")
    time.sleep(1)
    sealing_keys(server).unlink()
    assert all(registers(server, username) for username in ("1001", "1002") * 4)
    server.add_user("1003", STRONG)
    with Phone(server, "1003", STRONG, expires=0) as phone:
        assert wait_for(lambda: phone.register().status == 200)


def test_no_ha1_is_in_the_files_of_the_database(server: Server) -> None:
    exported = server.administer("user", "export")
    ha1s = re.findall(r"\b(?:[0-9a-f]{32}|[0-9a-f]{64})\b", exported)
    assert len(ha1s) == 6
    written = b"".join(path.read_bytes() for path in server.folder.glob("sbcauth.db*"))
    for ha1 in ha1s:
        assert ha1.encode() not in written
        assert bytes.fromhex(ha1) not in written
