"""The Debian package: built on a bare Debian, installed on another one, and a phone registers.

Not among the tests of `make test`, as it takes some minutes: `make test-package`. The variable
SBCAUTH_SUITES names the Debians, if not both; SBCAUTH_PACKAGES a folder with packages that were
built before.
"""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import pytest
from chroot import Chroot
from kamailio import free_port, wait_for
from phone import Phone
from repository import REPOSITORY

from sbcauth import __version__

SUITES = os.environ.get("SBCAUTH_SUITES", "bookworm trixie").split()
SUFFIX = {"bookworm": "deb12", "trixie": "deb13"}
CACHE = REPOSITORY / ".debian"
BEFORE = {"version": "0.1.0", "commit": "5e92f25"}
"""The release before, and where it is in the history."""

CONFIG = "/etc/sbcauth/sbcauth.yaml"
FRESH_WITHIN = 1.0
"""Seconds after which a running server works by what a command has changed."""


@dataclass(frozen=True, slots=True)
class Packages:
    """Files of this version and of the release before, and a Debian without either."""

    new: Path
    old: Path
    bare: Chroot
    ready: Chroot
    """A Debian that has what the package needs: what is installed in a copy of it comes at once."""


@pytest.fixture(scope="module", params=SUITES)
def packages(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Packages]:
    """Build the packages in a chroot of their own."""
    folder = tmp_path_factory.mktemp(request.param)
    bare = Chroot.make(request.param, CACHE / request.param)
    built = Path(os.environ.get("SBCAUTH_PACKAGES") or build(bare, folder))
    files = {
        name: next(built.glob(f"sbcauth_{version}~{SUFFIX[request.param]}_*.deb"))
        for name, version in (("new", __version__), ("old", BEFORE["version"]))
    }
    ready = bare.copy(folder / "ready")
    ready.install(*shlex.split(dependencies(files["new"])))
    yield Packages(files["new"], files["old"], bare, ready)
    shutil.rmtree(folder)


def build(bare: Chroot, folder: Path) -> Path:
    """Return a folder with both packages, built in a chroot of their own."""
    builder = bare.copy(folder / "builder")
    for name, sources in (("new", working_tree()), ("old", release_before(folder / "old"))):
        home = builder.path(f"/opt/{name}")
        home.mkdir(parents=True)
        subprocess.run(["tar", "-xf", "-", "-C", home], input=sources, check=True)
        builder.run(f"cd /opt/{name} && make deb")
        (package,) = (home / "build").glob("sbcauth_*.deb")
        shutil.copy(package, folder)
    builder.remove()
    return folder


