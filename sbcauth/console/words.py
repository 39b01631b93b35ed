"""Templates: what comes from the network is shown as text, and nothing in it is hidden."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from sbcauth import __version__
from sbcauth.monitoring.why import Outcome
from sbcauth.policy.decision import Reason

_LONGEST = 300


def templates() -> Environment:
    """Return the templates of the pages. Every value is escaped, and made visible."""
    environment = Environment(
        loader=PackageLoader("sbcauth.console"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        when=when,
        kind=kind,
        duration=duration,
        commands=commands,
        number=number,
        safe_text=whole_text,
    )
    environment.globals.update(version=__version__, reasons=tuple(Reason))
    return environment


def visible(value: Any) -> Any:
    """Return a text with what is not printable written as an escape, and cut where it is long.

    Characters that turn the direction of writing, or take no room, show one name as another.
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    if value.isprintable() and len(value) <= _LONGEST:
        return value
    cut = value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in cut)


def whole_text(value: str) -> Markup:
    """Return a whole text, escaped, for a field in which it is to be changed: nothing is cut."""
    return escape(value)


_PAGES = (
    (r"user set-password (.+)", "/user?name={}#set-password", "Set the password of {}"),
    (r"user add (.+)", "/users/add?name={}", "Add the user {}"),
    (r"user enable (.+)", "/user?name={}#change", "Enable {}"),
    (r"user move (.+) \S+", "/user?name={}#move", "move it there"),
    (r"user show (.+)", "/user?name={}", "the page of {}"),
    (r"lockout clear (.+)", "/user?name={}#lockouts", "Lift the lockout of {}"),
    (r"lockout list", "/refusals#lockouts", "Locked out now"),
    (r"reload", "/configuration", "reload the configuration"),
)
"""What a command of an advice is in the console: where, and what it is called there."""


def commands(line: str, may_change: bool = True) -> Markup:
    """Return a line of advice whose commands, between backticks, lead to where that is done here.

    For those who may change nothing, they stay commands.
    """
    parts = line.split("`")
    return Markup("").join(
        _place_of(part, may_change=may_change) if place % 2 else _text(part)
        for place, part in enumerate(parts)
    )


def _text(part: str) -> Markup:
    """Return a part that is no command; what it says of classification leads there."""
    there = Markup('<a href="/ip-groups">classification</a>')
    return escape(visible(part)).replace("classification", there)


def _place_of(command: str, *, may_change: bool) -> Markup:
    """Return a link to where a command is done in the console, or the command as code."""
    for pattern, address, name in _PAGES if may_change else ():
        if found := re.fullmatch(f"sbcauth {pattern}", command):
            there = address.format(*map(quote, found.groups()))
            what = name.format(*map(visible, found.groups()))
            return Markup('<a href="{}">{}</a>').format(there, what)
    return Markup("<code>{}</code>").format(visible(command))


def when(seconds: float | str) -> Markup:
    """Return a time as an element that the script puts into the reader's zone."""
    if isinstance(seconds, str):
        try:
            at = datetime.fromisoformat(seconds)
        except ValueError:
            return Markup("{}").format(visible(seconds))
    else:
        at = datetime.fromtimestamp(seconds, UTC)
    text = at.isoformat(" ", "seconds")
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat("T", "seconds"), text)


def duration(seconds: float) -> str:
    """Return a time span in words: `4 minutes`, `2 hours`."""
    left = max(0, int(seconds))
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if left >= 2 * size or (left >= size and name == "day"):
            return f"{left // size} {name}{'s' * (left // size != 1)}"
    return f"{left} second{'s' * (left != 1)}"


def number(value: float) -> Markup:
    """Return a number with a thin space between thousands, which stays what it is."""
    text = f"{value:,}".replace(",", "\u202f") if isinstance(value, int) else f"{value:.1f}"
    return escape(text)


def kind(outcome: Outcome | str) -> str:
    """Return what became of a request: `in`, `asked`, `passed` or `refused`.

    It is of an outcome, or of a reason alone.
    """
    reason = outcome.reason if isinstance(outcome, Outcome) else outcome
    if reason == Reason.ACCEPTED:
        return "in"
    if reason in (Reason.CHALLENGED, Reason.STALE_NONCE, Reason.ASKED):
        return "asked"
    known = {str(each): each for each in Reason}.get(reason)
    return "passed" if known is not None and known.is_usual else "refused"
