"""docs/troubleshooting.md, played: each row's trouble is made, and its command names the cause."""

import os
import re
import shlex
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from certificates import make_tls_config
from kamailio import Server, free_port, with_all_outcomes
from phone import Phone
from repository import REPOSITORY

TEXT = (REPOSITORY / "docs" / "troubleshooting.md").read_text("utf-8")
ROWS = re.findall(r"^\| (.+?) \| `sbcauth (.+?)` \| (.+?) \|$", TEXT, re.MULTILINE)
CONFIG = """\
realm: example.com
log: changes
old_password_memory: 3600
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{address: 127.0.0.1}]
  - name: Office
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{address: 127.0.0.2}]
  - name: Carrier
    type: server
    proxy_set: ["sip:127.0.0.9:5060"]
    authentication_mode: sbc-as-server
    authentication_method_list: [INVITE]
    username_as_server: carrier
    password_as_server: secret-of-the-carrier
"""
USERS = {"1001": "secret", "1005": "secret", "Office/1003": "secret"}
Make = Callable[[Server], Callable[[], None] | None]
"""Makes a trouble; what it returns ends it."""


def registers(server: Server, username: str, password: str = USERS["1001"], **how: Any) -> int:
    with Phone(server, username, password, **how) as phone:
        return phone.register().status


def old_password(server: Server) -> None:
    server.administer("user", "set-password", "1001", "--password-stdin", stdin="a-new-password")
    assert registers(server, "1001") == 401


def wrong_password(server: Server) -> None:
    assert registers(server, "1001", "mistyped") == 401


def unknown_user(server: Server) -> None:
    assert registers(server, "1009") == 401


def name_with_domain(server: Server) -> None:
    assert registers(server, "1001@example.com", local_user="1001") == 401


def other_ip_group(server: Server) -> None:
    assert registers(server, "1003") == 401


def disabled(server: Server) -> None:
    server.administer("user", "disable", "1001")
    assert registers(server, "1001") == 401


def locked_out(server: Server) -> None:
    assert [registers(server, "1001", "mistyped") for _ in range(3)] == [401, 401, 403]
    assert registers(server, "1001") == 403


def other_address(server: Server) -> None:
    assert registers(server, "1001", local_user="1005") == 403


def foreign_realm(server: Server) -> None:
    with Phone(server, "1001") as phone:
        phone.send(
            phone.build(
                "REGISTER",
                headers=[
                    'Authorization: Digest username="1001", realm="old.example", nonce="abc", '
                    f'uri="sip:example.com", response="{"0" * 32}"'
                ],
            )
        )
        assert phone.response(phone.last_branch).status == 401


def never_answers(server: Server) -> None:
    for _ in range(3):
        with Phone(server, "1001") as phone:
            assert phone.request("REGISTER").status == 401


def several(server: Server) -> None:
    wrong_password(server)
    disabled(server)


def registered(server: Server) -> None:
    assert registers(server, "1001") == 200


def from_new_address(server: Server) -> None:
    with Phone(server, "carrier", "secret-of-the-carrier", address="127.0.0.77") as carrier:
        assert carrier.request("INVITE").status == 403


def wrong_password_of_carrier(server: Server) -> None:
    with Phone(server, "carrier", "mistyped", address="127.0.0.9") as carrier:
        assert carrier.authenticate("INVITE").status in (401, 407)


def password_cut_short(server: Server) -> None:
    server.config_file.write_text(CONFIG.replace("secret-of-the-carrier", "secret #7"))


def rotated_log(server: Server) -> None:
    log = server.folder / "outcomes.log"
    restarted(server, f"log_to: {log}\n{CONFIG}")
    wrong_password(server)
    log.rename(f"{log}.1")


def loopback_alone(server: Server) -> None:
    outside = CONFIG.replace("address: 127.0.0.1}", "address: 192.0.2.0/24}")
    server.config_file.write_text(outside)


def no_log_folder(server: Server) -> None:
    server.config_file.write_text(f"log_to: log/outcomes.log\n{CONFIG}")


def nothing(server: Server) -> None:
    """Leave all as it is."""


def unknown_key(server: Server) -> None:
    server.config_file.write_text(CONFIG.replace("realm:", "realms:"))


def indented_by_tab(server: Server) -> None:
    server.config_file.write_text(CONFIG.replace("    type: server", "\ttype: server"))


def stopped(server: Server) -> None:
    server.stop()


def unreadable(server: Server) -> None:
    server.stop()  # started by systemd as another user, who owns the folder

    os.chown(server.folder, 1, 1)


def other_realm(server: Server) -> None:
    server.config_file.write_text(CONFIG.replace("example.com", "example.org"))


def changed(server: Server) -> None:
    server.config_file.write_text(CONFIG + "max_auth_attempts: 5\n")


def restarted(server: Server, config: str) -> None:
    """Have the server work by another configuration from its start on."""
    server.stop()
    server.config_file.write_text(with_all_outcomes(config))
    server.start()


def old_certificate(server: Server) -> None:
    (server.folder / "tls").mkdir()
    file = make_tls_config(server.folder / "tls", "faketime", "2020-01-01")
    listen = f"tls:127.0.0.1:{free_port()}"
    server.options += ["--listen", listen, "--tls-config", str(file)]
    restarted(server, CONFIG)


def newer_database(server: Server) -> None:
    with closing(sqlite3.connect(server.folder / "sbcauth.db")) as database:
        database.execute("PRAGMA user_version = 99")


def locked_database(server: Server) -> Callable[[], None]:
    database = sqlite3.connect(server.folder / "sbcauth.db", isolation_level=None)
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("BEGIN EXCLUSIVE")
    return database.close


