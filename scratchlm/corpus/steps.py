"""What is done to each file of documents: measure it, judge it, and at last write what stays.

Every function is work for a unit (``units/unit.py``): it reads files, writes files and returns counts. Documents are held in batches, so
memory does not grow with the file.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.core.records import Document
from scratchlm.corpus import blocklist, classifier, copies, cuts, decontaminate, filters, language, lines, minhash, pii, profiles, split
from scratchlm.corpus.places import bucket_of
from scratchlm.corpus.schema import ATTRIBUTES, JUDGED, MEASURE, RANKED
from scratchlm.sources import record
from scratchlm.sources.found import Number
from scratchlm.units.desk import Desk
from scratchlm.units.shuffle import read_bucket, write_buckets

BATCH = 1024
"""Documents in memory at a time."""
Facts = Mapping[str, Any]
Row = dict[str, Any]


def documents(desk: Desk, groups: Sequence[int]) -> Iterator[list[Document]]:
    """The documents of the unit's first input, from one of its row groups up to another, in batches."""
    with desk.ranges(desk.inputs[0]) as stream:
        yield from record.batches(stream, BATCH, range(*groups))


def annotate(desk: Desk, config: Facts) -> Facts:
    """Everything that is known of each document of a file: one row of ``ATTRIBUTES`` for each, and its signature.

    Inputs: the documents; then, as ``config["with"]`` names them in order, common lines, eval n-grams, a classifier's folder.
    """
    tools = Tools.open(desk, config)
    signatures = []
    with pq.ParquetWriter(desk.path("attributes.parquet"), ATTRIBUTES, compression="zstd", compression_level=3) as out:
        for batch in documents(desk, config["groups"]):
            rows = [tools.row(document, spans) for document, spans in zip(batch, tools.boilerplate(batch), strict=True)]
            substances = [
                minhash.substance(cuts.apply(d.text, spans_of(row["cuts"])), kind_of(d)) for d, row in zip(batch, rows, strict=True)
            ]
            signed, enough = minhash.sign(substances)
            signatures.append(signed)
            for row, substance, is_enough in zip(rows, substances, enough.tolist(), strict=True):
                row |= {
                    "substance_high": copies.text_key(substance)[0],
                    "substance_low": copies.text_key(substance)[1],
                    "enough": is_enough,
                }
            out.write_table(pa.Table.from_pylist(rows, schema=ATTRIBUTES))
    np.save(desk.path("signatures.npy"), np.concatenate([np.zeros((0, minhash.SLOTS), np.uint32), *signatures]))
    return {"documents": sum(map(len, signatures))}


@dataclass
class Tools:
    """What a file is measured with."""

    config: Facts
    common: pa.Table | None
    evals: decontaminate.Index | None
    quality: classifier.Classifier | None

    @classmethod
    def open(cls, desk: Desk, config: Facts) -> "Tools":
        """Read the inputs behind the documents."""
        given = dict(zip(config["with"], desk.inputs[1:], strict=True))
        common = desk.table(given["common"]) if "common" in given else None
        evals = decontaminate.Index.load(Path(desk.local(given["evals"]))) if "evals" in given else None
        quality = classifier.load(Path(desk.local(given["quality"])).parent) if "quality" in given else None
        return cls(config, common, evals, quality)

    def boilerplate(self, batch: Sequence[Document]) -> list[list[cuts.Span]]:
        """For each document the lines to cut."""
        if self.common is None:
            return [[] for _ in batch]
        asked = [(d.id, site_of(d), d.text, structure_of(d)) for d in batch]
        found = dict(lines.found_in(asked, self.common, lines.LineRules(**self.config["lines"])))
        return [found.get(document.id, []) for document in batch]

    def row(self, document: Document, spans: list[cuts.Span]) -> Row:
        """One document's row, but for what its substance says."""
        facts = document.facts
        given = str(facts.get("lang") or "")
        text = cuts.apply(document.text, spans)
        lang, sure = (given, float(facts.get("lang_score") or 1.0)) if given else language.identify(text)
        cut = replace(document, text=text, facts={**facts, "lang_score": sure, "structure": moved(structure_of(document), spans)})
        profile = profiles.of(cut, lang)
        named = f"{str(facts.get('title')).rpartition('.')[2]}"
        own = {name: facts.get(name) for name in ("locator", "url", "host", "doc_type", "score", "fetched_at")}
        return {
            "doc_id": document.id, "source": document.source, **own, "parents": json.loads(str(facts.get("parents") or "[]")),
            "lang": lang, "lang_score": sure, "profile": profile.name, "limits": json.dumps(dict(profile.limits)),
            "n_chars": len(document.text), "n_words": len(document.text.split()), "named": named,
            **{MEASURE + rule: value for rule, value in filters.values(cut, lang).items()},
            "quality": self.quality.score(cut.text) if self.quality else None,
            "address": copies.address(str(facts["url"])) if kind_of(document) == "web" and facts.get("url") else None,
            "cuts": [{"op": lines.OP, "start": start, "end": end} for start, end in spans],
            "pii": [{"op": span.kind, "start": span.start, "end": span.end} for span in self._private(cut.text)],
            "hits": self._hits(cut.text),
        }  # fmt: skip

    def _private(self, text: str) -> list[pii.Span]:
        return pii.find(text, self.config["pii"], regions=self.config["regions"]) if self.config["pii"] else []

    def _hits(self, text: str) -> list[Row]:
        if self.evals is None:
            return []
        return [{"set": hit.set, "item": hit.item, "start": hit.start, "end": hit.end, "kind": hit.kind} for hit in self.evals.hits(text)]


