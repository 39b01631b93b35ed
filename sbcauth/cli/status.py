"""`sbcauth status`: what runs, since when, and what it has decided."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import typer

from sbcauth.cli.options import AsJSON, Socket, cluster_of, rpc
from sbcauth.cli.output import counted, print_json, print_table
from sbcauth.monitoring.cluster import in_words
from sbcauth.monitoring.measures import Times
from sbcauth.monitoring.plain import plain
from sbcauth.monitoring.prometheus import text
from sbcauth.monitoring.status import Status
from sbcauth.monitoring.status import status as ask

_EVERY = 2.0
_MEBIBYTE = 1 << 20


def status(
    context: typer.Context,
    socket: Socket = None,
    as_json: AsJSON = False,
    as_prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print metrics in Prometheus' text format.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Print it anew every two seconds, until Ctrl-C.")
    ] = False,
) -> None:
    """Show what runs, since when, and the outcomes by IP Group and reason.

    They are counted over all workers since Kamailio started.

    Example: sbcauth status --watch
    """
    server, cluster = rpc(context, socket), cluster_of(context)
    before: Status | None = None
    while True:
        found = ask(server, cluster)
        if watch and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        if as_json:
            print_json(plain(found))
        elif as_prometheus:
            print(text(found), end="")
        else:
            _print(found, before)
        if not watch:
            return
        before = found
        sys.stdout.flush()
        try:
            time.sleep(_EVERY)
        except KeyboardInterrupt:
            return


def _print(found: Status, before: Status | None) -> None:
    """Print what runs; with what was found `before`, also how fast it goes on."""
    print(f"{found.version}, since {found.since}, {found.workers} workers")
    if found.configuration:
        version, loaded_at, nonce_key, in_shadow, file = found.configuration
        loaded = datetime.fromtimestamp(loaded_at).astimezone().isoformat()
        print(f"configuration {file} {version}, loaded {loaded}; nonce key {nonce_key} signs")
        if in_shadow:
            print(f"IN SHADOW, NOBODY IS REFUSED: {', '.join(in_shadow)}")
    used, total = found.memory_used // _MEBIBYTE, found.memory_total // _MEBIBYTE
    print(f"shared memory: {used} of {total} MB")
    print(", ".join(f"{what.replace('_', ' ')}: {count}" for what, count in found.entries.items()))
    contacts = counted(found.registered_contacts, "contact")
    print(f"registered: {counted(found.registered_users, 'user')} with {contacts}")
    print(f"failed attempts: {found.failed_attempts}")
    shared = (*(in_words(found.cluster) if found.cluster else ()), *_users_copy(found))
    for line in (*shared, *_lockouts(found), *_external(found), *_measured(found)):
        print(line)
    if found.outcomes_lost:
        print(f"{found.outcomes_lost} outcomes were not written: the log did not take them")
    columns: tuple[str, ...] = ("IP Group", "Reason", "Times")
    if before is None:
        print_table(columns, found.outcomes)
    else:
        print_table((*columns, "A second"), _with_rates(found, before))


def _with_rates(found: Status, before: Status) -> Iterator[tuple[object, ...]]:
    seconds = max(1, found.uptime - before.uptime)
    earlier = {(each.ip_group, each.reason): each.times for each in before.outcomes}
    for each in found.outcomes:
        more = each.times - earlier.get((each.ip_group, each.reason), 0)
        yield (*each, f"{more / seconds:.1f}")


def _users_copy(found: Status) -> Iterator[str]:
    if found.users_copy:
        server, revision, seen_at, error, users, _ = found.users_copy
        seen = datetime.fromtimestamp(seen_at).astimezone().isoformat() if seen_at else "never"
        state = f"copied from {server}" if server else f"as last seen: {error}"
        yield f"User Info: {state}; users {users}, revision {revision}, seen {seen}"


def _lockouts(found: Status) -> Iterator[str]:
    if found.lockouts:
        times = Counter[str]()
        for each in found.lockouts:
            times[each.scope] += each.times
        shown = ", ".join(f"{count} of a {scope}" for scope, count in times.items())
        yield f"lockouts set: {shown}"


def _external(found: Status) -> Iterator[str]:
    for server, dead_until in found.external_servers:
        answers = ", ".join(
            f"{each.answer} {each.times}"
            for each in found.external_answers
            if each.server == server
        )
        state = "answers"
        if dead_until:
            state = f"does not answer, is left alone until {time.ctime(dead_until)}"
        yield f"external server {server}: {state} ({answers})"


def _measured(found: Status) -> Iterator[str]:
    if found.measured is None:
        return
    hits, misses, decisions, external = found.measured
    if hits + misses:
        yield f"user cache: {100 * hits / (hits + misses):.1f} % of {hits + misses} look-ups"
    for what, times in (("decisions", decisions), ("external answers", external)):
        if times.number:
            half, most = (_bound(times, share) for share in (0.5, 0.99))
            yield f"{what}: half of them within {half}, 99 % within {most}"


def _bound(times: Times, share: float) -> str:
    bound = times.within(share)
    return "more" if bound is None else f"{bound * 1000:g} ms"
