"""What a server keeps of its last outcomes: bounded for each reason, and in order of time."""

from typing import Any

from sbcauth.monitoring import recent as module
from sbcauth.monitoring.recent import SIZE, counter_key, entry, entry_key, recent
from sbcauth.monitoring.rpc import Rpc, RpcError


class Memory(Rpc):
    """Stands in for a server whose table is a dictionary; a real one answers in tests/e2e."""

    def __init__(self) -> None:
        self.kept: dict[str, int | str] = {}

    def call(self, method: str, *parameters: str | int) -> Any:
        key = str(parameters[1])
        if key not in self.kept:
            raise RpcError(f"{method}: Key name doesn't exist in htable.")
        return {"item": {"name": key, "value": self.kept[key]}}

    def keep(self, reason: str, at: float, source: str) -> None:
        number = int(self.kept.get(counter_key(reason), 0)) + 1
        self.kept[counter_key(reason)] = number
        line = f"decision=reject status=403 reason={reason} source={source}:5060/udp"
        self.kept[entry_key(reason, number)] = entry(at, line)


def test_nothing_is_kept_at_first() -> None:
    assert recent(Memory()) == []


def test_flood_of_one_reason_does_not_push_out_others() -> None:
    memory = Memory()
    memory.keep("locked-out", 1.0, "192.0.2.1")
    for number in range(3 * SIZE):
        memory.keep("unclassified", 2.0 + number, f"192.0.2.{number % 256}")
    found = recent(memory)
    assert len(found) == SIZE + 1
    assert (found[0].reason, found[0].address) == ("locked-out", "192.0.2.1")
    assert found[-1].address == f"192.0.2.{3 * SIZE - 1}"
    assert found[0].time.startswith("19")
    assert module.SIZE == 64
