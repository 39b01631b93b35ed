"""Refusals: of users and of strangers, by source and reason, and who is locked out."""

from ipaddress import ip_network

from starlette.responses import Response

from sbcauth.console.visit import Visit
from sbcauth.monitoring.latest import last_outcomes
from sbcauth.monitoring.refusals import MOST_READ, is_refusal, with_advice
from sbcauth.monitoring.why import Outcome, Search

_SHOWN = 100
_MOST = 12


def refusals(visit: Visit) -> Response:
    """Show the last refusals that fit, and what to do."""
    config, console = visit.console.config(), visit.console
    asked = {key: visit.asked(key) for key in ("source", "reason", "ip_group", "user")}
    problem = "" if _is_prefix(asked["source"]) else "The source is no address or prefix."
    search = Search(
        asked["user"] or None,
        asked["ip_group"] or None,
        asked["source"] or None,
        asked["reason"] or None,
    )
    server = console.server()
    found = last_outcomes(config, server, search, MOST_READ)
    if not asked["reason"]:
        found = [each for each in found if is_refusal(each)]
    with console.alone():
        shown = with_advice(config, server, found[-_SHOWN:], visit.now, asked["user"] or None)
    return visit.page(
        "refusals.html",
        asked=asked,
        problem=problem,
        found=shown.outcomes[::-1],
        advice=shown.advice,
        by_source=_most_frequent(found, "address"),
        by_reason=_most_frequent(found, "reason"),
        lockouts=console.watch.seen.lockouts,
        ip_groups=[each.name for each in config.ip_groups],
        total=len(found),
    )


def _most_frequent(found: list[Outcome], name: str) -> list[tuple[str, int, int]]:
    """Return the most frequent values, how often, and the share of the most frequent in percent."""
    counts: dict[str, int] = {}
    for each in found:
        value = getattr(each, name)
        counts[value] = counts.get(value, 0) + 1
    most = sorted(counts.items(), key=lambda each: -each[1])[:_MOST]
    return [(value, count, round(100 * count / most[0][1])) for value, count in most]


def _is_prefix(text: str) -> bool:
    try:
        return not text or bool(ip_network(text, strict=False))
    except ValueError:
        return False
