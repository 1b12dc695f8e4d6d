"""What a run left behind, read from its artifacts and journals and from nothing else."""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.core import journal as journals
from scratchlm.core.artifact import Artifact, Home
from scratchlm.core.journal import Event

LAST_STEPS = 100
"""The final loss is a mean over so many steps: one batch says little."""


@dataclass(frozen=True)
class StageRow:
    """One stage of the road."""

    verb: str
    artifact: str
    seconds: float | int
    """Of all its attempts; an attempt that was killed counts up to its last event."""
    attempts: int
    size_bytes: int
    fingerprint: str
    counts: dict[str, float | int | str]


@dataclass(frozen=True)
class Corpus:
    """How much text there is, and under which terms."""

    characters: int
    licences: dict[str, list[str]]
    """By source."""


@dataclass(frozen=True)
class Training:
    """One model and how it came to be."""

    name: str
    parameters: int
    size_bytes: int
    model: dict[str, Any]
    decisions: dict[str, Any]
    steps: list[Event]
    validations: list[Event]
    samples: list[Event]
    skipped: list[Event]
    counts: dict[str, Any]

    @property
    def tokens(self) -> int:
        """Tokens seen in all steps."""
        return int(self.steps[-1]["tokens"]) if self.steps else 0

    @property
    def seconds(self) -> float | int:
        """Time spent in steps: validation, samples and checkpoints come on top."""
        return math.fsum(step["seconds"] for step in self.steps)

    @property
    def tokens_per_s(self) -> float | int:
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def last_loss(self) -> float | int | None:
        """Mean loss of the last ``LAST_STEPS`` steps that had a finite one, in nats per token."""
        losses = [step["loss"] for step in self.steps if math.isfinite(step.get("loss", math.nan))][-LAST_STEPS:]
        return math.fsum(losses) / len(losses) if losses else None


def road(home: Home, stages: dict[str, str]) -> list[StageRow]:
    """The finished stages in their order; ``stages`` gives each verb's artifact."""
    events = list(journals.read(home.path / "journal.jsonl"))
    rows = []
    for verb, name in stages.items():
        if made := home.find(name):
            seconds = attempts_of(events, verb)
            size = sum(fact.size for fact in made.manifest.files.values())
            rows.append(StageRow(verb, name, math.fsum(seconds), len(seconds), size, made.fingerprint, made.counts))
    return rows


def attempts_of(events: Sequence[Event], verb: str) -> list[float | int]:
    """Seconds of each attempt at the artifact that is there now: what was killed before, and the one that finished."""
    killed: list[float | int] = []
    done: list[float | int] = []
    begun = last = None
    for event in (event for event in events if event.get("stage") == verb):
        state = event.get("state") if event["event"] == "stage" else None
        if state == "started":
            if begun is not None and last is not None:
                killed.append(last - begun)
            begun = event["time"]
        elif state == "finished":
            done = done if event.get("kept") else [*killed, event["seconds"]]
            killed, begun = [], None
        last = event["time"]
    return done


def corpus(artifact: Artifact) -> Corpus:
    """The corpus from its splits, a batch at a time."""
    characters, licences = 0, dict[str, set[str]]()
    for split in ("train", "validation", "test"):
        with pq.ParquetFile(artifact.path / f"{split}.parquet") as file:
            for batch in file.iter_batches(columns=["source", "licence", "n_chars"]):
                table = pa.Table.from_batches([batch]).group_by(["source", "licence"]).aggregate([("n_chars", "sum")])
                for row in table.to_pylist():
                    characters += row["n_chars_sum"] or 0
                    licences.setdefault(row["source"], set()).add(row["licence"] or "unknown")
    return Corpus(characters, {source: sorted(found) for source, found in licences.items()})


def training(artifact: Artifact) -> Training:
    """A model directory's own account of itself."""
    path = artifact.path / "journal.jsonl"
    return Training(
        name=artifact.name,
        parameters=parameters_in(artifact.path / "model.safetensors"),
        size_bytes=(artifact.path / "model.safetensors").stat().st_size,
        model=plain(artifact.path / "model.json") or {},
        decisions=plain(artifact.path / "decisions.json") or {},
        steps=journals.by_step(path, "step"),
        validations=journals.by_step(path, "validation"),
        samples=[event for event in journals.read(path) if event["event"] == "sample"],
        skipped=journals.by_step(path, "skipped"),
        counts=artifact.counts,
    )


def parameters_in(path: Path) -> int:
    """Numbers held by a safetensors file, from its header alone."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def troubles(home: Home) -> list[str]:
    """What the run had to tell besides numbers, each different message once; skipped steps are counted on their own."""
    found: dict[str, None] = {}
    for event in journals.read(home.path / "journal.jsonl"):
        told = event.get("message") or event.get("reason")
        if told and event["event"] != "skipped":
            found[f"{event.get('stage', '')}: {event['event'].replace('_', ' ')}: {told}".removeprefix(": ")] = None
    return list(found)


def commands(home: Home) -> list[Event]:
    """What was typed, the same command once, in the order of its last use."""
    typed = [event for event in journals.read(home.path / "journal.jsonl") if event["event"] == "command"]
    return sorted({tuple(event["argv"]): event for event in typed}.values(), key=lambda event: event["time"])


def plain(path: Path) -> Any:
    """A JSON file's value, None when there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
