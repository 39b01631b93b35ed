"""The numbers of an account beside its local user: a PBX has many.

An identity is a number, or a prefix that ends in `*`. A number belongs to the account whose local
user it is, else to the one that has it as an identity, else to the one with the longest prefix of
it. So each number is one account's, whatever the order in which they were written.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote

LONGEST_NUMBER = 64
"""Characters of a number; what is longer is nobody's identity."""

_IDENTITY = re.compile(r'[^\s@:;<>"%*,?]{1,64}\*?')
_URI = re.compile(r"(?:sips?:([^@<>\s]*)@|tel:([^<>\s;,]*))", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def as_identity(text: str) -> str:
    """Return an identity as it is compared; raises ValueError where it can be none."""
    if not _IDENTITY.fullmatch(text) or not text.isprintable():
        raise ValueError(
            f"{text[:70]!a} is no identity: a number such as +4930123456, or a prefix such as "
            "+4930123*"
        )
    return text


def as_number(user: str) -> str:
    """Return the number in the user part of a URI: without escapes and parameters."""
    number = user.partition(";")[0]
    return unquote(number, errors="surrogateescape") if "%" in number else number


def identities_of(number: str) -> tuple[str, ...]:
    """Return the identities that a number could be one of, the most specific first."""
    if not 0 < len(number) <= LONGEST_NUMBER or "*" in number:
        return ()
    return (number, *(f"{number[:end]}*" for end in range(len(number), 0, -1)))


def has(identities: Iterable[str], number: str) -> bool:
    """Tell whether a number is one of these identities."""
    return not set(identities_of(number)).isdisjoint(identities)


def numbers_in(fields: Iterable[str]) -> tuple[str, ...]:
    """Return the numbers of the SIP and tel URIs in header fields such as P-Asserted-Identity.

    What stands in quotes is a name for people to read.
    """
    found = (each for field in fields for each in _URI.findall(_QUOTED.sub("", field)))
    return tuple(as_number(user.partition(":")[0] or number) for user, number in found)
