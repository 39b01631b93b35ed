"""Who is locked out of a running server, and letting them in again.

The server keeps each lockout in its htable, under the key of its claimant, as words: when it
ends, how long it is, what is locked out, IP Group, source address, user name. Kamailio cannot
dump a table of more than about a thousand, for its answer must fit a datagram.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any, NamedTuple

from sbcauth.cluster.settings import ClusterSettings
from sbcauth.monitoring.rpc import NotRunning, Rpc, RpcError
from sbcauth.policy.shared_state import Table


class TooMany(RpcError):
    """There are more lockouts than the server can tell at once."""


class Lockout(NamedTuple):
    """Who is refused until then (seconds since 1970).

    `what` is a `pair` of source and user name, or for strangers a `source` or a `user`;
    `*` stands for all user names or all sources.
    """

    key: str
    until: int
    what: str
    ip_group: str
    source: str
    username: str


class Wanted(NamedTuple):
    """Which lockouts are meant: those that fit in everything that is given.

    `source` may be an address or a prefix; IPv6 sources are locked out by prefixes of 64 bits.
    """

    ip_group: str | None = None
    source: str | None = None
    username: str | None = None

    def fits(self, lockout: Lockout) -> bool:
        """Tell whether `lockout` is one of them."""
        return (
            self.ip_group in (None, lockout.ip_group)
            and self.username in (None, lockout.username)
            and (self.source is None or _overlap(self.source, lockout.source))
        )


ANYBODY = Wanted()


def may_be_source(text: str) -> bool:
    """Tell whether a lockout may have this source, or one within this prefix.

    Besides addresses and prefixes there are `*`, and `nonce:…` for one known by its nonces.
    """
    if text == "*" or text.startswith("nonce:"):
        return True
    try:
        return bool(ip_network(text, strict=False))
    except ValueError:
        return False


def public_lockout(lockout: Lockout, now: float) -> dict[str, Any]:
    """Return a lockout as JSON shows it."""
    until = datetime.fromtimestamp(lockout.until, UTC)
    return {
        "what": lockout.what,
        "ip_group": lockout.ip_group,
        "username": lockout.username,
        "source": lockout.source,
        "until": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds_left": int(lockout.until - now),
    }


def lockouts(rpc: Rpc, now: float, wanted: Wanted = ANYBODY) -> list[Lockout]:
    """Return those who are locked out at `now`, in order of IP Group, user name and source.

    Raises NotRunning where no server answers, TooMany where they cannot all be listed.
    """
    found = [each for each in _dump(rpc) if each.until > now and wanted.fits(each)]
    return sorted(found, key=lambda each: (each.ip_group, each.username, each.source))


def clear(rpc: Rpc, found: list[Lockout], cluster: ClusterSettings | None = None) -> None:
    """Let them in again at once, with all their attempts, at all nodes of a cluster.

    Raises EngineAway where the engine of the cluster does not answer: nobody is let in then.
    """
    if cluster and cluster.engine:
        from sbcauth.cluster.administration import forget

        forget(cluster.engine, [each.key for each in found])
    for lockout in found:
        for table in (Table.ATTEMPTS, Table.LOCKOUTS):
            with suppress(RpcError):  # it has ended, or there were no attempts since
                rpc.call("htable.delete", table, lockout.key)


def clear_all(rpc: Rpc, now: float, cluster: ClusterSettings | None = None) -> int:
    """Let everybody in again and forget all attempts; return how many were locked out.

    That is so at all nodes of a cluster. Raises EngineAway, as `clear` does.

    Where there are too many to be told apart, that counts lockouts that have ended recently too.
    """
    try:
        count = len(lockouts(rpc, now))
    except TooMany:
        count = _count(rpc)
    if cluster and cluster.engine:
        from sbcauth.cluster.administration import forget_all

        forget_all(cluster.engine)
    for table in (Table.ATTEMPTS, Table.LOCKOUTS):
        rpc.call("htable.flush", table)
    return count


def _dump(rpc: Rpc) -> Iterator[Lockout]:
    try:
        slots = rpc.call("htable.dump", Table.LOCKOUTS)
    except NotRunning:
        count = _count(rpc)
        raise TooMany(
            f"{count} are or were locked out, more than the server can tell at once; "
            "sbcauth lockout clear --all lets them all in again"
        ) from None
    for slot in slots:
        for entry in slot["slot"]:
            words = str(entry["value"]).split(" ")
            if len(words) == 6 and words[0].isdecimal():
                yield Lockout(entry["name"], int(words[0]), *map(_printed, words[2:]))


def _count(rpc: Rpc) -> int:
    sizes = {each["name"]: int(each["all"]) for each in rpc.call("htable.stats")}
    return sizes.get(Table.LOCKOUTS, 0)


def _printed(word: str) -> str:
    """Return a word as people read it, where it shows on a terminal as it is."""
    try:
        text = word.encode("ascii").decode("unicode_escape")
    except UnicodeDecodeError:  # cut in the middle of an escape
        return word
    return text if text.isprintable() else word


def _overlap(first: str, second: str) -> bool:
    """Tell whether two addresses or prefixes have an address in common."""
    try:
        return ip_network(first, strict=False).overlaps(ip_network(second))
    except (ValueError, TypeError):  # TypeError: IPv4 and IPv6
        return first == second
