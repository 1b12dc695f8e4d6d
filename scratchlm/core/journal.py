"""The journal: one JSON object per event. Console, TensorBoard, report and tests are views of it."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]
View = Callable[[Event], None]

PROGRESS = "progress"
"""The one kind of event that is shown but never written: fields ``label``, ``done``, ``total``, ``unit`` and facts."""


class Journal:
    """Sends every event to each of its views; a file is one of them."""

    def __init__(self, *views: View, stage: str = "") -> None:
        self._views = views
        self._stage = stage

    def event(self, kind: str, /, **facts: Any) -> None:
        """Record that something happened; ``facts`` are JSON values."""
        event = {"event": kind, "time": round(time.time(), 3)} | ({"stage": self._stage} if self._stage else {}) | facts
        for view in self._views:
            view(event)

    def progress(self, label: str, done: int | float, total: int | float, unit: str, **facts: Any) -> None:
        """Show how far a long work is; nothing is written."""
        self.event(PROGRESS, label=label, done=done, total=total, unit=unit, **facts)

    def also(self, *views: View, stage: str | None = None) -> "Journal":
        """The same journal with more views, or under a stage's name."""
        return Journal(*self._views, *views, stage=self._stage if stage is None else stage)


def written_to(path: Path) -> View:
    """A view that appends each event to ``path`` as a line of JSON, flushed at once so that a kill loses at most a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    end_torn_line(path)

    def write(event: Event) -> None:
        if event["event"] != PROGRESS:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event, ensure_ascii=False) + "\n")

    return write


def end_torn_line(path: Path) -> None:
    """Cut a last line that a kill left without its end, so that the next event starts on a line of its own."""
    if path.exists() and not (data := path.read_bytes()).endswith(b"\n") and data:
        path.write_bytes(data[: data.rfind(b"\n") + 1])


def read(path: Path) -> Iterator[Event]:
    """The events in a journal file, in the order they happened; a torn last line is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def by_step(path: Path, kind: str) -> list[Event]:
    """The events of ``kind`` by step; where a resumed run did a step twice, the later record counts."""
    latest = {event["step"]: event for event in read(path) if event["event"] == kind}
    return [latest[step] for step in sorted(latest)]
