"""What another user may do with a file, tried as that user."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sbcauth.monitoring.access import Need, Person, lacking, owner_of_file, user_of_process

DAEMON = Person("daemon", 1, 1, (1,))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that everybody may enter, as nobody may what is in root's home."""
    folder = Path("/tmp") / f"sbcauth-access-{os.getpid()}"  # noqa: S108
    folder.mkdir(mode=0o755)
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_rights_of_root_are_not_taken_for_the_servers(folder: Path) -> None:
    (folder / "users.db").touch(0o600)
    read = Need(folder / "users.db", os.R_OK)
    enter = Need(folder, os.X_OK)
    assert lacking(DAEMON, [read, enter]) == [read]
    os.chown(folder / "users.db", DAEMON.uid, DAEMON.gid)
    assert lacking(DAEMON, [read, enter]) == []


def test_groups_count(folder: Path) -> None:
    (folder / "key").touch(0o640)
    os.chown(folder / "key", 0, 4242)
    (folder / "key").chmod(0o640)
    need = Need(folder / "key", os.R_OK)
    assert lacking(DAEMON, [need]) == [need]
    assert lacking(DAEMON._replace(groups=(1, 4242)), [need]) == []


def test_own_rights_are_asked_without_a_fork(folder: Path) -> None:
    here = owner_of_file(folder)
    assert here.uid == os.getuid()
    assert lacking(here, [Need(folder, os.W_OK), Need(folder / "none", os.R_OK)]) == [
        Need(folder / "none", os.R_OK)
    ]


def test_user_of_a_process_has_its_groups() -> None:
    process = subprocess.Popen(["/usr/bin/sleep", "60"], user=1, group=1, extra_groups=(1, 4242))
    try:
        assert user_of_process(process.pid) == DAEMON._replace(groups=(1, 4242))
    finally:
        process.kill()
        process.wait()


def test_need_is_told_in_words() -> None:
    assert str(Need(Path("/x"), os.R_OK | os.W_OK)) == "read and write /x"
    assert str(Need(Path("/x"), os.W_OK | os.X_OK)) == "write and enter /x"
