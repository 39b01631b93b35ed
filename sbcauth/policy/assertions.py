"""Who is told who calls (RFC 3325): a trusted server, and under Privacy nobody else.

A phone is not part of the network: who it is, we say. To a server that is trusted with identities
goes the proved account's P-Asserted-Identity, Privacy beside it, which that server then keeps.
Towards phones, and servers that are not trusted, it is taken away where the caller wants that.
"""

import re
from collections.abc import Sequence

from sbcauth.policy.ip_groups import IPGroup, IPGroupType

_WORDS = frozenset(("id", "user", "header"))
_BETWEEN = re.compile(r"[;,\s]+")
_IN_RPID = re.compile(r";\s*privacy\s*=\s*\"?(?:full|uri)\b", re.IGNORECASE)


def wants_privacy(privacy: Sequence[str], remote_party_ids: Sequence[str] = ()) -> bool:
    """Tell whether who sends a message does not want to be known to who gets it (RFC 3323, 4.2).

    `privacy` and `remote_party_ids` are the values of these header fields.
    """
    if not privacy and not remote_party_ids:
        return False
    words = {word.lower() for field in privacy for word in _BETWEEN.split(field)}
    return not words.isdisjoint(_WORDS) or any(map(_IN_RPID.search, remote_party_ids))


def hides(sender: IPGroup | None, receiver: IPGroup, *, private: bool) -> bool:
    """Tell whether what a message asserts is not for the IP Group that gets it.

    `private` is what the message wants. What a server asserts that is not trusted proves nothing to
    a phone. Outside the mode sbc-as-server all passes untouched.
    """
    if receiver.type is IPGroupType.USER:
        return receiver.asks and (private or sender is None or not sender.trusted_identity)
    return private and not receiver.trusted_identity and (sender is None or sender.asks)
