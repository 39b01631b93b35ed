"""The authentication server: one request in, one decision out.

`AuthServer.decide` is the whole policy, in the order in which a request meets it.
"""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from sbcauth.digest.credentials import Credentials
from sbcauth.digest.nonces import TAG, JudgedNonce, NonceKey, NonceState
from sbcauth.digest.response import response_is_right
from sbcauth.exceptions import BadCredentials, Unavailable
from sbcauth.policy.accounts import Account, Accounts, Users
from sbcauth.policy.attempts import Attempts
from sbcauth.policy.challenges import Challenger
from sbcauth.policy.claimants import Claimant, Scope
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.decision import Accept, Ask, Challenge, Decision, Drop, Pass, Reason, Reject
from sbcauth.policy.external_server import Answer, Verdict
from sbcauth.policy.fast_path import FastPath, FastPathOfSource
from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    IPGroup,
    ServerAuthMode,
    UnclassifiedRequests,
)
from sbcauth.policy.nonce_counts import NonceCounts
from sbcauth.policy.request import Party, Request, source_of
from sbcauth.policy.reservations import Reservations, places
from sbcauth.policy.shared_state import SharedState

_REMEMBERED_SOURCES = 100_000


class Claim(NamedTuple):
    """A request of `group` with credentials that answer our challenge."""

    group: IPGroup
    challenger: Challenger
    request: Request
    credentials: Credentials
    nonce: JudgedNonce
    claimant: Claimant
    now: int

    def challenge(self, reason: Reason, *, stale: bool = False) -> Challenge:
        """Return another challenge, in answer to the credentials."""
        method, source = self.request.method, self.request.source
        status, headers = self.challenger.challenge(method, source, self.now, stale=stale)
        return Challenge(status, headers, reason, self.group.name, self.credentials.username)


