"""Tables for people: whole on a wide terminal, lines on a narrow one, nothing cut."""

import io
import re
import sys
from collections.abc import Sequence

import pytest

from sbcauth.cli.output import print_table

COLUMNS = ("Time", "Source", "Why")
ROWS = [
    ("09:14:07", "192.0.2.7:5060/udp", "the response is wrong: " + "an attempt is counted " * 3)
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(monkeypatch: pytest.MonkeyPatch, width: int, rows: Sequence[tuple[str, ...]]) -> str:
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", terminal)
    print_table(COLUMNS, rows)
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())


def test_wide_terminal_has_a_row_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(monkeypatch, 200, ROWS).splitlines()
    assert len(lines) == 2
    assert lines[0].split() == ["Time", "Source", "Why"]


def test_narrow_terminal_has_a_line_for_each_value_and_cuts_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = printed(monkeypatch, 80, ROWS)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert [line.split()[0] for line in text.splitlines()[:3]] == ["Time", "Source", "Why"]
    assert " ".join(text.split()).endswith("an attempt is counted an attempt is counted")


def test_table_without_rows_is_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, 20, []).split() == ["Time", "Source", "Why"]
