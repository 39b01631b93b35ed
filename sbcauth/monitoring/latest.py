"""The last outcomes, wherever they are kept, and what is so now about the users in them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from sbcauth.config.load import Config
from sbcauth.monitoring.lockouts import Lockout
from sbcauth.monitoring.log_files import NoJournal, last_in_file, last_in_journal, last_in_rotated
from sbcauth.monitoring.recent import recent
from sbcauth.monitoring.rpc import NotRunning, Rpc, RpcError
from sbcauth.monitoring.why import Facts, Outcome, Search
from sbcauth.policy.ip_groups import IPGroupType
from sbcauth.users.table import UserTable

_UNIT = "sbcauth"


def last_outcomes(
    config: Config,
    server: Rpc,
    search: Search,
    most: int,
    log: str | None = None,
    unit: str | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Return the `most` last outcomes that fit, the newest last.

    They are from the file `log`, or the one that the configuration has them written to; else from
    the journal of `unit`; where none is named, from that of the service and what the running server
    has kept. `warn` is told where there is neither. Raises OSError and NoJournal.
    """
    if log is None and "/" in config.log_to:
        return last_in_rotated(Path(config.log_to), search, most, warn)
    if log is not None:
        return last_in_file(log, search, most)
    if unit is not None:
        return last_in_journal(unit, search, most)
    kept: list[Outcome] = []
    with suppress(NotRunning, RpcError):
        kept = [each for each in recent(server) if search.fits(each)][-most:]
    try:
        written = last_in_journal(_UNIT, search, most, quiet=bool(kept))
    except NoJournal:
        if not kept:
            warn("there is no journal here: --log FILE reads a log file")
        written = []
    return [*(each for each in written if not kept or _before(each, kept[0])), *kept][-most:]


def _before(one: Outcome, other: Outcome) -> bool:
    """Tell whether an outcome of the journal was before what the server has kept."""
    try:
        times = [datetime.fromisoformat(each.time) for each in (one, other)]
        return times[0] < times[1]
    except (ValueError, TypeError):
        return False


def facts(
    config: Config, table: UserTable | None, names: Iterable[str], locked_out: Sequence[Lockout]
) -> Facts:
    """Return what is so now about these user names; without a table, what needs no User Info."""
    servers = {
        group.username_as_server: group.name
        for group in config.ip_groups
        if group.type is IPGroupType.SERVER and group.username_as_server
    }
    locked = frozenset(each.username for each in locked_out)
    known = Facts(servers=servers, locked_out=locked)
    return known if table is None else _with_users(known, table, names)


def _with_users(known: Facts, table: UserTable, names: Iterable[str]) -> Facts:
    users: dict[str, dict[str, bool]] = defaultdict(dict)
    addresses: dict[str, str] = {}
    likely: dict[str, str] = {}
    for name in names:
        for row in table.all(username=name):
            users[name][row.ip_group] = bool(row.enabled)
            addresses[name] = f"sip:{row.local_user}@{row.realm}"
        if name not in users:
            for spelling in _spellings(name):
                if next(table.all(username=spelling), None):
                    likely[name] = spelling
                    break
    return known._replace(users=users, addresses=addresses, likely=likely)


def _spellings(name: str) -> Iterator[str]:
    """Yield what somebody meant who typed this name, as a log line has it, into a phone."""
    plain = name.strip('"').strip()
    bare = plain.removeprefix("sip:").partition("@")[0].strip()
    yield from dict.fromkeys(
        (plain, bare, bare.lower(), bare.upper(), bare.removeprefix("+"), f"+{bare}")
    )
