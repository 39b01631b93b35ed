"""An IP Group: whose requests they are, and what is asked of them."""

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address

from sbcauth.digest.algorithms import Algorithm
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.external_server import ExternalServer

NAMED = "by-digest-username"
"""Who is known by a digest user name, in the log and in counts, until he has proved himself."""
USUAL_CONTACTS = 10
"""How many Contacts kamailio.cfg lets an address of record have, where nothing else is said."""


class IPGroupType(StrEnum):
    """A population of phones, or a peer server."""

    USER = "user"
    SERVER = "server"


class AuthenticationMode(StrEnum):
    """Who authenticates whom (the box: 0, 1, 2)."""

    USER_AUTHENTICATES = "user-authenticates"
    SBC_AS_CLIENT = "sbc-as-client"
    SBC_AS_SERVER = "sbc-as-server"


class ChallengeMethod(StrEnum):
    """Which challenge is sent; `auto` is 401 for REGISTER and 407 for the rest."""

    WWW = "401"
    PROXY = "407"
    AUTO = "auto"

    def status(self, method: str) -> int:
        """Return the status code of a challenge to a request of `method`."""
        if self is ChallengeMethod.AUTO:
            return 401 if method == "REGISTER" else 407
        return 401 if self is ChallengeMethod.WWW else 407


class AuthQop(StrEnum):
    """The quality of protection that is offered."""

    AUTH = "auth"
    AUTH_INT = "auth-int"
    BOTH = "both"
    NONE = "none"

    @property
    def offered(self) -> tuple[str, ...]:
        """Return the qop-options as a challenge lists them (RFC 7616, 3.3)."""
        return _OFFERED[self]

    @property
    def weakest(self) -> "AuthQop":
        """Return the weakest that can be answered to it."""
        return AuthQop.AUTH if self is AuthQop.BOTH else self

    @property
    def strength(self) -> int:
        """Return a number that is higher the more the weakest answer protects."""
        return _STRENGTHS[self.weakest]


_OFFERED = {
    AuthQop.AUTH: ("auth",),
    AuthQop.AUTH_INT: ("auth-int",),
    AuthQop.BOTH: ("auth", "auth-int"),
    AuthQop.NONE: (),
}
_STRENGTHS = {AuthQop.NONE: 0, AuthQop.AUTH: 1, AuthQop.AUTH_INT: 2}


class ServerAuthMode(StrEnum):
    """Who verifies credentials: this server's User Info, or an external server."""

    LOCAL = "local"
    RADIUS = "radius"
    HTTP = "http"


class UnclassifiedRequests(StrEnum):
    """What happens to a request of no IP Group: 403, or no answer at all."""

    REJECT = "reject"
    DROP = "drop"


class UserSecurityMode(StrEnum):
    """Whose requests of a method that is not on the list go on (the box: 0, 1, 2)."""

    ACCEPT_ALL = "accept-all"
    ACCEPT_REGISTERED_USERS = "accept-registered-users"
    ACCEPT_REGISTERED_USERS_FROM_SAME_SOURCE = "accept-registered-users-from-same-source"


class UnlistedWithoutWord(StrEnum):
    """What a request gets that nobody vouches for: 403, or a challenge."""

    REJECT = "reject"
    CHALLENGE = "challenge"


class FromScreening(StrEnum):
    """Whose number From may have where the account has proved itself; of REGISTER it is To.

    `off` leaves that to the account, as the box does.
    """

    IDENTITIES = "identities"
    ASSERTED_ONLY = "asserted-only"
    OFF = "off"


class CheckDigestURI(StrEnum):
    """Whether the digest `uri` must be the Request-URI."""

    LENIENT = "lenient"
    STRICT = "strict"


