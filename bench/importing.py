"""A million users: what it takes to import them, and what each worker keeps of them."""

import csv
import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from bench.load import Line
from bench.measure import Series, Settings
from bench.phones import REALM, Phones, password, username
from bench.report import Result
from bench.servers import Ours
from sbcauth.installation import schema_sql

USERS = 1_000_000
ACTIVE = range(0, USERS, USERS // 10_000)
_INSERT = """
    INSERT INTO user_info
        (ip_group, local_user, username, realm, ha1_md5, ha1_sha256, ha1_sha512_256)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""


def importing(settings: Settings) -> Result:
    """Import a million users of a CSV file with passwords; register some of them."""
    file = settings.folder / "users.csv"
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(("username", "password"))
        writer.writerows((username(user), password(user)) for user in range(USERS))

    server = Ours(settings.folder / "ours", 0, settings.workers)
    few = Ours(settings.folder / "few", 1000, settings.workers)
    with few:
        of_few = _kept(few, range(1000))
    with server:
        command = [Path(sys.executable).with_name("sbcauth"), "user", "import", str(file)]
        ours, peak = _timed(command, {**os.environ, **server.environment})
        of_many = _kept(server, ACTIVE)
    floor, _ = _timed([sys.executable, "-m", "bench.importing", str(settings.folder)], None)
    facts: dict[str, float | str] = {
        "rows a second, ours": f"{USERS / ours:.0f}",
        "rows a second, floor": f"{USERS / floor:.0f}",
        "peak memory of the import": f"{peak / 1024:.0f} MiB",
        "private memory of a worker, 1000 users": f"{of_few / 1024:.0f} MiB",
        f"private memory of a worker, {USERS} users, {len(ACTIVE)} of them seen": (
            f"{of_many / 1024:.0f} MiB"
        ),
    }
    series = [Series("ours, sealed", [ours]), Series("floor: hashes and inserts", [floor])]
    title = f"import of {USERS} users, three H(A1) each"
    return Result("import", title, "s", series, "floor: hashes and inserts", facts)


def _timed(command: list[str | Path], environment: dict[str, str] | None) -> tuple[float, int]:
    """Run a command; return how long it took (seconds) and its peak memory (KiB)."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} failed")
    return time.perf_counter() - began, used.ru_maxrss


def _kept(server: Ours, users: range) -> int:
    """Register users; return what a worker then keeps to itself, in KiB."""
    with Line(server.port) as line:
        line.keep_busy(Phones(line.port, server.port).register(users))
    return max(server.private_memory())


def _floor(folder: Path) -> None:
    """Hash and insert the same users with no more than Python and SQLite, in one transaction."""
    database = sqlite3.connect(folder / "floor.db")
    database.executescript(schema_sql().read_text())
    with (folder / "users.csv").open(newline="") as file, database:
        rows = csv.reader(file)
        next(rows)
        database.executemany(_INSERT, map(_hashed, rows))


def _hashed(row: list[str]) -> tuple[str, ...]:
    name, secret = row
    a1 = f"{name}:{REALM}:{secret}".encode()
    return (
        *("Phones", name, name, REALM),
        hashlib.md5(a1, usedforsecurity=False).hexdigest(),
        hashlib.sha256(a1).hexdigest(),
        hashlib.new("sha512_256", a1, usedforsecurity=False).hexdigest(),
    )


if __name__ == "__main__":
    _floor(Path(sys.argv[1]))
