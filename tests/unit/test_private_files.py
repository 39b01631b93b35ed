"""Files belong to whom their folder belongs to, though root makes them, and to no planted link."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sbcauth.config.load import load
from sbcauth.config.reload import request_reload, stamp
from sbcauth.exceptions import ConfigError, Unavailable
from sbcauth.files import check_folder, create, make_folder, open_own, replacing, write_whole
from sbcauth.monitoring.servers import lock
from sbcauth.nonce_keys import load_or_create, rotate
from sbcauth.users.database import open_for_writing
from sbcauth.users.sealing import Seals

DAEMON, STRANGER = 1, 2

Plant = Callable[[Path, Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of another user, as a service's is; only root can make one."""
    assert os.getuid() == 0, "run the tests as root"
    folder = tmp_path / "service"
    folder.mkdir(mode=0o755)
    os.chown(folder, DAEMON, DAEMON)
    return folder


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """Return a file of root's that nobody must get at by a link."""
    file = tmp_path / "precious"
    file.write_text("precious")
    file.chmod(0o600)
    return file


def untouched(precious: Path) -> bool:
    found = precious.stat()
    owned = (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, 0, 0o600)
    return owned and precious.read_text() == "precious"


def plant(path: Path, target: Path) -> None:
    """Plant a link as the service's user would."""
    path.symlink_to(target)
    os.chown(path, DAEMON, DAEMON, follow_symlinks=False)


def owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


def test_new_file_is_its_folders_owners(folder: Path) -> None:
    os.close(create(folder / "new"))
    assert owner(folder / "new") == (DAEMON, DAEMON)
    assert (folder / "new").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        create(folder / "new")


def test_link_is_never_followed(folder: Path, precious: Path) -> None:
    plant(folder / "new", precious)
    with pytest.raises(FileExistsError):
        create(folder / "new")
    plant(folder / "nowhere", folder.parent / "made")
    with pytest.raises(FileExistsError):
        create(folder / "nowhere")
    assert not (folder.parent / "made").exists()


def test_file_is_its_folders_owners_and_stays_whose_it_is(folder: Path) -> None:
    file = folder / "keys"
    write_whole(file, "1")
    assert owner(file) == (DAEMON, DAEMON)
    assert file.stat().st_mode & 0o777 == 0o600
    os.chown(file, STRANGER, STRANGER)
    file.chmod(0o644)
    write_whole(file, "2")
    assert owner(file) == (STRANGER, STRANGER)
    assert file.stat().st_mode & 0o777 == 0o640
    assert (file.read_text(), len(list(folder.iterdir()))) == ("2", 1)


def test_nothing_stays_of_a_file_that_was_not_completed(folder: Path) -> None:
    with suppress(RuntimeError), replacing(folder / "new") as file:
        file.write("half")
        raise RuntimeError
    assert list(folder.iterdir()) == []


def test_planted_link_in_place_of_a_file_is_refused_and_left_alone(
    folder: Path, precious: Path
) -> None:
    plant(folder / "keys", precious)
    with pytest.raises(PermissionError, match="is a link"):
        write_whole(folder / "keys", "1")
    assert untouched(precious)
    assert [each.name for each in folder.iterdir()] == ["keys"]


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_folder_that_others_write_to_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    os.chown(folder, 0, STRANGER)
    with pytest.raises(PermissionError, match=f"others than its owner .*: chmod go-w {folder}"):
        write_whole(folder / "keys", "1")
    assert list(folder.iterdir()) == []


def test_folder_of_a_group_that_is_its_owner_alone_is_taken(folder: Path) -> None:
    """Debian makes such a group for each user, and some have a umask of 002."""
    folder.chmod(0o775)
    check_folder(folder)


def test_folder_of_a_group_that_nobody_knows_is_refused(folder: Path) -> None:
    folder.chmod(0o775)
    os.chown(folder, 0, 54321)
    with pytest.raises(PermissionError):
        check_folder(folder)


def test_folder_behind_another_users_link_is_refused(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    plant(folder / "run", elsewhere)
    with pytest.raises(PermissionError, match="is another's link"):
        make_folder(folder / "run")
    with pytest.raises(PermissionError, match="is another's link"):
        write_whole(folder / "run" / "keys", "1")
    assert list(elsewhere.iterdir()) == []


def test_folder_is_its_parents_owners(folder: Path) -> None:
    for _ in range(2):
        make_folder(folder / "run")
    assert owner(folder / "run") == (DAEMON, DAEMON)
    assert (folder / "run").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("planted", [plant, Path.hardlink_to])
def test_lock_of_a_server_is_taken_on_no_link(folder: Path, precious: Path, planted: Plant) -> None:
    planted(folder / "lock", precious)
    with pytest.raises(OSError):  # noqa: PT011 - by the system, or by us
        lock(folder)
    assert untouched(precious)


def test_file_of_a_stranger_is_not_opened(folder: Path) -> None:
    os.close(create(folder / "lock"))
    os.close(open_own(folder / "lock"))
    os.chown(folder / "lock", STRANGER, STRANGER)
    with pytest.raises(PermissionError, match="is another's file"):
        open_own(folder / "lock")


def test_rotating_keys_as_root_writes_nowhere_else(folder: Path, precious: Path) -> None:
    """What was done once: links of every name that a draft could have."""
    keys = folder / "sbcauth.keys"
    load_or_create(keys)
    assert owner(keys) == (DAEMON, DAEMON)
    for pid in range(os.getpid() - 5, os.getpid() + 5):
        plant(folder / f"sbcauth.keys.{pid}", precious)
    rotate(keys, 0.0, lambda: None)
    assert untouched(precious)
    assert owner(keys) == (DAEMON, DAEMON)
    keys.unlink()
    plant(keys, precious)
    with pytest.raises(ConfigError):
        rotate(keys, 0.0, lambda: None)
    assert untouched(precious)


def test_reload_as_root_truncates_no_link(folder: Path, precious: Path) -> None:
    file = folder / "sbcauth.yaml"
    file.write_text(
        "realm: example.com\nip_groups:\n  - name: Phones\n    type: user\n"
        "    classification: [{address: 127.0.0.0/8}]\n"
    )
    config = load(file, {})
    plant(stamp(config), precious)
    with pytest.raises(PermissionError):
        request_reload(config)
    assert untouched(precious)


def test_database_behind_another_users_link_is_refused(folder: Path, precious: Path) -> None:
    precious.write_text("")
    plant(folder / "users.db", precious)
    with pytest.raises(Unavailable, match="is another's link"):
        open_for_writing(f"sqlite:///{folder}/users.db", Seals(folder / "users.seal"))
    assert precious.read_text() == ""
