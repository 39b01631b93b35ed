"""The command `sbcauth`, as a person runs it: what it prints, and its exit code."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from sbcauth import cli

SBCAUTH = str(Path(sys.executable).with_name("sbcauth"))
PASSWORD = "correct horse battery staple"
CONFIG = """\
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, setup-invite]
    classification: [{address: 192.0.2.0/24}]
  - name: Meeting Rooms
    type: user
    classification: [{address: 198.51.100.0/24}]
    route_to: Carrier
  - name: Carrier
    type: server
    proxy_set: [sip:203.0.113.1]
    username_as_client: us
    password_as_client: hunter2-is-secret
    client_realms: [carrier.example]
"""
REGISTER = """\
REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1
From: <sip:1001@example.com>;tag=1
To: <sip:1001@example.com>
Call-ID: 1
CSeq: 1 REGISTER

"""

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "sbcauth.yaml"
    file.write_text(CONFIG)
    return file


@pytest.fixture
def run(config: Path) -> Run:
    """Run a command in the folder of the configuration."""

    def run_command(*arguments: str, stdin: str | bytes = "", **environment: str) -> Done:
        done = subprocess.run(
            [SBCAUTH, *arguments],
            cwd=config.parent,
            env={**os.environ, "SBCAUTH_CONFIG": str(config), "COLUMNS": "200", **environment},
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        text = Done(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in text.stderr
        return text

    return run_command


@pytest.fixture
def succeed(run: Run) -> Callable[..., str]:
    """Run a command that must succeed, and return what it prints."""

    def succeed_at(*arguments: str, stdin: str = "") -> str:
        done = run(*arguments, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, ""), done.args
        return done.stdout

    return succeed_at


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """Run a command that must say no in one line, and return that line."""

    def refused_at(*arguments: str, code: int = 1, stdin: str | bytes = "", **env: str) -> str:
        done = run(*arguments, stdin=stdin, **env)
        assert (done.returncode, done.stdout) == (code, ""), done.args
        assert done.stderr.count("\n") == 1
        return done.stderr.rstrip("\n")

    return refused_at


@pytest.fixture
def user(succeed: Callable[..., str]) -> None:
    """The user 1001 of the Phones."""
    add = ("user", "add", "1001", "--ip-group", "Phones", "--password-stdin")
    assert succeed(*add, stdin=f"{PASSWORD}\n") == (
        "added 1001 to Phones, for sip:1001@example.com\n"
    )


def user_1001(succeed: Callable[..., str]) -> dict[str, object]:
    shown: dict[str, object] = json.loads(succeed("user", "show", "1001", "--json"))
    return shown


# Where the configuration is


def test_it_is_told_that_this_folder_hides_the_configuration_of_the_service(
    config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    service = tmp_path / "service.yaml"
    monkeypatch.setattr("sbcauth.cli.options._SERVICE_CONFIG", service)
    monkeypatch.delenv("SBCAUTH_CONFIG", raising=False)
    monkeypatch.chdir(config.parent)

    def said() -> str:
        return CliRunner().invoke(cli._typer, ["config", "check"]).stderr

    assert said() == ""
    service.write_text(CONFIG)
    assert said() == (
        f"note: reads sbcauth.yaml of this folder; the service's is --config {service}\n"
    )
    config.unlink()
    assert said() == ""


def test_configuration_is_named_by_option_environment_or_folder(
    run: Run, config: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG.replace("example.com", "other.example"))
    for done, realm in (
        (run("config", "show", SBCAUTH_CONFIG=""), "example.com"),
        (run("config", "show", SBCAUTH_CONFIG=str(other)), "other.example"),
        (run("--config", str(config), "config", "show", SBCAUTH_CONFIG="x"), "example.com"),
    ):
        assert f"realm: {realm}" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        *(["config", "check"], ["config", "show"], ["reload"], ["run"], ["explain", "-"]),
        *(["user", "add", "1001"], ["user", "list"], ["user", "show", "1001"]),
        *(["user", "set-password", "1001"], ["user", "enable", "1001"], ["user", "remove", "1001"]),
        *(["user", "disable", "1001"], ["user", "import", "x.csv"], ["user", "export"]),
    ],
    ids=" ".join,
)
def test_bad_configuration_is_refused_by_every_command(
    command: list[str], refused: Callable[..., str], config: Path
) -> None:
    config.write_text(f"relm: x\n{CONFIG}")
    assert refused(*command) == f"{config}:1:1: unknown key 'relm' (did you mean 'realm'?)"
    config.unlink()
    assert refused(*command) == f"{config}:1:1: No such file or directory"


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["xyzzy"], "sbcauth: No such command 'xyzzy'; see sbcauth --help"),
        (["user", "xyzzy"], "sbcauth user: No such command 'xyzzy'; see sbcauth user --help"),
        (["user", "show"], "sbcauth user show: Missing argument "),
        (["user", "show", "1001", "--jsn"], "sbcauth user show: No such option: --jsn"),
        (["user", "add", "1001", "--password", "x"], "sbcauth user add: No such option: --passw"),
        (["user", "list", "10", "extra"], "sbcauth user list: Got unexpected extra argument"),
        (["run", "--workers", "many"], "sbcauth run: Invalid value for '--workers': "),
        (["run", "--workers", "0"], "sbcauth run: Invalid value for '--workers': "),
        (["user", "import"], "sbcauth user import: Missing argument "),
        (["explain"], "sbcauth explain: Missing argument "),
        (
            ["explain", "-", "--source", "home"],
            "sbcauth explain: Invalid value for --source: 'home",
        ),
        (
            ["run", "--listen", "5060"],
            "sbcauth run: Invalid value for --listen: '5060' is not udp:",
        ),
        (
            ["lockout", "list", "--source", "192.0.2"],
            "sbcauth lockout list: Invalid value for '--source': '192.0.2' is no address or prefix",
        ),
        (["lockout", "clear"], "sbcauth lockout clear: Invalid value: say whom: "),
        (["lockout", "clear", "1001", "--all"], "sbcauth lockout clear: Invalid value: say whom"),
        (["--config"], "sbcauth: Option '--config' requires an argument; "),
    ],
)
def test_wrong_usage_is_two_and_one_line(
    arguments: list[str], said: str, refused: Callable[..., str]
) -> None:
    assert refused(*arguments, code=2, stdin=REGISTER).startswith(said)


@pytest.mark.parametrize("command", [[], ["user"], ["config"], ["lockout"]])
def test_command_without_arguments_shows_its_help(command: list[str], run: Run) -> None:
    done = run(*command)
    assert done.returncode == 2
    assert "Usage: sbcauth" in done.stderr


def test_version_is_printed(succeed: Callable[..., str]) -> None:
    assert re.fullmatch(r"sbcauth \d+\.\d+\S*\n", succeed("--version"))


# Users


@pytest.mark.usefixtures("user")
def test_user_is_shown_without_any_secret(succeed: Callable[..., str], config: Path) -> None:
    shown = user_1001(succeed)
    times = {shown.pop("created_at"), shown.pop("updated_at")}
    assert len(times) == 1
    assert shown == {
        "ip_group": "Phones",
        "username": "1001",
        "local_user": "1001",
        "realm": "example.com",
        "identities": [],
        "enabled": True,
        "algorithms": ["MD5", "SHA-256", "SHA-512-256"],
    }
    for shown_to_people in (succeed("user", "show", "1001"), succeed("user", "list")):
        assert "1001" in shown_to_people
        assert not re.search(r"[0-9a-f]{32}", shown_to_people)
    assert (config.parent / "sbcauth.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("user")
def test_users_are_listed_for_people_and_for_programs(succeed: Callable[..., str]) -> None:
    add = ("user", "add", "alice@example.com", "--password-stdin", "--local-user", "2001")
    succeed(*add, "--ip-group", "Meeting Rooms", stdin=f"{PASSWORD}\n")
    assert succeed("user", "list") == (
        "IP Group\tUser name\tLocal user\tRealm\tEnabled\n"
        "Meeting Rooms\talice@example.com\t2001\texample.com\tyes\n"
        "Phones\t1001\t1001\texample.com\tyes\n"
    )
    listed = json.loads(succeed("user", "list", "--ip-group", "Phones", "--json"))
    assert [each["username"] for each in listed] == ["1001"]
    assert json.loads(succeed("user", "list", "--ip-group", "Carrier", "--json")) == []


@pytest.mark.usefixtures("user")
def test_user_is_changed_and_removed(succeed: Callable[..., str], run: Run) -> None:
    assert succeed("user", "disable", "1001") == "disabled 1001 in Phones\n"
    assert user_1001(succeed)["enabled"] is False
    assert succeed("user", "enable", "1001") == "enabled 1001 in Phones\n"
    assert user_1001(succeed)["enabled"] is True
    before = succeed("user", "export")
    said = succeed("user", "set-password", "1001", "--password-stdin", stdin=f"{PASSWORD} new\n")
    assert said == "changed the password of 1001 in Phones\n"
    assert succeed("user", "export") != before
    assert succeed("user", "remove", "1001") == "removed 1001 from Phones\n"
    assert succeed("user", "list", "--json") == "[]\n"


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "1002"], "no user 1002; sbcauth user list shows them all"),
        (["show", "1001", "--ip-group", "Carrier"], "no user 1001 in the IP Group Carrier; "),
        (["remove", "1001", "--realm", "x"], "no user 1001; "),
        (["add", "1001", "--ip-group", "Phones", "--generate"], "1001 exists already in the IP "),
        (["add", "1002", "--ip-group", "Fones"], "there is no IP Group 'Fones'; did you mean 'Ph"),
        (["add", "1002"], "say which --ip-group: Phones, Meeting Rooms"),
        (["add", "", "--ip-group", "Phones", "--generate"], "username '' is not a name of 1 to"),
        (["import", "missing.csv"], "missing.csv: No such file or directory"),
        (["export", "missing/users.csv"], "missing/users.csv: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_one_and_one_line(arguments: list[str], said: str, run: Run) -> None:
    done = run("user", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("stdin", "said"),
    [(b"", "the password is empty"), (b"\n", "the password is empty"), (b"\xff\n", "is not UTF-8")],
)
def test_password_that_is_none_is_refused(
    stdin: bytes, said: str, refused: Callable[..., str]
) -> None:
    add = ("user", "add", "1001", "--ip-group", "Phones", "--password-stdin")
    assert said in refused(*add, stdin=stdin)


@pytest.mark.parametrize("password", ["hunter2", "1001", "12345678"])
def test_password_that_scanners_guess_first_is_warned_of(password: str, run: Run) -> None:
    add = ("user", "add", "1001", "--ip-group", "Phones", "--password-stdin")
    done = run(*add, stdin=f"{password}\n")
    assert done.returncode == 0
    assert done.stderr.startswith("warning: scanners guess")
    assert password not in done.stderr


def test_generated_password_is_strong_and_printed_once(succeed: Callable[..., str]) -> None:
    passwords = set()
    for username in ("1001", "1002"):
        said = succeed("user", "add", username, "--ip-group", "Phones", "--generate")
        match = re.match(r"password: (\S{20,})\nadded ", said)
        assert match
        passwords.add(match[1])
    assert len(passwords) == 2


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize(
    "arguments", [["add", "1001"], ["add", "1002", "--ip-group", "Fones"], ["set-password", "1002"]]
)
def test_generated_password_that_was_not_taken_is_not_printed(
    arguments: list[str], refused: Callable[..., str]
) -> None:
    groups = () if "--ip-group" in arguments else ("--ip-group", "Phones")
    refused("user", *arguments, *groups, "--generate")


@pytest.mark.parametrize("command", ["add", "set-password"])
@pytest.mark.usefixtures("user")
def test_password_is_generated_or_read_but_not_both(
    command: str, refused: Callable[..., str]
) -> None:
    options = ("--ip-group", "Phones", "--generate", "--password-stdin")
    said = refused("user", command, "1001", *options, code=2, stdin=f"{PASSWORD}\n")
    assert "exclude each other" in said


@pytest.mark.usefixtures("user")
def test_ip_group_that_has_no_users_must_be_configured_to_be_listed(
    succeed: Callable[..., str], refused: Callable[..., str], config: Path
) -> None:
    said = refused("user", "list", "--ip-group", "Fones")
    assert said == "there is no IP Group 'Fones'; did you mean 'Phones'?"
    config.write_text(CONFIG.replace("name: Phones", "name: Desks"))
    assert "1001" in succeed("user", "list", "--ip-group", "Phones")
    assert succeed("user", "remove", "1001") == "removed 1001 from Phones\n"


@pytest.mark.parametrize("command", ["show", "set-password", "enable", "disable", "remove"])
@pytest.mark.parametrize("arguments", [["\udcff"], ["1001", "--ip-group", "\udcff"], [""]])
def test_name_that_no_user_can_have_is_not_looked_for(
    command: str, arguments: list[str], refused: Callable[..., str]
) -> None:
    assert "is not a name of 1 to 255 bytes" in refused("user", command, *arguments)


@pytest.mark.parametrize("redirection", ["</dev/null", "<&-"])
def test_password_is_not_asked_for_where_there_is_no_terminal(
    redirection: str, config: Path
) -> None:
    done = in_a_shell(config, f"user add 1001 --ip-group Phones {redirection}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "there is no terminal to ask for the password on; --password-stdin reads it\n"
    )


@pytest.mark.parametrize(
    ("redirection", "said"),
    [
        (">/dev/full", "sbcauth: No space left on device\n"),
        (">&-", "standard output is closed\n"),
    ],
)
def test_output_that_cannot_be_written_is_one_and_one_line(
    redirection: str, said: str, config: Path
) -> None:
    done = in_a_shell(config, f"config show {redirection}")
    assert (done.returncode, done.stderr) == (1, said)


def in_a_shell(config: Path, command: str) -> Done:
    """Run a command with redirections, away from any terminal."""
    return subprocess.run(
        ["sh", "-c", f"exec {SBCAUTH} {command}"],
        cwd=config.parent,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )


def test_password_is_asked_for_until_it_is_the_same_twice(config: Path, run: Run) -> None:
    add = ("user", "add", "1001", "--ip-group", "Phones")
    typed = f"{PASSWORD}\nmistyped\n{PASSWORD}\n{PASSWORD}\n"
    code, shown = at_a_terminal(config, *add, typed=typed)
    assert code == 0, shown
    assert "the two differ" in shown
    assert "mistyped" not in shown
    assert run("user", "show", "1001").returncode == 0


def test_interrupted_question_adds_nobody(config: Path) -> None:
    add = ("user", "add", "1001", "--ip-group", "Phones")
    code, shown = at_a_terminal(config, *add, typed="\x03")
    assert code == 128 + signal.SIGINT
    assert "Traceback" not in shown
    assert not (config.parent / "sbcauth.db").exists()


def commands(group: Any, *path: str) -> Iterator[list[str]]:
    """Yield the names that lead to each command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield [*path, name]


