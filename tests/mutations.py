"""Mutated bytes, the same for the same seed: what a fuzzer sends.

mutator = Mutator(7616)
for _ in range(1000):
    send(mutator.change(genuine))
"""

import random
from collections.abc import Sequence

_WORDS: tuple[bytes, ...] = (
    b'"', b'""', b"\\", b'\\"', b"=", b",", b",,", b";", b" ", b"\t", b"\x00", b"\x7f", b"\xff",
    b"\xc3\x28", b"\xed\xa0\x80", b"%00", b"%", b"'", b"''", b"<", b">", b"@", b":", b"[", b"]",
    b"Digest", b"username", b"username*=UTF-8''%ff", b"username*=UTF-8''%0099", b"realm",
    b"nonce=", b"uri=", b"response=",
    b"qop=auth-int", b"qop=", b"nc=ffffffff", b"nc=", b"algorithm=SHA-256", b"cnonce", b"auth",
    b"0" * 40, b"a" * 300, b"-1", b"4294967296",
)  # fmt: skip
_LINE_BREAKS = (b"\r\n", b"\n", b"\r", b"\r\n ", b"\r\n\r\n", b"\r\nVia: ", b"\r\nl: 9999\r\n")


class Mutator:
    """Changes, drops, doubles and inserts bytes; `seed` makes the same ones again.

    `line_breaks` says whether a change may end a header field, and so break the message.
    """

    def __init__(self, seed: int, *, line_breaks: bool = False) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - the same bytes in every run
        self._words: Sequence[bytes] = _WORDS + _LINE_BREAKS if line_breaks else _WORDS
        self._bytes = [
            byte.to_bytes(1, "big") for byte in range(256) if line_breaks or byte not in b"\r\n"
        ]

    def change(self, genuine: bytes) -> bytes:
        """Return `genuine` with one to six changes."""
        raw = genuine
        for _ in range(int(self._chance.random() ** 2 * 6) + 1):
            raw = self._change(raw)
        return raw

    def _change(self, raw: bytes) -> bytes:
        chance = self._chance
        here = int(chance.random() * (len(raw) + 1))
        there = here + int(chance.random() ** 4 * 60)
        match int(chance.random() * 6):
            case 0:
                return raw[:here] + raw[there:]
            case 1:
                return raw[:there] + raw[here:]
            case 2:
                other = int(chance.random() * (len(raw) + 1))
                return raw[:here] + raw[other : other + there - here] + raw[here:]
            case 3:
                return raw[:here] + chance.choice(self._bytes) + raw[here + 1 :]
            case 4:
                return raw[:here] + chance.choice(self._words) + raw[here:]
            case _:
                return raw[:here] + chance.choice(self._words) + raw[there:]