class RuleAction(StrEnum):
    """What a classification rule does with a request that it fits."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class ClassificationRule:
    """Fits requests from `address`; empty or None stands for any.

    `from_host` and `request_uri_host` are host names, in which `*` stands for any text.
    """

    address: IPv4Network | IPv6Network
    port: int | None = None
    transport: str | None = None
    from_host: str | None = None
    request_uri_host: str | None = None
    action: RuleAction = RuleAction.ALLOW


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """A peer server: its URI as configured, and its host (an address or a name) and port."""

    uri: str
    host: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class UserAgentRule:
    """What is offered to a User-Agent that fits `pattern`, in which `*` stands for any text.

    None stands for what the IP Group offers to all.
    """

    pattern: str
    algorithms: tuple[Algorithm, ...] | None = None
    qop: AuthQop | None = None


@dataclass(frozen=True, slots=True)
class AtLeast:
    """The weakest that an IP Group offers to anybody."""

    algorithm: Algorithm
    qop: AuthQop


@dataclass(frozen=True, slots=True)
class Emergency:
    """The numbers (user parts) and URNs that anybody may call, and the IP Group they go to."""

    numbers: frozenset[str]
    route_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IPGroup:
    """A peer server or a population of users, and what is asked of their requests.

    The defaults are those of the configuration, which are declared here alone.

    `methods` and `setup_invite` are the Authentication Method List. `auth_nonce_duration` is
    in seconds. In `shadow`, all requests pass, whatever is decided and logged. `client_realms` are
    those in which the client pair answers, None for any. `reaches` are IP Groups whose users can
    be called beside one's own. What comes from one of `edge_proxies` is of a phone behind it.
    `identities` are the numbers and prefixes of the account that `username_as_server` then is.
    A request of no rule whose credentials name `digest_username` is of that `server` group.
    Where `at_least` is None, it is the weakest of what the IP Group offers to all.
    """

    name: str
    type: IPGroupType
    realm: str
    authentication_mode: AuthenticationMode = AuthenticationMode.USER_AUTHENTICATES
    methods: frozenset[str] = frozenset()
    setup_invite: bool = False
    classification: tuple[ClassificationRule, ...] = ()
    digest_username: str = ""
    proxy_set: tuple[ProxyAddress, ...] = ()
    username_as_server: str = ""
    password_as_server: str = field(default="", repr=False)
    username_as_client: str = ""
    password_as_client: str = field(default="", repr=False)
    route_to: str | None = None
    shadow: bool = False
    server_auth_mode: ServerAuthMode = ServerAuthMode.LOCAL
    auth_nonce_duration: int = 300
    auth_challenge_method: ChallengeMethod = ChallengeMethod.WWW
    auth_qop: AuthQop = AuthQop.AUTH
    auth_algorithms: tuple[Algorithm, ...] = (Algorithm.MD5,)
    user_agents: tuple[UserAgentRule, ...] = ()
    at_least: AtLeast | None = None
    attempt_limit: AttemptLimit = AttemptLimit()
    check_digest_uri: CheckDigestURI = CheckDigestURI.LENIENT
    reject_invalid_nonce: bool = False
    external_server: ExternalServer | None = None
    user_security_mode: UserSecurityMode = UserSecurityMode.ACCEPT_REGISTERED_USERS_FROM_SAME_SOURCE
    unlisted_without_word: UnlistedWithoutWord = UnlistedWithoutWord.REJECT
    reaches: tuple[str, ...] = ()
    max_contacts: int = USUAL_CONTACTS
    max_registered_users: int = 0
    client_realms: tuple[str, ...] | None = None
    edge_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    emergency: Emergency | None = None
    identities: tuple[str, ...] = ()
    from_screening: FromScreening = FromScreening.IDENTITIES
    trusted_identity: bool = True

    @property
    def local_user_of_pair(self) -> str | None:
        """Return the local user of the pair as server where it is one account with identities.

        Else it is None: the pair then stands for every address of record.
        """
        return self.username_as_server.partition("@")[0] if self.identities else None

    @property
    def asks(self) -> bool:
        """Tell whether anybody in the IP Group is ever asked to prove who he is."""
        return self.authentication_mode is AuthenticationMode.SBC_AS_SERVER and not self.shadow

    @property
    def has_limits(self) -> bool:
        """Tell whether it has limits of its own for what is registered."""
        return self.max_contacts != USUAL_CONTACTS or self.max_registered_users > 0

    def is_edge(self, address: str) -> bool:
        """Tell whether an edge proxy of the IP Group has this address."""
        if not self.edge_proxies:
            return False
        parsed = ip_address(address.strip("[]"))
        return any(parsed in network for network in self.edge_proxies)