COMMANDS = list(commands(get_command(cli._typer)))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_a_help_with_an_example(
    command: list[str], succeed: Callable[..., str]
) -> None:
    said = succeed(*command, "--help")
    assert re.search(rf"Example: sbcauth (--config \S+ )?{' '.join(command)}", said)


def test_user_name_that_is_not_utf_8_is_refused(config: Path) -> None:
    arguments = [os.fsencode(SBCAUTH), b"user", b"add", b"\xff", b"--ip-group", b"Phones"]
    done = subprocess.run(
        [*arguments, b"--generate"], cwd=config.parent, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"is not a name" in done.stderr
    assert b"Traceback" not in done.stderr


def at_a_terminal(config: Path, *arguments: str, typed: str) -> tuple[int, str]:
    """Run a command at a terminal, where a person types; return its code and all that it shows."""
    child, terminal = pty.fork()
    if child == 0:
        signal.alarm(30)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests may ignore it
        os.chdir(config.parent)
        os.execv(SBCAUTH, [SBCAUTH, *arguments])  # noqa: S606 - no shell is wanted
    shown = b""
    for line in typed.splitlines():
        asked = b""
        while not asked.endswith(b": "):
            asked += os.read(terminal, 1024)
        shown += asked
        time.sleep(0.1)  # as a person would: it asks, and then reads
        os.write(terminal, f"{line}\n".encode())
    while True:
        try:
            part = os.read(terminal, 1024)
        except OSError:  # the terminal is closed
            break
        if not part:
            break
        shown += part
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def test_password_is_asked_for_twice_and_not_shown(config: Path, run: Run) -> None:
    add = ("user", "add", "1001", "--ip-group", "Phones")
    code, shown = at_a_terminal(config, *add, typed=f"{PASSWORD}\n{PASSWORD}\n")
    assert code == 0, shown
    assert PASSWORD not in shown
    assert "added 1001 to Phones" in shown
    assert run("user", "show", "1001").returncode == 0


def test_table_on_a_terminal_shows_what_programs_get(
    config: Path, user: None, succeed: Callable[..., str]
) -> None:
    code, shown = at_a_terminal(config, "user", "list", typed="")
    assert code == 0
    assert re.search(r"Phones +1001 +1001 +example\.com +yes", shown)


# Users in bulk


def test_file_is_imported_and_exported(succeed: Callable[..., str], config: Path) -> None:
    file = config.parent / "users.csv"
    file.write_text("LocalUser,UserName,Password,IPGroupName\nJohn,johnd,2798,Phones\n")
    assert succeed("user", "import", "users.csv", "--dry-run") == (
        "would import 1 user: 1 to Phones\n"
    )
    assert json.loads(succeed("user", "list", "--json")) == []
    assert succeed("user", "import", "users.csv") == "imported 1 user: 1 to Phones\n"
    exported = succeed("user", "export")
    assert exported.startswith("local_user,username,ip_group,realm,enabled,ha1_md5,")
    assert succeed("user", "export", "out.csv") == "exported 1 user to out.csv\n"
    assert (config.parent / "out.csv").read_text() == exported
    assert (config.parent / "out.csv").stat().st_mode & 0o777 == 0o600
    succeed("user", "import", "--replace", "out.csv")
    assert succeed("user", "export") == exported


def test_exported_file_that_was_there_becomes_its_owner_s_alone(
    succeed: Callable[..., str], config: Path
) -> None:
    file = config.parent / "out.csv"
    file.write_text("x" * 10_000)
    file.chmod(0o644)
    succeed("user", "export", "out.csv")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "x" not in file.read_text()


def test_bad_rows_are_named_and_nothing_is_imported(run: Run, config: Path) -> None:
    (config.parent / "users.csv").write_text(
        "username,password,ip_group\n1001,x,Phones\n1002,,Phones\n1003,x,Fones\n1004,x,\n"
    )
    done = run("user", "import", "users.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "users.csv:3: has neither a password nor an H(A1)",
        "users.csv:4: there is no IP Group 'Fones'; did you mean 'Phones'?",
        "users.csv:5: names no IP Group; --ip-group, or --realm REALM=IP_GROUP, is for such rows",
    ]
    assert run("user", "list", "--json").stdout == "[]\n"


def test_rows_that_name_no_ip_group_go_to_the_one_that_is_given(
    succeed: Callable[..., str], config: Path
) -> None:
    (config.parent / "users.csv").write_text("username,password\n1001,x\n")
    said = succeed("user", "import", "users.csv", "--ip-group", "Meeting Rooms")
    assert said == "imported 1 user: 1 to Meeting Rooms\n"


def test_import_shows_its_progress_on_a_terminal(config: Path) -> None:
    rows = "".join(f"{number},x,Phones\n" for number in range(3000))
    (config.parent / "users.csv").write_text(f"username,password,ip_group\n{rows}")
    code, shown = at_a_terminal(config, "user", "import", "users.csv", typed="")
    assert code == 0
    assert "0:00:00" in shown
    assert "imported 3000 users: 3000 to Phones" in shown


# The database


def test_database_that_is_none_is_named(refused: Callable[..., str], config: Path) -> None:
    (config.parent / "sbcauth.db").write_text("no database " * 1000)
    said = refused("user", "list")
    assert said.startswith(f"{config.parent}/sbcauth.db: ")
    assert "not a database" in said


@pytest.mark.parametrize("command", [("why", "1001"), ("recent",)])
def test_log_is_shown_though_user_info_cannot_be_read(
    command: tuple[str, ...], run: Run, config: Path
) -> None:
    (config.parent / "sbcauth.db").write_text("no database " * 1000)
    line = (
        "2026-01-01T00:00:01+0000 decision=challenge reason=wrong-credentials ip_group=Phones "
        "method=REGISTER source=192.0.2.7:5060/udp status=401 username=1001 from=1001 call_id=a\n"
    )
    done = run(*command, "--log", "-", stdin=line)
    wrong = [said for said in done.stderr.splitlines() if "User Info" in said]
    assert len(wrong) == 1
    assert wrong[0].startswith(f"User Info cannot be read: {config.parent}/sbcauth.db: ")
    assert done.returncode == 0
    assert "wrong-credentials: " in done.stdout
    assert "What to do: The phone has another password" in done.stdout
    assert "User Info has no 1001" not in done.stdout
    found = json.loads(run(*command, "--log", "-", "--json", stdin=line).stdout)
    assert [each["reason"] for each in found["outcomes"]] == ["wrong-credentials"]
    assert found.get("users") is None


def test_output_that_nobody_reads_any_more_is_no_error(run: Run, config: Path) -> None:
    rows = "".join(f"{number},x,Phones\n" for number in range(20_000))
    (config.parent / "users.csv").write_text(f"username,password,ip_group\n{rows}")
    assert run("user", "import", "users.csv").returncode == 0
    for command in ("list", "export"):
        done = subprocess.run(  # noqa: S602 - a pipe is what is tested
            f"{SBCAUTH} user {command} | head -1",
            shell=True,
            cwd=config.parent,
            capture_output=True,
            check=True,
        )
        assert (done.stdout.count(b"\n"), done.stderr) == (1, b"")


# The configuration


def test_configuration_is_checked(succeed: Callable[..., str], run: Run, config: Path) -> None:
    assert succeed("config", "check") == f"{config}: 3 IP Groups, no mistake found\n"
    config.write_text(CONFIG.replace("setup-invite", "XYZZY"))
    warned = run("config", "check")
    assert warned.returncode == 0
    assert warned.stderr.startswith(f"warning: {config}:6:")
    config.write_text(CONFIG.replace("setup-invite", "REGSITER"))
    refused = run("config", "check")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"{config}:6:")
    config.write_text(CONFIG.replace("realm: example.com", "max_auth_attempts: 0\nauth_qop: x"))
    done = run("config", "check")
    assert (done.returncode, done.stdout) == (1, "")
    said = done.stderr.splitlines()
    assert all(line.startswith(f"{config}:") for line in said)
    assert [line.split(": ")[1] for line in said][:2] == ["max_auth_attempts", "auth_qop"]


