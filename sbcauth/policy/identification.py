"""Step 8, identification: whose the credentials are, and what becomes of who is right."""

from sbcauth.digest.credentials import keep_layout
from sbcauth.digest.nonces import UNIQUE, NonceState
from sbcauth.exceptions import BadCredentials, EngineAway, Unavailable
from sbcauth.policy.accounts import Account, Accounts
from sbcauth.policy.attempts import Attempts
from sbcauth.policy.claim import Claim
from sbcauth.policy.decision import Accept, Ask, Decision, Reason, Reject
from sbcauth.policy.external_server import Answer, Verdict
from sbcauth.policy.gate import KnownPhone
from sbcauth.policy.lockouts import Lockouts
from sbcauth.policy.nonce_counts import NonceCounts, check_kept, key_of
from sbcauth.policy.pace import SAMPLE, Pace
from sbcauth.policy.reservations import Reservations
from sbcauth.policy.screening import Screening
from sbcauth.policy.validation import malformed, used_before, validate
from sbcauth.policy.words import Word

_FRESH, _SHARED = NonceState.FRESH, NonceState.SHARED


class Identification:
    """Measures answers against the accounts that they claim to be of."""

    def __init__(
        self,
        accounts: Accounts,
        screening: Screening,
        attempts: Attempts,
        lockouts: Lockouts,
        reservations: Reservations,
        nonce_counts: NonceCounts,
        *,
        in_cluster: bool = False,
    ) -> None:
        self._in_cluster = in_cluster
        self._accounts = accounts
        self._screening = screening
        self._attempts = attempts
        self._lockouts = lockouts
        self._reservations = reservations
        self._count_use = nonce_counts.count_use
        self._pace = Pace()

    def identify(self, claim: Claim) -> Decision:
        """Measure the response against the account that it claims to be of.

        An account that is unknown or disabled takes the same path as a wrong response.
        """
        account = self._account_of(claim)
        right = claim.is_right(account.ha1)
        if not right or account.refusal:
            is_old = claim.is_right(account.old_ha1)
            wrong = Reason.OLD_PASSWORD if is_old else Reason.WRONG_CREDENTIALS
            return self._lockouts.count_failure(claim, account.refusal or wrong)
        return self._accept_account(claim, account)

    def _account_of(self, claim: Claim) -> Account:
        """Return the account in User Info, or of the IP Group, that the credentials name."""
        credentials, group = claim.credentials, claim.gate.group
        return self._accounts.named_by(credentials, group, claim.claimed_user, claim.now)

    def _accept_account(self, claim: Claim, account: Account) -> Decision:
        """Accept a sender that has proved to be of an account, and remember its phone."""
        self._confirm(claim)
        decision = self.accept(claim, account.local_user, leaves_trace=account.leaves_trace)
        if not isinstance(decision, Accept) or decision.is_repeat:
            return decision
        is_first = self._get_to_know(claim, account)
        return Accept(*decision[:5], is_first, *decision[6:])  # what _replace does, sooner

    def _confirm(self, claim: Claim) -> None:
        """Have all nodes agree, before anything is used up: else that would tell what was right.

        Who comes again with what was used up proves nothing.
        """
        if self._in_cluster and (claim.shared or not self._lockouts.was_used(claim)):
            self._attempts.confirm(claim.claimant, claim.gate.limit, claim.now, claim.shared)

    def _get_to_know(self, claim: Claim, account: Account) -> bool:
        """Forget the failures of a claimant that has succeeded, and remember its phone.

        Tells whether it had not succeeded recently.
        """
        gate, claimant, now = claim.gate, claim.claimant, claim.now
        is_first = self._attempts.succeed(claimant, gate.limit, now)
        keep_layout(claim.field)
        if claim.is_own and account.local_user is not None:
            pair = (claimant.pair or claimant).key
            sure_until = self._attempts.sure_until(pair, gate.limit, now)
            ha1, leaves_trace = account.ha1, account.leaves_trace
            phone = (sure_until, pair, account.local_user, ha1, leaves_trace)
            self._remember(claim, phone)
            gate.tell(claim.origin.source, claim.credentials, KnownPhone(*phone))
        return is_first

    def _remember(self, claim: Claim, phone: tuple[int, str, str, str, bool]) -> None:
        """Remember all of a KnownPhone but its Contact, with the one that it registers now."""
        gate, request, leaves_trace = claim.gate, claim.request, phone[4]
        contact = request.usual_contact() if leaves_trace and gate.renews else ""
        gate.remember(claim.origin.source, claim.credentials, KnownPhone(*phone, contact))

    def ask(self, claim: Claim) -> Decision:
        """Have an external server measure the response, unless no answer could make it good."""
        group, credentials = claim.gate.group, claim.credentials
        if self._lockouts.was_used(claim):
            return used_before(claim)
        if group.external_server is None:
            raise Unavailable("there is no external server to ask")
        try:
            attributes = group.external_server.question(claim.request, credentials)
        except BadCredentials as bad:
            return malformed(claim.gate, bad)
        reserved = claim.places
        self._reservations.reserve(reserved, claim.claimant, group.attempt_limit, claim.now)
        # Once more: a verdict may have come in between.
        claim, refusal = self._lockouts.refuse(claim)
        if refusal:
            self._reservations.give_back(reserved, claim.now)
            return refusal
        return Ask(group.name, credentials.username, group.realm, attributes, reserved)

    def judge(self, claim: Claim, verdict: Verdict) -> Decision:
        """Go by the verdict of an external server; where there is none, nobody passes."""
        if verdict.answer is Answer.NONE:
            raise Unavailable(verdict.detail)
        account = self._accounts.known_elsewhere(claim.credentials, claim.gate.group)
        if account.refusal or verdict.answer is not Answer.ACCEPT:
            return self._lockouts.count_failure(claim, account.refusal or Reason.WRONG_CREDENTIALS)
        self._confirm(claim)
        decision = self.accept(claim, account.local_user)
        if isinstance(decision, Accept):
            is_first = self._attempts.succeed(claim.claimant, claim.gate.limit, claim.now)
            return decision._replace(is_first=is_first)
        return decision

    def accept(
        self,
        claim: Claim,
        local_user: str | None,
        *,
        leaves_trace: bool = False,
        phone: KnownPhone | None = None,
    ) -> Decision:
        """Accept, once, a sender that speaks for its own address of record.

        The nonce count comes first: one that is refused must not tell that the rest was right. And
        before that the transaction, so that of two copies the same one has both; not sooner, since
        it takes memory. What leaves a trace in the registrar needs none. `phone` is what is known
        of the sender.
        """
        gate, request, credentials, now = claim.gate, claim.request, claim.credentials, claim.now
        claimed = request.claimed_user
        if request.party or "%" in claimed:
            claimed = claim.claimed_user
        nc = credentials.nc
        if credentials.qop == "auth" and len(nc) == 8:
            nonce_count = f"{credentials.nonce[UNIQUE]}{nc.lower()}"  # as key_of has it
        else:
            nonce_count = key_of(credentials)
        pace = self._pace
        if (not hash(nonce_count) % SAMPLE or pace.stopped) and gate.is_of_users:
            pace.check(gate.name, claimed, nonce_count, now)
        contact = None
        if leaves_trace and local_user == claimed and gate.challenges_replays:
            contact = request.begin_registration(nonce_count)
        if contact is None:
            request.begin_transaction()
        if claim.nonce is _FRESH:  # in shadow it may be another's
            if (uses := self._count_use(nonce_count)) != 1:
                check_kept(uses)
                return used_before(claim, None if contact is None else claimed)
        elif claim.nonce is _SHARED:
            answer = self._use_up(claim, nonce_count, None if contact is None else claimed)
            if answer:
                return answer
        if local_user != claimed and local_user is not None:
            if request.party or not self._screening.may_speak(claim, claimed):
                return claim.forbid(Reason.IDENTITY_MISMATCH)
            claimed = local_user
        if gate.is_peer:
            name, username = gate.accepted_as, credentials.username
            return Accept(name, username, claimed, gate.realm, word=Word.PEER)
        how = gate.accepted
        if phone is not None and contact is not None:
            if contact == phone.contact:
                how = gate.renewed
            else:
                self._remember(claim, phone[:5])
        return tuple.__new__(  # what NamedTuple does, without its own function
            Accept, (gate.name, credentials.username, claimed, *how)
        )

    def _use_up(self, claim: Claim, nonce_count: str, traced_user: str | None) -> Decision | None:
        """Use up a nonce count that the engine remembers; answer one that was used, or cannot be.

        Without the engine a known phone gets another nonce. A stranger gets what a wrong answer
        would get.
        """
        try:
            is_new = self._attempts.claim(nonce_count)
        except EngineAway:
            if self._attempts.is_stranger(claim.claimant, claim.now):
                raise
            return claim.challenge(Reason.NONCE_ELSEWHERE, stale=True)
        return None if is_new else used_before(claim, traced_user)

    def relent(self, claim: Claim, refusal: Reject) -> Decision:
        """Let the right password in during a lockout that the one before has helped to bring about.

        Whatever else is answered gets the refusal of any lockout, and an answer that is wrong makes
        it one.
        """
        gate, claimant = claim.gate, claim.claimant
        if refusal.reason is not Reason.LOCKED_OUT or claimant.presenter or gate.asks_elsewhere:
            return refusal
        if not self._attempts.looks_at(claimant, claim.evidence, gate.limit, claim.now):
            return refusal
        if validate(claim) or self._lockouts.was_used(claim):
            return refusal
        account = self._account_of(claim)
        if claim.is_right(account.ha1) and not account.refusal:
            self._attempts.lift(claimant, claim.now)
            return self._accept_account(claim, account)
        if account.refusal or not claim.is_right(account.old_ha1):
            self._attempts.harden(claimant, claim.now)
        return refusal
