"""The corpus engine from beginning to end: which units are done, on what, in which order. Nothing here touches a text.

read -> (common lines) -> measure -> split -> judge -> copies -> (repeated passages) -> select -> (mix). Documents never change once they
are read: what is known of them and what was decided lie in tables beside them, so that another limit reads nothing anew.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import scratchlm
from scratchlm.core.errors import DataError
from scratchlm.core.journal import Journal
from scratchlm.corpus import copies, lines, places, substrings
from scratchlm.corpus.copying import HELD_OUT, SPARED, every
from scratchlm.units import storage
from scratchlm.units.engine import Engine
from scratchlm.units.run import map_units
from scratchlm.units.unit import Done, Unit

MEMORY_MB = 400
"""What DuckDB may hold while it sorts."""
SLICE = 8_000_000
"""Characters of documents that one unit measures or writes: seconds of work, so that a kill costs little."""
BUCKET_ROWS = 2_000_000
"""Rows that a bucket should hold: 100 MB while they are reduced."""


@dataclass(frozen=True)
class Choices:
    """What decides which documents stay; plain values, so that they can stand in a unit's settings."""

    judge: Mapping[str, Any]
    pii: Sequence[str]
    pii_mode: str
    regions: Sequence[str]
    copies: copies.CopyRules
    lines: lines.LineRules | None
    passages: substrings.PassageRules | None
    decontamination: Mapping[str, Any]
    split: Mapping[str, Any]
    least_words: int
    least_characters: int
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
            self._journal.progress(name, done, total, "files", **rates)

        found = map_units(units, self.root, self._here if own else self._engine, progress=progress, event=self._journal.event)
        cost = self.costs.setdefault(name, {"units": 0, "seconds": 0.0, "peak_bytes": 0, "documents": 0, "skipped": 0})
        cost["units"] += len(found)
        cost["seconds"] = round(cost["seconds"] + sum(done.seconds for done in found), 3)
        cost["peak_bytes"] = max([cost["peak_bytes"], *(done.peak_bytes for done in found)])
        cost["documents"] += sum(int(done.facts.get("documents", 0)) for done in found)
        cost["skipped"] += sum(len(done.skipped) for done in found)
        return found

    def unit(self, step: str, work: str, inputs: Sequence[str], **config: Any) -> Unit:
        """A unit of one of the modules of this room, which knows the code that it runs."""
        return Unit(step, f"scratchlm.corpus.{work}", tuple(inputs), {**config, "code": self._code})


def code_version() -> str:
    """Changes with the code of the rooms that decide a document's bytes, so that nothing that older code made is taken for done."""
    total = hashlib.blake2b(digest_size=8)
    package = Path(scratchlm.__file__).parent
    for path in sorted(path for room in ("core", "units", "sources", "privacy", "corpus") for path in (package / room).rglob("*.py")):
        total.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def gather(road: Road, reading: Sequence[Unit], choices: Choices) -> Gathered:
    """Do all steps for what ``reading`` reads."""
    read = road.step("read", reading)
    texts = slices(read)
    found = sum(characters for done in read for _, characters in done.facts["groups"])
    if found < choices.least_characters or not texts:
        why = reasons_of(every(read, "refused.parquet"))
        raise DataError(
            f"{choices.where}: {found:,} characters of usable text{why}, and {choices.least_characters:,} are needed. "
            "Add text, or lower corpus.minimum_bytes with --set."
        )
    beside = dict(choices.beside)
    if choices.lines is not None:
        beside["common"] = common_lines(road, texts, choices.lines)
    rules = choices.lines.model_dump() if choices.lines else None
    measuring = {"pii": list(choices.pii), "regions": list(choices.regions), "lines": rules}
    measuring |= {"with": list(beside)}
    measured = road.step(
        "measure", [road.unit("measure", "steps:annotate", [text, *beside.values()], groups=groups, **measuring) for text, groups in texts]
    )
    tables = every(measured, "attributes.parquet")
    splits = road.step("split", own=True, units=[road.unit("split", "steps:assign_splits", tables, **choices.split)])[0].files["splits.npy"]
    starts = places.offsets(tables)[:-1].tolist()
    judged = road.step(
        "judge",
        [
            road.unit("judge", "steps:judge", [table, signature, splits], first_row=start, **choices.judge)
            for table, signature, start in zip(tables, every(measured, "signatures.npy"), starts, strict=True)
        ],
    )
    order, left, decisions, links = find_copies(road, judged, starts, choices.copies)
    if choices.passages is not None:
        decisions["repeats"] = find_passages(road, texts, measured, judged, (order, left), choices.passages)
    selecting = {
        "with": list(decisions), "pii_mode": choices.pii_mode, "decontamination": choices.decontamination, "seed": choices.seed,
        "least_words": choices.least_words,
    }  # fmt: skip
    selected = [
        road.unit(
            "select", "selection:select",
            [text, known.files["attributes.parquet"], said.files["judged.parquet"], splits, *decisions.values()],
            first_row=start, file=number, groups=groups, **selecting,
        )
        for number, ((text, groups), known, said, start) in enumerate(zip(texts, measured, judged, starts, strict=True))
    ]  # fmt: skip
    return Gathered(read, measured, road.step("select", selected), links, road.costs)


def reasons_of(refused: Sequence[str]) -> str:
    """The commonest reasons why records gave no document, for the end of a sentence; empty when there was no record."""
    rules: Counter[str] = Counter()
    for url in refused:
        with storage.open_ranges(url) as stream:
            rules.update(pq.read_table(stream, columns=["rule"])["rule"].to_pylist())
    return f" (dropped: {', '.join(f'{count} × {rule}' for rule, count in rules.most_common(4))})" if rules else ""


