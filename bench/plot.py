"""Bars of what was measured, as SVG."""

import json
from collections.abc import Iterator, Sequence
from html import escape

from bench.report import RESULTS

_WIDTH, _BAR, _GAP, _LEFT, _RIGHT = 760, 18, 8, 270, 80
_COLOURS = {"ours": "#2563eb", "native": "#d97706", "none": "#9ca3af"}
_OTHER = "#6b7280"


def draw() -> None:
    """Draw every result that is there beside its JSON."""
    for path in sorted(RESULTS.glob("*.json")):
        found = json.loads(path.read_text())
        bars = [
            (each["name"], each["median"], each["min"], each["max"]) for each in found["series"]
        ]
        title = f"{found['title']} ({found['unit']})"
        path.with_suffix(".svg").write_text("\n".join(_svg(title, bars)) + "\n")


def _svg(title: str, bars: Sequence[tuple[str, float, float, float]]) -> Iterator[str]:
    height = 40 + len(bars) * (_BAR + _GAP)
    scale = (_WIDTH - _LEFT - _RIGHT) / max(high for *_, high in bars)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">'
    )
    yield f'<text x="10" y="22" font-weight="bold">{escape(title)}</text>'
    for number, (name, median, low, high) in enumerate(bars):
        top = 36 + number * (_BAR + _GAP)
        middle = top + _BAR / 2
        yield f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>'
        yield (
            f'<rect x="{_LEFT}" y="{top}" width="{median * scale:.1f}" height="{_BAR}" '
            f'fill="{_colour(name)}"/>'
        )
        yield (
            f'<line x1="{_LEFT + low * scale:.1f}" x2="{_LEFT + high * scale:.1f}" '
            f'y1="{middle}" y2="{middle}" stroke="#111"/>'
        )
        yield f'<text x="{_LEFT + high * scale + 6:.1f}" y="{middle + 4}">{median:.1f}</text>'
    yield "</svg>"


def _colour(name: str) -> str:
    return next((colour for word, colour in _COLOURS.items() if word in name), _OTHER)
