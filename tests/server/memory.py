"""How much memory a running server takes: each process for itself, and what they share."""

from pathlib import Path

from kamailio import Server

from sbcauth.monitoring.rpc import Rpc


def rpc(server: Server) -> Rpc:
    """Return the line to a server's commands."""
    return Rpc(server.config_file.parent / "run" / "rpc.sock", timeout=5.0)


def private(server: Server) -> dict[int, int]:
    """Return how many KiB each process has for itself, by process id: C, Python and SQLite."""
    return {pid: _private(pid) for pid in server.processes()}


def shared(server: Server) -> int:
    """Return how many KiB of Kamailio's shared memory are in use."""
    return int(rpc(server).call("core.shmmem")["used"]) // 1024


def entries(server: Server) -> dict[str, int]:
    """Return how many entries each table of the authentication server has.

    The last outcomes are left out: so many of each reason are kept, and no more.
    """
    tables = rpc(server).call("htable.stats")
    found = {each["name"].removeprefix("sbcauth_"): int(each["all"]) for each in tables}
    found.pop("outcomes", None)
    return found


def growth(before: dict[int, int], after: dict[int, int]) -> int:
    """Return by how many KiB the process that grew most has grown; all must still be there."""
    assert before.keys() == after.keys(), "a process was lost"
    return max(after[pid] - before[pid] for pid in before)


def _private(pid: int) -> int:
    """Return the anonymous memory of a process, without what Kamailio's processes share."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
