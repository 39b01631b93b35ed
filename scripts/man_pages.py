"""Write a man page for each command, made from the command's own help.

.venv/bin/python scripts/man_pages.py FOLDER

The pages are roff, as man(7) has it: `man -l FOLDER/sbcauth.1` shows one.
"""

import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from sbcauth import __version__
from sbcauth.cli import _typer

_END = """\
.SH EXIT STATUS
0 on success, 1 where the command refuses, 2 on wrong usage.
.SH ENVIRONMENT
.TP
.B SBCAUTH_CONFIG
The configuration file, where \\-\\-config names none.
Without either it is sbcauth.yaml in the current folder.
"""


def roff(text: str) -> str:
    """Return one line of text with roff's own characters escaped."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    return re.sub(r"^(['.])", r"\\&\1", text)


class Page:
    """A man page that Click writes a help text into: it stands in for a HelpFormatter."""

    width = 1 << 20
    """Lines are not broken here; man does that for the reader's terminal."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write_usage(self, program: str, arguments: str = "", prefix: str | None = None) -> None:
        """Write the synopsis."""
        self.lines += [".SH SYNOPSIS", f".B {roff(program)}", roff(arguments)]

    def write_heading(self, heading: str) -> None:
        """Open a section."""
        self.lines.append(f".SH {roff(heading).upper()}")

    def write_paragraph(self) -> None:
        """Do nothing: each section and paragraph begins by itself."""

    def write_text(self, text: str) -> None:
        """Write paragraphs; an example gets a section of its own."""
        paragraphs, _, example = text.partition("Example: ")
        separator: list[str] = []
        for paragraph in paragraphs.strip().split("\n\n"):
            self.lines += [*separator, roff(" ".join(paragraph.split()))]
            separator = [".PP"]
        if example:
            self.lines += [".SH EXAMPLE", ".nf", roff(" ".join(example.split())), ".fi"]

    def write_dl(self, rows: Sequence[tuple[str, str]], *_: Any, **__: Any) -> None:
        """Write a list of terms, each with what it means."""
        for term, meaning in rows:
            self.lines += [".TP", f".B {roff(term)}", roff(meaning)]

    def section(self, heading: str) -> "_Section":
        """Return a context in which what is written belongs to a section."""
        return _Section(self, heading)

    def indentation(self) -> "_Section":
        """Return a context; man indents by itself."""
        return _Section(self, "")

    def write(self, text: str) -> None:
        """Write a line as it is."""
        self.lines.append(roff(text))


class _Section:
    def __init__(self, page: Page, heading: str) -> None:
        self._page, self._heading = page, heading

    def __enter__(self) -> None:
        if self._heading:
            self._page.write_heading(self._heading)

    def __exit__(self, *_: object) -> None:
        pass


def contexts(command: Any, name: str, parent: Any = None) -> Iterator[Any]:
    """Yield the context of a command and of all that are below it."""
    settings = command.context_settings
    context = command.context_class(command, info_name=name, parent=parent, **settings)
    yield context
    for inner_name, inner in getattr(command, "commands", {}).items():
        yield from contexts(inner, inner_name, context)


def page(context: Any, others: Sequence[str], date: str) -> str:
    """Return the man page of a command; `others` are the names of related pages."""
    command, name = context.command, context.command_path.replace(" ", "-")
    written = Page()
    command.format_usage(context, written)
    written.write_heading("Description")
    command.format_help_text(context, written)
    command.format_options(context, written)
    summary = re.split(r"[.:;](?:\s|$)", " ".join((command.help or "").split()))[0]
    related = ", ".join(f"\\fB{roff(other)}\\fR(1)" for other in others if other != name)
    head = f'.TH {roff(name).upper()} 1 "{date}" "sbcauth {__version__}" "User Commands"'
    return "\n".join(
        [
            head,
            ".SH NAME",
            f"{roff(name)} \\- {roff(summary[0].lower() + summary[1:])}",
            *(line for line in written.lines if line),
            _END + ".SH SEE ALSO",
            related,
            "",
        ]
    )


def pages() -> Iterator[tuple[str, str]]:
    """Yield the file name of each man page, and the page."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    date = time.strftime("%Y-%m-%d", time.gmtime(seconds))
    root: Any = typer.main.get_command(_typer)
    every = list(contexts(root, "sbcauth"))
    for context in every:
        near = [context.parent or context, *(each for each in every if each.parent is context)]
        if context.parent:
            near += [each for each in every if each.parent is context.parent]
        names = dict.fromkeys(each.command_path.replace(" ", "-") for each in near)
        yield f"{context.command_path.replace(' ', '-')}.1", page(context, [*names], date)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in pages():
        (folder / file).write_text(text, "utf-8")
