"""The report's pictures: SVG that is part of the page, in the page's own colours, light or dark."""

import html
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scratchlm.core.journal import Event
from scratchlm.report.gather import Training
from scratchlm.report.scores import Scores, title
from scratchlm.report.words import short

# Colours that occur nowhere else stand for the page's own: after drawing, each becomes a CSS variable.
INK, SOFT, GRID, LINE = "#010203", "#040506", "#070809", "#0a0b0c"
MODELS = ("#0d0e0f", "#101112", "#131415", "#161718")
VARIABLES = {INK: "--ink", SOFT: "--soft", GRID: "--rule", LINE: "--line"} | {c: f"--model-{n}" for n, c in enumerate(MODELS, 1)}
STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": GRID,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.titlepad": 10,
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "ytick.major.size": 0,
    "xtick.major.size": 3,
    "lines.linewidth": 1.9,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
NAMES = {"kl": "KL divergence"}
POINTS = 1500
"""A curve is drawn with at most so many points; more are below the screen's resolution."""


def learning(training: Training, scores: Scores | None) -> str:
    """Training loss, and beside it held-out bits per byte with the n-gram to beat."""
    held_out = [event for event in training.validations if "bits_per_byte" in event]
    with _drawing(f"learning {training.name}"):
        figure = Figure(figsize=(10.4, 3.9), layout="constrained")
        loss, bits = figure.subplots(1, 2, gridspec_kw={"wspace": 0.08}) if held_out else (figure.subplots(), None)
        _noisy(loss, training.steps, "loss")
        loss.set_title("Training loss, nats per token")
        if bits is not None:
            _bits(bits, held_out, scores)
        return _svg(figure, f"Loss of {training.name} over the tokens it saw")


def details(training: Training) -> str:
    """Learning rate, gradient norm and speed as small multiples."""
    wanted = {"lr": "Learning rate", "grad_norm": "Gradient norm", "tokens_per_s": "Tokens per second"}
    return _multiples(training, {name: words for name, words in wanted.items() if any(name in step for step in training.steps)})


def objectives(training: Training) -> str:
    """What a tuning stage pursued: its loss and the objective's own facts."""
    common = {"step", "tokens", "weight", "lr", "grad_norm", "tokens_per_s", "seconds", "time", "stage", "event"}
    numbers = [name for name in _names(training.steps) if name not in common]
    return _multiples(training, {name: NAMES.get(name, name.replace("_", " ").capitalize()) for name in numbers[:6]})


def intervals(scores: Scores, measures: Sequence[str]) -> str:
    """A dot and its 95 % interval for every model on every measure that is a share."""
    with _drawing("intervals"):
        figure = Figure(figsize=(10.4, 0.9 + 0.62 * len(measures)), layout="constrained")
        axes = figure.subplots()
        models = scores.models
        for row, measure in enumerate(measures):
            for place, model in enumerate(models):
                cell = scores.cell(model, measure)
                if cell:
                    height = row + (place - (len(models) - 1) / 2) * 0.17
                    colour = MODELS[place % len(MODELS)]
                    if cell.low is not None and cell.high is not None:
                        axes.plot([100 * cell.low, 100 * cell.high], [height, height], color=colour, linewidth=2.4, alpha=0.55)
                    axes.plot(100 * cell.value, height, "o", color=colour, markersize=6, label=model if measure == measures[0] else None)
        axes.set_yticks(range(len(measures)), [title(measure) for measure in measures], color=INK, fontsize=10.5)
        axes.set_ylim(len(measures) - 0.45, -0.55)
        axes.set_xlim(-1.5, 101.5)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        for row in range(1, len(measures)):
            axes.axhline(row - 0.5, color=GRID, linewidth=0.8)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(models), frameon=False, handletextpad=0.1, columnspacing=1.4)
        return _svg(figure, "Every model's score on every measure, with 95 % intervals")


def smoothed(values: Sequence[float | int], window: int) -> list[float]:
    """The mean of each value and up to ``window - 1`` before it."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return ((sums[ends] - sums[starts]) / (ends - starts)).tolist()


def _bits(axes: Axes, held_out: Sequence[Event], scores: Scores | None) -> None:
    tokens, values = [event["tokens"] for event in held_out], [event["bits_per_byte"] for event in held_out]
    axes.plot(tokens, values, color=LINE, marker="o", markersize=4)
    axes.annotate(f"{values[-1]:.3f}", (tokens[-1], values[-1]), xytext=(0, 9), textcoords="offset points", ha="right", color=INK)
    ngram = scores.baselines.get("ngram") if scores else None
    if ngram is not None:
        axes.axhline(ngram, color=SOFT, linestyle=(0, (4, 3)), linewidth=1.3)
        axes.annotate(f"best n-gram {ngram:.3f}, on the test split", (1, ngram), xycoords=("axes fraction", "data"), xytext=(0, 5),
                      textcoords="offset points", ha="right", color=SOFT, fontsize=9.5)  # fmt: skip
    axes.set_title("Held-out text, bits per byte")
    _over_tokens(axes)


def _noisy(axes: Axes, steps: Sequence[Event], name: str) -> None:
    """A curve and, fainter, the values it is the mean of."""
    rows = [step for step in steps if name in step and math.isfinite(step[name])]
    tokens, values = [row["tokens"] for row in rows], [row[name] for row in rows]
    window = max(1, len(values) // 50)
    keep = slice(None, None, max(1, len(values) // POINTS))
    axes.plot(tokens[keep], values[keep], color=LINE, alpha=0.25, linewidth=0.9)
    axes.plot(tokens[keep], smoothed(values, window)[keep], color=LINE)
    _over_tokens(axes)


def _multiples(training: Training, wanted: Mapping[str, str]) -> str:
    if not wanted:
        return ""
    columns = min(3, len(wanted))
    rows = -(-len(wanted) // columns)
    with _drawing(f"multiples {training.name} {' '.join(wanted)}"):
        figure = Figure(figsize=(10.4, 2.5 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(wanted) :]:
            axes.set_visible(False)
        for axes, (name, words) in zip(grid.flat, wanted.items(), strict=False):
            _noisy(axes, training.steps, name)
            axes.set_title(words)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            if name == "tokens_per_s":
                axes.set_ylim(bottom=0)
        return _svg(figure, f"{', '.join(wanted.values())} of {training.name}")


def _over_tokens(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(float(value))))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.01)
    axes.set_xlabel("tokens seen", loc="right")


def _tick(value: float) -> str:
    return f"{value / 1000:g}k" if 1000 <= abs(value) < 1e6 else short(float(f"{value:.6g}"))


def _names(events: Sequence[Event]) -> list[str]:
    found = dict.fromkeys(name for event in events for name, value in event.items() if isinstance(value, int | float))
    return list(found)


def _drawing(salt: str) -> Any:
    """The page's style; the salt keeps identifiers of several pictures in one page apart and the same in every run."""
    style: dict[Any, Any] = STYLE | {"svg.hashsalt": salt}
    return matplotlib.rc_context(style)


def _svg(figure: Figure, label: str) -> str:
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", drawn, count=1), count=1)
    drawn = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", drawn)
    replace: Callable[[re.Match[str]], str] = lambda match: f"var({VARIABLES[match[0]]})"  # noqa: E731
    drawn = re.sub("|".join(VARIABLES), replace, drawn)
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)
