"""TCP and TLS connections that have shown no word, and still must not end.

kamailio.cfg gives what has a word a longer life. That leaves requests that wait for a verdict, and
those of server groups, which are known by where they come from. Other deployments may do without
the module tcpops; then this does nothing.
"""

import KSR

from sbcauth.policy.external_server import LONGEST_WAIT
from sbcauth.policy.request import Request

_OF_SERVER_GROUP = 3605
"""Seconds, as kamailio.cfg has it for those that have shown a word."""
_WAITING = int(2 * LONGEST_WAIT)

_set_lifetime = KSR.tcpops.tcp_set_connection_lifetime if hasattr(KSR, "tcpops") else None


def keep_while_waiting(request: Request, unproved_lifetime: int) -> None:
    """Keep the connection of a request that waits for a verdict until that is there."""
    if _set_lifetime and request.transport != "udp" and unproved_lifetime < _WAITING:
        _set_lifetime(_WAITING)


def keep_of_server_group(request: Request) -> None:
    """Keep the connection of a server group."""
    if _set_lifetime and request.transport != "udp":
        _set_lifetime(_OF_SERVER_GROUP)
