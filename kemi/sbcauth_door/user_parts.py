"""User parts of SIP URIs, as Kamailio can read them."""

import re
from urllib.parse import quote

from sbcauth.digest.text import to_bytes

_USER_UNRESERVED = "-_.!~*'()&=+$,?/"
"""What stands unescaped in the user part of a URI (RFC 3261, 25.1), but for `;`."""
_NO_TEXT = re.compile("\0|%(?:00|[89A-Fa-f])")


def escaped(user: str) -> str:
    """Return the user part of a URI for `user` (RFC 3261, 25.1), as Kamailio can read it.

    `1001%40other` must not become another user's address of record. Letters of UTF-8 stay as they
    are: Kamailio's registrar refuses them escaped.
    """
    if user.isascii():
        return user if user.isalnum() else quote(user, safe=_USER_UNRESERVED)
    return "".join(
        letter if "\x80" <= letter < "\ud800" or letter > "\udfff" else quote(to_bytes(letter), "")
        for letter in user
    )


def is_text(local_user: str) -> bool:
    """Tell whether an escaped user part is text: in UTF-8, and without a NUL, escaped or not.

    Kamailio's functions take no NUL.
    """
    return not _NO_TEXT.search(local_user)
