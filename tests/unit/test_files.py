"""Files belong to whom their folder belongs to, though root makes them."""

import os
from pathlib import Path

import pytest

from sbcauth.files import create, create_anew, make_folder
from sbcauth.keys import write_private

DAEMON = 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of another user, as a service's is; only root can make one."""
    assert os.getuid() == 0, "run the tests as root"
    folder = tmp_path / "service"
    folder.mkdir()
    os.chown(folder, DAEMON, DAEMON)
    return folder


def owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


def test_new_file_is_its_folders_owners(folder: Path) -> None:
    os.close(create(folder / "new"))
    assert owner(folder / "new") == (DAEMON, DAEMON)
    assert (folder / "new").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        create(folder / "new")


def test_link_is_never_followed(folder: Path) -> None:
    precious = folder.parent / "precious"
    (folder / "new").symlink_to(precious)
    with pytest.raises(FileExistsError):
        create(folder / "new")
    os.close(create_anew(folder / "new"))
    assert not precious.exists()
    assert not (folder / "new").is_symlink()


def test_file_of_keys_is_its_folders_owners_and_stays_whose_it_is(folder: Path) -> None:
    file = folder / "keys"
    write_private(file, "1")
    assert owner(file) == (DAEMON, DAEMON)
    os.chown(file, 2, 2)
    write_private(file, "2")
    assert owner(file) == (2, 2)


def test_folder_is_its_parents_owners(folder: Path) -> None:
    for _ in range(2):
        make_folder(folder / "run")
    assert owner(folder / "run") == (DAEMON, DAEMON)
    assert (folder / "run").stat().st_mode & 0o777 == 0o700
