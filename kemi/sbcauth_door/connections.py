"""TCP and TLS connections that have shown no word: they end, but for those that must not.

kamailio.cfg gives what has a word a longer life. That leaves requests that wait for a verdict, and
those of server groups, which are known by where they come from. Other deployments may do without
the module tcpops; then this does nothing.

Kamailio ends what is idle. Whoever sends line breaks, or requests that are refused, is never idle:
`Overdue` looks through all connections from time to time, and ends those that have been there for
longer than they may be without a word. Kamailio 5.6 cannot bound the connections of an address;
this does.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import KSR

from sbcauth.policy.external_server import LONGEST_WAIT
from sbcauth.policy.request import Request, source_of
from sbcauth_door import route_block

_PROVED = int(route_block.definition("PROVED_CONNECTION_LIFETIME") or 3605)
"""Seconds that a connection may be idle which has shown a word, as kamailio.cfg has it."""
_WAITING = int(2 * LONGEST_WAIT)

_set_lifetime = KSR.tcpops.tcp_set_connection_lifetime if hasattr(KSR, "tcpops") else None


def keep_while_waiting(request: Request, unproved_lifetime: int) -> None:
    """Keep the connection of a request that waits for a verdict until that is there."""
    if _set_lifetime and request.transport != "udp" and unproved_lifetime < _WAITING:
        _set_lifetime(_WAITING)


def keep_of_server_group(request: Request) -> None:
    """Keep the connection of a server group."""
    if _set_lifetime and request.transport != "udp":
        _set_lifetime(_PROVED)


class Connection(NamedTuple):
    """A connection that has shown no word: TCP, TLS, WS or WSS; it may be idle for `lifetime`."""

    number: int
    kind: str
    source: str
    lifetime: int


class Overdue:
    """Ends connections that are there for too long without a word, and too many of one source.

    One process does it, and only where kamailio.cfg says for how long one may be without a word,
    and how many an address may have.
    """

    def __init__(self) -> None:
        can_end = hasattr(KSR, "tcpops") and hasattr(KSR, "jsonrpcs")
        self._works = can_end and bool(route_block.definition("UNPROVED_CONNECTION_LIFETIME"))
        self._lets_tls_be = bool(route_block.definition("LET_BUSY_TLS_BE"))
        self._share = int(route_block.definition("CONNECTIONS_OF_AN_ADDRESS") or _USUAL_SHARE)
        self._since: dict[int, float] = {}
        self._next_look = 0.0

    def end(self, now: float) -> None:
        """End what has to end at `now` (seconds), if it is time to look again."""
        if not self._works or 0 <= self._next_look - now <= _SELDOM:
            return
        self._next_look = now + _SELDOM
        unproved = _unproved()
        if len(unproved) > self._share:
            self._next_look = now + _OFTEN
        self._since = {each.number: self._since.get(each.number, now) for each in unproved}
        for each in self._too_many(unproved, now):
            if self._lets_tls_be and each.kind in ("TLS", "WSS"):
                KSR.tcpops.tcp_set_connection_lifetime_cid(each.number, 0)  # once it is idle
            else:
                KSR.tcpops.tcp_close_connection_id(each.number)

    def _too_many(self, unproved: Iterable[Connection], now: float) -> Iterator[Connection]:
        """Yield what is overdue, and of each source what it has beyond its share, the newest."""
        had: Counter[str] = Counter()
        for each in sorted(unproved, key=lambda each: self._since[each.number]):
            had[each.source] += 1
            if now - self._since[each.number] >= each.lifetime or had[each.source] > self._share:
                yield each


_SELDOM, _OFTEN = 5.0, 1.0
"""Seconds between two looks, and where there are many connections; one at 2,000 takes 20 ms."""
_USUAL_SHARE = 256


def _unproved() -> list[Connection]:
    """Return the connections that have shown no word."""
    KSR.jsonrpcs.execx('{"jsonrpc": "2.0", "method": "core.tcp_list", "id": 1}')
    found = json.loads(KSR.pv.get("$jsonrpl(body)") or "{}").get("result") or ()
    return [
        Connection(
            each["id"], each["type"], source_of(each["src_ip"].strip("[]")), each["lifetime"]
        )
        for each in found
        if each["lifetime"] < _PROVED
    ]
