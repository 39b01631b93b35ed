"""The server as one process runs it: built from the configuration, and kept up to date."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from sbcauth.cluster.settings import ClusterSettings
from sbcauth.config.load import Config
from sbcauth.digest.nonces import NonceKey
from sbcauth.policy.as_client import ClientAccount, PeerChallenge, account_for
from sbcauth.policy.classification import IPGroups
from sbcauth.policy.cluster import Cluster
from sbcauth.policy.cseq import CSeqSpaces
from sbcauth.policy.decision import Ask, Decision
from sbcauth.policy.external_server import Verdict
from sbcauth.policy.ip_groups import AuthenticationMode, IPGroup, IPGroupType
from sbcauth.policy.learned import Learned
from sbcauth.policy.passages import Dialogs
from sbcauth.policy.registrations import Registrations
from sbcauth.policy.request import Request
from sbcauth.policy.seals import Cipher, Seals
from sbcauth.policy.server import AuthServer
from sbcauth.policy.shared_state import SharedState
from sbcauth.users.database_url import sqlite_url
from sbcauth.users.directory import CountingUserDirectory, UserDirectory


class Route(NamedTuple):
    """Where a request of an IP Group goes: the realm that it finds users in, and next hops.

    `next_hops` are the servers of the IP Group `route_to`; both are empty for what stays here.
    `peer` is that IP Group, where we answer its challenges. `reached` are the realms in which users
    are found, and `apart` all that there are, in lower case, where there are several.
    `out_of_reach` are the IP Groups of users in those realms who are not reached all the same.
    """

    ip_group: str
    realm: str
    next_hops: tuple[str, ...] = ()
    route_to: str = ""
    peer: str = ""
    reached: tuple[str, ...] = ()
    apart: frozenset[str] = frozenset()
    out_of_reach: frozenset[str] = frozenset()

    def realms_of(self, host: str) -> tuple[str, ...]:
        """Return the realms in which to find a user who is called at `host`.

        Where that is a realm of ours which is not reached, there is none.
        """
        name = host.lower()
        if name in self.apart:
            return tuple(realm for realm in self.reached if realm.lower() == name)
        return self.reached


class Service:
    """Decides by the configuration that is in force.

    `keys` are those of its nonces. `started_at` (seconds since 1970) is the same in all processes
    of one server. `looked_up` is told of each look-up of a user whether the cache had the answer.
    `ciphers` seal its dialogs, where it has any. `users_file` is what the workers read, and
    `copied_from` the URL of the database that it is a copy of, if it is one.

    `routes` says where requests of an IP Group go: by its name, and whether they stay here, as a
    REGISTER does that we have accepted ourselves. `registrations` is the registrar, where there is
    one, and `cluster` the nodes of which this is one; `counting` counts with them. What processes
    have `learned` is for those whose configuration has the same `name`.
    """

    def __init__(
        self,
        config: Config,
        shared: SharedState,
        keys: Sequence[NonceKey],
        started_at: int,
        looked_up: Callable[[bool], None] | None = None,
        ciphers: Sequence[Cipher] = (),
        registrations: Registrations | None = None,
        cluster: ClusterSettings | None = None,
        counting: Cluster | None = None,
        learned: Learned | None = None,
        name: str = "",
    ) -> None:
        database, key_file = sqlite_url(config.users_file), config.ha1_key_file
        self._users = (
            CountingUserDirectory(looked_up, database, key_file, learned, name)
            if looked_up
            else UserDirectory(database, key_file, learned, name)
        )
        self.copied_from = config.database if config.database_copy else ""
        self.users_file = config.users_file
        self.websocket_origins = config.websocket_origins
        self.unproved_connection_lifetime = config.unproved_connection_lifetime
        self.server_groups = frozenset(
            group.name for group in config.ip_groups if group.type is IPGroupType.SERVER
        )
        self.ip_groups = IPGroups(config.ip_groups)
        self.cseqs = CSeqSpaces(shared)
        self.shared = shared
        if ciphers:
            node = cluster.address.name if cluster and cluster.address else ""
            nodes = cluster.others if cluster else ()
            seals = Seals(ciphers, self.ip_groups.by_name, node, nodes)
            self.dialogs = Dialogs(seals, self.ip_groups)
        self.routes = dict(_routes(self.ip_groups))
        self._groups_of_users: dict[str, list[IPGroup]] = {}
        for group in config.ip_groups:
            if group.type is IPGroupType.USER:
                self._groups_of_users.setdefault(group.realm.lower(), []).append(group)
        self._challenged_realms = {
            group.realm.lower()
            for group in config.ip_groups
            if group.authentication_mode is AuthenticationMode.SBC_AS_SERVER
        }
        self.emergency_routes = dict(_emergency_routes(self.ip_groups))
        self.server = AuthServer(
            self.ip_groups,
            self._users,
            shared,
            keys,
            config.unclassified_requests,
            started_at,
            registrations,
            counting,
        )

    def close(self) -> None:
        """Close the connection to User Info; the next look-up opens it again."""
        self._users.close()

    def decide(self, request: Request, now: float, verdict: Verdict | None = None) -> Decision:
        """Return what is to be done with `request`, which came at `now` (seconds since 1970).

        `verdict` is of the external server, where it has been asked. Whoever calls `refresh` by the
        clock can ask the `server` itself.
        """
        self._users.refresh(now)
        return self.server.decide(request, int(now), verdict)

    def unknown_dialog(self, request: Request) -> Decision:
        """Return what becomes of a request within a dialog that we do not know."""
        return self.server.unknown_dialog(request)

    def give_back(self, ask: Ask, now: float) -> None:
        """Give back the attempt that was reserved at `now` for a question that was not asked.

        Raises Unavailable.
        """
        self.server.give_back(ask, int(now))

    def account_called(
        self, number: str, realms: Iterable[str], now: float
    ) -> tuple[str, str] | None:
        """Return the local user and realm of the account that has a number as an identity.

        `realms` are those in which to look. Raises Unavailable.
        """
        self._users.refresh(now)
        for realm in realms:
            for group in self._groups_of_users.get(realm.lower(), ()):
                if owner := self.server.accounts.owner(number, group):
                    return owner.local_user, realm
        return None

    def has_minted(self, nonce: str, now: float) -> bool:
        """Tell whether a nonce is one of ours, whatever it was for, and however old."""
        return self.server.has_minted(nonce, int(now))

    def bad_request(self, request: Request, status: int) -> Decision:
        """Return what becomes of a request that is refused before any decision."""
        return self.server.bad_request(request, status)

    def refresh(self, now: float) -> None:
        """Notice what has changed in User Info; called every FRESHNESS seconds, and by `decide`."""
        self._users.refresh(now)

    def account_for(
        self, challenge: PeerChallenge, sender: str, source: str, peer: str, now: float
    ) -> ClientAccount | None:
        """Return who answers the challenge of a peer, for a sender of the IP Group `source`.

        Raises Unavailable.
        """
        groups = self.ip_groups.by_name
        if source not in groups or peer not in groups:
            return None  # removed while the request was on its way
        if self.server.has_minted(challenge.nonce, int(now)):
            return None  # the peer has fetched it from us
        self._users.refresh(now)
        return account_for(
            challenge,
            sender,
            groups[source],
            groups[peer],
            self._users.find_by_local_user,
            self._challenged_realms,
        )


def _routes(ip_groups: IPGroups) -> Iterator[tuple[tuple[str, bool], Route]]:
    """Yield the route for each IP Group, and for whether the request stays here.

    What a peer server registers never does.
    """
    realms = frozenset(group.realm.lower() for group in ip_groups.by_name.values())
    for name, group in ip_groups.by_name.items():
        reached, peer = ip_groups.realms_reached(name), ip_groups.peer_answered(name)
        route = Route(
            name,
            reached[0] if reached else group.realm,
            ip_groups.next_hops(name),
            group.route_to or "",
            peer.name if peer else "",
            reached,
            realms if len(realms) > 1 else frozenset(),
            ip_groups.out_of_reach(name),
        )
        yield (name, False), route
        is_server = group.type is IPGroupType.SERVER
        yield (name, True), route if is_server else Route(name, group.realm)


def _emergency_routes(ip_groups: IPGroups) -> Iterator[tuple[str, Route]]:
    for name, group in ip_groups.by_name.items():
        if group.emergency:
            route_to = group.emergency.route_to
            peer = ip_groups.by_name[route_to]
            answered = peer.authentication_mode is AuthenticationMode.SBC_AS_CLIENT
            hops = ip_groups.servers_of(route_to)
            yield name, Route(name, "", hops, route_to, route_to if answered else "")
