"""The gate of an IP Group: what is known of it, and of its phones, before a request comes.

All that a decision needs and no request changes is concluded here once, when the configuration is
loaded: which header field answers a challenge to which method, who makes the nonces, what is
offered, what becomes of a method that is not challenged. What is concluded of a phone when it
succeeds is remembered until User Info changes.
"""

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache, partial
from marshal import dumps, loads
from typing import NamedTuple

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.authorities import Authorities, ClusterSigner
from sbcauth.digest.credentials import (
    MOST_CREDENTIALS,
    Credentials,
    format_challenge,
    parse_credentials,
    scheme,
)
from sbcauth.digest.nonces import NonceKey, NonceSigner, NonceState
from sbcauth.exceptions import BadCredentials
from sbcauth.policy.accounts import Users
from sbcauth.policy.decision import Accept, Challenge, Reason
from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    CheckDigestURI,
    IPGroup,
    IPGroupType,
    ServerAuthMode,
)
from sbcauth.policy.request import AUTHORIZATION, PROXY_AUTHORIZATION, Request
from sbcauth.policy.user_agents import (
    LONGEST_USER_AGENT,
    Terms,
    own_terms,
    rules_in_force,
    star_pattern,
)

_REMEMBERED_PHONES = 100_000
_REMEMBERED_USER_AGENTS = 1000

Parts = tuple[str, NonceSigner, str]
"""What stands in a header field before the nonce, who mints the nonce, and what stands after it."""


class Offer:
    """What is offered: the algorithms, each with who mints and judges its nonces, and the qop.

    `challenges` has for a header field that answers it the status and the parts of each challenge.
    """

    def __init__(self, realm: str, qop: tuple[str, ...], signers: dict[str, NonceSigner]) -> None:
        self.qop = qop
        self.signers = signers
        self.challenges = {
            header: (status, [_parts(status, realm, qop, *each) for each in signers.items()])
            for status, header in _ANSWERED_IN.items()
        }

    def takes_qop(self, credentials: Credentials) -> bool:
        """Tell whether it has the qop, or its absence, of `credentials`.

        Where none was offered, `auth` all the same is harmless: it protects more.
        """
        if not self.qop:
            return credentials.protection in ("", "auth")
        return credentials.protection in self.qop


class KnownPhone(NamedTuple):
    """A phone that has succeeded: a user at one source, with H(A1) for one algorithm.

    Until `sure_until` (seconds since 1970) another success changes nothing of what is counted for
    its `pair` of source and user name. `leaves_trace` is as of its Account. `contact` is what it
    registers, as Request.begin_registration tells it; empty for what has to be looked at each time.
    """

    sure_until: int
    pair: str
    local_user: str
    ha1: str
    leaves_trace: bool
    contact: str = ""

    def __repr__(self) -> str:
        """Return whose it is; H(A1) is as good as the password and is not shown."""
        return f"KnownPhone({self.local_user!r})"


