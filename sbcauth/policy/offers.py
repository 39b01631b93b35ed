"""What an IP Group offers in its challenges: to all, and to a User-Agent that a rule names."""

from collections.abc import Callable
from functools import cache, lru_cache

from sbcauth.digest.credentials import Credentials, format_challenge
from sbcauth.digest.nonces import NonceSigner, NonceState
from sbcauth.policy.ip_groups import IPGroup
from sbcauth.policy.request import AUTHORIZATION, PROXY_AUTHORIZATION
from sbcauth.policy.user_agents import (
    LONGEST_USER_AGENT,
    Terms,
    own_terms,
    rules_in_force,
    star_pattern,
)

_REMEMBERED_USER_AGENTS = 1000
_CHALLENGED_IN = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}
ANSWERED_IN = {401: AUTHORIZATION, 407: PROXY_AUTHORIZATION}
"""The header fields with a challenge, and with its answer, by status code (RFC 3261, 22.1)."""

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
            for status, header in ANSWERED_IN.items()
        }

    def takes_qop(self, credentials: Credentials) -> bool:
        """Tell whether it has the qop, or its absence, of `credentials`.

        Where none was offered, `auth` all the same is harmless: it protects more.
        """
        if not self.qop:
            return credentials.protection in ("", "auth")
        return credentials.protection in self.qop


class Offers:
    """All that an IP Group offers: its `own` to all for whom no rule fits, and `others`.

    `algorithms` are those of any offer. `new_signer` returns who mints the nonces for an algorithm
    and its qop.
    """

    def __init__(self, group: IPGroup, new_signer: Callable[..., NonceSigner]) -> None:
        signer = lru_cache(maxsize=None)(new_signer)

        @cache
        def offer(terms: Terms) -> Offer:
            qop = terms.qop.offered
            signers = {each.value: signer(each.value, *qop) for each in terms.algorithms}
            return Offer(group.realm, qop, signers)

        self.own = offer(own_terms(group))
        self._by_user_agent = [
            (star_pattern(pattern), offer(terms)) for pattern, terms in rules_in_force(group)
        ]
        others = dict.fromkeys(each for _, each in self._by_user_agent if each is not self.own)
        self.others = tuple(others)
        self.algorithms = {name for each in (self.own, *others) for name in each.signers}
        self._known_user_agents: dict[str, Offer] = {}

    def to(self, user_agent: str) -> Offer:
        """Return what is offered to a User-Agent: the first rule that fits says it."""
        start = user_agent[:LONGEST_USER_AGENT]
        offer = self._known_user_agents.get(start)
        if offer is None:
            fits = (offer for pattern, offer in self._by_user_agent if pattern.match(start))
            offer = next(fits, self.own)
            if len(self._known_user_agents) >= _REMEMBERED_USER_AGENTS:
                self._known_user_agents.clear()
            self._known_user_agents[start] = offer
        return offer

    def answered(self, algorithm: str, nonce: str, now: int) -> tuple[Offer, NonceState]:
        """Return what an answer is to, by its nonce, and what that is to us.

        A nonce that is none of ours, or of another algorithm's, is as one for whom no rule fits.
        """
        for offer in self.others:
            signer = offer.signers.get(algorithm)
            state = signer.judge(nonce, now) if signer else NonceState.FOREIGN
            if state is not NonceState.FOREIGN:
                return offer, state
        if algorithm in self.algorithms:
            return self.own, NonceState.FOREIGN
        return self.own, self.judge(nonce, now)

    def judge(self, nonce: str, now: int) -> NonceState:
        """Return what a nonce is to us, whichever algorithm it was offered for."""
        signers = (each for offer in (self.own, *self.others) for each in offer.signers.values())
        states = [signer.judge(nonce, now) for signer in signers]
        return next((each for each in states if each is not NonceState.FOREIGN), NonceState.FOREIGN)


def _parts(
    status: int, realm: str, qop: tuple[str, ...], algorithm: str, signer: NonceSigner
) -> Parts:
    """Return the parts of the header field with the challenge of an algorithm."""
    before, _, after = format_challenge(realm, "\n", algorithm, qop).rpartition("\n")
    return f"{_CHALLENGED_IN[status]}: {before}", signer, after
