"""The authentication server: one request in, one decision out.

`AuthServer.decide` is the whole policy, in the order in which a request meets it: the nine steps of
README. What nearly all requests of phones are stands in line: one without credentials, and the same
again with the right answer of a phone that has succeeded before. Every exception is a function with
a name. That is for speed, too: between two requests Kamailio's own work empties the processor's
caches, so that each function and each object costs half a microsecond to touch, not a tenth.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sbcauth.digest.authorities import ENGINE
from sbcauth.digest.credentials import (
    Credentials,
    keep_layout,
    parse_credentials,
    usual_credentials,
)
from sbcauth.digest.nonces import AUTHORITY, PLACE, TAG, NonceKey, NonceState, SourceTags
from sbcauth.digest.response import RESPONSE_LENGTHS, response_is_right
from sbcauth.exceptions import BadCredentials, EngineAway, LockedOut, Unavailable
from sbcauth.policy.accounts import Account, Accounts, Owner, Users
from sbcauth.policy.attempts import Attempts
from sbcauth.policy.claimants import Claimant, Scope
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.cluster import Cluster
from sbcauth.policy.decision import (
    Accept,
    Ask,
    Challenge,
    Decision,
    Drop,
    Pass,
    Reason,
    Reject,
    Reply,
)
from sbcauth.policy.emergency import Emergencies
from sbcauth.policy.external_server import Answer, Verdict
from sbcauth.policy.gate import Gate, KnownPhone, Offer
from sbcauth.policy.identities import as_number, numbers_in
from sbcauth.policy.ip_groups import (
    FromScreening,
    IPGroup,
    UnclassifiedRequests,
    UnlistedWithoutWord,
)
from sbcauth.policy.named import NamedTrunks
from sbcauth.policy.nonce_counts import NonceCounts, check_kept, key_of
from sbcauth.policy.pace import MOST_ACCEPTED, Pace
from sbcauth.policy.registrations import Nobody, Registrations
from sbcauth.policy.request import Party, Request, source_of
from sbcauth.policy.reservations import Reservations, places
from sbcauth.policy.shared_state import SharedState
from sbcauth.policy.unproved import Unproved, is_keep_alive, unescaped
from sbcauth.policy.user_agents import LONGEST_USER_AGENT
from sbcauth.policy.words import Word

_REMEMBERED_ORIGINS = 100_000
_TOO_FAST = 60
"""Seconds until whoever was accepted too often is to try again."""

_FRESH, _FOREIGN = NonceState.FRESH, NonceState.FOREIGN
_SHARED, _ELSEWHERE = NonceState.SHARED, NonceState.ELSEWHERE
_NEVER_CHALLENGED = Pass(Reason.NEVER_CHALLENGED)
UNKNOWN_DIALOG = Reject(481, "Call/Transaction Does Not Exist", Reason.UNKNOWN_DIALOG)


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
        registrations: Registrations | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        self._ip_groups = ip_groups
        authorities = cluster.authorities if cluster else None
        self._accounts = Accounts(ip_groups, users)
        self._unproved = Unproved(
            ip_groups.by_name.values(), users, self._accounts, registrations or Nobody()
        )
        self._emergencies = Emergencies(shared)
        self._gates = {
            name: Gate(group, users, keys, started_at, authorities)
            for name, group in ip_groups.by_name.items()
        }
        self._named = NamedTrunks(
            ip_groups.by_name.values(),
            lambda group: Gate(group, users, keys, started_at, authorities),
        )
        self._origins: dict[str, Origin] = {}
        self._tags = SourceTags(authorities.tagged if authorities else keys)
        self._attempts = cluster.attempts if cluster else Attempts(shared)
        self._held_against = self._attempts.held_against
        self._reservations = (
            cluster.reservations if cluster else Reservations(shared, self._attempts)
        )
        self._cluster = cluster
        self._nonce_counts = NonceCounts(shared)
        self._count_use = self._nonce_counts.count_use
        self._pace = Pace()
        self._unclassified: Decision = (
            Drop(Reason.UNCLASSIFIED)
            if unclassified_requests is UnclassifiedRequests.DROP
            else Reject(403, "Forbidden", Reason.UNCLASSIFIED)
        )

    def decide(self, request: Request, now: int, verdict: Verdict | None = None) -> Decision:
        """Return what is to be done with `request`, which came at `now` (seconds since 1970).

        Where that is to Ask an external server, ask again with its verdict: all the rest may
        have changed in the meantime. Raises Retransmission where the transaction of an earlier copy
        answers the request.
        """
        # 1. Never challenged (RFC 3261, 22.1)
        method = request.method
        if method in ("ACK", "CANCEL"):
            return _NEVER_CHALLENGED

        # 2. Classification; within a dialog, its seals say who it is
        if request.party:
            return self._decide_of(request.party, request, now, verdict)
        address = request.source_address
        origin = self._origins.get(address) or self._origin_of(address)
        gate = origin.gate or self._classify(request)
        if gate is None:
            return self._decide_by_name(origin, request, now, verdict)

        # 3. Authentication Mode, 4. Authentication Method List
        header = gate.asked_at_once.get(method)
        if header is None or (method == "INVITE" and gate.header_for(request) is None):
            return self._decide_otherwise(gate, request, now, verdict)

        decision = self._authenticate(gate, origin, request, header, now, verdict)
        return _in_shadow(decision, gate, request) if gate.shadow else decision

    def _decide_by_name(
        self, origin: Origin, request: Request, now: int, verdict: Verdict | None
    ) -> Decision:
        """Return what becomes of a request that no rule lets in: its credentials may name a trunk.

        One that a rule denies is not asked.
        """
        named = self._named
        if named.stranger is None or not self._ip_groups.is_of_no_rule(request):
            return self._unclassified
        gate = named.gate_of(request)
        header = gate.header_for(request) if gate else None
        if gate is None or header is None:
            return self._unclassified
        return self._authenticate(gate, origin, request, header, now, verdict)

    def _decide_otherwise(
        self, gate: Gate, request: Request, now: int, verdict: Verdict | None
    ) -> Decision:
        """Return what becomes of a request that is not just asked for credentials.

        Emergency calls and keep-alives come before the Authentication Method List. Who shows
        credentials for our realm unasked is judged by them.
        """
        if gate.group.is_edge(request.source_address):
            request = request.as_told_by_edge()
        emergency = gate.group.emergency
        if emergency and self._emergencies.admits(emergency, request, now):
            return Pass(Reason.EMERGENCY, gate.name, word=Word.CONFIGURED)
        header = gate.header_for(request)
        if is_keep_alive(request, gate.group) and (header is None or request.method == "NOTIFY"):
            return Reply(Reason.KEEP_ALIVE, gate.name)
        if header is None and gate.asks:
            header = _shown_in(gate, request)
        origin = self._origins.get(request.source_address) or self._origin_of(
            request.source_address
        )
        if header is None:
            return self._without_digest(gate, origin, request, now)
        decision = self._authenticate(gate, origin, request, header, now, verdict)
        return _in_shadow(decision, gate, request) if gate.shadow else decision

    def _without_digest(self, gate: Gate, origin: Origin, request: Request, now: int) -> Decision:
        """Return what becomes of a request that nobody asks to prove anything."""
        try:
            found = self._unproved.decide(gate.group, request)
        except Unavailable as cause:
            return _unavailable(gate, cause)
        if isinstance(found, Pass):
            return found
        if gate.asks and gate.group.unlisted_without_word is UnlistedWithoutWord.CHALLENGE:
            header = gate.would_be_answered_in(request.method)
            return gate.challenge(header, request, origin.tags[0], now, found)
        return Reject(403, "Forbidden", found, gate.name)

    def bad_request(self, request: Request, status: int) -> Decision:
        """Return what becomes of a request that cannot be read, or has gone too far.

        With which `status` it is refused is known to who has read it; whether it is answered, is
        known here.
        """
        gate = self._classify(request)
        if gate is None and isinstance(self._unclassified, Drop):
            return self._unclassified
        return Reject(status, "", Reason.BAD_REQUEST, gate.name if gate else "")

    def unknown_dialog(self, request: Request) -> Decision:
        """Return what becomes of a request within a dialog that we do not know.

        A phone that gets 481 ends its call, or subscribes anew; on a 403 it would hang.
        """
        unclassified = self._unclassified
        if isinstance(unclassified, Drop) and self._classify(request) is None:
            return unclassified
        return UNKNOWN_DIALOG

    def _decide_of(
        self, party: Party, request: Request, now: int, verdict: Verdict | None
    ) -> Decision:
        """Return what becomes of a request within a dialog, sent by one of its parties.

        Whose account nobody here can ask for (another mode, shadow), is let go on from elsewhere
        where the same IP Group's requests come from.
        """
        gate = self._gates.get(party.ip_group)
        if gate is None:  # removed since the dialog began
            return self.unknown_dialog(request)
        header = gate.header_for(request)
        if party.must_answer and gate.asks:
            header = gate.would_be_answered_in(request.method)
        elif party.must_answer and self._classify(request) is not gate:
            return self.unknown_dialog(request)
        if header is None:
            return Pass(Reason.WITHIN_DIALOG, gate.name, party.account, word=Word.DIALOG)
        address = request.source_address
        origin = self._origins.get(address) or self._origin_of(address)
        decision = self._authenticate(gate, origin, request, header, now, verdict)
        return _in_shadow(decision, gate, request) if gate.shadow else decision

    def _authenticate(
        self,
        gate: Gate,
        origin: Origin,
        request: Request,
        header: str,
        now: int,
        verdict: Verdict | None,
    ) -> Decision:
        """Return what is to be done with a request whose sender must prove who it is."""
        _, source, tags = origin

        # 5. Credentials for our realm
        try:
            field = request.first(header)
        except UnicodeDecodeError:
            field = request.fields(header)[0]
        if field is None:
            return gate.challenge(header, request, tags[0], now)
        credentials = usual_credentials(field)
        if (
            credentials is None
            or credentials.realm != gate.realm
            or (credentials.algorithm != gate.only_algorithm and request.has_second(header))
        ):
            try:
                credentials = gate.answer(request.fields(header))
            except BadCredentials as bad:
                return _malformed(gate, bad)
            if credentials is None:
                challenge = gate.challenge(header, request, tags[0], now)
                return _of_another_realm(challenge, field, gate.realm)

        username, nonce, algorithm = credentials.username, credentials.nonce, credentials.algorithm
        offer, signer = gate.offer, gate.signers.get(algorithm)
        state = signer.judge(nonce, now) if signer else _FOREIGN
        if state is _FOREIGN and (gate.other_offers or not signer):
            offer, state = gate.offer_answered(algorithm, nonce, now)
            signer = None  # which has another qop, or order: it is validated
        is_own = (
            nonce[TAG] in tags
            or state is _FOREIGN
            or (state is _ELSEWHERE and nonce[PLACE] in [tag[PLACE] for tag in tags])
        )
        claim = tuple.__new__(  # what NamedTuple does, without its own function
            Claim,
            (gate, origin, request, header, field, credentials, state, is_own, now, offer, None),
        )
        try:
            # 6. Locked out
            phone = gate.phones.get(f"{source} {username} {algorithm}")
            if (
                phone is None
                or phone.sure_until <= now
                or not is_own
                or self._held_against(phone.pair) is not None
            ):
                phone = None
                if gate.asks_elsewhere and not verdict:
                    request.absorb_repeat()  # it waits for a verdict, or has waited
                claim, refusal = self._lock_out(claim)
                if refusal:
                    return self._relent(claim, refusal)

            # 7. Validation
            if (
                signer is None
                or state is not _FRESH
                or credentials.qop != gate.usual_qop
                or len(credentials.response) != RESPONSE_LENGTHS.get(algorithm)
                or gate.check_digest_uri
            ):
                answer = _validate(claim)
                if answer:
                    return answer

            # 8. Identification
            if phone is not None and response_is_right(
                phone.ha1,
                request.method,
                credentials,
                b"" if credentials.qop == "auth" else claim.body,
            ):
                return self._accept(claim, phone.local_user, leaves_trace=phone.leaves_trace)
            if gate.asks_elsewhere:
                return self._judge(claim, verdict) if verdict else self._ask(claim)
            return self._identify(claim)

        except LockedOut as found:
            return claim.forbid(_LOCKED_OUT[Scope(found.scope)])

        # 9. Doubt never lets a request pass
        except Unavailable as cause:
            return _unavailable(gate, cause, username)

        # A verdict is counted before its place is given back.
        finally:
            if verdict:
                self._reservations.give_back(claim.places, now)

    def has_minted(self, nonce: str, now: int) -> bool:
        """Tell whether a nonce is one of ours, whatever it was for, and however old."""
        gates = [*self._gates.values(), *self._named.by_name.values()]
        judged = (gate.judge_of_another_algorithm(nonce, now) for gate in gates)
        return any(state is not _FOREIGN for state in judged)

    def give_back(self, ask: Ask, now: int) -> None:
        """Give back the attempt that was reserved at `now` for a question that was not asked."""
        self._reservations.give_back(ask.reserved, now)

    def _origin_of(self, address: str) -> Origin:
        """Return what is known of an address, and remember it."""
        group = self._ip_groups.of_all_from(address)
        source = source_of(address)
        origin = Origin(self._gates[group.name] if group else None, source, self._tags.of(source))
        if len(self._origins) >= _REMEMBERED_ORIGINS:
            self._origins.clear()
        self._origins[address] = origin
        return origin

    def _classify(self, request: Request) -> Gate | None:
        """Return the gate of a request whose IP Group depends on more than its address.

        Who hides his name may be known by the flow that he has registered by.
        """
        group = self._ip_groups.classify(request)
        if group is None and request.is_anonymous:
            group = self._ip_groups.by_name.get(self._unproved.group_of_flow(request))
        return self._gates[group.name] if group else None

    def _lock_out(self, claim: Claim) -> tuple[Claim, Reject | None]:
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
                claim = claim._replace(flow=flow)
        if overrun:
            raise overrun
        return claim, claim.forbid(_LOCKED_OUT[scope]) if scope else None

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

    def _relent(self, claim: Claim, refusal: Reject) -> Decision:
        """Let the right password in during a lockout that the one before has helped to bring about.

        Whatever else is answered gets the refusal of any lockout, and an answer that is wrong makes
        it one.
        """
        gate, claimant = claim.gate, claim.claimant
        if refusal.reason is not Reason.LOCKED_OUT or claimant.presenter or gate.asks_elsewhere:
            return refusal
        if not self._attempts.looks_at(claimant, claim.evidence, gate.limit, claim.now):
            return refusal
        if _validate(claim) or self._was_used(claim):
            return refusal
        account = self._account_of(claim)
        if claim.is_right(account.ha1) and not account.refusal:
            self._attempts.lift(claimant, claim.now)
            return self._accept_account(claim, account)
        if account.refusal or not claim.is_right(account.old_ha1):
            self._attempts.harden(claimant, claim.now)
        return refusal

    def _identify(self, claim: Claim) -> Decision:
        """Measure the response against the account that it claims to be of.

        An account that is unknown or disabled takes the same path as a wrong response.
        """
        account = self._account_of(claim)
        right = claim.is_right(account.ha1)
        if not right or account.refusal:
            is_old = claim.is_right(account.old_ha1)
            wrong = Reason.OLD_PASSWORD if is_old else Reason.WRONG_CREDENTIALS
            return self._count_failure(claim, account.refusal or wrong)
        return self._accept_account(claim, account)

    def _account_of(self, claim: Claim) -> Account:
        """Return the account in User Info, or of the IP Group, that the credentials name."""
        credentials, group = claim.credentials, claim.gate.group
        return self._accounts.named_by(credentials, group, claim.claimed_user, claim.now)

    def _accept_account(self, claim: Claim, account: Account) -> Decision:
        """Accept a sender that has proved to be of an account, and remember its phone."""
        self._confirm(claim)
        decision = self._accept(claim, account.local_user, leaves_trace=account.leaves_trace)
        if isinstance(decision, Accept) and not decision.is_repeat:
            return decision._replace(is_first=self._get_to_know(claim, account))
        return decision

    def _confirm(self, claim: Claim) -> None:
        """Have all nodes agree, before anything is used up: else that would tell what was right.

        Who comes again with what was used up proves nothing.
        """
        if self._cluster and (claim.shared or not self._was_used(claim)):
            self._attempts.confirm(claim.claimant, claim.gate.limit, claim.now, claim.shared)

    def _was_used(self, claim: Claim) -> bool:
        """Tell whether a nonce count was used, as far as this node remembers."""
        return not claim.shared and self._nonce_counts.was_used(key_of(claim.credentials))

    def _get_to_know(self, claim: Claim, account: Account) -> bool:
        """Forget the failures of a claimant that has succeeded, and remember its phone.

        Tells whether it had not succeeded recently.
        """
        gate, claimant, credentials, now = claim.gate, claim.claimant, claim.credentials, claim.now
        is_first = self._attempts.succeed(claimant, gate.limit, now)
        keep_layout(claim.field)
        if claim.is_own and account.local_user is not None:
            pair = (claimant.pair or claimant).key
            sure_until = self._attempts.sure_until(pair, gate.limit, now)
            ha1, leaves_trace = account.ha1, account.leaves_trace
            gate.remember(
                f"{claimant.source} {credentials.username} {credentials.algorithm}",
                KnownPhone(sure_until, pair, account.local_user, ha1, leaves_trace),
            )
        return is_first

    def _ask(self, claim: Claim) -> Decision:
        """Have an external server measure the response, unless no answer could make it good."""
        group, credentials = claim.gate.group, claim.credentials
        if self._was_used(claim):
            return _used_before(claim)
        if group.external_server is None:
            raise Unavailable("there is no external server to ask")
        try:
            attributes = group.external_server.question(claim.request, credentials)
        except BadCredentials as bad:
            return _malformed(claim.gate, bad)
        reserved = claim.places
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
        account = self._accounts.known_elsewhere(claim.credentials, claim.gate.group)
        if account.refusal or verdict.answer is not Answer.ACCEPT:
            return self._count_failure(claim, account.refusal or Reason.WRONG_CREDENTIALS)
        self._confirm(claim)
        decision = self._accept(claim, account.local_user)
        if isinstance(decision, Accept):
            is_first = self._attempts.succeed(claim.claimant, claim.gate.limit, claim.now)
            return decision._replace(is_first=is_first)
        return decision

    def _count_failure(self, claim: Claim, reason: Reason) -> Decision:
        """Count the attempt and challenge again; refuse the last one."""
        limit, now = claim.gate.limit, claim.now
        if self._was_used(claim):
            return _used_before(claim)
        is_old = reason is Reason.OLD_PASSWORD
        if not claim.is_own and not is_old:
            reason = Reason.NONCE_OF_ANOTHER
        claimant = claim.flow or self._registered_flow(claim) or claim.claimant
        last = self._attempts.fail(
            claimant, claim.evidence, limit, now, is_old=is_old, shared=claim.shared
        )
        if last is None:
            return _used_before(claim)
        return claim.forbid(reason) if last else claim.challenge(reason)

    def _accept(
        self, claim: Claim, local_user: str | None, *, leaves_trace: bool = False
    ) -> Decision:
        """Accept, once, a sender that speaks for its own address of record.

        The nonce count comes first: one that is refused must not tell that the rest was right. And
        before that the transaction, so that of two copies the same one has both; not sooner, since
        it takes memory. What leaves a trace in the registrar needs none.
        """
        gate, request, credentials = claim.gate, claim.request, claim.credentials
        claimed = request.claimed_user
        if request.party or "%" in claimed:
            claimed = claim.claimed_user
        if gate.is_of_users and self._pace.is_too_fast(gate.name, claimed, claim.now):
            raise Unavailable(f"{MOST_ACCEPTED} requests accepted in ten minutes", _TOO_FAST)
        nonce_count = key_of(credentials)
        traced = (
            leaves_trace
            and local_user == claimed
            and gate.challenges_replays
            and request.begin_registration(nonce_count)
        )
        if not traced:
            request.begin_transaction()
        if claim.nonce is _FRESH:  # in shadow it may be another's
            if (uses := self._count_use(nonce_count)) != 1:
                check_kept(uses)
                return _used_before(claim, claimed if traced else None)
        elif claim.nonce is _SHARED:
            answer = self._claim(claim, nonce_count, claimed if traced else None)
            if answer:
                return answer
        if local_user != claimed and local_user is not None:
            if request.party or not self._may_speak(claim, claimed):
                return claim.forbid(Reason.IDENTITY_MISMATCH)
            claimed = local_user
        if gate.is_peer:
            name, username = gate.accepted_as, credentials.username
            return Accept(name, username, claimed, gate.realm, word=Word.PEER)
        return tuple.__new__(  # what NamedTuple does, without its own function
            Accept, (gate.name, credentials.username, claimed, *gate.accepted)
        )

    def _claim(self, claim: Claim, nonce_count: str, traced_user: str | None) -> Decision | None:
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
        return None if is_new else _used_before(claim, traced_user)

    def _may_speak(self, claim: Claim, claimed: str) -> bool:
        """Tell whether an account that is proved may have somebody else's name in From.

        That of another account it may not, whatever else it has; To of a REGISTER has to be its
        own. Raises Unavailable.
        """
        request, group, username = claim.request, claim.gate.group, claim.credentials.username
        accounts, number = self._accounts, as_number(claimed)
        if request.is_anonymous or accounts.speaks_for(username, number, group):
            return True
        if request.method == "REGISTER":
            return False
        if group.from_screening is not FromScreening.IDENTITIES:
            return True
        if accounts.is_anybodys(number, group):
            return False
        own = accounts.local_user_of(username, group)
        said = numbers_in((request.preferred_identity, *request.asserted_identities))
        return any(each == own or accounts.speaks_for(username, each, group) for each in said)

    def asserted_number(self, accepted: Accept, request: Request) -> str:
        """Return by which of its numbers an account that is proved is known; empty for by none.

        That is the one that it prefers, if it is its own, else the one in From, else its local
        user. Raises Unavailable.
        """
        group, own = self._gates[accepted.ip_group].group, accepted.local_user
        if group.from_screening is FromScreening.OFF or accepted.word is not Word.DIGEST:
            return ""
        said = [*numbers_in((request.preferred_identity, *request.asserted_identities))]
        if not request.is_anonymous:
            said.append(as_number(request.from_user))
        mine = (
            each
            for each in said
            if each == own or self._accounts.speaks_for(accepted.username, each, group)
        )
        return next(mine, own)

    def are_own(self, ip_group: str, username: str, from_user: str, numbers: Iterable[str]) -> bool:
        """Tell whether all these numbers are the account's of a user name; raises Unavailable.

        A pair that stands for every address of record is who it says in From.
        """
        group = self._gates[ip_group].group
        own = self._accounts.local_user_of(username, group)
        if own is None:
            own = as_number(from_user)
        return all(
            each == own or self._accounts.speaks_for(username, each, group) for each in numbers
        )

    def owner_of(self, number: str, group: IPGroup) -> Owner | None:
        """Return the account of an IP Group that has a number as one of its identities.

        Raises Unavailable.
        """
        return self._accounts.owner(number, group)


_LOCKED_OUT = {
    Scope.PAIR: Reason.LOCKED_OUT,
    Scope.SOURCE: Reason.SOURCE_LOCKED_OUT,
    Scope.USER: Reason.USER_LOCKED_OUT,
}


def _validate(claim: Claim) -> Decision | None:
    """Answer credentials that no password can make good.

    A nonce that is not ours comes first: a phone that comes over from another server
    was offered other things there, and must not be turned away. In shadow it is that server
    that challenges, and the answer to it is measured all the same.
    """
    gate, credentials = claim.gate, claim.credentials
    is_foreign = claim.nonce is _FOREIGN
    if is_foreign and not gate.shadow:
        if gate.judge_of_another_algorithm(credentials.nonce, claim.now) is not _FOREIGN:
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


def _used_before(claim: Claim, traced_user: str | None = None) -> Decision:
    """Answer a nonce count that was used: the same request again is no replay.

    It is absorbed by its transaction, or known by the binding of `traced_user`.
    """
    gate, request = claim.gate, claim.request
    request.absorb_repeat()
    if traced_user is not None and request.repeat_as_query(traced_user, gate.realm):
        username = claim.credentials.username
        return Accept(gate.name, username, traced_user, gate.realm, is_repeat=True)
    return claim.challenge_again(Reason.REPLAYED, stale=True)


def _shown_in(gate: Gate, request: Request) -> str | None:
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


def _in_shadow(decision: Decision, gate: Gate, request: Request) -> Decision:
    """Return a Pass that tells what was decided; nothing of it reaches the wire.

    A registration is for the server that it is routed to: nothing is kept here in shadow.
    """
    if request.method == "REGISTER" and not gate.group.route_to:
        return decision
    word = Word.PEER if gate.is_peer else Word.CONFIGURED
    word = Word.DIALOG if request.party else word
    match decision:
        case Accept(ip_group, username, reason=reason, is_first=first):
            return Pass(reason, ip_group, username, "accept", is_first=first, word=word)
        case Challenge(_, _, reason, ip_group, username, detail):
            return Pass(reason, ip_group, username, "challenge", detail, word=word)
        case Reject(_, _, reason, ip_group, username, detail=detail):
            return Pass(reason, ip_group, username, "reject", detail, word=word)
    return Pass(decision.reason, word=word)  # pragma: no cover - there are no others


def _of_another_realm(challenge: Challenge, field: str, realm: str) -> Challenge:
    """Return the challenge to a request whose credentials are for another realm; name both."""
    try:
        theirs = parse_credentials(field)
    except BadCredentials:  # of another scheme
        return challenge
    detail = f"the credentials are for the realm {theirs.realm[:60]}, ours is {realm}"
    return challenge._replace(username=theirs.username, detail=detail)


def _malformed(gate: Gate, bad: BadCredentials) -> Reject:
    reason = Reason.MALFORMED_CREDENTIALS
    return Reject(bad.status, bad.phrase, reason, gate.name, detail=str(bad))


def _unavailable(gate: Gate, cause: Unavailable, username: str = "") -> Reject:
    return Reject(
        cause.status,
        cause.phrase,
        Reason.UNAVAILABLE,
        gate.name,
        username,
        cause.retry_after,
        str(cause),
    )