class AuthServer:
    """Decides for each request whether its sender must prove who it is, and whether it did.

    `keys` has the newest nonce key first. Nonces minted before `started_at` (seconds since
    1970) are stale, since the record of their use ended with the process that kept it.
    """

    def __init__(
        self,
        ip_groups: IPGroups,
        users: Users,
        shared: SharedState,
        keys: Sequence[NonceKey],
        unclassified_requests: UnclassifiedRequests = UnclassifiedRequests.REJECT,
        started_at: int = 0,
    ) -> None:
        self._ip_groups = ip_groups
        self._attempts = Attempts(shared)
        self._reservations = Reservations(shared, self._attempts)
        self._nonce_counts = NonceCounts(shared)
        self._challengers = {
            group.name: Challenger(group, keys, started_at) for group in ip_groups.by_name.values()
        }
        self._fast_path_of = {
            name: FastPath(ip_groups.by_name[name], challenger, users, self._attempts)
            for name, challenger in self._challengers.items()
            if FastPath.is_for(ip_groups.by_name[name])
        }
        self.fast_paths: dict[str, FastPathOfSource | None] = {}
        self._accounts = Accounts(ip_groups, users)
        self._unclassified: Decision = (
            Drop(Reason.UNCLASSIFIED)
            if unclassified_requests is UnclassifiedRequests.DROP
            else Reject(403, "Forbidden", Reason.UNCLASSIFIED)
        )

    def decide(self, request: Request, now: int, verdict: Verdict | None = None) -> Decision:
        """Return what is to be done with `request`, which came at `now` (seconds since 1970).

        Where that is to Ask an external server, ask again with its verdict: all the rest may
        have changed in the meantime.
        """
        # 1. Never challenged (RFC 3261, 22.1)
        if request.method in ("ACK", "CANCEL"):
            return Pass(Reason.NEVER_CHALLENGED)

        # 2. Classification; within a dialog, its seals say who it is
        party = request.party
        if party:
            return self._decide_of(party, request, now, verdict)
        group = self._ip_groups.classify(request)
        if group is None:
            return self._unclassified

        # 3. Authentication Mode
        if group.authentication_mode is not AuthenticationMode.SBC_AS_SERVER:
            return Pass(Reason.PASS_THROUGH, group.name)

        # 4. Authentication Method List
        if not group.challenges(request):
            return Pass(Reason.METHOD_NOT_LISTED, group.name)

        decision = self._authenticate(group, request, now, verdict)
        return _in_shadow(decision) if group.shadow else decision

    def unknown_dialog(self, request: Request) -> Decision:
        """Return what becomes of a request within a dialog that we do not know.

        A phone that gets 481 ends its call, or subscribes anew; on a 403 it would hang.
        """
        unclassified = self._unclassified
        if isinstance(unclassified, Drop) and self._ip_groups.classify(request) is None:
            return unclassified
        return UNKNOWN_DIALOG

    def _decide_of(
        self, party: Party, request: Request, now: int, verdict: Verdict | None
    ) -> Decision:
        """Return what becomes of a request within a dialog, sent by one of its parties.

        Whose account nobody here can ask for (another mode, shadow), is let go on from elsewhere
        where the same IP Group's requests come from.
        """
        group = self._ip_groups.by_name.get(party.ip_group)
        if group is None:  # removed since the dialog began
            return self.unknown_dialog(request)
        asks = group.authentication_mode is AuthenticationMode.SBC_AS_SERVER
        elsewhere = party.must_answer
        if elsewhere and not (asks and not group.shadow):
            if self._ip_groups.classify(request) is not group:
                return self.unknown_dialog(request)
            elsewhere = False
        if not elsewhere and not (asks and group.challenges(request)):
            return Pass(Reason.WITHIN_DIALOG, group.name, party.account)
        decision = self._authenticate(group, request, now, verdict)
        return _in_shadow(decision) if group.shadow else decision

    def _authenticate(
        self, group: IPGroup, request: Request, now: int, verdict: Verdict | None
    ) -> Decision:
        """Return what is to be done with a request whose sender must prove who it is."""
        # 5. Credentials for our realm
        challenger = self._challengers[group.name]
        try:
            credentials = challenger.answer(request)
        except BadCredentials as bad:
            return _malformed(group, bad)
        if credentials is None:
            status, headers = challenger.challenge(request.method, request.source, now)
            return Challenge(status, headers, Reason.CHALLENGED, group.name)
        claim = _claim(group, challenger, request, credentials, now)

        # 6. Locked out, 7. Validation, 8. Identification
        try:
            claim, refusal = self._lock_out(claim)
            if refusal:
                return self._relent(claim, refusal)
            return self._validate(claim) or self._identify(claim, verdict)

        # 9. Doubt never lets a request pass
        except Unavailable as cause:
            return Reject(
                cause.status,
                cause.phrase,
                Reason.UNAVAILABLE,
                group.name,
                credentials.username,
                cause.retry_after,
                str(cause),
            )

        # A verdict is counted before its place is given back
        finally:
            if verdict:
                self._reservations.give_back(_reserved(claim), now)

    def give_back(self, ask: Ask, now: int) -> None:
        """Give back the attempt that was reserved at `now` for a question that was not asked."""
        self._reservations.give_back(ask.reserved, now)

    def fast_path(self, address: str) -> FastPathOfSource | None:
        """Return the fast path of all requests from an address, or None where they have none."""
        try:
            return self.fast_paths[address]
        except KeyError:
            group = self._ip_groups.of_all_from(address)
            path = self._fast_path_of.get(group.name) if group else None
            source = source_of(address)
            found = (path, source, path.tag_of(source)) if path else None
            if len(self.fast_paths) >= _REMEMBERED_SOURCES:
                self.fast_paths.clear()
            self.fast_paths[address] = found
            return found

    def _lock_out(self, claim: Claim) -> tuple[Claim, Reject | None]:
        """Refuse a claimant that has used up its attempts, before any hashing.

        The flow from which the user is registered has a count of its own: where there is anything
        to ask that for, the claim is then that flow's.
        """
        limit, now, pair = claim.group.attempt_limit, claim.now, claim.claimant
        scope, overrun = None, None
        try:
            scope = self._attempts.locked_out(pair, limit, now)
        except Unavailable as cause:
            overrun = cause
        if scope or overrun or self._attempts.held_against(pair.key) is not None:
            flow = self._registered_flow(claim)
            if flow:
                scope, overrun = self._attempts.locked_out(flow, limit, now), None
                claim = claim._replace(claimant=flow)
        if overrun:
            raise overrun
        return claim, _forbid(claim, _LOCKED_OUT[scope]) if scope else None

    def _registered_flow(self, claim: Claim) -> Claimant | None:
        """Return the flow that the request comes by, if its account is registered from there."""
        claimant, request, group = claim.claimant, claim.request, claim.group
        claimed = _claimed_user(request)
        if claimant.presenter or claim.nonce.state is NonceState.FOREIGN:
            return None
        if not request.comes_from_where_registered(claimed, group.realm):
            return None
        if self._accounts.local_user_of(claim.credentials.username, group) != claimed:
            return None
        flow = claimant.at_flow(request.flow)
        return flow if self._attempts.is_only_one_at(flow) else None

    def _relent(self, claim: Claim, refusal: Reject) -> Decision:
        """Let the right password in during a lockout that the one before has helped to bring about.

        Whatever else is answered gets the refusal of any lockout, and an answer that is wrong makes
        it one.
        """
        group, credentials, claimant = claim.group, claim.credentials, claim.claimant
        if refusal.reason is not Reason.LOCKED_OUT or claimant.presenter:
            return refusal
        if group.server_auth_mode is ServerAuthMode.RADIUS:
            return refusal
        if not self._attempts.looks_at(claimant, _evidence(claim), group.attempt_limit, claim.now):
            return refusal
        if self._validate(claim) or self._nonce_counts.was_used(
            credentials.nonce, credentials.nonce_count
        ):
            return refusal
        account = self._accounts.named_by(
            credentials, group, _claimed_user(claim.request), claim.now
        )
        right = _is_right(claim, account.ha1)
        if right and not account.refusal:
            self._attempts.lift(claimant, claim.now)
            return self._right(claim, account)
        if account.refusal or not _is_right(claim, account.old_ha1):
            self._attempts.harden(claimant, claim.now)
        return refusal

    def _validate(self, claim: Claim) -> Decision | None:
        """Answer credentials that no password can make good.

        A nonce that is not ours comes first: a phone that comes over from another server
        was offered other things there, and must not be turned away. In shadow it is that server
        that challenges, and the answer to it is measured all the same.
        """
        credentials, challenger = claim.credentials, claim.challenger
        is_foreign = claim.nonce.state is NonceState.FOREIGN
        if is_foreign and not claim.group.shadow:
            if challenger.made_for_another_algorithm(credentials.nonce, claim.now):
                return _forbid(claim, Reason.MIXED_CHALLENGES)
            return self._challenge_again(claim, Reason.FOREIGN_NONCE)
        if not challenger.offered_algorithm(credentials):
            return _forbid(claim, Reason.ALGORITHM_NOT_OFFERED)
        if is_foreign:
            return None
        if not credentials.response_has_its_length:
            return _forbid(claim, Reason.RESPONSE_LENGTH)
        if not challenger.offered_qop(credentials):
            return _forbid(claim, Reason.QOP_NOT_OFFERED)
        if claim.group.check_digest_uri and credentials.uri != claim.request.request_uri:
            return _forbid(claim, Reason.DIGEST_URI_MISMATCH)
        if claim.nonce.state is NonceState.STALE:
            return self._challenge_again(claim, Reason.STALE_NONCE, stale=True)
        return None

    def _identify(self, claim: Claim, verdict: Verdict | None) -> Decision:
        """Measure the response against the account that it claims to be of.

        An account that is unknown or disabled takes the same path as a wrong response.
        """
        if claim.group.server_auth_mode is ServerAuthMode.RADIUS:
            return self._judge(claim, verdict) if verdict else self._ask(claim)
        account = self._accounts.named_by(
            claim.credentials, claim.group, _claimed_user(claim.request), claim.now
        )
        right = _is_right(claim, account.ha1)
        if not right or account.refusal:
            is_old = _is_right(claim, account.old_ha1)
            wrong = Reason.OLD_PASSWORD if is_old else Reason.WRONG_CREDENTIALS
            return self._wrong(claim, account.refusal or wrong)
        return self._right(claim, account)

    def _ask(self, claim: Claim) -> Decision:
        """Have an external server measure the response, unless no answer could make it good."""
        group, credentials = claim.group, claim.credentials
        if self._nonce_counts.was_used(credentials.nonce, credentials.nonce_count):
            return self._challenge_again(claim, Reason.REPLAYED, stale=True)
        if group.external_server is None:
            raise Unavailable("server_auth_mode is radius, but there are no radius.servers")
        try:
            attributes = group.external_server.question(claim.request, credentials)
        except BadCredentials as bad:
            return _malformed(group, bad)
        reserved = _reserved(claim)
        self._reservations.reserve(reserved, claim.claimant, group.attempt_limit, claim.now)
        claim, refusal = self._lock_out(claim)  # once more: a verdict may have come in between
        if refusal:
            self._reservations.give_back(reserved, claim.now)
            return refusal
        return Ask(group.name, credentials.username, group.realm, attributes, reserved)

    def _judge(self, claim: Claim, verdict: Verdict) -> Decision:
        """Go by the verdict of an external server; where there is none, nobody passes."""
        if verdict.answer is Answer.NONE:
            raise Unavailable(verdict.detail)
        account = self._accounts.known_elsewhere(claim.credentials, claim.group)
        if account.refusal or verdict.answer is not Answer.ACCEPT:
            return self._wrong(claim, account.refusal or Reason.WRONG_CREDENTIALS)
        return self._right(claim, account)

    def _wrong(self, claim: Claim, reason: Reason) -> Decision:
        """Count the attempt and challenge again; refuse the last one."""
        credentials = claim.credentials
        if self._nonce_counts.was_used(credentials.nonce, credentials.nonce_count):
            return self._challenge_again(claim, Reason.REPLAYED, stale=True)
        is_old = reason is Reason.OLD_PASSWORD
        if claim.nonce.source_tag and not is_old:
            reason = Reason.NONCE_OF_ANOTHER
        claimant = claim.claimant
        if not claimant.pair:
            claimant = self._registered_flow(claim) or claimant
        if self._attempts.fail(
            claimant, _evidence(claim), claim.group.attempt_limit, claim.now, is_old=is_old
        ):
            return _forbid(claim, reason)
        return claim.challenge(reason)

    def _right(self, claim: Claim, account: Account) -> Decision:
        """Accept, once, a sender that speaks for its own address of record.

        The nonce count comes first: one that is refused must not tell that the rest was right. And
        before that the transaction, so that of two copies the same one has both; not sooner, since
        it takes memory.
        """
        claim.request.begin_transaction()
        group, credentials = claim.group, claim.credentials
        is_ours = claim.nonce.state is not NonceState.FOREIGN  # in shadow it may be another's
        if is_ours and not self._nonce_counts.use(credentials.nonce, credentials.nonce_count):
            return self._challenge_again(claim, Reason.REPLAYED, stale=True)
        claimed = _claimed_user(claim.request)
        if account.local_user not in (None, claimed):
            return _forbid(claim, Reason.IDENTITY_MISMATCH)
        first = self._attempts.succeed(claim.claimant, group.attempt_limit, claim.now)
        username, realm = credentials.username, group.realm
        return Accept(group.name, username, claimed, realm, is_first=first)

    def _challenge_again(self, claim: Claim, reason: Reason, *, stale: bool = False) -> Decision:
        """Give a new nonce in place of one that is no good; this counts for nothing."""
        if claim.group.reject_invalid_nonce:
            return _forbid(claim, reason)
        return claim.challenge(reason, stale=stale)


