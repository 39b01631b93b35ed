"""The authentication server: one request in, one decision out.

`AuthServer.decide` is the whole policy, in the order in which a request meets it: the nine steps of
README. What nearly all requests of phones are stands in line: one without credentials, and the same
again with the right answer of a phone that has succeeded before. Every exception is a function with
a name. That is for speed, too: between two requests Kamailio's own work empties the processor's
caches, so that each function and each object costs half a microsecond to touch, not a tenth.
"""

from collections.abc import Sequence

from sbcauth.digest.algorithms import RESPONSE_LENGTHS
from sbcauth.digest.credentials import usual_credentials
from sbcauth.digest.nonces import PLACE, TAG, NonceKey, NonceState, SourceTags
from sbcauth.digest.response import response_is_right
from sbcauth.exceptions import BadCredentials, LockedOut, Unavailable
from sbcauth.policy.accounts import Accounts, Users
from sbcauth.policy.attempts import Attempts
from sbcauth.policy.claim import Claim, Origin
from sbcauth.policy.claimants import Scope
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.cluster import Cluster
from sbcauth.policy.decision import (
    Ask,
    Decision,
    Drop,
    Pass,
    Reason,
    Reject,
    Reply,
)
from sbcauth.policy.emergency import Emergencies
from sbcauth.policy.external_server import Verdict
from sbcauth.policy.gate import Gate
from sbcauth.policy.identification import Identification
from sbcauth.policy.ip_groups import UnclassifiedRequests, UnlistedWithoutWord
from sbcauth.policy.lockouts import LOCKED_OUT, Lockouts
from sbcauth.policy.named import NamedTrunks
from sbcauth.policy.nonce_counts import NonceCounts
from sbcauth.policy.registrations import Nobody, Registrations
from sbcauth.policy.request import Party, Request, source_of
from sbcauth.policy.reservations import Reservations
from sbcauth.policy.screening import Screening
from sbcauth.policy.shadow import in_shadow
from sbcauth.policy.shared_state import SharedState
from sbcauth.policy.unproved import Unproved, is_keep_alive
from sbcauth.policy.validation import (
    malformed,
    of_another_realm,
    shown_in,
    unavailable,
    validate,
)
from sbcauth.policy.words import Word

_REMEMBERED_ORIGINS = 100_000

_FRESH, _FOREIGN, _ELSEWHERE = NonceState.FRESH, NonceState.FOREIGN, NonceState.ELSEWHERE
_NEVER_CHALLENGED = Pass(Reason.NEVER_CHALLENGED)
UNKNOWN_DIALOG = Reject(481, "Call/Transaction Does Not Exist", Reason.UNKNOWN_DIALOG)


