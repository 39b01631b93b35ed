"""The fast path: what phones do all day, decided without a detour.

Nearly all requests of phones are of two kinds: one without credentials, and the same again with the
right answer. A FastPath decides those as AuthServer.decide would, and leaves every other to it: it
refuses nobody and counts no failure, and None is its word for any doubt.

It is flat for a reason. Between two requests Kamailio's own work empties the processor's caches, so
that each function and each object costs half a microsecond to touch, not a tenth.
"""

from collections.abc import Callable
from typing import NamedTuple

from sbcauth.attempts import Attempts, pair_key
from sbcauth.challenges import Challenger
from sbcauth.decision import Accept, Challenge, Reason
from sbcauth.digest import response_is_right, usual_credentials
from sbcauth.exceptions import Unavailable
from sbcauth.ip_groups import AuthenticationMode, IPGroup, IPGroupType, ServerAuthMode
from sbcauth.nonce_counts import NonceCounts
from sbcauth.nonces import CLOCK_DRIFT, NonceState
from sbcauth.users import User

FindUser = Callable[[str, str, str], User | None]


class Recognised(NamedTuple):
    """A sender whose answer is right; to be accepted, it must still claim its nonce count.

    `lifetime` is for how many seconds that must be remembered.
    """

    username: str
    local_user: str
    pair: str
    nonce: str
    nonce_count: int
    lifetime: int


class FastPath:
    """The fast path of one IP Group."""

    __slots__ = (
        "_attempts",
        "_challenger",
        "_find",
        "_lifetime",
        "_limit",
        "_name",
        "_nonce_counts",
        "_realm",
        "_signers",
        "headers",
        "only_setup_invite",
    )

    def __init__(
        self,
        group: IPGroup,
        challenger: Challenger,
        find: FindUser,
        attempts: Attempts,
        nonce_counts: NonceCounts,
    ) -> None:
        self._name = group.name
        self._realm = group.realm
        self._limit = group.attempt_limit
        self._lifetime = group.auth_nonce_duration + CLOCK_DRIFT
        self._challenger = challenger
        self._signers = challenger.signers
        self._find = find
        self._attempts = attempts
        self._nonce_counts = nonce_counts
        listed = group.methods | {"INVITE"} if group.setup_invite else group.methods
        listed -= {"ACK", "CANCEL"}
        self.headers = {method: challenger.answered_in(method) for method in listed}
        self.only_setup_invite = "INVITE" not in group.methods

    @staticmethod
    def is_for(group: IPGroup) -> bool:
        """Tell whether the IP Group has a fast path."""
        return (
            group.type is IPGroupType.USER
            and group.authentication_mode is AuthenticationMode.SBC_AS_SERVER
            and group.server_auth_mode is ServerAuthMode.LOCAL
            and "auth" in group.auth_qop.offered
            and not group.check_digest_uri
            and not group.shadow
        )

    def challenge(self, method: str, source: str, now: int) -> Challenge:
        """Return the challenge to a request without credentials, from `source` at `now`."""
        status, headers = self._challenger.challenge(method, source, now)
        return Challenge(status, headers, Reason.CHALLENGED, self._name)

    def recognise(
        self, method: str, source: str, field: str, claimed_user: str, now: int
    ) -> Recognised | None:
        """Return the sender of a request with credentials, or None in any doubt.

        `field` is the value of the only header field that may have them, and `claimed_user` the
        user part of the address of record that the request speaks for.
        """
        credentials = usual_credentials(field)
        if credentials is None or credentials.qop != "auth" or credentials.realm != self._realm:
            return None
        signer = self._signers.get(credentials.algorithm)
        if signer is None:
            return None
        state, age, source_tag = signer.judge(credentials.nonce, source, now)
        if state is not NonceState.FRESH or source_tag:
            return None
        username = credentials.username
        pair = pair_key(self._name, source, username)
        try:
            if not self._attempts.is_trusted_and_free(pair, now):
                return None
            user = self._find(self._name, username, self._realm)
        except Unavailable:
            return None
        if user is None or not user.enabled or user.local_user != claimed_user:
            return None
        ha1 = user.ha1(credentials.algorithm)
        if ha1 is None or not response_is_right(ha1, method, credentials):
            return None
        count, lifetime = int(credentials.nc, 16), self._lifetime - age
        return Recognised(username, claimed_user, pair, credentials.nonce, count, lifetime)

    def claim(self, sender: Recognised, now: int) -> Accept | None:
        """Accept the sender, once: use up its nonce count, and forget its failures."""
        try:
            if not self._nonce_counts.use(sender.nonce, sender.nonce_count, sender.lifetime):
                return None
            self._attempts.trust(sender.pair, self._limit, now)
        except Unavailable:
            return None
        return Accept(self._name, sender.username, sender.local_user, self._realm)
