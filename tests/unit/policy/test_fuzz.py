"""Mutated credentials by the hundred thousand: one kind of refusal, in bounded time and memory."""

import gc
import sys
import time
from collections.abc import Iterator

from conversation import Phone, accepted, phones, serve
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import Mutator

from sbcauth.digest.credentials import Credentials, parse_credentials
from sbcauth.exceptions import BadCredentials
from sbcauth.policy.attempt_limit import AttemptLimit

INPUTS = 200_000
DECISIONS = 20_000
SEED = 7616
LONGEST = 0.1
"""Seconds of processor time that one input may take; they take some 20 µs."""
KEPT_BLOCKS = 2000
"""Blocks of memory that may be left over from all inputs together."""
GENUINE = (
    b'Digest username="bob", realm="biloxi.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
    b'uri="sip:bob@biloxi.com", qop=auth, nc=00000001, cnonce="0a4f113b", '
    b'response="6629fae49393a05397450978507c4ef1", algorithm=MD5, '
    b'opaque="5ccc069c403ebaf9f0171e9517f40e41"',
    b'Digest username*=UTF-8\'\'J%C3%A4s%C3%B8n,realm="x,y=\\"z",nonce=a,uri="*",response=0A',
    b'DIGEST  qop="auth,auth-int" , nc="1", uri=sip:a@b;c=d username="a" realm="" nonce="" '
    b'response="" opaque=""00000188""',
)


def fields(count: int) -> Iterator[str]:
    print(f"seed {SEED}")
    mutator = Mutator(SEED, line_breaks=True)
    for number in range(count):
        raw = mutator.change(GENUINE[number % len(GENUINE)])
        yield raw.decode("utf-8", "surrogateescape")


def read(field: str) -> Credentials | None:
    """Return the credentials, or None where they cannot be read; nothing else may be raised."""
    try:
        return parse_credentials(field)
    except BadCredentials:
        return None


def is_sane(parsed: Credentials) -> bool:
    """Tell whether the values are what they promise, and are read again as they were."""
    return (
        len(parsed.nc) <= 8
        and 0 <= parsed.nonce_count < 1 << 32
        and set(parsed.response) <= set("0123456789abcdef")
        and parsed.protection == parsed.protection.lower()
        and read(str(parsed)) == parsed
    )


def meaning(field: str) -> Credentials | None:
    """Return the credentials without what no response covers, and no policy reads."""
    parsed = read(field)
    return parsed and parsed._replace(qop=parsed.protection, opaque="")


def test_mutated_fields_are_read_or_are_bad_credentials() -> None:
    slowest, was_read = 0.0, 0
    for number, field in enumerate(fields(INPUTS)):
        if number == INPUTS // 10:  # by now, all that is made once is made
            gc.collect()
            before = sys.getallocatedblocks()
        began = time.process_time()
        parsed = read(field)
        slowest = max(slowest, time.process_time() - began)
        if parsed is not None:
            was_read += 1
            assert is_sane(parsed), field
        del parsed
    gc.collect()
    assert slowest < LONGEST
    assert sys.getallocatedblocks() - before < KEPT_BLOCKS
    assert 0.1 < was_read / INPUTS < 0.9, "the mutations are too wild or too tame to tell much"


@settings(max_examples=2000, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(GENUINE), st.integers(0, 300), st.integers(0, 300), st.binary()),
        min_size=1,
        max_size=4,
    )
)
def test_pieces_of_fields_put_together_are_read_or_are_bad_credentials(
    pieces: list[tuple[bytes, int, int, bytes]],
) -> None:
    raw = b"".join(field[start : start + size] + more for field, start, size, more in pieces)
    for field in (raw, b"Digest " + raw, GENUINE[0] + b"," + raw):
        parsed = read(field.decode("utf-8", "surrogateescape"))
        assert parsed is None or is_sane(parsed)


def test_mutated_answers_get_in_only_where_nothing_of_them_was_changed() -> None:
    """What is hashed, and who is named, must be as the phone with the password sent it."""
    server = serve(phones(attempt_limit=AttemptLimit(100)))
    print(f"seed {SEED}")
    mutator = Mutator(SEED)
    phone = Phone(server)
    field = genuine = ""
    got_in = 0
    for number in range(DECISIONS):
        if number % 100 == 0 or not field:
            phone = Phone(server, address=f"192.0.2.{number // 100 % 250 + 1}")
            field = phone.field(phone.challenge())
            genuine = field.partition(": ")[2]
        value = mutator.change(genuine.encode()).decode("utf-8", "surrogateescape")
        if accepted(phone.send("REGISTER", f"Authorization: {value}")):
            got_in += 1
            assert meaning(value) == meaning(genuine), value
            field = ""  # it is used up
    assert got_in > DECISIONS // 100
