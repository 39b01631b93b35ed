"""A phone's conversation with AuthServer: no sockets, no clock, and a digest of its own."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import sip

from sbcauth.digest.ha1s import HA1s
from sbcauth.digest.nonces import NonceKey
from sbcauth.exceptions import Unavailable
from sbcauth.policy.accounts import User
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.cluster import Cluster
from sbcauth.policy.decision import Accept, Challenge, Decision
from sbcauth.policy.identities import identities_of
from sbcauth.policy.ip_groups import (
    AuthenticationMode,
    ClassificationRule,
    IPGroup,
    IPGroupType,
    ProxyAddress,
    RuleAction,
    UnclassifiedRequests,
)
from sbcauth.policy.learned import Memo
from sbcauth.policy.registrations import Registrations
from sbcauth.policy.request import Request
from sbcauth.policy.server import AuthServer
from sbcauth.policy.shared_state import LocalState, SharedState

NOW = 1_700_000_000
REALM = "example.com"
URI = "sip:example.com"
PASSWORD = "secret"
KEYS = (NonceKey(0, b"k" * 32),)
METHODS = frozenset({"REGISTER", "INVITE", "MESSAGE"})


def rule(address: str, **conditions: Any) -> ClassificationRule:
    """Return a classification rule that allows."""
    return ClassificationRule(ip_network(address), **conditions)


def deny(address: str, **conditions: Any) -> ClassificationRule:
    """Return a classification rule that denies."""
    return ClassificationRule(ip_network(address), action=RuleAction.DENY, **conditions)


def phones(name: str = "Phones", **settings: Any) -> IPGroup:
    """Return an IP Group of phones, anywhere on the network, that must authenticate."""
    defaults: dict[str, Any] = {
        "realm": REALM,
        "authentication_mode": AuthenticationMode.SBC_AS_SERVER,
        "methods": METHODS,
        "classification": (rule("0.0.0.0/0"), rule("::/0")),
    }
    return IPGroup(name=name, type=IPGroupType.USER, **{**defaults, **settings})


def trunk(name: str = "Trunk", **settings: Any) -> IPGroup:
    """Return the IP Group of a peer server at 198.51.100.1 that must authenticate."""
    defaults: dict[str, Any] = {
        "realm": REALM,
        "authentication_mode": AuthenticationMode.SBC_AS_SERVER,
        "methods": METHODS,
        "proxy_set": (ProxyAddress("sip:198.51.100.1", "198.51.100.1"),),
        "username_as_server": "trunk",
        "password_as_server": "trunk-secret",
        "route_to": "PBX",
    }
    return IPGroup(name=name, type=IPGroupType.SERVER, **{**defaults, **settings})


def user(
    username: str = "1001",
    password: str = PASSWORD,
    *,
    local_user: str = "",
    ip_group: str = "Phones",
    realm: str = REALM,
    enabled: bool = True,
    old_password: str = "",
    old_until: int = NOW + 60,
) -> User:
    """Return a row of the User Info table; its local user is `username` unless given."""
    if old_password:
        changed = user(username, password, local_user=local_user, enabled=enabled)
        before = user(username, old_password)
        return changed._replace(old_ha1s=before.ha1s, old_until=old_until)
    return User(
        ip_group=ip_group,
        local_user=local_user or username,
        username=username,
        realm=realm,
        enabled=enabled,
        ha1s=HA1s.of_password(username, realm, password),
    )


class UserInfo:
    """The User Info table as a list; `broken` stands for a database that does not answer."""

    def __init__(self, *users: User) -> None:
        self.users = users
        self.broken = False
        self.looked_up: list[str] = []
        self.identities: dict[str, tuple[str, ...]] = {}

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        for memo in self.__dict__.get("_memos", ()):
            memo.clear()

    def memo_until_change(self) -> Memo:
        """Return a dictionary that is emptied when the users change."""
        memo = Memo()
        self._memos = (*self.__dict__.get("_memos", ()), memo)
        return memo

    def find(self, ip_group: str, username: str, realm: str, algorithm: str = "") -> User | None:
        """Return the user with this digest user name."""
        if self.broken:
            raise Unavailable("database is locked")
        self.looked_up.append(username)
        wanted = (ip_group, username, realm)
        return next((u for u in self.users if (u.ip_group, u.username, u.realm) == wanted), None)

    def has_local_user(self, ip_group: str, local_user: str) -> bool:
        """Tell whether an address of record belongs to a user."""
        return any((u.ip_group, u.local_user) == (ip_group, local_user) for u in self.users)

    def find_by_identity(self, ip_group: str, number: str, realm: str) -> User | None:
        """Return the user of whose identities a number is one, by the most specific."""
        if self.broken:
            raise Unavailable("database is locked")
        for identity in identities_of(number):
            for each in self.users:
                where = (each.ip_group, each.realm)
                if where == (ip_group, realm) and identity in self.identities.get(
                    each.username, ()
                ):
                    return each
        return None


def serve(
    *groups: IPGroup,
    users: UserInfo | None = None,
    shared: SharedState | None = None,
    keys: Sequence[NonceKey] = KEYS,
    unclassified_requests: UnclassifiedRequests = UnclassifiedRequests.REJECT,
    started_at: int = 0,
    registrations: Registrations | None = None,
    cluster: Cluster | None = None,
) -> AuthServer:
    """Return a server of these IP Groups: phones unless given, with one user 1001."""
    return AuthServer(
        IPGroups(groups or [phones()]),
        users or UserInfo(user()),
        shared or LocalState(),
        keys,
        unclassified_requests,
        started_at,
        registrations,
        cluster,
    )


class Phone:
    """A phone, or a peer server, at one address; it knows one user name and password."""

    def __init__(
        self,
        server: AuthServer,
        username: str = "1001",
        password: str = PASSWORD,
        address: str = "192.0.2.7",
        local_user: str = "",
    ) -> None:
        self.server = server
        self.username = username
        self.password = password
        self.address = address
        self.local_user = local_user or username

    def send(
        self, method: str = "REGISTER", *fields: str, now: int = NOW, **changes: Any
    ) -> Decision:
        """Send a request with these header fields; `changes` are fields of Request."""
        request = Request(
            method,
            URI,
            self.address,
            5060,
            "udp",
            from_user=self.local_user,
            from_host="example.com",
            to_user=self.local_user,
            in_dialog=False,
            call_id="f81d4fae",
            authorization=_values(fields, "Authorization"),
            proxy_authorization=_values(fields, "Proxy-Authorization"),
        )
        return self.server.decide(request._replace(**changes), now)

    def challenges(self, method: str = "REGISTER", **changes: Any) -> list[sip.Challenge]:
        """Return the challenges to a request without credentials."""
        return read(self.send(method, **changes))

    def challenge(self, method: str = "REGISTER", **changes: Any) -> sip.Challenge:
        """Return the only challenge to a request without credentials."""
        (challenge,) = self.challenges(method, **changes)
        return challenge

    def field(
        self,
        challenge: sip.Challenge,
        method: str = "REGISTER",
        *,
        uri: str = URI,
        password: str | None = None,
        qop: str | None = None,
        nc: int = 1,
        body: bytes = b"",
    ) -> str:
        """Return the header field that answers `challenge`, as RFC 7616 has it."""
        return sip.answer(
            challenge,
            method,
            uri,
            self.username,
            self.password if password is None else password,
            qop=qop,
            nc=nc,
            body=body,
        )

    def answer(
        self,
        challenge: sip.Challenge,
        method: str = "REGISTER",
        *,
        uri: str = URI,
        password: str | None = None,
        qop: str | None = None,
        nc: int = 1,
        body: bytes = b"",
        **changes: Any,
    ) -> Decision:
        """Send a request that answers `challenge`; `changes` are as of `send`."""
        field = self.field(challenge, method, uri=uri, password=password, qop=qop, nc=nc, body=body)
        return self.send(method, field, body=body, **changes)

    def register(self, *, now: int = NOW, **answer: Any) -> Decision:
        """Send a REGISTER and answer its challenge."""
        return self.answer(self.challenge(now=now), now=now, **answer)

    def fail(self, times: int = 1, *, now: int = NOW, **answer: Any) -> Decision:
        """Register with a wrong password, `times` over; return the last decision."""
        for _ in range(times - 1):
            self.register(now=now, password="wrong", **answer)
        return self.register(now=now, password="wrong", **answer)


def read(decision: Decision) -> list[sip.Challenge]:
    """Return the challenges in a decision, which must be one to challenge."""
    assert isinstance(decision, Challenge), decision
    return sip.parse_challenges("\n".join(decision.headers))


def is_stale(decision: Decision) -> bool:
    """Tell whether all challenges in a decision say `stale=true`."""
    return all(challenge.stale for challenge in read(decision))


def accepted(decision: Decision) -> bool:
    """Tell whether the sender was let in."""
    return isinstance(decision, Accept)


def _values(fields: Sequence[str], name: str) -> tuple[str, ...]:
    found = (field.partition(": ") for field in fields)
    return tuple(value for field_name, _, value in found if field_name == name)
