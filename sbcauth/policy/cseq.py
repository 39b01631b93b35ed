"""CSeq numbers where SBC as Client sends a request again: each side sees its own unbroken row.

A challenged request goes to the peer a second time with a higher CSeq (RFC 3261, 22.2), which its
sender knows nothing of. From then on what the sender counts and what the peer has seen differ, for
the rest of the dialog, or of the registrations with one Call-ID.
"""

from typing import NamedTuple, Self

from sbcauth.policy.shared_state import SharedState, Table

HIGHEST = 2**31 - 1
"""RFC 3261, 8.1.1.5."""
_DIGITS = 10


def is_number(text: str) -> bool:
    """Tell whether text from the network is a CSeq number: ASCII digits, and not too many."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


class CSeqSpace(NamedTuple):
    """What is known of one row of requests; a number of 0 is none.

    `sent` is the highest number that the peer has seen, `own` the sender's highest. `invites` are
    the last two INVITEs, as (own, sent): an ACK and a PRACK name theirs long after.
    """

    sent: int
    own: int
    invites: tuple[tuple[int, int], ...] = ()

    def next(self, own: int, *, again: bool) -> int:
        """Return the number under which the sender's `own` goes to the peer."""
        number = self.sent + 1 if again else own + self.sent - self.own
        return number if 0 < number <= HIGHEST else own

    def after(self, own: int, sent: int, *, invite: bool) -> Self:
        """Return the space once the request has gone out."""
        invites = self.invites
        if invite:
            others = tuple(pair for pair in invites if pair[0] != own)
            invites = ((own, sent), *others)[:2]
        return self._replace(sent=max(self.sent, sent), own=max(self.own, own), invites=invites)

    def of_invite(self, own: int) -> int:
        """Return the number under which the sender's INVITE `own` went to the peer."""
        return dict(self.invites).get(own) or self.next(own, again=False)

    def invite_of(self, sent: int) -> int | None:
        """Return the sender's own number of the INVITE that the peer knows as `sent`."""
        return next((own for own, number in self.invites if number == sent), None)

    def __str__(self) -> str:
        """Return it as it is kept: of one length always."""
        pairs = (*self.invites, (0, 0), (0, 0))[:2]
        numbers = (self.sent, self.own, *pairs[0], *pairs[1])
        return " ".join(f"{number:0{_DIGITS}}" for number in numbers)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the space that `str` made."""
        sent, own, *rest = map(int, text.split())
        pairs = zip(rest[::2], rest[1::2], strict=True)
        return cls(sent, own, tuple(pair for pair in pairs if pair[0]))


class CSeqSpaces:
    """The spaces of all dialogs in which a request was sent again, over all processes.

    A space lives for `lifetime` seconds after its last request. Each method raises Unavailable.
    """

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared

    def send(self, key: str, own: int, *, invite: bool, again: bool, lifetime: int) -> int:
        """Return the number under which a request goes to the peer.

        Nothing is kept before the first request that is sent `again`.
        """
        if not again and self._find(key) is None:
            return own

        def count(text: str) -> tuple[str, int]:
            space = CSeqSpace.parse(text) if text else CSeqSpace(own, own)
            sent = space.next(own, again=again)
            return str(space.after(own, sent, invite=invite)), sent

        return self._shared.update_text(Table.CSEQ, key, lifetime, count)

    def learn(self, key: str, own: int, sent: int, *, invite: bool, lifetime: int) -> None:
        """Begin the space of a dialog that the request `own` has opened as `sent`."""

        def begin(text: str) -> tuple[str, None]:
            return text or str(CSeqSpace(sent, own).after(own, sent, invite=invite)), None

        self._shared.update_text(Table.CSEQ, key, lifetime, begin)

    def of_invite(self, key: str, own: int) -> int:
        """Return the number that the peer knows the sender's INVITE `own` by."""
        space = self._find(key)
        return space.of_invite(own) if space else own

    def invite_of(self, key: str, sent: int) -> int:
        """Return the sender's own number of an INVITE that the peer knows as `sent`."""
        space = self._find(key)
        return (space and space.invite_of(sent)) or sent

    def forget(self, key: str) -> None:
        """Forget a dialog that has ended."""
        self._shared.remove(Table.CSEQ, key)

    def _find(self, key: str) -> CSeqSpace | None:
        text = self._shared.get(Table.CSEQ, key)
        return CSeqSpace.parse(str(text)) if text else None
