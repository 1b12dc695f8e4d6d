"""How the values of a rule are spread, as SVG in the page's colours: what it refuses, and a named mark for each limit."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT, BELOW = 640, 96, 36
ROW, LETTER = 14, 6.1
"""Height of a line of labels and width of a letter, as they are drawn."""
TICKS = 6
KEPT, REFUSED, MARK = "var(--line)", "var(--model-3)", "var(--ink)"
MOST_NAMES = 3
"""Profiles that a mark names; of more it says how many."""


def drawn(told: Mapping[str, Any], limits: Sequence[Mapping[str, Any]]) -> str:
    """The figure of one row of ``histograms`` in the report, with its ``limits``."""
    counts, refused, most = told["counts"], told["refused"], max(told["counts"])
    step = WIDTH / len(counts)
    # The square root of the count: what lies near a limit is a thousandth of what lies at the top, and is what one wants to see.
    bars = "".join(
        _bar(number * step, step - 1, HEIGHT * math.sqrt(count / most), bad / count)
        for number, (count, bad) in enumerate(zip(counts, refused, strict=True))
        if count
    )
    marks, rows = _marks(told, limits)
    top = rows * ROW + 20
    label = html.escape(f"{sum(counts):,} documents between {_number(told['low'])} and {_number(told['high'])}")
    return (
        f'<svg viewBox="0 {-top} {WIDTH} {top + HEIGHT + BELOW}" role="img" aria-label="{label}" font-size="11.5" fill="var(--soft)">'
        f"{bars}{_axes(told, most, -rows * ROW - 8)}{marks}</svg>"
    )


def _bar(x: float, width: float, tall: float, bad: float) -> str:
    """A column, of which the share ``bad`` at its foot is refused."""
    found = ""
    for color, foot, height in ((KEPT, HEIGHT - tall * bad, tall * (1 - bad)), (REFUSED, HEIGHT, tall * bad)):
        if height:
            rect = f'x="{x:.1f}" y="{foot - height:.1f}" width="{width:.1f}" height="{height:.1f}"'
            found += f'<rect {rect} fill="{color}" opacity="{0.55 if color == KEPT else 0.9}"/>'
    return found


def _axes(told: Mapping[str, Any], most: int, top: int) -> str:
    lines = f'<line x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}" stroke="var(--rule)"/>'
    for value in ticks(told):
        x = WIDTH * place(told, value)
        anchor = "start" if x < 20 else "end" if x > WIDTH - 20 else "middle"
        lines += f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{HEIGHT}" y2="{HEIGHT + 4}" stroke="var(--soft)"/>'
        lines += f'<text x="{x:.1f}" y="{HEIGHT + 17}" text-anchor="{anchor}">{_number(value)}</text>'
    beyond = " · ".join(f"{told[side]:,} {'lies' if told[side] == 1 else 'lie'} {side}" for side in ("below", "above") if told[side])
    foot = "value" + (" (logarithmic)" if told["scale"] == "log" else "") + (f" · {beyond}" if beyond else "")
    lines += f'<text x="{WIDTH}" y="{HEIGHT + 32}" text-anchor="end">{foot}</text>'
    # Not beside the top of the bars: that is where marks have their names.
    return lines + f'<text x="0" y="{top}">documents (root of the count), at most {most:,} in a column</text>'


def _marks(told: Mapping[str, Any], limits: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """A line for each limit with its name above it, and how many lines of names there are: as many as keep them apart."""
    names: dict[float, list[str]] = {}
    for row in limits:
        names.setdefault(row["limit"], []).append(row["profile"])
    ends: list[float] = []
    found, named = "", ""
    for limit, profiles in sorted(names.items()):
        who = ", ".join(profiles) if len(profiles) <= MOST_NAMES else f"{len(profiles)} kinds of text"
        label, x = f"limit {_number(limit)} · {who}", WIDTH * place(told, limit)
        long = len(label) * LETTER
        left = min(max(0.0, x - long / 2), WIDTH - long)
        row = next((number for number, end in enumerate(ends) if end + 8 < left), len(ends))
        ends[row : row + 1] = [left + long]
        y = -4 - row * ROW
        found += f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y + 3}" y2="{HEIGHT}" stroke="{MARK}" stroke-width="1.2" stroke-dasharray="4 3"/>'
        # Its halo covers the lines of others.
        halo = 'stroke="var(--paper)" stroke-width="5" paint-order="stroke" stroke-linejoin="round"'
        named += f'<text x="{left + long / 2:.1f}" y="{y}" text-anchor="middle" fill="{MARK}" {halo}>{html.escape(label)}</text>'
    return found + named, len(ends)


def place(told: Mapping[str, Any], value: float) -> float:
    """Where a value lies on the axis: 0 at its low end, 1 at its high end."""
    low, high, at = (math.log1p(each) if told["scale"] == "log" else each for each in (told["low"], told["high"], value))
    return min(1.0, max(0.0, (at - low) / (high - low)))


def ticks(told: Mapping[str, Any]) -> list[float]:
    """Round numbers on the axis: powers of ten, with 2 and 5 times them where they are few, or equal steps of 1, 2 or 5."""
    low, high = told["low"], told["high"]
    if told["scale"] == "log":
        powers = [10.0**power for power in range(math.ceil(math.log10(high)) + 1)]
        few = sum(low <= power <= high for power in powers) < 3
        return [
            value for value in [0.0, *(times * power for power in powers for times in ((1, 2, 5) if few else (1,)))] if low <= value <= high
        ]
    size = 10.0 ** math.floor(math.log10((high - low) / TICKS))
    step = next(size * each for each in (1, 2, 5, 10) if (high - low) / (size * each) <= TICKS)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