def slices(read: Sequence[Done]) -> list[tuple[str, tuple[int, int]]]:
    """The documents in parts of about ``SLICE`` characters: a file, and from which of its row groups up to which."""
    found = []
    for done in read:
        start, size = 0, 0
        for number, (_, characters) in enumerate(done.facts["groups"]):
            if size and size + characters > SLICE:
                found.append((done.files["documents.parquet"], (start, number)))
                start, size = number, 0
            size += characters
        if size:
            found.append((done.files["documents.parquet"], (start, len(done.facts["groups"]))))
    return found


def common_lines(road: Road, texts: Sequence[tuple[str, tuple[int, int]]], rules: lines.LineRules) -> str:
    """The lines that hosts put on their pages."""
    config = {"lines": rules.model_dump(), "buckets": 16}
    counted = road.step("count lines", [road.unit("lines", "steps:count_lines", [text], groups=groups, **config) for text, groups in texts])
    return road.step("common lines", [road.unit("lines", "steps:common_lines", every(counted, "lines.parquet"), **config)])[0].files[
        "common.parquet"
    ]


def find_copies(
    road: Road, judged: Sequence[Done], starts: Sequence[int], rules: copies.CopyRules
) -> tuple[Done, str, dict[str, str], list[Done]]:
    """Order, who is left, the decisions on copies in buckets by file, and the units that linked near copies."""
    ranked, signatures = every(judged, "ranked.parquet"), every(judged, "signatures.npy")
    offsets = places.offsets(ranked)
    total = int(offsets[-1])
    (order,) = road.step("order", own=True, units=[road.unit("order", "copying:order", ranked, keep=list(rules.keep), memory_mb=MEMORY_MB)])
    spared, held_out = order.files[SPARED], order.files[HELD_OUT]
    (left,) = road.step("copies", own=True, units=[road.unit("left", "copying:leave", [], total=total, goes_on=False)])
    found: dict[str, str] = {}
    kinds: list[tuple[str, float]] = []
    links: list[Done] = []
    for kind in ("exact", *(["address"] if rules.address else []), *(["near"] if rules.near else [])):
        buckets = max(1, total * (14 if kind == "near" else 1) // BUCKET_ROWS)
        config = {"kind": kind, "scope": rules.scope, "buckets": buckets}
        beside = [order.files[places.PLACES], left.files["left.npy"]]
        maps = [
            road.unit("keys", "copying:keys", [table, signature, *beside], start=int(start), **config)
            for table, signature, start in zip(ranked, signatures, offsets[:-1].tolist(), strict=True)
        ]  # fmt: skip
        keys = every(road.step(f"{kind} copies", maps), "keys.parquet")
        if kind == "near":
            inputs = [held_out, order.files[places.ROWS], *signatures, *keys]
            near = {"least": rules.near, "files": len(signatures), "starts": offsets.tolist()}
            links = road.step("near copies", [road.unit("links", "copying:link", inputs, bucket=n, **near) for n in range(buckets)])
            gone = road.step("near copies", [road.unit("settle", "copying:settle", [spared, *every(links, "links.parquet")])])
        else:
            inputs = [spared, held_out, *keys]
            gone = road.step(f"{kind} copies", [road.unit("same", "copying:same", inputs, bucket=n) for n in range(buckets)])
        for done in gone:
            found[f"{kind} {len(found)}"] = done.files["copies.parquet"]
            kinds.append((kind, rules.near if kind == "near" and rules.near else 1.0))
        after = [left.files["left.npy"], *every(gone, "copies.parquet")]
        (left,) = road.step("copies", own=True, units=[road.unit("left", "copying:leave", after, total=total, goes_on=True)])
    inputs = [order.files[places.IDS], order.files["corpus_rows.npy"], *found.values()]
    (decided,) = road.step("copies", own=True, units=[road.unit("decide", "copying:decide", inputs, kinds=kinds, starts=list(starts))])
    return order, left.files["left.npy"], {"copies": decided.files["decisions.parquet"]}, links


def find_passages(
    road: Road,
    texts: Sequence[tuple[str, tuple[int, int]]],
    measured: Sequence[Done],
    judged: Sequence[Done],
    ordered: tuple[Done, str],
    rules: substrings.PassageRules,
) -> str:
    """The places of repeated passages in buckets by file."""
    order, left = ordered
    tables = every(measured, "attributes.parquet")
    starts = places.offsets(tables).tolist()
    config = {"documents": starts.pop(), "shard_bytes": rules.shard_bytes}
    inputs = [order.files["corpus_rows.npy"], left, *every(judged, "ranked.parquet")]
    (shards,) = road.step("passages", own=True, units=[road.unit("shards", "passages:shard", inputs, **config)])
    count = int(shards.facts["shards"])
    sent = [
        road.unit("texts", "passages:send", [text, table, shards.files["shards.npy"]], groups=groups, first_row=start, shards=count)
        for (text, groups), table, start in zip(texts, tables, starts, strict=True)
    ]
    inputs = every(road.step("passages", sent), "texts.parquet")
    found = road.step("passages", [road.unit("spans", "passages:search", inputs, bucket=n, least=rules.least) for n in range(count)])
    (routed,) = road.step("passages", own=True, units=[road.unit("spans", "passages:route", every(found, "spans.parquet"), starts=starts)])
    return routed.files["spans.parquet"]
