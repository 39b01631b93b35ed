"""The fast path: what phones do all day, decided without a detour.

Nearly all requests of phones are of two kinds: one without credentials, and the same again with the
right answer. A FastPath decides those as AuthServer.decide would, and leaves every other to it: it
refuses nobody and counts no failure, and None is its word for any doubt.

It is flat for a reason. Between two requests Kamailio's own work empties the processor's caches, so
that each function and each object costs half a microsecond to touch, not a tenth. So all that was
concluded about a phone is in one note of it, which is found by one look.
"""

from typing import NamedTuple

from sbcauth.accounts import Users
from sbcauth.attempts import Attempts, pair_key
from sbcauth.challenges import Challenger
from sbcauth.decision import Accept, Challenge, Reason
from sbcauth.digest import response_is_right, usual_credentials
from sbcauth.ip_groups import AuthenticationMode, IPGroup, IPGroupType, ServerAuthMode
from sbcauth.nonce_counts import NonceCounts

_REMEMBERED_PHONES = 100_000


class KnownPhone(NamedTuple):
    """A phone that has succeeded of late: a user at one address, with H(A1) for one algorithm.

    `sure_until` (seconds since 1970) is when another success would change something.
    """

    local_user: str
    ha1: str
    pair: str
    sure_until: int


class Recognised(NamedTuple):
    """A sender whose answer is right; to be accepted, it must still claim its nonce count."""

    username: str
    local_user: str
    nonce: str
    nonce_count: int


class FastPath:
    """The fast path of one IP Group. Every method raises Unavailable."""

    __slots__ = (
        "_algorithms",
        "_attempts",
        "_challenger",
        "_limit",
        "_name",
        "_nonce_counts",
        "_phones",
        "_realm",
        "_users",
        "headers",
        "only_setup_invite",
    )

    def __init__(
        self,
        group: IPGroup,
        challenger: Challenger,
        users: Users,
        attempts: Attempts,
        nonce_counts: NonceCounts,
    ) -> None:
        self._name = group.name
        self._realm = group.realm
        self._limit = group.attempt_limit
        self._challenger = challenger
        self._algorithms = challenger.signers
        self._users = users
        self._phones: dict[tuple[str, ...], KnownPhone] = users.notes()
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
        if credentials is None:
            return None
        username, realm, nonce, _, _, algorithm, qop, nc, _, _ = credentials
        signer = self._algorithms.get(algorithm)
        if signer is None or realm != self._realm or qop != "auth":
            return None
        phone = self._phones.get((source, username, algorithm))
        if phone is None or now >= phone.sure_until:
            phone = self._get_to_know(source, username, algorithm, now)
            if phone is None:
                return None
        local_user, ha1, pair, _ = phone
        if (
            local_user != claimed_user
            or not signer.is_fresh_for(nonce, source, now)
            or not response_is_right(ha1, method, credentials)
            or not self._attempts.is_clean(pair)
        ):
            return None
        return Recognised(username, local_user, nonce, int(nc, 16))

    def claim(self, sender: Recognised) -> Accept | None:
        """Accept the sender, once: use up its nonce count."""
        username, local_user, nonce, nonce_count = sender
        if not self._nonce_counts.use(nonce, nonce_count):
            return None
        return Accept(self._name, username, local_user, self._realm)

    def _get_to_know(
        self, source: str, username: str, algorithm: str, now: int
    ) -> KnownPhone | None:
        """Return the phone of a user at an address, if it has succeeded there of late."""
        pair = pair_key(self._name, source, username)
        sure_until = self._attempts.sure_until(pair, self._limit, now)
        user = self._users.find(self._name, username, self._realm) if sure_until > now else None
        ha1 = user.ha1(algorithm) if user and user.enabled else None
        if user is None or ha1 is None:
            return None
        phone = KnownPhone(user.local_user, ha1, pair, sure_until)
        if len(self._phones) >= _REMEMBERED_PHONES:
            self._phones.clear()
        self._phones[source, username, algorithm] = phone
        return phone