@pytest.mark.usefixtures("user")
def test_check_names_users_that_the_configuration_no_longer_fits(run: Run, config: Path) -> None:
    config.write_text(CONFIG.replace("realm: example.com", "realm: other.example"))
    done = run("config", "check")
    assert done.returncode == 1
    assert "user 1001: the password is bound to the realm example.com" in done.stderr
    config.write_text(CONFIG.replace("name: Phones", "name: Desks"))
    assert "user 1001: there is no IP Group Phones" in run("config", "check").stderr


def test_check_makes_no_database(succeed: Callable[..., str], config: Path) -> None:
    succeed("config", "check")
    assert [path.name for path in config.parent.iterdir()] == ["sbcauth.yaml"]


def test_configuration_is_shown_with_secrets_masked(succeed: Callable[..., str]) -> None:
    for shown in (succeed("config", "show"), succeed("config", "show", "--json")):
        assert "hunter2" not in shown
        assert "********" in shown
    shown = json.loads(succeed("config", "show", "--json"))
    assert [group["name"] for group in shown["ip_groups"]] == ["Phones", "Meeting Rooms", "Carrier"]
    assert shown["ip_groups"][0]["authentication_mode"] == "sbc-as-server"


def test_schema_for_editors_is_json(succeed: Callable[..., str]) -> None:
    assert "ip_groups" in json.loads(succeed("config", "schema"))["properties"]


