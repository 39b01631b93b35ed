"""The engine as a SIP worker asks it: one step a question, and one deadline."""

import os
from collections.abc import Sequence
from time import monotonic
from typing import Any

from sbcauth.cluster import scripts
from sbcauth.cluster.board import Board, Place
from sbcauth.cluster.engine_settings import EngineSettings
from sbcauth.cluster.link import Address, Link
from sbcauth.digest.nonces import LONGEST_LIFE
from sbcauth.exceptions import EngineAway

_CLAIMS_LIVE = LONGEST_LIFE + 5


class Engine:
    """Asks the engine for the node with the number `node`; each process has its own.

    Every method raises EngineAway where the engine does not answer in time, and at once where it
    recently did not.
    """

    def __init__(self, settings: EngineSettings, board: Board, node: int) -> None:
        self._timeout = settings.engine_timeout
        self._board = board
        self._node = node
        self._link = Link(settings)
        self._link.called = host_of(settings)
        self._process = 0

    def is_there(self) -> bool:
        """Tell whether it is known where the engine is, and has not been asked in vain."""
        return self._board.is_there()

    def close(self) -> None:
        """Close the connection; the next question makes another."""
        self._link.close()

    def claim(self, nonce_count: str) -> bool:
        """Use up a nonce count of an engine's nonce; tell whether it was unused.

        One that was judged by an epoch which has ended cannot be.
        """
        epoch = self._board.judged_by
        answer = self._run(scripts.CLAIM, nonce_count, _CLAIMS_LIVE, epoch=epoch)
        return bool(answer[0] == "new")

    def ask(self, script: str, *arguments: Any) -> Sequence[Any]:
        """Return the answer of a script of `scripts` to what follows node and epoch."""
        return self._run(script, *arguments)

    def _run(self, script: str, *arguments: Any, epoch: str = "") -> Sequence[Any]:
        if not self._board.is_there():
            raise EngineAway("the engine does not answer")
        if self._process != os.getpid():  # a fork has its parent's connection
            self._process = os.getpid()
            self._link.close()
        deadline = monotonic() + self._timeout
        try:
            for attempt in range(3):
                place = self._board.place
                if place is None:  # pragma: no cover - it is there
                    break
                known = epoch or place.epoch
                answer = self._link.run(
                    place.address, deadline, script, self._node, known, *arguments
                )
                if answer[0] != "epoch":
                    return answer  # type: ignore[no-any-return]
                if attempt:  # by a fresh connection to where the engine is said to be
                    begin(self._link, place.address, deadline, self._node, self._board)
                    if epoch:
                        break
                self._link.close()
        except EngineAway:
            self._board.tell_away()
            raise
        raise EngineAway("the engine has begun anew")


def begin(link: Link, address: Address, deadline: float, node: int, board: Board) -> Place:
    """Find out the epoch of the engine at an address, or begin one, and write it down.

    It ends with the run of the engine, when the engine is emptied, and when the engine becomes the
    primary again after it had been a replica, which may have been of one that lacked the last uses.
    """
    facts = _facts(link.call(address, deadline, "INFO", "server"))
    facts |= _facts(link.call(address, deadline, "INFO", "replication"))
    run, random = facts["run_id"][:8] + facts["master_replid"][:8], os.urandom(8).hex()
    _, epoch = link.run(address, deadline, scripts.BEGIN, node, run, random)
    place = Place(epoch, address)
    board.write(place)
    return place


def _facts(info: str) -> dict[str, str]:
    """Return what the engine says of itself."""
    return dict(line.split(":", 1) for line in info.splitlines() if ":" in line)


def host_of(settings: EngineSettings) -> str:
    """Return the name that the engine's certificate has, where the settings tell it."""
    place = settings.engine
    return place.hosts[0][0] if place.hosts and not place.name else ""
