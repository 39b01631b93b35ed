"""Making files that the server's own user can read, whoever makes them, and nobody else chooses.

Root makes the first user, and the server runs as another: a file that root makes belongs to whom
its folder belongs to. Who may write to that folder can plant links there, so that root would write
where they lead: no link is followed, drafts have names that nobody can guess, and what only the
server may change is not written in a folder that others write to.
"""

import errno
import grp
import os
import pwd
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


def create(path: Path, mode: int = 0o600) -> int:
    """Make a file that is not there yet, and return its descriptor.

    Made by root, it gets the owner and the group of its folder. Raises FileExistsError and other
    OSError; a link is a file that exists, wherever it leads.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        if os.geteuid() == 0:
            folder = path.parent.stat()
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_own(path: Path) -> int:
    """Return a descriptor to read and write a file; raises OSError where it was planted.

    It has no other name, and belongs to root, this user, or whom its folder belongs to.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    found = os.fstat(descriptor)
    owners = (0, os.geteuid(), path.parent.stat().st_uid)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid not in owners:
        os.close(descriptor)
        raise _refusal(path, "is another's file: remove it")
    return descriptor


def make_folder(path: Path) -> None:
    """Make a folder, unless it is there, for the same owner alone; raises OSError."""
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        if os.geteuid() == 0:
            parent = path.parent.stat()
            os.chown(path, parent.st_uid, parent.st_gid, follow_symlinks=False)
    check_folder(path)


def check_folder(path: Path) -> None:
    """Raise OSError where others than its owner and root can make files in a folder.

    Or where it is reached by a link that another has made.
    """
    link, found = path.lstat(), path.stat()
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, os.geteuid()):
        raise _refusal(path, "is another's link: name the folder itself")
    by_group = found.st_mode & stat.S_IWGRP and not _is_private_group(found)
    if found.st_mode & stat.S_IWOTH or by_group:
        raise _refusal(path, f"others than its owner may write to {path}: chmod go-w {path}")


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all, never readable by others; raises OSError.

    An existing file keeps its owner and its group's read permission; a new one that root makes
    is its folder's owner's. A link is refused, and so is a folder that others write to.
    """
    check_folder(path.parent)
    with replacing(path) as file:
        with suppress(FileNotFoundError):
            was = path.lstat()
            with suppress(PermissionError):  # only root can keep another's
                os.fchown(file.fileno(), was.st_uid, was.st_gid)
            os.fchmod(file.fileno(), 0o600 | (was.st_mode & stat.S_IRGRP))
        file.write(text)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Yield a file, for its owner alone, that takes the place of `path` when it is complete.

    Raises OSError; nothing stays where it is not complete, and a link is refused.
    """
    if path.is_symlink():
        raise _refusal(path, "is a link: name the file itself")
    draft = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}")
    try:
        descriptor = create(draft)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # not the draft's name
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _refusal(path: Path, why: str) -> PermissionError:
    return PermissionError(errno.EPERM, why, str(path))


def _is_private_group(folder: os.stat_result) -> bool:
    """Tell whether a folder's group is its owner alone, as Debian gives one to each user."""
    try:
        owner, group = pwd.getpwuid(folder.st_uid), grp.getgrgid(folder.st_gid)
    except KeyError:
        return False
    return owner.pw_gid == folder.st_gid and not set(group.gr_mem) - {owner.pw_name}