class Gate:
    """What is known of one IP Group.

    `answered_in` has the header field that answers a challenge, for each method that is
    challenged, and `asked_at_once` for those of which nothing else has to be looked at before. With
    one algorithm, the first credentials for our realm are those that count, whatever follows. Where
    a gate `challenges_replays`, a request that is taken for its own replay costs the phone no more
    than another challenge. `accepted` is what follows the names in an Accept, and `renewed` in one
    that is a renewal, as there may be in a gate that `renews`.
    """

    def __init__(
        self,
        group: IPGroup,
        users: Users,
        keys: Sequence[NonceKey],
        not_before: int,
        authorities: Authorities | None = None,
    ) -> None:
        self.group = group
        self.name = self.accepted_as = group.name
        self.realm = group.realm
        self.limit = group.attempt_limit
        self.shadow = group.shadow
        self.is_of_users = group.type is IPGroupType.USER
        self.check_digest_uri = group.check_digest_uri is CheckDigestURI.STRICT
        self.challenges_replays = not group.reject_invalid_nonce
        self.renews = not (group.edge_proxies or group.has_limits)
        self.asks_elsewhere = group.server_auth_mode is not ServerAuthMode.LOCAL
        self.only_initial_invites = "INVITE" not in group.methods
        qop = group.auth_qop.offered
        self.usual_qop = qop[0] if qop else ""
        is_server = group.authentication_mode is AuthenticationMode.SBC_AS_SERVER
        self.is_peer = group.type is IPGroupType.SERVER
        listed = group.methods | {"INVITE"} if group.setup_invite else group.methods
        self.asks = is_server and not group.shadow
        self.answered_in = {
            method: self.would_be_answered_in(method) for method in (listed if is_server else ())
        }
        if self.is_peer and not group.route_to:
            self.answered_in.pop("REGISTER", None)  # it is refused, whoever can answer
        self.asked_at_once = self._asked_at_once()
        signer = partial(ClusterSigner, authorities) if authorities else partial(NonceSigner, keys)
        self._new_signer = lambda *policy: signer(
            (group.name, group.realm, *policy), group.auth_nonce_duration, not_before
        )
        self._add_offers()
        self.accepted = Accept("", "", "", group.realm)[3:]
        self.renewed = Accept("", "", "", group.realm, is_renewal=True)[3:]
        self.phones = users.memo_until_change()

    def _asked_at_once(self) -> dict[str, str]:
        """Return what `answered_in` has of methods whose requests are no exception of any kind.

        A NOTIFY may be a keep-alive; an edge proxy speaks for another source; anybody may make an
        emergency call.
        """
        if self.group.edge_proxies or self.group.emergency:
            return {}
        return {method: header for method, header in self.answered_in.items() if method != "NOTIFY"}

    def _add_offers(self) -> None:
        """Add what is offered to whom no rule for a User-Agent fits, and what to whom one does."""
        group = self.group

        @cache
        def offer(terms: Terms) -> Offer:
            qop = terms.qop.offered
            signers = {each.value: signer(each.value, *qop) for each in terms.algorithms}
            return Offer(group.realm, qop, signers)

        signer = lru_cache(maxsize=None)(self._new_signer)
        self.offer = offer(own_terms(group))
        self.signers = self.offer.signers
        self._by_user_agent = [
            (star_pattern(pattern), offer(terms)) for pattern, terms in rules_in_force(group)
        ]
        others = dict.fromkeys(each for _, each in self._by_user_agent if each is not self.offer)
        self.other_offers = tuple(others)
        self._algorithms = {name for each in (self.offer, *others) for name in each.signers}
        self.only_algorithm = next(iter(self._algorithms)) if len(self._algorithms) == 1 else None
        self._known_user_agents: dict[str, Offer] = {}

    def offer_to(self, user_agent: str) -> Offer:
        """Return what is offered to a User-Agent: the first rule that fits says it."""
        start = user_agent[:LONGEST_USER_AGENT]
        offer = self._known_user_agents.get(start)
        if offer is None:
            fits = (offer for pattern, offer in self._by_user_agent if pattern.match(start))
            offer = next(fits, self.offer)
            if len(self._known_user_agents) >= _REMEMBERED_USER_AGENTS:
                self._known_user_agents.clear()
            self._known_user_agents[start] = offer
        return offer

    def offer_answered(self, algorithm: str, nonce: str, now: int) -> tuple[Offer, NonceState]:
        """Return what an answer is to, by its nonce, and what that is to us.

        A nonce that is none of ours, or of another algorithm's, is as one for whom no rule fits.
        """
        for offer in self.other_offers:
            signer = offer.signers.get(algorithm)
            state = signer.judge(nonce, now) if signer else NonceState.FOREIGN
            if state is not NonceState.FOREIGN:
                return offer, state
        if algorithm in self._algorithms:
            return self.offer, NonceState.FOREIGN
        return self.offer, self.judge_of_another_algorithm(nonce, now)

    def header_for(self, request: Request) -> str | None:
        """Return the header field that answers the challenge to a request, None for no challenge.

        It is the Authentication Method List: `setup-invite` is an INVITE without a To tag.
        """
        if self.only_initial_invites and request.method == "INVITE" and request.in_dialog:
            return None
        return self.answered_in.get(request.method)

    def would_be_answered_in(self, method: str) -> str:
        """Return the header field that would answer a challenge to `method`, listed or not."""
        return _ANSWERED_IN[self.group.auth_challenge_method.status(method)]

    def challenge(
        self,
        header: str,
        request: Request,
        tag: str,
        now: int,
        reason: Reason = Reason.CHALLENGED,
        username: str = "",
        *,
        stale: bool = False,
    ) -> Challenge:
        """Return the challenge that is answered in `header`, to a request from a source with `tag`.

        It has a header field for each algorithm, in the order given: RFC 8760 §2.4 leaves that
        order to the administrator, and some phones read only the first.
        """
        offer = self.offer_to(request.user_agent) if self.other_offers else self.offer
        status, challenges = offer.challenges[header]
        end = ", stale=true" if stale else ""
        headers = [""] * len(challenges)
        for number, (before, signer, after) in enumerate(challenges):
            headers[number] = f"{before}{signer.mint(tag, now)}{after}{end}"
        # What NamedTuple does, without its own function.
        return tuple.__new__(Challenge, (status, tuple(headers), reason, self.name, username, ""))

    def answer(self, fields: Sequence[str]) -> Credentials | None:
        """Return the credentials that answer our challenge, or None where there are none.

        A phone may answer several challenges at once, each in one of `fields`: the strongest that
        was offered counts. Raises BadCredentials where there is nothing for our realm but what
        cannot be read.
        """
        answers: list[Credentials] = []
        bad: BadCredentials | None = None
        room = MOST_CREDENTIALS
        for field in fields:
            if scheme(field) != "digest":
                continue
            room -= len(field)
            if room < 0:
                bad = BadCredentials(f"longer than {MOST_CREDENTIALS} characters altogether")
                break
            try:
                credentials = parse_credentials(field)
            except BadCredentials as error:
                bad = error
                continue
            if credentials.realm == self.realm:
                answers.append(credentials)
        if bad and not answers:
            raise bad
        return max(answers, key=self._strength) if answers else None

    def judge_of_another_algorithm(self, nonce: str, now: int) -> NonceState:
        """Return what a nonce is to us that need not be of the credentials' algorithm."""
        signers = (each for offer in self._all_offers() for each in offer.signers.values())
        states = [signer.judge(nonce, now) for signer in signers]
        return next((each for each in states if each is not NonceState.FOREIGN), NonceState.FOREIGN)

    def _all_offers(self) -> Iterable[Offer]:
        return (self.offer, *self.other_offers)

    def known_phone(self, source: str, username: str, algorithm: str) -> KnownPhone | None:
        """Return a phone that has succeeded, in this process or in another."""
        key = f"{source} {username} {algorithm}"
        known = self.phones.get(key)
        if known is None:
            known = self.phones.learned(key)
            if known is None:
                return None
            self._keep(key, known)
        # What was made below; and what NamedTuple does, without its own function.
        return tuple.__new__(KnownPhone, loads(known))  # noqa: S302

    def remember(self, source: str, credentials: Credentials, phone: KnownPhone) -> None:
        """Remember a phone at a source that has succeeded with such credentials.

        One object of bytes is a third of what a KnownPhone takes.
        """
        key = f"{source} {credentials.username} {credentials.algorithm}"
        self._keep(key, dumps(tuple(phone)))

    def _keep(self, key: str, phone: bytes) -> None:
        if len(self.phones) >= _REMEMBERED_PHONES:
            self.phones.clear()
        self.phones[key] = phone

    def tell(self, source: str, credentials: Credentials, phone: KnownPhone) -> None:
        """Have all processes know a phone, without its Contact.

        A Contact alone tells the flow only where it has come to this process before.
        """
        key = f"{source} {credentials.username} {credentials.algorithm}"
        self.phones.tell(key, dumps((*phone[:-1], "")))

    def _strength(self, credentials: Credentials) -> int:
        if credentials.algorithm not in self._algorithms:
            return -1
        return Algorithm(credentials.algorithm).strength


def _parts(
    status: int, realm: str, qop: tuple[str, ...], algorithm: str, signer: NonceSigner
) -> Parts:
    """Return the parts of the header field with the challenge of an algorithm."""
    before, _, after = format_challenge(realm, "\n", algorithm, qop).rpartition("\n")
    return f"{_CHALLENGED_IN[status]}: {before}", signer, after


_CHALLENGED_IN = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}
_ANSWERED_IN = {401: AUTHORIZATION, 407: PROXY_AUTHORIZATION}