def test_reload_says_where_no_server_runs(refused: Callable[..., str], config: Path) -> None:
    assert "no server answers on" in refused("reload")
    assert not (config.parent / "sbcauth.reload").exists()


def test_bad_configuration_leaves_no_stamp(refused: Callable[..., str], config: Path) -> None:
    config.write_text(CONFIG.replace("type: user", "type: users", 1))
    assert "'users' is not one of user, server" in refused("reload")
    assert not (config.parent / "sbcauth.reload").exists()


# Explaining


def test_request_is_explained_step_by_step(succeed: Callable[..., str], config: Path) -> None:
    (config.parent / "register.sip").write_text(REGISTER)
    said = succeed("explain", "register.sip")
    assert said == succeed("explain", "-", stdin=REGISTER)
    *steps, answer = said.splitlines()
    assert [line.split("\t")[1] for line in steps] == [
        *("Name", "Never challenged", "Classification", "Authentication Mode"),
        *("Authentication Method List", "Credentials"),
    ]
    assert answer == "Answer: 401 with 1 challenge"


def test_request_is_explained_as_if_from_another_address(succeed: Callable[..., str]) -> None:
    said = succeed("explain", "-", "--source", "198.51.100.1", stdin=REGISTER)
    assert "Meeting Rooms" in said
    assert said.endswith("Answer: it goes on as it is\n")
    said = succeed("explain", "-", "--source", "2001:db8::1", stdin=REGISTER)
    assert "(unclassified)" in said


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["missing.sip"], b"", "missing.sip: No such file or directory"),
        (["."], b"", ".: Is a directory"),
        (["-"], b"", "no request line, such as: REGISTER sip:example.com SIP/2.0"),
        (["-"], b"\xff\0\x1b[31m", "no request line, such as: "),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    arguments: list[str], stdin: bytes, said: str, refused: Callable[..., str]
) -> None:
    assert refused("explain", *arguments, stdin=stdin).startswith(said)


