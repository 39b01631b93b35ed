"""The server as one process runs it: built from the configuration, and kept up to date."""

from typing import NamedTuple

from sbcauth.config import Config
from sbcauth.decision import Decision
from sbcauth.ip_groups import IPGroups
from sbcauth.nonce_keys import load_or_create
from sbcauth.radius import Verdict
from sbcauth.request import Request
from sbcauth.server import AuthServer
from sbcauth.shared_state import SharedState
from sbcauth.users import UserDirectory


class Route(NamedTuple):
    """Where a request of an IP Group goes: the realm that it finds users in, and next hops.

    `next_hops` are the servers of the IP Group `route_to`; both are empty for what stays here.
    """

    ip_group: str
    realm: str
    next_hops: tuple[str, ...]
    route_to: str = ""


class Service:
    """Decides by the configuration that is in force.

    `started_at` (seconds since 1970) is the same in all processes of one server.
    """

    def __init__(self, config: Config, shared: SharedState, started_at: int) -> None:
        self._users = UserDirectory(config.database)
        self.ip_groups = IPGroups(config.ip_groups)
        self._routes = {
            (name, kept): Route(
                name,
                self.ip_groups.realm_of_users(name),
                () if kept else self.ip_groups.next_hops(name),
                "" if kept else self.ip_groups.by_name[name].route_to or "",
            )
            for name in self.ip_groups.by_name
            for kept in (False, True)
        }
        self._server = AuthServer(
            self.ip_groups,
            self._users,
            shared,
            load_or_create(config.nonce_key_file),
            config.unclassified_requests,
            started_at,
        )

    def decide(self, request: Request, now: float, verdict: Verdict | None = None) -> Decision:
        """Return what is to be done with `request`, which came at `now` (seconds since 1970).

        `verdict` is of the external server, where it has been asked.
        """
        self._users.refresh(now)
        return self._server.decide(request, int(now), verdict)

    def route(self, ip_group: str, method: str, *, accepted: bool) -> Route | None:
        """Return where a request of the IP Group goes; None where it has none.

        A REGISTER that we have accepted ourselves stays here.
        """
        return self._routes.get((ip_group, accepted and method == "REGISTER"))
