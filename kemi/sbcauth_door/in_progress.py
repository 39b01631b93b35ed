"""Registrations that are being carried out, known to all workers.

A known phone's REGISTER has no transaction, and leaves its trace in the registrar only when it has
been saved. One that comes again in between, because its answer is late, would be taken for a
replay by another worker. So each worker writes down what it is about to accept, before it uses up
the nonce count, in a place of memory that all can read: what it wrote last is being carried out, or
has been.
"""

import mmap

_PLACES = 512
_SIZE = 64
"""Bytes of a place."""
_NOTHING = bytes(_SIZE)


class InProgress:
    """What each worker is carrying out; made before the fork.

    A process without a place of its own writes down nothing.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _PLACES * _SIZE)
        self._mine: slice | None = None

    def set_rank(self, rank: int) -> None:
        """Write at the place of the worker with this rank, which no other has."""
        if 0 < rank < _PLACES:
            self._mine = slice(rank * _SIZE, (rank + 1) * _SIZE)

    def begin(self, request: str) -> None:
        """Write down what is about to be carried out."""
        if self._mine:
            self._memory[self._mine] = request.encode("utf-8", "replace")[:_SIZE].ljust(_SIZE)

    def is_of_another(self, request: str) -> bool:
        """Tell whether another worker carries out this request; this one does not."""
        if self._mine:
            self._memory[self._mine] = _NOTHING
        return self._memory.find(request.encode("utf-8", "replace")[:_SIZE].ljust(_SIZE)) >= 0
