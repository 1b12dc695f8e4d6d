"""The corpus engine from beginning to end: which units are done, on what, in which order. Nothing here touches a text.

read -> (common lines) -> measure -> split -> judge -> copies -> (repeated passages) -> select -> (mix). Documents never change once they
are read: what is known of them and what was decided lie in tables beside them, so that another limit reads nothing anew.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import scratchlm
from scratchlm.core.errors import DataError
from scratchlm.core.journal import Journal
from scratchlm.corpus import copies, lines, places, substrings
from scratchlm.corpus.copying import every
from scratchlm.corpus.whole import common_lines, find_copies, find_passages
from scratchlm.units import storage
from scratchlm.units.engine import Engine
from scratchlm.units.run import map_units
from scratchlm.units.unit import Done, Unit

SLICE, SLICE_DOCUMENTS = 8_000_000, 16_384
"""Characters and documents that one unit measures or writes: seconds of work, so that a kill costs little, and 100 MB of rows."""
WIDEST = 4
"""Bytes of a character in UTF-8 at most."""
ROOMS = ("core", "units", "sources", "privacy", "rules", "corpus")
DECIDING = (
    "duckdb",
    "fastwarc",
    "ftfy",
    "htmldate",
    "justext",
    "lxml",
    "numpy",
    "phonenumberslite",
    "py3langid",
    "pyarrow",
    "pydivsufsort",
    "pypdfium2",
    "rensa",
    "resiliparse",
    "trafilatura",
    "xxhash",
)
"""Our rooms and others' libraries that decide bytes; libraries that are not there decide none."""


@dataclass(frozen=True)
class Choices:
    """What decides which documents stay; plain values, so that they can stand in a unit's settings."""

    judge: Mapping[str, Any]
    blocklists: Sequence[str]
    pii: Sequence[str]
    pii_mode: str
    regions: Sequence[str]
    copies: copies.CopyRules
    lines: lines.LineRules | None
    passages: substrings.PassageRules | None
    decontamination: Mapping[str, Any]
    split: Mapping[str, Any]
    least_words: int
    least_bytes: int
    where: str
    """The source's name for a reader, for the sentence that says it is too small."""
    seed: int
    beside: Mapping[str, str] = field(default_factory=dict)
    """Addresses of what documents are measured with: ``evals``, ``quality``."""


@dataclass(frozen=True)
class Gathered:
    """The finished units that a corpus and its report are made from, file by file."""

    read: Sequence[Done]
    measured: Sequence[Done]
    selected: Sequence[Done]
    links: Sequence[Done]
    """Of near copies."""
    passages: Sequence[Done]
    """What sought repeated passages; none when they were not sought."""
    costs: Mapping[str, Mapping[str, int | float]]


class Road:
    """The engine, where its outputs lie, and how far it is."""

    def __init__(self, engine: Engine, root: str, journal: Journal) -> None:
        self._engine, self.root, self._journal = engine, root, journal
        self._here = engine.model_copy(update={"kind": "local", "workers": 0})
        self.costs: dict[str, dict[str, int | float]] = {}
        self._code = code_version()

    def step(self, name: str, units: Sequence[Unit], *, own: bool = False) -> list[Done]:
        """All units of a step, done or found; the ``own`` ones, which are numbers of ours and one unit, in this process."""

        def progress(done: int, total: int, **rates: float) -> None:
            self._journal.progress(name, done, total, "units", **{name: rate for name, rate in rates.items() if rate})

        found = map_units(units, self.root, self._here if own else self._engine, progress=progress, event=self._journal.event)
        nothing = {"units": 0, "made": 0, "seconds": 0.0, "peak_bytes": 0, "documents": 0, "read_bytes": 0, "skipped": 0}
        cost = self.costs.setdefault(name, nothing)
        cost["units"] += len(found)
        cost["made"] += sum(done.seconds > 0 for done in found)
        cost["seconds"] = round(cost["seconds"] + sum(done.seconds for done in found), 3)
        cost["read_bytes"] += sum(done.read_bytes for done in found)
        cost["peak_bytes"] = max([cost["peak_bytes"], *(done.peak_bytes for done in found)])
        cost["documents"] += sum(done.documents for done in found if done.seconds)
        cost["skipped"] += sum(len(done.skipped) for done in found)
        return found

    def unit(self, step: str, work: str, inputs: Sequence[str], **config: Any) -> Unit:
        """A unit of one of the modules of this room, which knows the code that it runs."""
        return Unit(step, f"scratchlm.corpus.{work}", tuple(inputs), {**config, "code": self._code})


