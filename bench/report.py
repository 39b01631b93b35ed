"""Results: as a table for people, as JSON for programs, with the machine they are from."""

import json
import platform
import re
import sqlite3
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench import measure
from bench.measure import Series, Settings
from sbcauth import __version__

RESULTS = Path(__file__).resolve().parent / "results"


class Result(NamedTuple):
    """What one row of the benchmark found; ratios are to the series `reference`."""

    row: str
    title: str
    unit: str
    series: Sequence[Series]
    reference: str = ""
    facts: dict[str, float | str] = {}  # noqa: RUF012 - never changed


def show(result: Result, console: Console) -> None:
    """Print a result as a table."""
    table = Table(title=f"{result.row}: {result.title}", title_justify="left")
    table.add_column("")
    for name in ("median", "min", "max", "ratio"):
        table.add_column(name if name == "ratio" else f"{name} {result.unit}", justify="right")
    for series in result.series:
        table.add_row(
            series.name,
            f"{series.median:.1f}",
            f"{min(series.values):.1f}",
            f"{max(series.values):.1f}",
            _ratio_text(result, series),
        )
    console.print(table)
    for name, value in result.facts.items():
        console.print(f"  {name}: {value}")


def keep(result: Result, settings: Settings) -> Path:
    """Write a result to bench/results/ROW.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result.row}.json"
    found = {
        "row": result.row,
        "title": result.title,
        "unit": result.unit,
        "reference": result.reference,
        "series": [
            {
                "name": series.name,
                "median": round(series.median, 2),
                "min": round(min(series.values), 2),
                "max": round(max(series.values), 2),
                "ratio": _ratio(result, series),
                "rounds": [round(value, 2) for value in series.values],
            }
            for series in result.series
        ],
        "facts": result.facts,
        "settings": {
            "rounds": settings.rounds,
            "pairs": settings.pairs,
            "workers": settings.workers,
            "disturbed_rounds": measure.disturbed,
        },
        "machine": machine(),
    }
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path


def machine() -> dict[str, str | int]:
    """Return what the figures depend on: hardware, versions, the time."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    kamailio = subprocess.run(["kamailio", "-v"], capture_output=True, text=True, check=True).stdout
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "processors": Path("/proc/cpuinfo").read_text().count("processor\t"),
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "kamailio": re.sub(r"version: kamailio (\S+).*", r"\1", kamailio, flags=re.DOTALL),
        "memory_manager": "tlsf",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "sbcauth": __version__,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _ratio(result: Result, series: Series) -> float | None:
    """Return the median over the rounds of the ratio to the reference in the same round."""
    reference = next((each for each in result.series if each.name == result.reference), None)
    if reference is None or len(reference.values) != len(series.values):
        return None
    pairs = zip(series.values, reference.values, strict=True)
    return round(statistics.median(value / other for value, other in pairs), 3)


def _ratio_text(result: Result, series: Series) -> str:
    ratio = _ratio(result, series)
    return "" if ratio is None else f"{ratio:.2f}"
