"""The authentication server: one request in, one decision out.

`AuthServer.decide` is the whole policy, in the order in which a request meets it.
"""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from sbcauth.digest.credentials import Credentials
from sbcauth.digest.nonces import JudgedNonce, NonceKey, NonceState
from sbcauth.digest.response import response_is_right
from sbcauth.exceptions import BadCredentials, Unavailable
from sbcauth.policy.accounts import Account, Accounts, Users
from sbcauth.policy.attempts import Attempts, Claimant, Scope
from sbcauth.policy.challenges import Challenger
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
            return self._lock_out(claim) or self._validate(claim) or self._identify(claim, verdict)

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

    def _lock_out(self, claim: Claim) -> Decision | None:
        """Refuse a claimant that has used up its attempts, before any hashing."""
        scope = self._attempts.locked_out(claim.claimant, claim.group.attempt_limit, claim.now)
        return _forbid(claim, _LOCKED_OUT[scope]) if scope else None

    def _validate(self, claim: Claim) -> Decision | None:
        """Answer credentials that no password can make good.

        A nonce that is not ours comes first: a phone that comes over from another server
        was offered other things there, and must not be turned away. In shadow it is that server
        that challenges, and the answer to it is measured all the same.
        """
        credentials, challenger = claim.credentials, claim.challenger
        is_foreign = claim.nonce.state is NonceState.FOREIGN
        if is_foreign and not claim.group.shadow:
            return self._challenge_again(claim, Reason.FOREIGN_NONCE)
        if not challenger.offered_algorithm(credentials):
            return _forbid(claim, Reason.ALGORITHM_NOT_OFFERED)
        if is_foreign:
            return None
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
        return Ask(group.name, credentials.username, group.realm, attributes)

    def _judge(self, claim: Claim, verdict: Verdict) -> Decision:
        """Go by the verdict of an external server; where there is none, nobody passes."""
        if verdict.answer is Answer.NONE:
            raise Unavailable(verdict.detail)
        account = self._accounts.known_elsewhere(claim.credentials, claim.group)
        if account.refusal or verdict.answer is not Answer.ACCEPT:
            return self._wrong(claim, account.refusal or Reason.WRONG_CREDENTIALS)
        return self._right(claim, account)

    def _wrong(self, claim: Claim, reason: Reason) -> Decision:
        """Count the attempt and challenge again; refuse the last one.

        A phone that was left behind when the password changed is not counted.
        """
        credentials = claim.credentials
        if self._nonce_counts.was_used(credentials.nonce, credentials.nonce_count):
            return self._challenge_again(claim, Reason.REPLAYED, stale=True)
        evidence = f"{credentials.nonce} {credentials.nc} {credentials.response}"
        if claim.nonce.source_tag and reason is not Reason.OLD_PASSWORD:
            reason = Reason.NONCE_OF_ANOTHER
        if reason is not Reason.OLD_PASSWORD and self._attempts.fail(
            claim.claimant, evidence, claim.group.attempt_limit, claim.now
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
        self._attempts.succeed(claim.claimant, group.attempt_limit, claim.now)
        return Accept(group.name, credentials.username, claimed, group.realm)

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
    source, username = request.source, credentials.username
    nonce = challenger.judge(credentials, source, now)
    claimant = Claimant(group.name, source, username)
    if nonce.source_tag:
        claimant = Claimant.with_nonce_of_another(group.name, nonce.source_tag, username)
    return Claim(group, challenger, request, credentials, nonce, claimant, now)


def _in_shadow(decision: Decision) -> Decision:
    """Return a Pass that tells what was decided; nothing of it reaches the wire."""
    match decision:
        case Accept(ip_group, username, reason=reason):
            return Pass(reason, ip_group, username, "accept")
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
