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
    """Print rows as a table on a terminal, else as columns with a tab between them."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            print("\t".join(map(str, row)))
        return
    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)