def working_tree() -> bytes:
    """Return this repository as an archive: what git knows, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    ).stdout
    tar = ["tar", "--null", "--ignore-failed-read", "-cf", "-", "-T", "-"]
    return subprocess.run(tar, cwd=REPOSITORY, input=listed, capture_output=True, check=True).stdout


def release_before(folder: Path) -> bytes:
    """Return the release before as an archive, packaged in the way of this one."""
    folder.mkdir()
    commands = f"""
        git -C {REPOSITORY} archive {BEFORE["commit"]} | tar -xf - -C {folder}
        cd {REPOSITORY}
        tar -cf - Makefile LICENSE CHANGELOG.md debian scripts \
            contrib/systemd/sbcauth-console.service | tar -xf - -C {folder}
        cp sbcauth/__main__.py {folder}/sbcauth
        tar -C {folder} -cf - .
    """
    return subprocess.run(["sh", "-euc", commands], capture_output=True, check=True).stdout


def dependencies(package: Path) -> str:
    """Return the names of the packages that a package depends on."""
    field = ["dpkg-deb", "--field", str(package), "Depends"]
    told = subprocess.run(field, capture_output=True, text=True, check=True).stdout
    return " ".join(word.split()[0] for word in told.split(","))


@pytest.fixture
def machine(packages: Packages, tmp_path: Path) -> Iterator[Chroot]:
    """A Debian on which the package is not yet installed."""
    machine = packages.ready.copy(tmp_path / "machine")
    yield machine
    machine.remove()


def put(machine: Chroot, package: Path) -> None:
    """Install a package from its file, as an administrator does."""
    shutil.copy(package, machine.path("/root"))
    machine.install(f"/root/{package.name}")


def service(machine: Chroot, name: str = "sbcauth.service") -> dict[str, str]:
    """Return the settings of a unit."""
    unit = machine.run(f"cat $(dpkg -L sbcauth | grep /{name}$)")
    return dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)


@contextmanager
def served(machine: Chroot, log: Path) -> Iterator[Any]:
    """Run the server as the unit does, as its user and in its folders, but on a free port."""
    unit, port = service(machine), free_port()
    command = unit["ExecStart"].replace(":5060", f":{port}")
    variables = f"RUNTIME_DIRECTORY=/run/{unit['RuntimeDirectory']} {unit['Environment']}"
    start = f"""
        install -d -o {unit["User"]} -g {unit["Group"]} -m {unit["RuntimeDirectoryMode"]} \
            /run/{unit["RuntimeDirectory"]}
        umask {unit["UMask"]}
        exec runuser -u {unit["User"]} -- env {variables} {command}
    """
    with machine.running(start, log) as process:
        server = SimpleNamespace(address="127.0.0.1", port=port)
        assert wait_for(lambda: process.poll() is not None or answers(server), 60), log.read_text()
        assert process.poll() is None, log.read_text()
        yield server


def answers(server: Any) -> bool:
    """Tell whether a phone is challenged over UDP."""
    with Phone(server) as phone:
        phone.send(phone.build("REGISTER"))
        try:
            return phone.receive(0.5).startswith(b"SIP/2.0 401 ")
        except OSError:
            return False


def registers(server: Any, username: str, password: str) -> bool:
    """Tell whether a phone gets in, by UDP and by TCP, and only with its password.

    Whoever has just been added is known after FRESH_WITHIN; until then it is a guess that counts.
    """
    statuses = []
    for transport in ("udp", "tcp"):
        with Phone(server, username, password, transport=transport) as phone:
            statuses += [phone.register().status, phone.register(password="wrong").status]
    return statuses == [200, 401] * 2


def add_user(machine: Chroot, username: str, password: str, runner: str = "") -> None:
    command = f"{runner}sbcauth user add {username} --ip-group Phones --password-stdin"
    machine.run(command, stdin=f"{password}\n")
    time.sleep(FRESH_WITHIN)


def owners(machine: Chroot, folder: str) -> set[str]:
    """Return who owns what is in a folder."""
    return set(machine.run(f"find {folder} -mindepth 1 -printf '%u\\n'").split())


def traces(machine: Chroot) -> set[str]:
    """Return what there is of the package and of its data."""
    found = machine.run(
        "find / -xdev -path /proc -prune -o -path /root -prune -o -name '*sbcauth*' -print"
    )
    return {path for path in found.split() if not path.startswith("/var/lib/dpkg/info/")}


def test_package_installs_on_a_bare_debian(packages: Packages, tmp_path: Path) -> None:
    machine = packages.bare.copy(tmp_path / "machine")
    put(machine, packages.new)
    assert machine.run("sbcauth --version") == f"sbcauth {__version__}\n"
    assert "OK" in machine.run("dpkg --verify sbcauth && sbcauth config check && echo OK")
    machine.remove()


def test_phone_registers_and_the_services_user_owns_what_was_made(
    packages: Packages, machine: Chroot, tmp_path: Path
) -> None:
    put(machine, packages.new)
    add_user(machine, "1001", "secret")  # before the first start, by root
    with served(machine, tmp_path / "log") as server:
        add_user(machine, "1002", "another secret")
        assert registers(server, "1001", "secret")
        assert registers(server, "1002", "another secret")
        machine.run("sbcauth nonce-key rotate && sbcauth user reseal --rotate")
        time.sleep(FRESH_WITHIN)
        assert registers(server, "1001", "secret")
    assert owners(machine, "/var/lib/sbcauth") == {"sbcauth"}
    mode = machine.run(f"stat -c '%U:%G %a' /var/lib/sbcauth {CONFIG}").split("\n")
    assert mode[:2] == ["sbcauth:sbcauth 700", "root:sbcauth 640"]


def test_manual_completion_filter_and_unit_are_where_they_are_looked_for(
    packages: Packages, machine: Chroot
) -> None:
    put(machine, packages.new)
    listed = machine.run("dpkg -L sbcauth").split("\n")
    for path in (
        "/usr/share/man/man1/sbcauth-user-add.1.gz",
        "/usr/share/bash-completion/completions/sbcauth",
        "/usr/share/zsh/vendor-completions/_sbcauth",
        "/usr/share/fish/vendor_completions.d/sbcauth.fish",
    ):
        assert path in listed
    kept = machine.run("cat /var/lib/dpkg/info/sbcauth.conffiles").split()
    assert {"/etc/sbcauth/sbcauth.yaml", "/etc/fail2ban/filter.d/sbcauth.conf"} <= set(kept)
    assert "set-password" in machine.run(
        "bash -c '. /usr/share/bash-completion/completions/sbcauth; COMP_WORDS=(sbcauth user set);"
        ' COMP_CWORD=2; _sbcauth_completion sbcauth; echo "${COMPREPLY[@]}"\''
    )


def test_console_is_off_and_serves_when_it_is_started(
    packages: Packages, machine: Chroot, tmp_path: Path
) -> None:
    put(machine, packages.new)
    unit = service(machine, "sbcauth-console.service")
    assert machine.run("find /etc/systemd -name 'sbcauth-console*'") == ""  # what enabling links
    port = free_port()
    machine.run("sbcauth console-user add alice --password-stdin", stdin="correct horse battery\n")
    assert owners(machine, "/var/lib/sbcauth") == {"sbcauth"}
    command = unit["ExecStart"].replace(":8060", f":{port}")
    start = f"exec runuser -u {unit['User']} -- env {unit['Environment']} {command}"
    with machine.running(start, tmp_path / "log") as process:

        def answered() -> bool:
            try:
                return b"Log in" in urlopen(f"http://127.0.0.1:{port}/login", timeout=10).read()
            except OSError:
                return False

        assert wait_for(lambda: process.poll() is not None or answered(), 60)
        assert process.poll() is None, (tmp_path / "log").read_text()


def test_upgrade_keeps_users_and_configuration(
    packages: Packages, machine: Chroot, tmp_path: Path
) -> None:
    put(machine, packages.old)
    assert machine.run("sbcauth --version") == f"sbcauth {BEFORE['version']}\n"
    config = machine.path(CONFIG)
    config.write_text(config.read_text().replace("realm: example.com", "realm: sip.example.org"))
    changed = config.read_bytes()
    add_user(machine, "1001", "secret", runner="runuser -u sbcauth -- ")  # as it was told then
    put(machine, packages.new)
    assert machine.run("sbcauth --version") == f"sbcauth {__version__}\n"
    assert config.read_bytes() == changed
    with served(machine, tmp_path / "log") as server:
        assert registers(server, "1001", "secret")
    assert owners(machine, "/var/lib/sbcauth") == {"sbcauth"}


def test_removal_keeps_data_and_a_purge_does_not(
    packages: Packages, machine: Chroot, tmp_path: Path
) -> None:
    put(machine, packages.new)
    add_user(machine, "1001", "secret")
    machine.run("apt-get --yes --quiet remove sbcauth")
    assert {CONFIG, "/etc/sbcauth", "/var/lib/sbcauth"} <= traces(machine)
    assert not machine.path("/usr/lib/sbcauth").exists()
    put(machine, packages.new)
    with served(machine, tmp_path / "log") as server:
        assert registers(server, "1001", "secret")
    machine.run("apt-get --yes --quiet purge sbcauth && rm -rf /run/sbcauth")
    assert traces(machine) == set()
