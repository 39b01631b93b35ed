"""A million users: what it takes to import them, and what each worker keeps of them."""

import csv
import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
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
    INSERT INTO user_info (id, ip_group, local_user, username, realm)
    VALUES (?, 'Phones', ?, ?, ?)
"""
_INSERT_HA1 = "INSERT INTO ha1 (user, algorithm, ha1) VALUES (?, ?, ?)"
_BATCH = 1000


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
        users = enumerate(rows, start=1)
        while batch := list(islice(users, _BATCH)):
            database.executemany(_INSERT, ((user, name, name, REALM) for user, (name, _) in batch))
            database.executemany(_INSERT_HA1, (each for row in batch for each in _hashed(*row)))


def _hashed(user: int, row: list[str]) -> Iterator[tuple[int, str, str]]:
    name, secret = row
    a1 = f"{name}:{REALM}:{secret}".encode()
    yield user, "MD5", hashlib.md5(a1, usedforsecurity=False).hexdigest()
    yield user, "SHA-256", hashlib.sha256(a1).hexdigest()
    yield user, "SHA-512-256", hashlib.new("sha512_256", a1, usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    _floor(Path(sys.argv[1]))
