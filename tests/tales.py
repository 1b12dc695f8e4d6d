"""Texts of no meaning to make a corpus of, and what is asked of that corpus."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from scratchlm.core.artifact import Artifact, Home
from scratchlm.core.journal import Journal
from scratchlm.sources import record
from scratchlm.stages import corpus
from scratchlm.units.engine import Engine

HERE = Engine(workers=0)
"""The process of the test itself."""
SPLITS = ("train", "validation", "test")
BEGINS = ("riv", "ston", "lamp", "door", "wind", "cart", "bell", "road", "leaf", "ship")
ENDS = ("er", "ing", "ful", "ly", "let", "en", "ish")


def story(number: int, words: int = 120) -> str:
    """A text of its own, in sentences: words of two syllables drawn by the number."""
    chance = random.Random(number)
    said = [chance.choice(BEGINS) + chance.choice(ENDS) for _ in range(words)]
    lines = [" ".join([*said[start : start + 8], "and", "the", f"number{number}x{start}"]) + "." for start in range(0, words, 8)]
    return "\n".join(lines)


def write_stories(folder: Path, count: int) -> Path:
    """A new folder of stories, ``story00.txt`` and so on."""
    folder.mkdir()
    for number in range(count):
        (folder / f"story{number:02}.txt").write_text(story(number))
    return folder


def built(home: Path, **config: Any) -> Artifact:
    """A corpus, made in this process unless told otherwise."""
    return corpus.run(corpus.Config(**({"minimum_bytes": 1, "engine": HERE} | config)), Home(home), Journal())


def texts(made: Artifact, *splits: str) -> dict[str, str]:
    """What was kept, by where it was found."""
    return {str(d.facts["locator"]): d.text for split in splits or SPLITS for d in record.read(made.path / f"{split}.parquet")}


def verdicts(made: Artifact) -> dict[str, dict[str, Any]]:
    """What became of each document, by where it was found."""
    return {row["locator"]: row for row in pq.read_table(made.path / "verdicts.parquet").to_pylist()}


def report(made: Artifact) -> Mapping[str, Any]:
    """The facts that the report shows."""
    return json.loads((made.path / "report.json").read_text())
