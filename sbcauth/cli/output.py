"""Printing: tables for people, JSON and plain columns for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def counted(number: int, name: str) -> str:
    """Return how many there are, as in `1 IP Group` or `3 IP Groups`."""
    return f"{number} {name}{'' if number == 1 else 's'}"


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a table on a terminal, else as columns with a tab between them.

    Where the terminal is too narrow for the rows, each is printed as lines, one for a value: what
    matters is not cut.
    """
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            print("\t".join(map(str, row)))
        return
    console = Console()
    cells = [tuple(map(str, row)) for row in rows]
    widths = (max(map(len, column)) for column in zip(columns, *cells, strict=True))
    if cells and sum(widths) + 2 * len(columns) > console.width:
        _print_stacked(console, columns, cells)
        return
    table = Table(*columns, box=None, header_style="bold")
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)


def _print_stacked(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    for row in rows:
        table = Table.grid(padding=(0, 1))
        for column, cell in zip(columns, row, strict=True):
            table.add_row(Text(column, "bold"), Text(cell, overflow="fold"))
        console.print(table, end="\n\n")
