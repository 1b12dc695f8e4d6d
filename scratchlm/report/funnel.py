"""The corpus section of the page: what came in, what each rule took, and how near the limits documents lie."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from scratchlm.core import journal as journals
from scratchlm.core.artifact import Artifact, Home
from scratchlm.report.gather import plain
from scratchlm.report.words import short

WIDTH, HEIGHT = 640, 92
FILL = 'fill="var(--line)" opacity=".55"'
STAGES = {
    "read": "could not be read",
    "clean": "empty or too large",
    "blocklist": "blocked address",
    "language": "other language",
    "filter": "refused by a rule",
    "classifier": "unlike the good examples",
    "contamination": "holds a test item",
    "exact": "exact copy",
    "address": "same address",
    "near": "near copy",
    "cut": "nothing left after cuts",
}
"""The steps that lose documents, in their order, and what they say of one."""


def funnel(home: Home, corpus: Artifact) -> dict[str, Any]:
    """Every fact that the section shows."""
    told = plain(corpus.path / "report.json")
    rules = told["rules"]
    return {
        **told,
        "steps": steps(told["conservation"]["documents_in"], rules),
        "figures": {each["rule"]: histogram(each, told["limits"][each["rule"]]) for each in told["histograms"]},
        "costs": costs(home),
    }


def steps(documents: int, rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How many documents are left after each step that lost some."""
    lost = {stage: sum(row["first"] for row in rules if row["stage"] == stage) for stage in STAGES}
    found, left = [{"name": "came in", "lost": 0, "left": documents}], documents
    for stage, count in lost.items():
        if count:
            left -= count
            found.append({"name": STAGES[stage], "lost": count, "left": left})
    return found


def costs(home: Home) -> list[dict[str, Any]]:
    """What each step of the engine cost in the attempt that made most of the corpus: units, seconds of work, rates, largest memory."""
    events = [event for event in journals.read(home.path / "journal.jsonl") if event["event"] == "corpus" and "parts" in event]
    parts = max((event["parts"] for event in events), key=lambda part: sum(row["seconds"] for row in part.values()), default={})
    return [{"step": name, **row} for name, row in parts.items() if row["seconds"] >= 0.05]


def histogram(told: Mapping[str, Any], limits: Mapping[str, float]) -> str:
    """How a rule's values are spread, as SVG in the page's colours; a line for each limit with the profiles that have it."""
    counts = told["counts"]
    if len(counts) < 2:
        return ""
    low, high, most = told["low"], told["high"], max(counts)
    step = WIDTH / len(counts)
    # The square root of the count: what lies near a limit is a thousandth of what lies at the top, and is what one wants to see.
    bars = "".join(
        f'<rect x="{number * step:.1f}" y="{HEIGHT - tall:.1f}" width="{step - 1:.1f}" height="{tall:.1f}" {FILL}/>'
        for number, count in enumerate(counts)
        if (tall := HEIGHT * math.sqrt(count / most))
    )
    marks = "".join(_mark(limit, low, high, names) for limit, names in _grouped(limits).items())
    axis = (
        f'<line x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}" stroke="var(--rule)"/>'
        f'<text x="0" y="{HEIGHT + 15}" class="tick">{low:.3g}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 15}" text-anchor="end" class="tick">{high:.3g}</text>'
    )
    label = html.escape(f"{short(sum(counts))} documents between {low:.3g} and {high:.3g}")
    return f'<svg viewBox="0 -16 {WIDTH} {HEIGHT + 36}" role="img" aria-label="{label}">{bars}{axis}{marks}</svg>'


def _grouped(limits: Mapping[str, float]) -> dict[float, list[str]]:
    found: dict[float, list[str]] = {}
    for profile, limit in limits.items():
        found.setdefault(limit, []).append(profile)
    return found


def _mark(limit: float, low: float, high: float, names: Sequence[str]) -> str:
    """A limit as a line; one beyond the values stands at the edge with an arrow."""
    at = (limit - low) / (high - low)
    beyond = "→ " if at > 1 else "← " if at < 0 else ""
    x = WIDTH * min(1.0, max(0.0, at))
    anchor = "end" if x > WIDTH / 2 else "start"
    label = html.escape(f"{beyond}{limit:g} {', '.join(names)}")
    shift = -4 if anchor == "end" else 4
    line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="-14" y2="{HEIGHT}" stroke="var(--model-3)" stroke-width="1.5"/>'
    return f'{line}<text x="{x + shift:.1f}" y="-5" text-anchor="{anchor}" class="tick" fill="var(--model-3)">{label}</text>'
