"""The journal in a terminal: a line per stage, a live bar with its ETA; plain lines where no terminal is."""

import json
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from scratchlm.core.journal import PROGRESS, Event, View
from scratchlm.report import scores
from scratchlm.report.words import duration, short

PLAIN_EVERY_S = 10.0
SHOWN = ("loss", "bits_per_byte", "reward", "accuracy", "tokens_per_s", "documents_s", "mb_s")
"""Facts worth a place beside the bar; the others are in the journal."""
EXACT = ("loss", "bits_per_byte", "mb_s")


@contextmanager
def view(*, as_json: bool = False) -> Iterator[View]:
    """A view on standard output for as long as the context lasts: JSON lines, a live display, or plain lines."""
    console = Console()
    if as_json:
        yield json_view
    elif console.is_terminal:
        with Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=28, complete_style="cyan", finished_style="green"),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[facts]}"),
            console=console,
            transient=True,
        ) as progress:
            yield LiveView(progress)
    else:
        yield PlainView()


def json_view(event: Event) -> None:
    """Each event, progress too, as one line of JSON."""
    sys.stdout.write(json.dumps(event, ensure_ascii=True) + "\n")
    sys.stdout.flush()


class LiveView:
    """Bars that move below the lines of what is done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        if event["event"] == PROGRESS:
            self._move(event)
        elif line := line_of(event):
            if event["event"] == "stage":
                self._clear()
            style = {"finished": "bold green", "started": "bold"}.get(str(event.get("state")), "dim")
            self._progress.console.print(f"[{style}]{escape(line)}[/]", highlight=False)

    def _move(self, event: Event) -> None:
        label = event["label"]
        if label not in self._bars:
            self._bars[label] = self._progress.add_task(escape(label), total=event["total"], facts="")
        self._progress.update(self._bars[label], completed=event["done"], total=event["total"], facts=escape(facts_of(event)))

    def _clear(self) -> None:
        for bar in self._bars.values():
            self._progress.remove_task(bar)
        self._bars.clear()
        self._progress.refresh()  # or the next line would be printed above a bar that is gone


class PlainView:
    """Lines without control characters, for logs and pipes."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[float, float]] = {}
        """When a label was first seen, and how much was done then (a resumed run does not begin at 0)."""
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        line = self._progress(event) if event["event"] == PROGRESS else line_of(event)
        if line:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        if event["event"] == "stage":
            self._begun.clear()

    def _progress(self, event: Event) -> str:
        now, done, total = time.monotonic(), event["done"], event["total"]
        since, from_ = self._begun.setdefault(event["label"], (now, done))
        if now - self._last < PLAIN_EVERY_S:
            return ""
        self._last = now
        left = f", {duration((now - since) / (done - from_) * (total - done))} left" if done > from_ else ""
        share = f"{100 * done / total:.0f} %" if total else "–"
        return f"  {event['label']}: {share} of {short(total)} {event['unit']}{left}  {facts_of(event)}".rstrip()


def line_of(event: Event) -> str:
    """The line an event is worth, empty for most."""
    kind = event["event"]
    if kind == "stage":
        return _stage_line(event)
    if kind == "validation":
        return f"  step {event['step']:,}  {facts_of(event)}" if facts_of(event) else ""
    told = event.get("message") or event.get("reason") or event.get("note")
    return f"  {kind.replace('_', ' ')}: {told}" if told else ""


def facts_of(event: Mapping[str, Any]) -> str:
    """The facts of an event that stand beside a bar: ``loss 2.31 · 18.3k tokens/s``."""
    words = {"tokens_per_s": "{} tokens/s", "bits_per_byte": "{} bits per byte", "documents_s": "{} documents/s", "mb_s": "{} MB/s"}
    found = [(name, event[name]) for name in SHOWN if isinstance(event.get(name), int | float)]
    return " · ".join(words.get(name, f"{name} {{}}").format(f"{value:.3f}" if name in EXACT else short(value)) for name, value in found)


def _stage_line(event: Event) -> str:
    name, state = event["name"], event["state"]
    if state == "started":
        return f"{name} …"
    if state == "given":
        return f"{name}: taken from {event['path']}"
    if state != "finished":
        return f"{name}: {state}"
    counts = [f"{key.replace('_', ' ')} {short(value)}" for key, value in event.get("counts", {}).items()][:4]
    told = "was already there" if event.get("kept") else f"done in {duration(event['seconds'])}"
    return f"{name}: {told}" + (f"  ({', '.join(counts)})" if counts else "")


def show_end(home: Path, commands: list[str], *, verb: str, as_json: bool) -> None:
    """What a command ends with: for a whole run the results table, for some where to look, for every stage the next command."""
    table = scores.read(home / "scores" / "scores.json") if verb == "run" else None
    page = home / "report" / "index.html"
    if as_json:
        json_view({"event": "end", "next": commands, "results": table.plain if table else None})
        return
    console = Console(highlight=False)
    if table:
        console.print(results(table))
    if verb in ("run", "report") and page.exists():
        console.print(f"report  {escape(str(page))}", soft_wrap=True)
    if verb == "corpus":
        run = escape(shlex.quote(str(home)))
        console.print(f"look    scratchlm report {run}", soft_wrap=True)
        console.print(f"why     scratchlm corpus {run} --removed 'a sentence that you miss'", soft_wrap=True)
    for position, command in enumerate(commands):
        console.print(f"{'next  ' if position == 0 else '      '}  {escape(command)}", soft_wrap=True)


def results(table: "scores.Scores") -> Table:
    """Measures × models, each with its 95 % interval below."""
    drawn = Table(
        title="Results (95 % intervals)", title_justify="left", box=None, pad_edge=False, padding=(0, 3, 0, 0), title_style="bold"
    )
    drawn.add_column("")
    for model in table.models:
        drawn.add_column(model, justify="right")
    for measure in table.measures:
        cells = [table.cell(model, measure) for model in table.models]
        drawn.add_row(
            escape(scores.title(measure)),
            *(f"{cell.text}\n[dim]{cell.interval}[/]" if cell and cell.interval else cell.text if cell else "–" for cell in cells),
        )
    for name, value in table.baselines.items():
        drawn.add_row(f"[dim]{escape(scores.title(name))} (baseline)[/]", *([f"[dim]{value:.3f}[/]"] + [""] * (len(table.models) - 1)))
    return drawn
