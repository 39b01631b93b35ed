"""What another user may do with files: the one that the server runs as.

Root may read everything, so root's own look at a file says nothing about the server's.
"""

import json
import os
import pwd
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Person(NamedTuple):
    """A user of the machine, with the groups that count for files."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


class Need(NamedTuple):
    """What somebody needs: `rights` as os.access has them, on a file."""

    path: Path
    rights: int

    def __str__(self) -> str:
        names = {os.R_OK: "read", os.W_OK: "write", os.X_OK: "enter"}
        words = [word for right, word in names.items() if self.rights & right]
        return f"{' and '.join(words)} {self.path}"


def user_of_process(pid: int) -> Person:
    """Return whom a process runs as (proc(5), /proc/PID/status); raises OSError."""
    fields = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    uid, gid = (int(fields[name].split()[1]) for name in ("Uid", "Gid"))  # the effective ones
    return Person(_name(uid), uid, gid, tuple(map(int, fields["Groups"].split())))


def owner_of_file(path: Path) -> Person:
    """Return whom a file or folder belongs to, with all groups of that user; raises OSError."""
    uid = path.stat().st_uid
    name = _name(uid)
    with suppress(KeyError):
        gid = pwd.getpwuid(uid).pw_gid
        return Person(name, uid, gid, tuple(os.getgrouplist(name, gid)))
    return Person(name, uid, path.stat().st_gid, ())


def lacking(person: Person, needs: Sequence[Need]) -> list[Need]:
    """Return those of `needs` that `person` may not do.

    For another user than ours that takes root. Raises PermissionError without.
    """
    if person.uid == os.geteuid():
        return _lacking(needs)
    if os.geteuid() != 0:
        raise PermissionError
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(person.groups)
            os.setgid(person.gid)
            os.setuid(person.uid)
            places = [needs.index(need) for need in _lacking(needs)]
            os.write(write_end, json.dumps(places).encode())
        finally:
            os._exit(0)  # nothing of the parent's may be done twice
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return [needs[place] for place in json.loads(text)]


def _lacking(needs: Iterable[Need]) -> list[Need]:
    return [need for need in needs if not os.access(need.path, need.rights)]


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
