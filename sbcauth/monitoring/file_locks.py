"""Who has locked a file, as Linux tells it in /proc/locks (proc_locks(5))."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LOCKS = Path("/proc/locks")


def writers(path: Path) -> Iterator[str]:
    """Yield each process that has locked a file for itself, or a part of it, as `PID (NAME)`."""
    try:
        inode, lines = str(path.stat().st_ino), _LOCKS.read_text().splitlines()
    except OSError:
        return
    for pid in sorted({pid for line in lines if (pid := _writer(line, inode))}):
        with suppress(OSError):
            yield f"{pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"


def _writer(line: str, inode: str) -> int:
    """Return whose lock on the file with this inode lets nobody else in; 0 for other lines."""
    fields = line.split()
    if len(fields) < 8 or fields[1] == "->":  # one that waits for a lock
        return 0
    _, kind, _, right, pid, file, *_ = fields
    ours = kind == "POSIX" and right == "WRITE" and file.rpartition(":")[2] == inode
    return int(pid) if ours else 0
