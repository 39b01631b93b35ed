"""Why a request was decided as it was: the reasons of the log, and all that is known of them."""

from enum import StrEnum
from typing import NamedTuple, Self

ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6
"""Priorities of syslog (RFC 5424, 6.2.1)."""
LAST_STEP = 8
"""The step of a decision, of those that `explain` names, at which most reasons end the way."""


class _Known(NamedTuple):
    """A reason's name, and what is known of it."""

    name: str
    meaning: str
    advice: str = ""
    step: int = LAST_STEP
    level: int = NOTICE


class Reason(StrEnum):
    """Why a request was decided as it was: the `reason` of its log line.

    The set is closed and part of the interface; programs may match on it. `meaning` is what it
    means, and `advice` what can be done about it, for the user `{user}`; it is empty where there
    is nothing to do. `step` is the one at which the reason ends the way, `level` the priority of
    its line in the log.
    """

    meaning: str
    advice: str
    step: int
    level: int

    # passed on without a verdict
    NEVER_CHALLENGED = _Known(
        "never-challenged",
        "ACK and CANCEL cannot be sent again with credentials, so they pass",
        step=1,
        level=INFO,
    )
    PASS_THROUGH = _Known(
        "pass-through",
        "the IP Group is not in mode sbc-as-server, so the request passes",
        step=3,
        level=INFO,
    )
    METHOD_NOT_LISTED = _Known(
        "method-not-listed",
        "the method is not on the IP Group's list, so the request passes",
        step=4,
        level=INFO,
    )
    WITHIN_DIALOG = _Known(
        "within-dialog", "the request goes from one party of its dialog to the other", level=INFO
    )
    REGISTERED_SENDER = _Known(
        "registered",
        "the method is not listed, and the sender is registered from there",
        step=4,
        level=INFO,
    )
    EMERGENCY = _Known("emergency", "an emergency call, which needs no credentials", step=3)
    # answered here, and goes nowhere
    KEEP_ALIVE = _Known(
        "keep-alive",
        "it asks whether we are there: answered here, and relayed to nobody",
        step=3,
        level=INFO,
    )
    # accepted
    ACCEPTED = _Known(
        "accepted", "the response is right, and the sender speaks for itself", level=INFO
    )
    # challenged; none of these counts as an attempt, but `wrong credentials` do
    CHALLENGED = _Known(
        "challenged", "no credentials for our realm: a challenge is sent", step=5, level=INFO
    )
    FOREIGN_NONCE = _Known(
        "foreign-nonce",
        "the nonce is not one of ours, or of another policy: challenged again",
        advice="Nothing, unless it goes on: then the phone answers the challenge of another "
        "server.",
        step=7,
    )
    STALE_NONCE = _Known(
        "stale-nonce",
        "the nonce is ours, but too old: challenged again with stale=true",
        advice="Nothing, unless it goes on: a phone answers with the new nonce by itself.",
        step=7,
        level=INFO,
    )
    NONCE_ELSEWHERE = _Known(
        "nonce-elsewhere",
        "the nonce is another node's, or of an engine that has gone: challenged again with "
        "stale=true",
        "Nothing: a phone that comes over from another node answers with the new nonce by itself.",
        step=7,
        level=INFO,
    )
    REPLAYED = _Known(
        "replayed",
        "the nonce count has been used: challenged again with stale=true",
        advice="Nothing, unless it goes on: a phone that does not count its nonce up needs "
        "an update.",
    )
    # the response is wrong, in words for the log only: on the wire they are one
    WRONG_CREDENTIALS = _Known(
        "wrong-credentials",
        "the response is wrong: an attempt is counted",
        advice="The phone has another password than User Info: correct it there, or give the "
        "user a new one with `sbcauth user set-password {user}`.",
    )
    UNKNOWN_USER = _Known(
        "unknown-user",
        "User Info has no such user: an attempt is counted",
        advice="Correct the user name in the phone, or add it with `sbcauth user add "
        "{user}`; `sbcauth user show {user}` tells whether it is in another IP Group or "
        "realm.",
    )
    DISABLED_USER = _Known(
        "disabled-user",
        "the user is disabled: an attempt is counted",
        advice="`sbcauth user enable {user}` lets the user in again.",
    )
    NONCE_OF_ANOTHER = _Known(
        "nonce-of-another",
        "the response is wrong, to a nonce of another source: counted there",
        advice="The answer is wrong, and to a challenge that another address got: somebody "
        "forges this source, or the phone's address changes between requests.",
    )
    # right for the password before; as if wrong, but what it locks out lets the right one in
    OLD_PASSWORD = _Known(
        "old-password",
        "right for the password before this one: an attempt is counted",
        advice="The phone still has the password before the last change: enter the new one, "
        "which gets in at once.",
    )
    # refused
    LOCKED_OUT = _Known(
        "locked-out",
        "too many attempts have failed: refused until the lockout ends",
        advice="See above what failed before; put it right, and `sbcauth lockout clear "
        "{user}` lets the user in at once.",
        step=6,
    )
    SOURCE_LOCKED_OUT = _Known(
        "source-locked-out",
        "the source has failed too often, under whatever user names",
        advice="Others at this source guess, or have wrong passwords, too: `sbcauth lockout "
        "list` shows it; trusted_sources excepts an office or an address translator.",
        step=6,
    )
    USER_LOCKED_OUT = _Known(
        "user-locked-out",
        "too many have failed under the user name, wherever they are",
        advice="Somebody guesses this user's password from many addresses; whoever got in "
        "recently still does. `sbcauth lockout clear {user}` ends it.",
        step=6,
    )
    ALGORITHM_NOT_OFFERED = _Known(
        "algorithm-not-offered",
        "the algorithm was not offered",
        advice="The phone answers with an algorithm that it was not offered: see "
        "auth_algorithms of the IP Group, or a rule of user_agents for it.",
        step=7,
    )
    QOP_NOT_OFFERED = _Known(
        "qop-not-offered",
        "the qop was not offered, or was left out although offered",
        advice="The phone leaves the qop out, or takes another: see auth_qop of the IP "
        "Group, or a rule of user_agents for it.",
        step=7,
    )
    MIXED_CHALLENGES = _Known(
        "mixed-challenges",
        "the nonce is ours, but for another algorithm than the answer's",
        advice="The phone mixes the challenges that it got, the nonce of one with the "
        "algorithm of another. Offer it one alone, by a rule of user_agents.",
        step=7,
    )
    RESPONSE_LENGTH = _Known(
        "response-length",
        "the response is longer or shorter than its algorithm makes them",
        advice="The phone computes by another algorithm than it names, or cuts the response: "
        "offer it another, by a rule of user_agents.",
        step=7,
    )
    DIGEST_URI_MISMATCH = _Known(
        "digest-uri-mismatch",
        "the digest uri is not the Request-URI (check_digest_uri: strict)",
        advice="A device between the phone and here changes the Request-URI: set "
        "check_digest_uri: lenient for this IP Group.",
        step=7,
    )
    IDENTITY_MISMATCH = _Known(
        "identity-mismatch",
        "the response is right, but for another's address of record",
        advice="The user name may not speak for this address of record: `sbcauth user show "
        "{user}` shows for which it may.",
    )
    UNCLASSIFIED = _Known(
        "unclassified",
        "no IP Group takes requests from there, or a deny rule refuses them",
        advice="No IP Group's classification takes requests from this source.",
        step=2,
    )
    UNKNOWN_DIALOG = _Known(
        "unknown-dialog",
        "it belongs to no dialog that was let in, or comes from neither party",
        advice="The call or subscription is over, or its key was forgotten: the phone ends "
        "it by itself. If it goes on, a device on the way takes our Record-Route away.",
    )
    NO_NODE = _Known(
        "no-node",
        "only a node of the cluster may say that, or say anything there",
        advice="If it is a node: its address must be among the peers of the cluster in "
        "sbcauth.yaml. Keep the nodes' addresses in a network of their own.",
        step=2,
        level=WARNING,
    )
    MALFORMED_CREDENTIALS = _Known(
        "malformed-credentials",
        "the credentials cannot be read",
        advice="The phone's credentials cannot be read: the detail says why.",
        step=5,
    )
    NOT_REGISTERED = _Known(
        "not-registered",
        "the method is not listed, and the sender is not registered from there",
        advice="The phone sends from elsewhere than it registered from, or does not "
        "register: put the method on the IP Group's authentication_method_list, or set its "
        "unlisted_without_word: challenge.",
        step=4,
    )
    REGISTRATION_UNPROVED = _Known(
        "registration-unproved",
        "nothing is registered unproved for addresses of User Info, by peer servers, or "
        "where REGISTER is not on the list",
        advice="Put REGISTER on the authentication_method_list of the IP Group, or have its "
        "requests go to another server (route_to).",
        step=4,
    )
    BAD_REGISTRATION = _Known(
        "bad-registration",
        "the registration cannot be kept as it is",
        advice="The detail says what is wrong with the phone's Contact or To.",
    )
    UNKNOWN_EXTENSION = _Known(
        "unknown-extension",
        "it requires an extension of SIP that we do not have",
        advice="Switch the extension that the detail names off in the phone.",
    )
    TOO_MANY_USERS = _Known(
        "too-many-users",
        "the IP Group has as many registered users as it may",
        advice="max_registered_users of the IP Group says how many there may be.",
    )
    NOT_KEPT = _Known(
        "not-kept",
        "the registrar has refused a registration that was let in",
        advice="The detail says why; the log of Kamailio may say more.",
    )
    BAD_REQUEST = _Known(
        "bad-request",
        "refused before anything was decided: it is malformed, or went too far",
        advice="The device sends what is no SIP, or in circles: a trace shows it.",
    )
    # no verdict
    ASKED = _Known(
        "asked",
        "the external server is asked, and its verdict makes a decision of its own",
        level=INFO,
    )
    UNAVAILABLE = _Known(
        "unavailable",
        "a database or server that is needed does not answer",
        advice="The detail says what does not answer; `sbcauth doctor` looks further.",
        level=WARNING,
    )
    INTERNAL_ERROR = _Known(
        "internal-error",
        "a bug; the log has its trace",
        advice="A bug: please report it, with the trace that Kamailio's log has.",
        level=ERROR,
    )

    def __new__(
        cls,
        name: str,
        meaning: str = "",
        advice: str = "",
        step: int = LAST_STEP,
        level: int = NOTICE,
    ) -> Self:
        """Return the reason that the log calls `name`."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.meaning, member.advice, member.step, member.level = meaning, advice, step, level
        return member

    @property
    def is_usual(self) -> bool:
        """Tell whether it happens all day where nothing is wrong."""
        return self.level == INFO
