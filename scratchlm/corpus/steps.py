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
from scratchlm.corpus import copies, cuts, decontaminate, lines, minhash, split
from scratchlm.corpus.runs import documents_in
from scratchlm.corpus.schema import ATTRIBUTES, JUDGED, MEASURE, RANKED
from scratchlm.corpus.shown import Mask
from scratchlm.privacy import pii
from scratchlm.rules import blocklist, classifier, filters, language, profiles, words
from scratchlm.sources import record
from scratchlm.sources.found import Number
from scratchlm.units.desk import Desk

Facts = Mapping[str, Any]
Row = dict[str, Any]


def documents(desk: Desk, groups: Sequence[int]) -> Iterator[list[Document]]:
    """The documents of the unit's first input, from one of its row groups up to another, in batches."""
    return documents_in(desk, desk.inputs[0], groups)


def annotate(desk: Desk, config: Facts) -> Facts:
    """Everything that is known of each document of a file: one row of ``ATTRIBUTES`` for each, and its signature.

    Inputs: the documents; then, as ``config["with"]`` names them in order, common lines, eval n-grams, a classifier.
    """
    tools = Tools.open(desk, config)
    signatures, sampled = [], 0
    with pq.ParquetWriter(desk.path("attributes.parquet"), ATTRIBUTES, compression="zstd", compression_level=3) as out:
        for batch in documents(desk, config["groups"]):
            batch, rows = measured(desk, tools, batch)
            substances = [
                minhash.substance(cuts.apply(d.text, spans_of(row["cuts"])), kind_of(d)) for d, row in zip(batch, rows, strict=True)
            ]
            sampled += sum(len(document.text) > words.MEASURED for document in batch)
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
    return {"documents": sum(map(len, signatures)), "sampled": sampled}


def measured(desk: Desk, tools: "Tools", batch: Sequence[Document]) -> tuple[list[Document], list[Row]]:
    """The batch and its rows; a document that two workers died on counts as quarantined, and as empty in everything that is measured."""
    documents, rows = [], []
    for document, spans in zip(batch, tools.boilerplate(batch), strict=True):
        is_lost = not desk.at(str(document.facts["locator"]))
        documents.append(replace(document, text="") if is_lost else document)
        row = tools.row(documents[-1], [] if is_lost else spans)
        rows.append(row | {"n_chars": len(document.text), "quarantined": is_lost})
    desk.at("")
    return documents, rows


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
        quality = classifier.load(Path(desk.local(given["quality"]))) if "quality" in given else None
        return cls(config, common, evals, quality)

    def boilerplate(self, batch: Sequence[Document]) -> list[list[cuts.Span]]:
        """For each document the lines to cut."""
        if self.common is None:
            return [[] for _ in batch]
        asked = ((d.id, site_of(d), d.text, structure_of(d)) for d in batch)
        found = dict(lines.found_in(asked, self.common["key"].to_numpy(), lines.LineRules(**self.config["lines"])))
        return [found.get(document.id, []) for document in batch]

    def row(self, document: Document, spans: list[cuts.Span]) -> Row:
        """One document's row, but for what its substance says."""
        facts, given = document.facts, language.canonical(str(document.facts.get("lang") or ""))
        text = cuts.apply(document.text, spans)
        score = facts.get("lang_score")  # of a row of a data set; at rest in single precision
        said = (given, 1.0 if score is None else round(float(score), 4))
        lang, sure = language.identify(text) if given == language.UNKNOWN else said
        cut = replace(document, text=text, facts={**facts, "lang_score": sure, "structure": moved(structure_of(document), spans)})
        profile = profiles.of(cut, lang)
        private = self._private(text)
        mask = Mask(self.config["pii"], self.config["regions"]).knowing(text, private)
        own = {name: facts.get(name) for name in ("locator", "host", "doc_type", "score", "fetched_at")}
        page = copies.address(str(facts.get("url") or "")) if kind_of(document) == "web" else None
        return {
            "doc_id": document.id, "source": document.source, **own, "parents": json.loads(str(facts.get("parents") or "[]")),
            "lang": lang, "lang_score": sure, "profile": profile.name, "limits": json.dumps(dict(profile.limits)),
            "n_chars": len(document.text), "n_words": len(document.text.split()),
            **{MEASURE + rule: value for rule, value in filters.values(cut, lang).items()},
            "quality": self.quality.score(cut.text) if self.quality else None,
            "url": mask.address(str(facts["url"])) if facts.get("url") else None,
            "named": record.digest(str(facts.get("title")).rpartition(".")[2]), "address": record.digest(page) if page else None,
            "cuts": [{"op": lines.OP, "start": start, "end": end} for start, end in spans],
            "pii": [{"op": span.kind, "start": span.start, "end": span.end} for span in private],
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
    signatures = desk.array(desk.inputs[1])[:]
    blocked = blocklist.read([Path(desk.local(url)) for url in desk.inputs[3:]])
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

    if row["quarantined"]:
        refuse("measure", "quarantined", "workers died on it twice")
    if reason := blocked.reason(row["url"]):
        refuse("blocklist", "blocked address", reason)
    wanted = [language.canonical(code) for code in config["languages"] or ()]
    if wanted and row["lang"] not in wanted and row["profile"].partition("/")[0] not in profiles.LANGUAGE_FREE:
        refuse("language", "other language", f"it is in '{row['lang']}', wanted are {', '.join(wanted)}", row["lang_score"])
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
    columns = ["doc_id", "doc_type", "host", "n_chars", "parents"]
    found = split.assign(
        lambda: (desk.table(url, columns) for url in desk.inputs), **{n: config[n] for n in ("pinned", "fractions", "seed")}
    )
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


def edit_counts(edits: Sequence[Row]) -> list[Row]:
    """Places and characters taken away by each kind of edit."""
    places: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    for edit in edits:
        places[edit["op"]] += 1
        characters[edit["op"]] += edit["end"] - edit["start"] - len(edit["repl"])
    return [{"op": op, "places": places[op], "characters": characters[op]} for op in sorted(places)]