class AuthServer:
    """Decides for each request whether its sender must prove who it is, and whether it did.

    `keys` has the newest nonce key first. Nonces minted before `started_at` (seconds since
    1970) are stale, since the record of their use ended with the process that kept it. `accounts`
    are those that it knows, and `screening` tells which numbers are whose.
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
        self.accounts = Accounts(ip_groups, users)
        self._unproved = Unproved(self.accounts, registrations or Nobody())
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
        attempts = cluster.attempts if cluster else Attempts(shared)
        nonce_counts = NonceCounts(shared)
        self._held_against = attempts.held_against
        self._reservations = cluster.reservations if cluster else Reservations(shared, attempts)
        self.screening = Screening(self.accounts, ip_groups.by_name)
        self._lockouts = Lockouts(attempts, self.accounts, nonce_counts)
        self._identification = Identification(
            self.accounts,
            self.screening,
            attempts,
            self._lockouts,
            self._reservations,
            nonce_counts,
            in_cluster=cluster is not None,
        )
        self._accept = self._identification.accept
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
        return in_shadow(decision, gate, request) if gate.shadow else decision

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
                return malformed(gate, bad)
            if credentials is None:
                challenge = gate.challenge(header, request, tags[0], now)
                return of_another_realm(challenge, field, gate.realm)

        username, nonce, algorithm = credentials.username, credentials.nonce, credentials.algorithm
        offer, signer = gate.offer, gate.signers.get(algorithm)
        state = signer.judge(nonce, now) if signer else _FOREIGN
        if state is _FOREIGN and (gate.other_offers or not signer):
            offer, state = gate.offers.answered(algorithm, nonce, now)
            signer = None  # which has another qop, or order: it is validated
        is_own = (
            nonce[TAG] in tags
            or state is _FOREIGN
            or (state is _ELSEWHERE and nonce[PLACE] in [tag[PLACE] for tag in tags])
        )
        claim = tuple.__new__(  # what NamedTuple does, without its own function
            Claim,
            (
                gate, origin, request, header, field, credentials, state, is_own, now, offer,
                None, False,
            ),
        )  # fmt: skip
        try:
            # 6. Locked out
            phone = gate.known_phone(source, username, algorithm)
            if (
                phone is None
                or phone.sure_until <= now
                or not is_own
                or self._held_against(phone.pair) is not None
            ):
                phone = None
                if gate.asks_elsewhere and not verdict:
                    request.absorb_repeat()  # it waits for a verdict, or has waited
                claim, refusal = self._lockouts.refuse(claim)
                if refusal:
                    return self._identification.relent(claim, refusal)

            # 7. Validation
            if (
                signer is None
                or state is not _FRESH
                or credentials.qop != gate.usual_qop
                or len(credentials.response) != RESPONSE_LENGTHS.get(algorithm)
                or gate.check_digest_uri
            ):
                answer = validate(claim)
                if answer:
                    return answer

            # 8. Identification
            if phone is not None and response_is_right(
                phone.ha1,
                request.method,
                credentials,
                b"" if credentials.qop == "auth" else claim.body,
            ):
                user, leaves_trace = phone.local_user, phone.leaves_trace
                return self._accept(claim, user, leaves_trace=leaves_trace, phone=phone)
            if gate.asks_elsewhere:
                if verdict:
                    return self._identification.judge(claim, verdict)
                return self._identification.ask(claim)
            return self._identification.identify(claim)

        except LockedOut as found:
            return claim.forbid(LOCKED_OUT[Scope(found.scope)])

        # 9. Doubt never lets a request pass
        except Unavailable as cause:
            return unavailable(gate, cause, username)

        # A verdict is counted before its place is given back.
        finally:
            if verdict:
                self._reservations.give_back(claim.places, now)

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
            header = shown_in(gate, request)
        origin = self._origins.get(request.source_address) or self._origin_of(
            request.source_address
        )
        if header is None:
            return self._without_digest(gate, origin, request, now)
        decision = self._authenticate(gate, origin, request, header, now, verdict)
        return in_shadow(decision, gate, request) if gate.shadow else decision

    def _without_digest(self, gate: Gate, origin: Origin, request: Request, now: int) -> Decision:
        """Return what becomes of a request that nobody asks to prove anything."""
        try:
            found = self._unproved.decide(gate.group, request)
        except Unavailable as cause:
            return unavailable(gate, cause)
        if isinstance(found, Pass):
            return found
        if gate.asks and gate.group.unlisted_without_word is UnlistedWithoutWord.CHALLENGE:
            header = gate.would_be_answered_in(request.method)
            return gate.challenge(header, request, origin.tags[0], now, found)
        return Reject(403, "Forbidden", found, gate.name)

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
        return in_shadow(decision, gate, request) if gate.shadow else decision

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

    def has_minted(self, nonce: str, now: int) -> bool:
        """Tell whether a nonce is one of ours, whatever it was for, and however old."""
        gates = [*self._gates.values(), *self._named.by_name.values()]
        judged = (gate.offers.judge(nonce, now) for gate in gates)
        return any(state is not _FOREIGN for state in judged)

    def give_back(self, ask: Ask, now: int) -> None:
        """Give back the attempt that was reserved at `now` for a question that was not asked."""
        self._reservations.give_back(ask.reserved, now)