def _claim(
    group: IPGroup, challenger: Challenger, request: Request, credentials: Credentials, now: int
) -> Claim:
    """Return the claim, held against the source that the nonce was issued to.

    Whoever forges a stranger's address never sees the nonces sent there, so he cannot have
    the stranger locked out; and nonces collected elsewhere buy no further attempts.
    """
    source = request.source
    nonce = challenger.judge(credentials, source, now)
    claimant = Claimant(group.name, source, credentials.username, challenger.tag_of(source))
    if nonce.source_tag:
        claimant = claimant.with_nonce_of_another(nonce.source_tag)
    return Claim(group, challenger, request, credentials, nonce, claimant, now)


def _evidence(claim: Claim) -> str:
    """Return what tells one wrong answer from another."""
    credentials = claim.credentials
    return f"{credentials.nonce} {credentials.nc} {credentials.response}"


def _reserved(claim: Claim) -> tuple[str, ...]:
    """Return the places that a question about the claim takes; what is at a flow is of its pair."""
    nonce, username = claim.credentials.nonce, claim.credentials.username
    return places(claim.group.name, nonce[TAG], username)


def _in_shadow(decision: Decision) -> Decision:
    """Return a Pass that tells what was decided; nothing of it reaches the wire."""
    match decision:
        case Accept(ip_group, username, reason=reason, is_first=first):
            return Pass(reason, ip_group, username, "accept", is_first=first)
        case Challenge(_, _, reason, ip_group, username):
            return Pass(reason, ip_group, username, "challenge")
        case Reject(_, _, reason, ip_group, username, detail=detail):
            return Pass(reason, ip_group, username, "reject", detail)
    return Pass(decision.reason)  # pragma: no cover - there are no others