def judge(desk: Desk, config: Facts) -> Facts:
    """What each rule says of each document: a row of ``JUDGED`` for each; for those that stay a row of ``RANKED`` and the signature."""
    attributes, splits = desk.table(desk.inputs[0]), desk.array(desk.inputs[2])
    signatures = desk.array(desk.inputs[1])
    blocked = blocklist.read(map(Path, config["blocklists"]))
    judged = [verdict(row, config, blocked) for row in attributes.to_pylist()]
    pq.write_table(pa.Table.from_pylist(judged, schema=JUDGED), desk.path("judged.parquet"), compression="zstd")
    stays = np.array([row["rule"] is None for row in judged], dtype=np.bool_)
    first = int(config["first_row"])
    ranked = attributes.filter(pa.array(stays))
    held_out = splits[first : first + len(stays)][stays] > 0
    pinned = np.isin(ranked["host"].to_pylist(), list(config["pinned"]))
    own = {"row": np.flatnonzero(stays) + first, "held_out": held_out, "pinned": pinned, "characters": ranked["n_chars"]}
    table = pa.table({n: own[n] if n in own else ranked[n] for n in RANKED.names}, schema=RANKED)
    pq.write_table(table, desk.path("ranked.parquet"), compression="zstd")
    np.save(desk.path("signatures.npy"), signatures[stays])
    return {"documents": len(judged), "left": int(stays.sum())}


def verdict(row: Row, config: Facts, blocked: blocklist.Blocklist) -> Row:
    """The first reason for which a document goes, and the names of all of them."""
    found: list[Row] = []

    def refuse(stage: str, rule: str, reason: str, value: Number | None = None, threshold: Number | None = None) -> None:
        found.append({"stage": stage, "rule": rule, "reason": reason, "value": value, "threshold": threshold})

    if reason := blocked.reason(row["url"]):
        refuse("blocklist", "blocked address", reason)
    if config["languages"] and row["lang"] not in config["languages"] and row["profile"].partition("/")[0] not in profiles.LANGUAGE_FREE:
        refuse("language", "other language", f"it is in '{row['lang']}', wanted are {', '.join(config['languages'])}", row["lang_score"])
    profile = profiles.Profile(row["profile"], json.loads(row["limits"]))
    values = {name: row[MEASURE + name] for name in filters.RULES}
    for refusal in filters.failing(values, profile, config["thresholds"]):
        refuse("filter", refusal.rule, refusal.reason, refusal.value, refusal.limit)
    if config["quality"] is not None and row["quality"] is not None and row["quality"] < config["quality"]:
        refuse("classifier", "poor quality", f"{row['quality']:.2f} of 1 like the good examples", row["quality"], config["quality"])
    if caught := decontaminate.refusal(row["hits"], row["n_chars"], config["decontamination"]):
        refuse("contamination", "eval item", caught.reason, caught.value, caught.threshold)
    first: Row = found[0] if found else {}
    return {"doc_id": row["doc_id"], **first, "rule": first.get("rule"), "failing": [each["rule"] for each in found]}


