"""Runs of files: what one unit of a step that looks at the whole corpus reads at once, and its inputs by their names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scratchlm.core.records import Document
from scratchlm.sources import record
from scratchlm.units.desk import Desk

RUN = 16
"""Files of a run. A file holds at most ``road.SLICE`` characters, so a run is minutes of work and some hundred megabytes."""
BATCH = 1024
"""Documents in memory at a time."""


def runs(files: int) -> list[range]:
    """The numbers of the files of each run."""
    return [range(start, min(start + RUN, files)) for start in range(0, files, RUN)]


def listed(inputs: Mapping[str, Sequence[str]]) -> tuple[list[str], list[list[Any]]]:
    """Inputs one after another, and the setting by which `given` finds them again."""
    return [url for urls in inputs.values() for url in urls], [[name, len(urls)] for name, urls in inputs.items()]


def given(desk: Desk, config: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """The inputs of a unit by the names under which they were listed."""
    found: dict[str, Sequence[str]] = {}
    start = 0
    for name, count in config["has"]:
        found[name] = desk.inputs[start : start + count]
        start += count
    return found


def documents_in(desk: Desk, url: str, groups: Sequence[int]) -> Iterator[list[Document]]:
    """The documents of one file, from one of its row groups up to another, in batches."""
    with desk.ranges(url) as stream:
        yield from record.batches(stream, BATCH, range(*groups))
