"""Configuration: the file with its mistakes, what a reload would change, and the reload."""

from hashlib import blake2s
from typing import NamedTuple

from starlette.responses import Response

from sbcauth.config.load import load_text, read_text
from sbcauth.console.masking import Masked, new_references
from sbcauth.console.visit import Refused, Visit
from sbcauth.exceptions import ConfigError, Mistake, SbcAuthError
from sbcauth.files import write_whole
from sbcauth.monitoring.in_force import is_in_force
from sbcauth.monitoring.reloading import Change, ask_for_reload, change

LONGEST = 3 << 20
"""Bytes of the file as a form has it: a megabyte, where three stand for one."""


class Checked(NamedTuple):
    """What is found in a text; `change` is None where a reload would change nothing known."""

    mistakes: list[Mistake]
    warnings: list[Mistake]
    change: Change | None
    trouble: str = ""
    groups: int = 0


def configuration(visit: Visit) -> Response:
    """Show the file, and what is found in it."""
    return _page(visit)


def check(visit: Visit) -> Response:
    """Return what is found in the text as it is being typed."""
    return visit.page("checked.html", checked=_check(visit, *_edited(visit)))


def save(visit: Visit) -> Response:
    """Write the text into the file, unless it has mistakes, or the file has changed meanwhile."""
    masked, text = _edited(visit)
    checked = _check(visit, masked, text)
    if checked.mistakes:
        return _page(visit, "Not saved: it has a mistake.", edited=visit.form["text"])
    file = visit.console.file
    if _digest(read_text(file)) != visit.form.get("digest", ""):
        raise Refused(409, "Not saved: the file has been changed meanwhile. Load the page again.")
    try:
        write_whole(file.resolve(), text)
    except OSError as error:
        message = f"Not saved: {error.strerror}. The file is for its owner to change, in an editor."
        return _page(visit, message, edited=visit.form["text"])
    visit.log("configuration-save", file=str(file))
    return _page(visit, "Saved. It is in force after a reload.")


def reload(visit: Visit) -> Response:
    """Have the server load the file, and say whether it came into force."""
    console = visit.console
    asked_at = int(visit.now)
    server = console.server()
    try:
        _, found = ask_for_reload(console.file, console.environment, server)
    except SbcAuthError as error:
        return _page(visit, f"Not reloaded: {error}")
    visit.log("reload", version=found.version)
    if is_in_force(server, found.version, asked_at):
        return _page(visit, f"Version {found.version} is in force.", done=found)
    return _page(
        visit,
        "Not in force so far: the server's log says why, or no request has come yet.",
        done=found,
    )


def _page(
    visit: Visit, message: str = "", edited: str = "", done: Change | None = None
) -> Response:
    """Return the page with the text of the file, or with what was `edited` in its place."""
    file = visit.console.file
    try:
        text = read_text(file)
    except ConfigError as error:
        return visit.page("problem.html", 503, message=str(error))
    masked = Masked(text)
    edited = edited or masked.shown
    checked = _check(visit, masked, masked.restored(edited))
    return visit.page(
        "configuration.html",
        file=str(file),
        text=edited,
        digest=_digest(text),
        checked=checked,
        message=message,
        done=done,
    )


def _edited(visit: Visit) -> tuple[Masked, str]:
    """Return the file as it is, and the text of the form as the file would have it."""
    text = visit.form.get("text", "").replace("\r\n", "\n")
    masked = Masked(read_text(visit.console.file))
    return masked, masked.restored(text)


def _check(visit: Visit, masked: Masked, text: str) -> Checked:
    """Return what is found in a text, without the secrets that the file has."""
    found = _found(visit, masked, text)

    def shown(mistakes: list[Mistake]) -> list[Mistake]:
        return [each._replace(message=masked.without_secrets(each.message)) for each in mistakes]

    change = found.change
    if change and change.lines:
        change = change._replace(lines=[masked.without_secrets(each) for each in change.lines])
    return found._replace(
        mistakes=shown(found.mistakes), warnings=shown(found.warnings), change=change
    )


def _found(visit: Visit, masked: Masked, text: str) -> Checked:
    console = visit.console
    file = str(console.file)
    if found := [*masked.unplaced(file, text), *new_references(file, masked.text, text)]:
        return Checked(found, [], None)
    try:
        config = load_text(console.file, text, console.environment)
    except ConfigError as error:
        return Checked(error.mistakes, [], None)
    groups = len(config.ip_groups)
    try:
        return Checked([], [*config.warnings], change(config, console.server()), "", groups)
    except (SbcAuthError, OSError) as error:
        return Checked([], [*config.warnings], None, str(error), groups)


def _digest(text: str) -> str:
    return blake2s(text.encode("utf-8", "surrogateescape")).hexdigest()
