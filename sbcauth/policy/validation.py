"""Step 7: whether credentials are such that a password could make them good at all."""

from sbcauth.digest.algorithms import RESPONSE_LENGTHS
from sbcauth.digest.credentials import parse_credentials
from sbcauth.digest.nonces import NonceState
from sbcauth.exceptions import BadCredentials, Unavailable
from sbcauth.policy.claim import Claim
from sbcauth.policy.decision import Accept, Challenge, Decision, Reason, Reject
from sbcauth.policy.gate import Gate
from sbcauth.policy.request import Request

_FOREIGN, _ELSEWHERE = NonceState.FOREIGN, NonceState.ELSEWHERE


def validate(claim: Claim) -> Decision | None:
    """Answer credentials that no password can make good.

    A nonce that is not ours comes first: a phone that comes over from another server
    was offered other things there, and must not be turned away. In shadow it is that server
    that challenges, and the answer to it is measured all the same.
    """
    gate, credentials = claim.gate, claim.credentials
    is_foreign = claim.nonce is _FOREIGN
    if is_foreign and not gate.shadow:
        if gate.offers.judge(credentials.nonce, claim.now) is not _FOREIGN:
            return claim.forbid_what_was_not_offered(Reason.MIXED_CHALLENGES)
        return claim.challenge_again(Reason.FOREIGN_NONCE)
    if claim.nonce is _ELSEWHERE:
        return claim.challenge(Reason.NONCE_ELSEWHERE, stale=True)
    if credentials.algorithm not in claim.offer.signers:
        return claim.forbid_what_was_not_offered(Reason.ALGORITHM_NOT_OFFERED)
    if is_foreign:
        return None
    if len(credentials.response) != RESPONSE_LENGTHS[credentials.algorithm]:
        return claim.forbid_what_was_not_offered(Reason.RESPONSE_LENGTH)
    if not claim.offer.takes_qop(credentials):
        return claim.forbid_what_was_not_offered(Reason.QOP_NOT_OFFERED)
    if gate.check_digest_uri and credentials.uri != claim.request.request_uri:
        return claim.forbid(Reason.DIGEST_URI_MISMATCH)
    if claim.nonce is NonceState.STALE:
        return claim.challenge_again(Reason.STALE_NONCE, stale=True)
    return None


def used_before(claim: Claim, traced_user: str | None = None) -> Decision:
    """Answer a nonce count that was used: the same request again is no replay.

    It is absorbed by its transaction, or known by the binding of `traced_user`.
    """
    gate, request = claim.gate, claim.request
    request.absorb_repeat()
    if traced_user is not None and request.repeat_as_query(traced_user, gate.realm):
        username = claim.credentials.username
        return Accept(gate.name, username, traced_user, gate.realm, is_repeat=True)
    return claim.challenge_again(Reason.REPLAYED, stale=True)


def shown_in(gate: Gate, request: Request) -> str | None:
    """Return the header field in which a request has credentials for our realm that nobody asked.

    What cannot be read is there to be refused.
    """
    header = gate.would_be_answered_in(request.method)
    if request.first(header) is None:
        return None
    try:
        return header if gate.answer(request.fields(header)) else None
    except BadCredentials:
        return header


def of_another_realm(challenge: Challenge, field: str, realm: str) -> Challenge:
    """Return the challenge to a request whose credentials are for another realm; name both."""
    try:
        theirs = parse_credentials(field)
    except BadCredentials:  # of another scheme
        return challenge
    detail = f"the credentials are for the realm {theirs.realm[:60]}, ours is {realm}"
    return challenge._replace(username=theirs.username, detail=detail)


def malformed(gate: Gate, bad: BadCredentials) -> Reject:
    """Return the refusal of credentials that cannot be read."""
    reason = Reason.MALFORMED_CREDENTIALS
    return Reject(bad.status, bad.phrase, reason, gate.name, detail=str(bad))


def unavailable(gate: Gate, cause: Unavailable, username: str = "") -> Reject:
    """Return the refusal of a request that cannot be judged now; nothing has been let in."""
    return Reject(
        cause.status,
        cause.phrase,
        Reason.UNAVAILABLE,
        gate.name,
        username,
        cause.retry_after,
        str(cause),
    )