def assign_splits(desk: Desk, config: Facts) -> Facts:
    """The split of every document of the corpus, by its row: a place in ``SPLITS``. Inputs: all attributes."""
    names = {"doc_id": "doc_id", "host": "group", "n_chars": "characters", "parents": "parents"}
    tables = [desk.table(url, list(names)).select(list(names)).rename_columns(list(names.values())) for url in desk.inputs]
    rows = pa.concat_tables([split.ROWS.empty_table(), *(table.cast(split.ROWS) for table in tables)])
    found = split.assign_rows(rows, fractions=config["fractions"], pinned=config["pinned"], seed=config["seed"])
    np.save(desk.path("splits.npy"), found)
    return {"documents": len(found), **{name: int((found == code).sum()) for code, name in enumerate(split.SPLITS)}}


def spans_of(rows: Sequence[Row]) -> list[cuts.Span]:
    """Spans without what they are for."""
    return [(row["start"], row["end"]) for row in rows]


def structure_of(document: Document) -> list[Row]:
    """The blocks that the reader marked."""
    return json.loads(str(document.facts.get("structure") or "[]"))


def moved(structure: Sequence[Row], spans: Sequence[cuts.Span]) -> str:
    """The blocks as they lie once ``spans`` are cut out of the text."""
    starts = np.array([start for start, _ in spans], dtype=np.int64)
    gone = np.concatenate([[0], np.cumsum([end - start for start, end in spans])]).astype(np.int64)

    def place(at: int) -> int:
        before = int(np.searchsorted(starts, at, side="right"))
        over = max(0, spans[before - 1][1] - at) if before else 0
        return at - int(gone[before]) + over

    return json.dumps([block | {"start": place(block["start"]), "end": place(block["end"])} for block in structure])


def site_of(document: Document) -> str | None:
    """The host of a web page; other documents of one group share lines because they are about one thing."""
    return str(document.facts["host"]) if kind_of(document) == "web" and document.facts.get("host") else None


def kind_of(document: Document) -> str:
    """What kind of text it is."""
    return str(document.facts.get("doc_type"))


def count_lines(desk: Desk, config: Facts) -> Facts:
    """For each host and line of a file the number of its documents, in buckets by line."""
    rules = lines.LineRules(**config["lines"])
    parts = [
        lines.counted([site_of(d) for d in batch], [d.text for d in batch], [structure_of(d) for d in batch], rules)
        for batch in documents(desk, config["groups"])
    ]
    counts = lines.summed(parts)
    write_buckets(desk.path("lines.parquet"), counts, bucket_of(counts["line"].to_numpy(), config["buckets"]), config["buckets"])
    return {"lines": len(counts)}


def common_lines(desk: Desk, config: Facts) -> Facts:
    """The lines that hosts put on their pages, from the counts of all files, bucket by bucket."""
    rules = lines.LineRules(**config["lines"])
    sums = (lines.summed([read_bucket(desk.inputs, bucket)]) for bucket in range(config["buckets"]))
    kept, sizes = [], None
    for counts in sums:  # line 0, which counts documents, lies in the first bucket
        if sizes is None:
            sizes = counts.filter(pa.array(counts["line"].to_numpy() == 0)).sort_by("host")
        kept.append(lines.boilerplate(counts, sizes, rules))
    table = pa.concat_tables([lines.COUNTS.empty_table(), *kept])
    pq.write_table(table, desk.path("common.parquet"), compression="zstd")
    return {"lines": len(table)}


def edit_counts(edits: Sequence[Row]) -> list[Row]:
    """Places and characters taken away by each kind of edit."""
    places: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    for edit in edits:
        places[edit["op"]] += 1
        characters[edit["op"]] += edit["end"] - edit["start"] - len(edit["repl"])
    return [{"op": op, "places": places[op], "characters": characters[op]} for op in sorted(places)]
