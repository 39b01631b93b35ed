"""Making files that the server's own user can read, whoever makes them.

Root makes the first user, and the server runs as another: a file that root makes belongs to whom
its folder belongs to. Since others may write to that folder, no link is followed there.
"""

import os
from pathlib import Path


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


def make_folder(path: Path) -> None:
    """Make a folder, unless it is there, for the same owner alone; raises OSError."""
    if path.is_dir():
        return
    path.mkdir(mode=0o700)
    if os.geteuid() == 0:
        parent = path.parent.stat()
        os.chown(path, parent.st_uid, parent.st_gid, follow_symlinks=False)


def create_anew(path: Path, mode: int = 0o600) -> int:
    """Make a file like `create`, in the place of one that an ended process has left."""
    path.unlink(missing_ok=True)
    return create(path, mode)
