"""`python -m bench [ROW…]`: run the rows, print them, keep them in bench/results."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.measure import Settings
from bench.plot import draw
from bench.report import keep, machine, show
from bench.rows import ROWS


def bench(
    rows: Annotated[
        list[str] | None, typer.Argument(help=f"Some of {' '.join(ROWS)}; all if none is given.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=3, help="Rounds for each server.")] = 20,
    pairs: Annotated[int, typer.Option(min=100, help="Conversations in a round.")] = 1000,
    workers: Annotated[int, typer.Option(min=1, help="UDP workers of each server.")] = 1,
) -> None:
    """Measure what authentication costs, here and in Kamailio's own modules."""
    console = Console()
    wanted = rows or list(ROWS)
    if unknown := set(wanted) - set(ROWS):
        raise typer.BadParameter(f"no such row: {' '.join(sorted(unknown))}")
    console.print(" · ".join(f"{name} {value}" for name, value in machine().items()))
    for row in wanted:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            settings = Settings(Path(folder), rounds, pairs, workers)
            result = ROWS[row](settings)
        show(result, console)
        keep(result, settings)
    draw()


if __name__ == "__main__":
    typer.run(bench)
