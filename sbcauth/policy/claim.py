"""A claim: a request with credentials for our realm, whose sender so claims to be somebody."""

from typing import NamedTuple

from sbcauth.digest.authorities import ENGINE
from sbcauth.digest.credentials import Credentials
from sbcauth.digest.nonces import AUTHORITY, PLACE, NonceState
from sbcauth.digest.response import response_is_right
from sbcauth.policy.claimants import Claimant
from sbcauth.policy.decision import Challenge, Decision, Reason, Reject
from sbcauth.policy.gate import Gate
from sbcauth.policy.nonce_counts import key_of
from sbcauth.policy.offers import Offer
from sbcauth.policy.request import Request
from sbcauth.policy.reservations import places
from sbcauth.policy.unproved import unescaped
from sbcauth.policy.user_agents import LONGEST_USER_AGENT

_FOREIGN, _SHARED, _ELSEWHERE = NonceState.FOREIGN, NonceState.SHARED, NonceState.ELSEWHERE


class Origin(NamedTuple):
    """What is known of an address: its source, and the tags that this has in nonces.

    `gate` is that of its IP Group, or None where that depends on more than the address.
    """

    gate: Gate | None
    source: str
    tags: tuple[str, ...]


class Claim(NamedTuple):
    """A request with credentials for our realm: its sender claims to be somebody.

    `nonce` is the state of the nonce, which was issued to the sender's own source where it
    `is_own`. The credentials are in `header`, whose first field is `field`, and answer `offer`.
    `flow` is the one from which the user is registered, if the request comes by it, as far as that
    `is_flow_known`.
    """

    gate: Gate
    origin: Origin
    request: Request
    header: str
    field: str
    credentials: Credentials
    nonce: NonceState
    is_own: bool
    now: int
    offer: Offer
    flow: Claimant | None = None
    is_flow_known: bool = False

    @property
    def claimant(self) -> Claimant:
        """Return whom failures are held against: whoever the nonce was issued to.

        Whoever forges a stranger's address never sees the nonces sent there, so he cannot have
        the stranger locked out; and nonces collected elsewhere buy no further attempts. The `flow`
        that a user is registered from has a count of its own.
        """
        if self.flow:
            return self.flow
        source, tags = self.origin.source, self.origin.tags
        claimant = Claimant(self.gate.name, source, self.credentials.username, tags[0][PLACE])
        if self.is_own:
            return claimant
        return claimant.with_nonce_of_another(self.credentials.nonce[PLACE])

    @property
    def evidence(self) -> str:
        """Return what tells one wrong answer from another."""
        credentials = self.credentials
        return f"{credentials.nonce} {credentials.nc} {credentials.response}"

    @property
    def places(self) -> tuple[str, ...]:
        """Return the places that a question about it takes; what is at a flow is of its pair."""
        return places(self.gate.name, self.credentials.nonce[PLACE], self.credentials.username)

    @property
    def shared(self) -> str:
        """Return the key of the nonce count, if the engine remembers its use; else nothing."""
        return key_of(self.credentials) if self.nonce is _SHARED else ""

    @property
    def claimed_user(self) -> str:
        """Return the user part of the address of record that the request speaks for.

        Escapes are undone, so that `%31001` is 1001 (RFC 3261, 19.1.4).
        """
        if self.request.party:
            return self.request.party.account
        return unescaped(self.request.claimed_user)

    @property
    def body(self) -> bytes:
        """Return the body, as far as the response is of it."""
        return self.request.body if self.credentials.protection == "auth-int" else b""

    def is_right(self, ha1: str) -> bool:
        """Tell whether the response was computed with this H(A1)."""
        return response_is_right(ha1, self.request.method, self.credentials, self.body)

    def challenge(self, reason: Reason, *, stale: bool = False) -> Challenge:
        """Return another challenge, in answer to the credentials.

        Who goes from node to node gets a nonce of the engine's.
        """
        gate, tag, username = self.gate, self.origin.tags[0], self.credentials.username
        if self.nonce is not _FOREIGN and (
            self.nonce is _ELSEWHERE or self.credentials.nonce[AUTHORITY] == ENGINE
        ):
            tag = f"{ENGINE}{tag[PLACE]}"
        return gate.challenge(
            self.header, self.request, tag, self.now, reason, username, stale=stale
        )

    def challenge_again(self, reason: Reason, *, stale: bool = False) -> Decision:
        """Return a new nonce in place of one that is no good; this counts for nothing."""
        if not self.gate.challenges_replays:
            return self.forbid(reason)
        return self.challenge(reason, stale=stale)

    def forbid(self, reason: Reason) -> Reject:
        """Return a refusal."""
        return Reject(403, "Forbidden", reason, self.gate.name, self.credentials.username)

    def forbid_what_was_not_offered(self, reason: Reason) -> Reject:
        """Return the refusal of an answer to what was not offered; say what was seen of whom."""
        credentials, offer = self.credentials, self.offer
        detail = (
            f"answers {credentials.algorithm} {credentials.qop or 'without qop'}; offered: "
            f"{', '.join(offer.signers)}, qop {', '.join(offer.qop) or 'none'}"
        )
        user_agent = self.request.user_agent[:LONGEST_USER_AGENT]
        detail += f"; User-Agent: {user_agent or 'none'}"
        return self.forbid(reason)._replace(detail=detail)