def test_nobody_has_a_name_of_bytes(refused: Callable[..., str]) -> None:
    assert "is not a name" in refused("why", "\udcff", "--log", "-")


# A server that does not run


@pytest.mark.parametrize("arguments", [["list"], ["clear", "1001"], ["clear", "--all"]])
def test_lockouts_of_a_server_that_does_not_run_are_refused(
    arguments: list[str], refused: Callable[..., str]
) -> None:
    assert refused("lockout", *arguments).startswith("no server answers on ")
    for source in ("192.0.2.0/24", "2001:db8::7", "*", "nonce:0011223344ff"):
        refused("lockout", "list", "--source", source)
    said = refused("lockout", *arguments, "--socket", "other.sock")
    assert said == "no server answers on other.sock: No such file or directory"


def test_ip_group_of_type_server_has_no_users(refused: Callable[..., str]) -> None:
    said = refused("user", "add", "1001", "--ip-group", "Carrier", "--generate")
    assert "Carrier is an IP Group of type server: it has no users" in said


def test_explaining_makes_no_key(config: Path, succeed: Callable[..., str]) -> None:
    succeed("explain", "-", stdin=REGISTER)
    assert not list(config.parent.glob("*.keys"))


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("sbcauth us", ["user"]),
        ("sbcauth user set-p", ["set-password"]),
        ("sbcauth lockout list --so", ["--source", "--socket"]),
    ],
)
def test_bash_completes_commands_and_options(words: str, completed: list[str]) -> None:
    typed = words.split()
    script = (
        'PATH=$1:$PATH; source <(sbcauth --show-completion bash); shift; COMP_WORDS=("$@"); '
        "COMP_CWORD=$(($# - 1)); _sbcauth_completion sbcauth; printf '%s\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "-c", script, "bash", str(Path(SBCAUTH).parent), *typed],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert sorted(done.stdout.split()) == sorted(completed)


def test_check_and_explain_tell_programs_too(run: Run, config: Path) -> None:
    found = json.loads(run("config", "check", "--json").stdout)
    assert (found["ip_groups"], found["mistakes"]) == (["Phones", "Meeting Rooms", "Carrier"], [])
    explained = json.loads(run("explain", "-", "--json", stdin=REGISTER).stdout)
    assert (explained["reason"], explained["answer"]) == ("challenged", "401 with 1 challenge")
    assert explained["steps"][1]["name"] == "Classification"
    config.write_text(CONFIG.replace("type: user", "type: users", 1))
    done = run("config", "check", "--json")
    assert done.returncode == 1
    (mistake,) = json.loads(done.stdout)["mistakes"]
    assert (mistake["line"], mistake["key"]) == (4, "ip_groups[0].type")


def completed(run: Run, line: str) -> list[str]:
    """Return what bash would offer for a line."""
    words = line.split(" ")
    environment = {
        "_SBCAUTH_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    return [each for each in run(**environment).stdout.split("\n") if each]


def test_shell_completes_ip_groups_and_users(run: Run) -> None:
    for user in ("1001", "1002", "2001"):
        run("user", "add", user, "--ip-group", "Phones", "--password-stdin", stdin=PASSWORD)
    assert completed(run, "sbcauth user show 10") == ["1001", "1002"]
    assert completed(run, "sbcauth user list --ip-group M") == ["Meeting Rooms"]
    assert completed(run, "sbcauth --config none.yaml user show 1") == []


@pytest.mark.parametrize("group", [(), ("user",), ("config",), ("lockout",)])
def test_list_of_commands_has_whole_sentences(run: Run, group: tuple[str, ...]) -> None:
    commands = run(*group, "--help", COLUMNS="80").stdout.partition("Commands:")[2]
    assert commands
    assert "..." not in commands


def test_user_that_no_address_can_name_is_refused(run: Run) -> None:
    done = run("user", "add", "1 0", "--ip-group", "Phones", "--password-stdin", stdin=PASSWORD)
    assert done.returncode == 1
    assert "local_user '1 0' cannot stand in a SIP address" in done.stderr
    arguments = ("--local-user", "10", "--ip-group", "Phones", "--password-stdin")
    assert run("user", "add", "1 0", *arguments, stdin=PASSWORD).returncode == 0


def test_user_is_moved_with_the_password(run: Run) -> None:
    run("user", "add", "1003", "--ip-group", "Phones", "--password-stdin", stdin=PASSWORD)
    done = run("user", "move", "1003", "Meeting Rooms")
    assert done.stdout == "moved 1003 from Phones to Meeting Rooms\n"
    assert json.loads(run("user", "show", "1003", "--json").stdout)["ip_group"] == "Meeting Rooms"
    assert "is an IP Group of type server" in run("user", "move", "1003", "Carrier").stderr
    run("user", "add", "1003", "--ip-group", "Phones", "--password-stdin", stdin=PASSWORD)
    done = run("user", "move", "1003", "Phones", "--ip-group", "Meeting Rooms")
    assert (done.returncode, done.stderr) == (1, "1003 exists already in Phones\n")


def test_user_is_not_moved_to_another_realm(run: Run, config: Path) -> None:
    run("user", "add", "1003", "--ip-group", "Phones", "--password-stdin", stdin=PASSWORD)
    config.write_text(
        CONFIG.replace("- name: Meeting Rooms\n", "- name: Meeting Rooms\n    realm: b.example\n")
    )
    done = run("user", "move", "1003", "Meeting Rooms")
    assert done.returncode == 1
    assert "bound to the realm example.com, but that of Meeting Rooms is b.example" in done.stderr


def test_users_are_listed_by_beginning_page_and_number(run: Run) -> None:
    rows = "".join(f"{number},x{number}\n" for number in range(1000, 1030))
    users = f"username,password\n{rows}2000,y\n"
    run("user", "import", "/dev/stdin", "--ip-group", "Phones", stdin=users)
    run("user", "disable", "1007")
    assert run("user", "list", "--count").stdout == "31\n"
    assert run("user", "list", "10", "--count").stdout == "30\n"
    assert run("user", "list", "--disabled", "--count").stdout == "1\n"
    page = run("user", "list", "10", "--skip", "20", "--limit", "5")
    assert [line.split("\t")[1] for line in page.stdout.splitlines()[1:]] == [
        *("1020", "1021", "1022", "1023", "1024")
    ]
    assert page.stderr == "there are more: --skip 25 shows them\n"
    assert run("user", "list", "--skip", "26", "--limit", "5").stderr == ""


def test_token_of_the_console_is_printed_once_listed_and_removed(run: Run, config: Path) -> None:
    done = run("console-token", "add", "provisioning", "--role", "change", "--days", "30")
    token = done.stdout.partition("token: ")[2].partition("\n")[0]
    assert re.fullmatch(r"provisioning~[\w-]{43}", token)
    assert done.stdout.endswith("added provisioning, which may change\n")
    run("console-token", "add", "graphs")
    (file,) = config.parent.glob("*.console-tokens")
    assert token.partition("~")[2] not in file.read_text()
    listed = json.loads(run("console-token", "list", "--json").stdout)
    assert [(each["name"], each["role"]) for each in listed] == [
        ("provisioning", "change"),
        ("graphs", "look"),
    ]
    assert listed[0]["expires"].endswith("Z")
    assert listed[1]["expires"] is None
    assert "never" in run("console-token", "list").stdout
    assert run("console-token", "add", "graphs").returncode == 1
    assert run("console-token", "add", "more", "--role", "root").returncode == 2
    assert run("console-token", "remove", "graphs").stdout == "removed graphs\n"
    assert "no token" in run("console-token", "remove", "graphs").stderr
