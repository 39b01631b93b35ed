"""The fast path: what phones do all day, decided without a detour.

Nearly all requests of phones are of two kinds: one without credentials, and the same again with the
right answer. A FastPath decides those as AuthServer.decide would, and leaves every other to it: it
refuses nobody and counts no failure, and None is its word for any doubt.

It is flat for a reason. Between two requests Kamailio's own work empties the processor's caches, so
that each function and each object costs half a microsecond to touch, not a tenth. So all that was
concluded about a phone is in one note of it, which is found by one look, and what other rooms have
functions for is written out here: that saves 1.4 µs a registration.
"""

import re
from hmac import compare_digest

from sbcauth.digest.credentials import MAX_CREDENTIALS, layout_of
from sbcauth.digest.nonces import BODY, MAC, TAG, TIME, UNIQUE, draw
from sbcauth.digest.response import HASHES, ha2_without_body
from sbcauth.policy.accounts import Users
from sbcauth.policy.attempts import Attempts
from sbcauth.policy.challenges import Challenger
from sbcauth.policy.claimants import pair_key
from sbcauth.policy.decision import Reason, outcome_key
from sbcauth.policy.ip_groups import AuthenticationMode, IPGroup, IPGroupType, ServerAuthMode

_REMEMBERED_PHONES = 100_000

_stands_in_uri = re.compile(r"[0-9A-Za-z_.!~*'()+-]{1,80}").fullmatch
"""Matches a local user that needs no escapes in a URI, and that any registrar takes."""

KnownPhone = tuple[int, str, str, str]
"""A phone that has succeeded of late: a user at one address, with H(A1) for one algorithm.

Until when (seconds since 1970) another success changes nothing, the local user, H(A1), and the key
of the pair. No NamedTuple: those take three times as long to be taken apart.
"""


class FastPath:
    """The fast path of one IP Group.

    `headers` has the header field that answers a challenge, for each method that is challenged.
    `challenged`, `accepted` and `passed` are the keys under which these outcomes are counted. With
    one algorithm, the first credentials for our realm are those that count, whatever follows.
    Where it `bears_repeats`, a phone that is taken for its own replay is challenged, not refused.
    """

    __slots__ = (
        "_attempts",
        "_limit",
        "_newest",
        "_now",
        "_offers",
        "_oldest",
        "_phones",
        "_signers",
        "_time",
        "_users",
        "accepted",
        "bears_repeats",
        "challenged",
        "headers",
        "held_against",
        "name",
        "only_algorithm",
        "only_setup_invite",
        "passed",
        "realm",
    )

    def __init__(
        self, group: IPGroup, challenger: Challenger, users: Users, attempts: Attempts
    ) -> None:
        self.name = group.name
        self.challenged = outcome_key(group.name, Reason.CHALLENGED)
        self.accepted = outcome_key(group.name, Reason.ACCEPTED)
        self.passed = outcome_key(group.name, Reason.METHOD_NOT_LISTED)
        self.only_algorithm = len(group.auth_algorithms) == 1
        self.realm = group.realm
        self._limit = group.attempt_limit
        self._signers = challenger.signers
        self._users = users
        self._phones: dict[str, KnownPhone] = users.notes()
        self._attempts = attempts
        self.held_against = attempts.held_against
        listed = group.methods | {"INVITE"} if group.setup_invite else group.methods
        listed -= {"ACK", "CANCEL"}
        self.headers = {method: challenger.answered_in(method) for method in listed}
        self._offers = {method: challenger.offers(method) for method in listed}
        self.bears_repeats = not group.reject_invalid_nonce
        self.only_setup_invite = "INVITE" not in group.methods
        self._now = -1

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

    def tag_of(self, source: str) -> str:
        """Return the tag of `source`, which those that ask for it keep."""
        return next(iter(self._signers.values())).tag_of(source)

    def challenge(self, method: str, tag: str, now: int) -> tuple[int, str]:
        """Return the challenge to a request without credentials: status and lines of the header.

        It is for the source with this `tag`, at `now`.
        """
        if now != self._now:
            self._tell_time(now)
        status, offers = self._offers[method]
        lines = ""
        for before, signer, after in offers:
            body = f"{tag}{self._time}{draw()}"
            mac = signer.mac.copy()
            mac.update(body.encode())
            lines += f"{before}{body}{mac.hexdigest()}{after}\r\n"
        return status, lines

    def recognise(
        self, method: str, source: str, tag: str, field: str, claimed_user: str, now: int
    ) -> tuple[str, str, str] | None:
        """Return the sender of a request with right credentials, or None in any doubt.

        It is the user name, with the key of the pair, against which nothing may be held, and that
        of the nonce count, which must still be unused.
        `field` is the value of the only header field that may have credentials, and `claimed_user`
        the user part of the address of record that the request speaks for: the user's own.
        Raises Unavailable.
        """
        if now != self._now:
            self._tell_time(now)
        pieces = field.split('"')
        if len(field) > MAX_CREDENTIALS or len(pieces) % 2 == 0:  # a quote is not closed
            return None
        layout = layout_of('"'.join(pieces[::2]))
        if layout is None:
            return None
        pick, tokens = layout
        username, realm, nonce, uri, response, algorithm, qop, nc, cnonce, _ = pick(pieces + tokens)
        phone = self._phones.get(f"{source} {username} {algorithm}")
        if phone is None:
            phone = self._get_to_know(source, tag, username, algorithm, now)
            if phone is None:
                return None
        sure_until, local_user, ha1, pair = phone
        signer = self._signers.get(algorithm)
        if (
            signer is None
            or realm != self.realm
            or qop != "auth"
            or local_user != claimed_user
            or nonce[TAG] != tag
            or not self._oldest <= nonce[TIME] <= self._newest
            or not field.isascii()
            or "\\" in field
        ):
            return None
        mac = signer.mac.copy()
        mac.update(nonce[BODY].encode())
        if not compare_digest(nonce[MAC], mac.hexdigest()):
            return None
        ha2 = ha2_without_body(algorithm, f"{method}:{uri}")
        secret = f"{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}"
        if not compare_digest(HASHES[algorithm](secret.encode()).hexdigest(), response):
            return None
        if now >= sure_until:
            del self._phones[f"{source} {username} {algorithm}"]
            return None
        return username, pair, f"{nonce[UNIQUE]}{nc}"

    def _tell_time(self, now: int) -> None:
        """Note what is the same for a second."""
        self._oldest, self._newest = next(iter(self._signers.values())).fresh_times(now)
        self._time = f"{now:08x}"
        self._now = now

    def _get_to_know(
        self, source: str, tag: str, username: str, algorithm: str, now: int
    ) -> KnownPhone | None:
        """Return the phone of a user at an address, if it has succeeded there of late.

        Raises Unavailable.
        Users with an address of record that a URI has to escape take the long way.
        """
        pair = pair_key(self.name, tag, username)
        sure_until = self._attempts.sure_until(pair, self._limit, now)
        user = self._users.find(self.name, username, self.realm) if sure_until > now else None
        ha1 = user.ha1(algorithm) if user and user.enabled else None
        if user is None or ha1 is None or not _stands_in_uri(user.local_user):
            return None
        phone = (sure_until, user.local_user, ha1, pair)
        if len(self._phones) >= _REMEMBERED_PHONES:
            self._phones.clear()
        self._phones[f"{source} {username} {algorithm}"] = phone
        return phone


FastPathOfSource = tuple[FastPath, str, str]
"""A fast path with the source that takes it, and the tag of that source."""
