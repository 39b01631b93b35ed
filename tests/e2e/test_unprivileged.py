"""`sbcauth run` needs no root, and what it makes is for its own user alone."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import kamailio
import pytest
from kamailio import Server
from phone import Phone
from repository import REPOSITORY

NOBODY = 65534
CONFIG = """\
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/16}]
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Yield a folder that every user gets to, as none does to what is in root's home."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def checkout(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run a copy of the checkout, at a place that every user gets to."""
    copy = place / "checkout"
    for name in ("sbcauth", "kemi", ".venv/lib"):
        ignored = shutil.ignore_patterns("__pycache__", "mypy*", "ruff*")
        shutil.copytree(REPOSITORY / name, copy / name, symlinks=True, ignore=ignored)
    for name in ("kamailio.cfg", "schema.sql", "schema.postgresql.sql", ".venv/pyvenv.cfg"):
        shutil.copy(REPOSITORY / name, copy / name)
    for editable in copy.glob(".venv/lib/*/site-packages/*sbcauth*.pth"):
        editable.write_text(str(copy))
    command = copy / ".venv" / "bin" / "sbcauth"
    command.parent.mkdir()
    (command.parent / "python").symlink_to((REPOSITORY / ".venv/bin/python").resolve())
    script = (REPOSITORY / ".venv" / "bin" / "sbcauth").read_text().split("\n", 1)[1]
    command.write_text(f"#!{command.parent}/python\n{script}")
    command.chmod(0o755)
    monkeypatch.setattr(kamailio, "SBCAUTH", command)
    return copy


def test_server_runs_as_a_user_without_rights_and_its_files_are_its_own(
    place: Path, checkout: Path
) -> None:
    assert os.getuid() == 0, "only root can become another user: run the tests as root"
    folder = place / "service"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    with Server(folder, CONFIG, user=NOBODY) as server:
        server.add_user("1001", "secret")
        assert Path(f"/proc/{server.pid}").stat().st_uid == NOBODY
        assert str(checkout) in Path(f"/proc/{server.pid}/cmdline").read_text()
        with Phone(server, "1001", "secret", expires=0) as phone:
            assert phone.register().status == 200
            assert phone.register(password="wrong").status == 401
        server.administer("nonce-key", "rotate")
        server.administer("user", "reseal", "--rotate")
        server.administer("lockout", "list")
        made = {path.name: path for path in folder.rglob("*")}
        for private in ("sbcauth.db", "sbcauth.db-wal", "sbcauth.keys", "sbcauth.seal"):
            assert stat.S_IMODE(made[private].stat().st_mode) == 0o600, private
        assert stat.S_IMODE(made["run"].stat().st_mode) == 0o700
        assert made["rpc.sock"].parent == made["run"]
        ours = {"sbcauth.yaml", "kamailio.log"}
        assert {made[n].stat().st_uid for n in made.keys() - ours} == {NOBODY}
