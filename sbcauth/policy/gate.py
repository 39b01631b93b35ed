"""The gate of an IP Group: what is known of it, and of its phones, before a request comes.

All that a decision needs and no request changes is concluded here once, when the configuration is
loaded: which header field answers a challenge to which method, who makes the nonces, what is
offered, what becomes of a method that is not challenged. What is concluded of a phone when it
succeeds is remembered until User Info changes.
"""

from collections.abc import Sequence
from functools import partial
from marshal import dumps, loads
from typing import NamedTuple

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.authorities import Authorities, ClusterSigner
from sbcauth.digest.credentials import (
    MOST_CREDENTIALS,
    Credentials,
    parse_credentials,
    scheme,
)
from sbcauth.digest.nonces import NonceKey, NonceSigner
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
from sbcauth.policy.offers import ANSWERED_IN, Offers
from sbcauth.policy.request import Request

_REMEMBERED_PHONES = 100_000


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

    The first of `keys` mints nonces, or one of `authorities` in a cluster. Those minted before
    `not_before` (seconds since 1970) are stale.
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
        self.is_peer = group.type is IPGroupType.SERVER
        self.asks = group.asks
        self.answered_in = self._answered_in()
        self.asked_at_once = self._asked_at_once()
        signer = partial(ClusterSigner, authorities) if authorities else partial(NonceSigner, keys)
        self.offers = offers = Offers(
            group,
            lambda *policy: signer(
                (group.name, group.realm, *policy), group.auth_nonce_duration, not_before
            ),
        )
        self.offer, self.signers, self.other_offers = offers.own, offers.own.signers, offers.others
        self.only_algorithm = next(iter(offers.algorithms)) if len(offers.algorithms) == 1 else None
        self.accepted = Accept("", "", "", group.realm)[3:]
        self.renewed = Accept("", "", "", group.realm, is_renewal=True)[3:]
        self.phones = users.memo_until_change()

    def _answered_in(self) -> dict[str, str]:
        """Return the header field that answers a challenge, for each method that is challenged.

        A REGISTER of a peer that is routed nowhere is refused, whoever can answer.
        """
        group = self.group
        if group.authentication_mode is not AuthenticationMode.SBC_AS_SERVER:
            return {}
        listed = group.methods | {"INVITE"} if group.setup_invite else group.methods
        if self.is_peer and not group.route_to:
            listed -= {"REGISTER"}
        return {method: self.would_be_answered_in(method) for method in listed}

    def _asked_at_once(self) -> dict[str, str]:
        """Return what `answered_in` has of methods whose requests are no exception of any kind.

        A NOTIFY may be a keep-alive; an edge proxy speaks for another source; anybody may make an
        emergency call.
        """
        if self.group.edge_proxies or self.group.emergency:
            return {}
        return {method: header for method, header in self.answered_in.items() if method != "NOTIFY"}

    def header_for(self, request: Request) -> str | None:
        """Return the header field that answers the challenge to a request, None for no challenge.

        It is the Authentication Method List: `setup-invite` is an INVITE without a To tag.
        """
        if self.only_initial_invites and request.method == "INVITE" and request.in_dialog:
            return None
        return self.answered_in.get(request.method)

    def would_be_answered_in(self, method: str) -> str:
        """Return the header field that would answer a challenge to `method`, listed or not."""
        return ANSWERED_IN[self.group.auth_challenge_method.status(method)]

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
        offer = self.offers.to(request.user_agent) if self.other_offers else self.offer
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
        if credentials.algorithm not in self.offers.algorithms:
            return -1
        return Algorithm(credentials.algorithm).strength