@cache
def code_version() -> str:
    """Changes with all code that decides a document's bytes, ours and others', so that nothing that older code made is taken for done."""
    total = hashlib.blake2b(digest_size=8)
    found = {name: _version(name) for name in DECIDING}
    total.update(f"{sys.version_info[:2]} {sorted(found.items())}".encode())
    package = Path(scratchlm.__file__).parent
    for path in sorted(path for room in ROOMS for path in (package / room).rglob("*.py")):
        total.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""


def gather(road: Road, reading: Sequence[Unit], choices: Choices) -> Gathered:
    """Do all steps for what ``reading`` reads."""
    read = road.step("read", reading)
    texts = slices(read)
    found = sum(characters for done in read for _, characters in done.facts["groups"])
    if found * WIDEST < choices.least_bytes or not texts:
        raise DataError(
            f"{choices.where}: {found:,} characters of usable text{reasons_of(every(read, 'refused.parquet'))}, "
            f"and {choices.least_bytes:,} bytes are needed. Add text, or lower corpus.minimum_bytes with --set."
        )
    common = [[url] for url in common_lines(road, texts, choices.lines)] if choices.lines else [[]] * len(texts)
    rules = choices.lines.model_dump() if choices.lines else None
    measuring = {"pii": list(choices.pii), "regions": list(choices.regions), "lines": rules}
    measuring |= {"with": [*(["common"] if choices.lines else []), *choices.beside]}
    measured = road.step(
        "measure",
        [
            road.unit("measure", "steps:annotate", [text, *own, *choices.beside.values()], groups=groups, **measuring)
            for (text, groups), own in zip(texts, common, strict=True)
        ],
    )
    tables = every(measured, "attributes.parquet")
    splits = road.step("split", [road.unit("split", "steps:assign_splits", tables, **choices.split)])[0].files["splits.npy"]
    starts = places.offsets(done.documents for done in measured).tolist()
    judged = road.step(
        "judge",
        [
            road.unit("judge", "steps:judge", [table, signature, splits, *choices.blocklists], first_row=start, **choices.judge)
            for table, signature, start in zip(tables, every(measured, "signatures.npy"), starts[:-1], strict=True)
        ],
    )
    ordered, decided, links = find_copies(road, judged, starts, choices.copies)
    decisions = {"copies": decided}
    passages: list[Done] = []
    if choices.passages is not None:
        decisions["repeats"], passages = find_passages(road, texts, tables, starts, ordered, choices.passages)
    selecting = {
        "with": list(decisions), "pii": list(choices.pii), "pii_mode": choices.pii_mode, "regions": list(choices.regions),
        "decontamination": choices.decontamination, "seed": choices.seed, "least_words": choices.least_words,
    }  # fmt: skip
    selected = [
        road.unit(
            "select", "selection:select",
            [text, known.files["attributes.parquet"], said.files["judged.parquet"], splits,
             *(urls[number] for urls in decisions.values())],
            first_row=start, groups=groups, **selecting,
        )
        for number, ((text, groups), known, said, start) in enumerate(zip(texts, measured, judged, starts[:-1], strict=True))
    ]  # fmt: skip
    return Gathered(read, measured, road.step("select", selected), links, passages, road.costs)


def reasons_of(refused: Sequence[str]) -> str:
    """The commonest reasons why records gave no document, for the end of a sentence; empty when there was no record."""
    rules: Counter[str] = Counter()
    for url in refused:
        with storage.open_ranges(url) as stream:
            rules.update(pq.read_table(stream, columns=["rule"])["rule"].to_pylist())
    return f" (dropped: {', '.join(f'{count} × {rule}' for rule, count in rules.most_common(4))})" if rules else ""


def slices(read: Sequence[Done]) -> list[tuple[str, tuple[int, int]]]:
    """The documents in parts of about ``SLICE``: a file, and from which of its row groups up to which."""
    found = []
    for done in read:
        start, size, count = 0, 0, 0
        for number, (documents, characters) in enumerate(done.facts["groups"]):
            if size and (size + characters > SLICE or count + documents > SLICE_DOCUMENTS):
                found.append((done.files["documents.parquet"], (start, number)))
                start, size, count = number, 0, 0
            size, count = size + characters, count + documents
        if size:
            found.append((done.files["documents.parquet"], (start, len(done.facts["groups"]))))
    return found