def no_database(server: Server) -> None:
    (server.folder / "sbcauth.db").write_bytes(b"lost+found" * 1000)


def no_sealing_keys(server: Server) -> None:
    (server.folder / "sbcauth.seal").unlink()


def service_away(server: Server) -> None:
    settings = f"urls: [https://127.0.0.1:{free_port()}/], secret: {'s' * 32}"
    restarted(server, f"server_auth_mode: http\nhttp: {{{settings}}}\n{CONFIG}")
    assert registers(server, "1001") == 503


def silent_radius(server: Server) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as radius:
        radius.bind(("127.0.0.1", 0))
        port = radius.getsockname()[1]
        one = f"{{address: 127.0.0.1, port: {port}, secret: another-than-his}}"
        radius_settings = f"radius: {{servers: [{one}], timeout: 500ms, tries: 1}}"
        restarted(server, f"server_auth_mode: radius\n{radius_settings}\n{CONFIG}")
        assert registers(server, "1001") == 503


def engine_away(server: Server) -> None:
    engine = f"redis://127.0.0.1:{free_port()}"
    restarted(server, f"cluster: {{node: 1, nodes: 2, engine: '{engine}'}}\n{CONFIG}")
    assert registers(server, "1001") == 503


def postgresql_away(server: Server) -> None:
    url = f"postgresql://sbcauth@127.0.0.1:{free_port()}/sbcauth"
    restarted(server, f"database: {url}\n{CONFIG}")


def full_disk(server: Server) -> None:
    disk = server.folder / "disk"
    disk.mkdir()
    options = "size=8m,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)
    server.config_file.write_text(f"database: sqlite:///disk/users.db\n{CONFIG}")


def clock_is_behind(server: Server) -> None:
    later = time.time() + 3600
    os.utime(server.folder / "sbcauth.keys", (later, later))


def carrier_without_address(server: Server) -> None:
    server.config_file.write_text(CONFIG.replace("sip:127.0.0.9:5060", "sip:carrier.invalid"))


TROUBLES: dict[str, Make] = {
    "a phone is refused since its password was changed": old_password,
    "a phone is refused, and somebody set it up by hand": wrong_password,
    "a new phone is refused": unknown_user,
    "the same, and its user name is there": name_with_domain,
    "a phone that moved to another network is refused": other_ip_group,
    "a user was disabled": disabled,
    "403, though the password is right now": locked_out,
    "one phone on a desk registers as another": other_address,
    "a phone came from another provider": foreign_realm,
    "a phone tries on and on, and is never refused": never_answers,
    "a phone was refused before logs were rotated": rotated_log,
    "no phone gets an answer, though the server runs": loopback_alone,
    "nothing is logged": no_log_folder,
    "several things were wrong one after the other": several,
    "a phone is registered, as it says, and nobody can call it": registered,
    "a carrier has new addresses, and its calls get 403": from_new_address,
    "the same, and its user name is known": from_new_address,
    "a carrier's calls get 407 again and again": wrong_password_of_carrier,
    "the same, and its password has a `#` in it": password_cut_short,
    "a carrier gets no answer at all": nothing,
    "calls come from somewhere that you do not know": from_new_address,
    "it does not start": nothing,
    "it does not start after a change": unknown_key,
    "the same, and every line looks right": indented_by_tab,
    "it does not start at the address that it was given": nothing,
    "it does not start with TLS": nothing,
    "phones over TLS no longer connect": old_certificate,
    "`no server answers`": stopped,
    "every phone gets 503": unreadable,
    "the same, after an older version was installed again": newer_database,
    "the same, while another program uses the database": locked_database,
    "the same, after a disk was lost": no_database,
    "the same, after a backup was put back without the sealing keys": no_sealing_keys,
    "the same, where a service by HTTP verifies": service_away,
    "the same, where RADIUS does, and its server runs": silent_radius,
    "strangers get 503 in a cluster": engine_away,
    "users in PostgreSQL cannot be changed": postgresql_away,
    "users cannot be changed, and registrations are gone after a restart": full_disk,
    "phones were challenged anew, all at once, after the clock was set": clock_is_behind,
    "calls to a carrier with a name get no answer": carrier_without_address,
    "every phone is challenged again and again since the realm was changed": other_realm,
    "a change in `sbcauth.yaml` has no effect": changed,
}


def unmount(disk: Path) -> None:
    if disk.is_mount():
        subprocess.run(["umount", str(disk)], check=True)


def test_every_row_is_played() -> None:
    assert [seen for seen, _, _ in ROWS] == list(TROUBLES)


@pytest.mark.parametrize(("seen", "command", "says"), ROWS, ids=[row[0] for row in ROWS])
def test_command_names_the_cause(seen: str, command: str, says: str, tmp_path: Path) -> None:
    server = Server(tmp_path, CONFIG)
    for user, password in USERS.items():
        ip_group, _, username = user.rpartition("/")
        server.add_user(username, password, ip_group or "Phones")
    with ExitStack() as stack:
        server.start()
        stack.callback(server.stop)
        stack.callback(unmount, tmp_path / "disk")
        if end := TROUBLES[seen](server):
            stack.callback(end)
        arguments = shlex.split(command)
        if arguments[0] == "run":  # another one, at the same port where no other is named
            (tmp_path / "second").mkdir()
            second = Server(tmp_path / "second", CONFIG)
            where = arguments[1:] or ["--listen", f"udp:127.0.0.1:{server.port}"]
            done = second.sbcauth("run", *where)
        else:
            done = server.sbcauth(*arguments)
    assert says in done.stdout + done.stderr
