"""Registrations that are being carried out, known to all workers.

A known phone's REGISTER has no transaction, and leaves its trace in the registrar only when it has
been saved. One that comes again in between, because its answer is late, would be taken for a
replay by another worker. So each worker writes down what it is about to accept, before it uses up
the nonce count, in a place of memory that all can read: what it wrote last is being carried out, or
has been.
"""

import mmap
from collections.abc import Callable
from functools import partial
from struct import Struct

_PLACES = 512
_PLACE = Struct("64s")
"""What a worker writes down; what is shorter is filled up with zeros."""


class InProgress:
    """What each worker is carrying out; made before the fork.

    `begin` writes down what is about to be carried out. A process without a place of its own
    writes down nothing.
    """

    begin: Callable[[bytes], object]

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _PLACES * _PLACE.size)
        self.begin = bytes

    def set_rank(self, rank: int) -> None:
        """Write at the place of the worker with this rank, which no other has."""
        if 0 < rank < _PLACES:
            self.begin = partial(_PLACE.pack_into, self._memory, rank * _PLACE.size)

    def is_of_another(self, request: bytes) -> bool:
        """Tell whether another worker carries out this request; this one does not."""
        self.begin(b"")
        return self._memory.find(_PLACE.pack(request)) >= 0