UNKNOWN_DIALOG = Reject(481, "Call/Transaction Does Not Exist", Reason.UNKNOWN_DIALOG)

_LOCKED_OUT = {
    Scope.PAIR: Reason.LOCKED_OUT,
    Scope.SOURCE: Reason.SOURCE_LOCKED_OUT,
    Scope.USER: Reason.USER_LOCKED_OUT,
}


def _is_right(claim: Claim, ha1: str) -> bool:
    request, credentials = claim.request, claim.credentials
    body = request.body if credentials.protection == "auth-int" else b""
    return response_is_right(ha1, request.method, credentials, body)


def _malformed(group: IPGroup, bad: BadCredentials) -> Reject:
    reason = Reason.MALFORMED_CREDENTIALS
    return Reject(bad.status, bad.phrase, reason, group.name, detail=str(bad))


def _forbid(claim: Claim, reason: Reason) -> Reject:
    return Reject(403, "Forbidden", reason, claim.group.name, claim.credentials.username)


def _claimed_user(request: Request) -> str:
    """Return the user part of the address of record that the request speaks for.

    Escapes are undone, so that `%31001` is 1001 (RFC 3261, 19.1.4).
    """
    if request.party:
        return request.party.account
    user = request.claimed_user
    return unquote(user, errors="surrogateescape") if "%" in user else user
