"""The challenges of one IP Group: what they look like, and what comes back of them."""

from collections.abc import Sequence

from sbcauth.digest.credentials import (
    MOST_CREDENTIALS,
    Credentials,
    format_challenge,
    parse_credentials,
    scheme,
)
from sbcauth.digest.nonces import FOREIGN, JudgedNonce, NonceKey, NonceSigner, NonceState
from sbcauth.digest.response import Algorithm
from sbcauth.exceptions import BadCredentials
from sbcauth.policy.ip_groups import IPGroup
from sbcauth.policy.request import Request

Offer = tuple[str, NonceSigner, str]
"""What stands in a header field before the nonce, who mints the nonce, and what stands after it."""


class Challenger:
    """Challenges the requests of one IP Group, and judges the nonces in their answers."""

    def __init__(self, group: IPGroup, keys: Sequence[NonceKey], not_before: int) -> None:
        self._realm = group.realm
        self._status = group.auth_challenge_method.status
        self._qop = group.auth_qop.offered
        self.signers = {
            algorithm.value: NonceSigner(
                keys,
                (group.name, group.realm, algorithm, *self._qop),
                group.auth_nonce_duration,
                not_before,
            )
            for algorithm in group.auth_algorithms
        }
        self._offers = {
            status: [self._offer(name, algorithm) for algorithm in group.auth_algorithms]
            for status, name in ((401, "WWW-Authenticate"), (407, "Proxy-Authenticate"))
        }

    def challenge(
        self, method: str, source: str, now: int, *, stale: bool = False
    ) -> tuple[int, tuple[str, ...]]:
        """Return the status and the header fields: one for each algorithm, in the order given.

        RFC 8760 §2.4 leaves that order to the administrator: some phones read only the first.
        """
        status, offers = self.offers(method)
        end = ", stale=true" if stale else ""
        headers = (
            f"{before}{signer.mint(signer.tag_of(source), now)}{after}{end}"
            for before, signer, after in offers
        )
        return status, tuple(headers)

    def offers(self, method: str) -> tuple[int, list[Offer]]:
        """Return the status of a challenge to `method`, and what its header fields are made of."""
        status = self._status(method)
        return status, self._offers[status]

    def answered_in(self, method: str) -> str:
        """Return the name of the header field that answers a challenge to `method`."""
        return "Authorization" if self._status(method) == 401 else "Proxy-Authorization"

    def answer(self, request: Request) -> Credentials | None:
        """Return the credentials that answer our challenge, or None where there are none.

        A phone may answer several challenges at once: the strongest that was offered counts.
        Raises BadCredentials where there is nothing for our realm but what cannot be read.
        """
        www = self._status(request.method) == 401
        fields = request.authorization if www else request.proxy_authorization
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
            if credentials.realm == self._realm:
                answers.append(credentials)
        if bad and not answers:
            raise bad
        if len(answers) > 1:
            return max(answers, key=self._strength)
        return answers[0] if answers else None

    def tag_of(self, source: str) -> str:
        """Return the tag that `source` has in new nonces of ours, whatever they are for."""
        return next(iter(self.signers.values())).tag_of(source)

    def judge(self, credentials: Credentials, source: str, now: int) -> JudgedNonce:
        """Return what the nonce is to us, and to which source it was issued.

        An algorithm that was not offered has no nonce of its own: the nonce is then looked
        for among those that were.
        """
        signer = self.signers.get(credentials.algorithm)
        if signer:
            return signer.judge(credentials.nonce, source, now)
        judged = (each.judge(credentials.nonce, source, now) for each in self.signers.values())
        return next((nonce for nonce in judged if nonce.state is not NonceState.FOREIGN), FOREIGN)

    def made_for_another_algorithm(self, nonce: str, now: int) -> bool:
        """Tell whether a nonce that is none of the credentials' algorithm is ours for another."""
        judged = (each.judge(nonce, "", now) for each in self.signers.values())
        return any(each.state is not NonceState.FOREIGN for each in judged)

    def offered_algorithm(self, credentials: Credentials) -> bool:
        """Tell whether a challenge offered the algorithm of `credentials`."""
        return credentials.algorithm in self.signers

    def offered_qop(self, credentials: Credentials) -> bool:
        """Tell whether a challenge offered the qop, or its absence, of `credentials`.

        Where none was offered, `auth` all the same is harmless: it protects more.
        """
        if not self._qop:
            return credentials.protection in ("", "auth")
        return credentials.protection in self._qop

    def _offer(self, name: str, algorithm: Algorithm) -> Offer:
        """Return the parts of a header field with a challenge for one algorithm."""
        value = format_challenge(self._realm, "\n", algorithm, self._qop)
        before, _, after = value.rpartition("\n")
        return f"{name}: {before}", self.signers[algorithm], after

    def _strength(self, credentials: Credentials) -> int:
        if not self.offered_algorithm(credentials):
            return -1
        return Algorithm(credentials.algorithm).strength
