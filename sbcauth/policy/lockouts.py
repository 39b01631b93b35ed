"""Step 6, locked out, and the failures that lead there."""

from sbcauth.digest.nonces import NonceState
from sbcauth.exceptions import Unavailable
from sbcauth.policy.accounts import Accounts
from sbcauth.policy.attempts import Attempts
from sbcauth.policy.claim import Claim
from sbcauth.policy.claimants import Claimant, Scope
from sbcauth.policy.decision import Decision, Reason, Reject
from sbcauth.policy.nonce_counts import NonceCounts, key_of
from sbcauth.policy.validation import used_before

_FOREIGN = NonceState.FOREIGN


class Lockouts:
    """Refuses who has used up its attempts, and counts those that fail."""

    def __init__(self, attempts: Attempts, accounts: Accounts, nonce_counts: NonceCounts) -> None:
        self._attempts = attempts
        self._held_against = attempts.held_against
        self._accounts = accounts
        self._nonce_counts = nonce_counts

    def refuse(self, claim: Claim) -> tuple[Claim, Reject | None]:
        """Refuse a claimant that has used up its attempts, before any hashing.

        The flow from which the user is registered has a count of its own: where there is anything
        to ask that for, the claim is then that flow's.
        """
        limit, now, pair = claim.gate.limit, claim.now, claim.claimant
        scope, overrun = None, None
        try:
            scope = self._attempts.locked_out(pair, limit, now)
        except Unavailable as cause:
            overrun = cause
        if scope or overrun or self._held_against(pair.key) is not None:
            flow = self._registered_flow(claim)
            if flow:
                scope, overrun = self._attempts.locked_out(flow, limit, now), None
            claim = Claim(*claim[:-2], flow, is_flow_known=True)  # what _replace does, sooner
        if overrun:
            raise overrun
        return claim, claim.forbid(LOCKED_OUT[scope]) if scope else None

    def _registered_flow(self, claim: Claim) -> Claimant | None:
        """Return the flow that the request comes by, if its account is registered from there."""
        claimed, request, group = claim.claimed_user, claim.request, claim.gate.group
        if not claim.is_own or claim.nonce is _FOREIGN:
            return None
        if not request.comes_from_where_registered(claimed, group.realm):
            return None
        if self._accounts.local_user_of(claim.credentials.username, group) != claimed:
            return None
        flow = claim.claimant.at_flow(request.flow)
        return flow if self._attempts.is_only_one_at(flow) else None

    def count_failure(self, claim: Claim, reason: Reason) -> Decision:
        """Count the attempt and challenge again; refuse the last one."""
        limit, now = claim.gate.limit, claim.now
        if self.was_used(claim):
            return used_before(claim)
        is_old = reason is Reason.OLD_PASSWORD
        if not claim.is_own and not is_old:
            reason = Reason.NONCE_OF_ANOTHER
        flow = claim.flow if claim.is_flow_known else self._registered_flow(claim)
        claimant = flow or claim.claimant
        last = self._attempts.fail(
            claimant, claim.evidence, limit, now, is_old=is_old, shared=claim.shared
        )
        if last is None:
            return used_before(claim)
        return claim.forbid(reason) if last else claim.challenge(reason)

    def was_used(self, claim: Claim) -> bool:
        """Tell whether a nonce count was used, as far as this node remembers."""
        return not claim.shared and self._nonce_counts.was_used(key_of(claim.credentials))


LOCKED_OUT = {
    Scope.PAIR: Reason.LOCKED_OUT,
    Scope.SOURCE: Reason.SOURCE_LOCKED_OUT,
    Scope.USER: Reason.USER_LOCKED_OUT,
}
