"""H(A1) of one password, by algorithm: as good as the password, and so never shown."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Self

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.response import ha1

_SLOTS: dict[str, str] = {algorithm: algorithm.label for algorithm in Algorithm}
_EACH = tuple((algorithm, algorithm.label) for algorithm in Algorithm)


class HA1s:
    """H(A1) of a password for each algorithm that it is known for; it does not change.

    `values` are in lower-case hexadecimal, or sealed, by algorithm. What is none of ours is left
    out, and so is what is empty.
    """

    __slots__ = tuple(_SLOTS.values())

    def __init__(self, values: Mapping[str, str | None] = MappingProxyType({})) -> None:
        for algorithm, slot in _EACH:
            setattr(self, slot, values.get(algorithm) or None)

    @classmethod
    def of_password(cls, username: str, realm: str, password: str) -> Self:
        """Return H(A1) for every algorithm; the password itself is kept nowhere."""
        return cls({each: ha1(each, username, realm, password) for each, _ in _EACH})

    def get(self, algorithm: str) -> str | None:
        """Return H(A1) for `algorithm`, or None where there is none."""
        slot = _SLOTS.get(algorithm)
        found: str | None = getattr(self, slot) if slot else None
        return found

    def items(self) -> Iterator[tuple[Algorithm, str]]:
        """Yield each algorithm that there is an H(A1) for, with it."""
        for algorithm, slot in _EACH:
            if found := getattr(self, slot):
                yield algorithm, found

    def may_be_of_the_password_of(self, other: Self) -> bool:
        """Tell whether no algorithm that both have an H(A1) for tells the passwords apart."""
        return all(other.get(algorithm) in (None, found) for algorithm, found in self.items())

    def __bool__(self) -> bool:
        return any(self.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HA1s) and dict(self.items()) == dict(other.items())

    def __hash__(self) -> int:
        return hash(tuple(self.items()))

    def __repr__(self) -> str:
        """Return which there are, and none of them."""
        return f"HA1s({', '.join(algorithm for algorithm, _ in self.items())})"


NO_HA1S = HA1s()
"""Of no password."""
