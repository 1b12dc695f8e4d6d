"""The last step for a file of documents: what was decided is done to the texts, and told of every document."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.core import seeds
from scratchlm.core.records import Document
from scratchlm.corpus import cuts, decontaminate, lines
from scratchlm.corpus.schema import VERDICTS, dropped_row
from scratchlm.corpus.shown import Mask, context
from scratchlm.corpus.split import SPLITS
from scratchlm.corpus.steps import Row, documents, edit_counts, spans_of
from scratchlm.privacy import pii
from scratchlm.sources import record
from scratchlm.sources.found import EXCERPT
from scratchlm.units.desk import Desk

NOTHING_LEFT = "nothing left"
KNOWN = ("doc_id", "source", "host", "lang", "lang_score", "profile", "locator", "cuts", "pii", "hits", "quarantined")


def select(desk: Desk, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write ``train``, ``validation``, ``test``, ``dropped`` and ``verdicts`` of one file.

    Inputs: documents, attributes, judged, splits of all rows; then, as ``config["with"]`` names them, decisions on copies and cuts.
    """
    attributes = desk.table(desk.inputs[1], list(KNOWN))
    judged = desk.table(desk.inputs[2])
    first = int(config["first_row"])
    splits = desk.array(desk.inputs[3])[first : first + len(judged)]
    given = dict(zip(config["with"], desk.inputs[4:], strict=True))
    gone = {row["row"]: row for row in desk.table(given["copies"]).to_pylist()}
    repeats = repeated(desk.table(given["repeats"]).to_pylist()) if "repeats" in given else {}
    writer = Writer(desk, config)
    row = 0
    for batch in documents(desk, config["groups"]):
        facts = zip(batch, attributes.slice(row, len(batch)).to_pylist(), judged.slice(row, len(batch)).to_pylist(), strict=True)
        for place, (document, known, said) in enumerate(facts, row):
            cause = said if said["rule"] else gone.get(first + place)
            writer.write(document, known, said["failing"], cause, SPLITS[splits[place]], repeats.get(document.id, []))
        row += len(batch)
    return writer.close()


def repeated(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Spans to cut by the document's id."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["doc_id"], []).append(row)
    return found


class Writer:
    """The outputs of a file while they are written."""

    def __init__(self, desk: Desk, config: Mapping[str, Any]) -> None:
        self._config = config
        self._kept = {split: record.Writer(desk.path(f"{split}.parquet")) for split in SPLITS}
        self._dropped = record.DroppedWriter(desk.path("dropped.parquet"))
        self._verdicts: list[Row] = []
        self._out = desk.path("verdicts.parquet")
        self._counts = dict.fromkeys(SPLITS, 0) | {"dropped": 0, "characters": 0}

    def write(self, document: Document, known: Row, failing: list[str], cause: Row | None, split: str, repeats: list[Row]) -> None:
        """One document: into its split as it is to be learned from, or among the dropped; and its verdict."""
        edited, edits = apply(document, known, repeats, self._config)
        left = len(edited.text.split())
        if cause is None and left < max(1, self._config["least_words"]):
            reason = f"{left} words are left after {len(edits)} cuts"
            cause = {"stage": "cut", "rule": NOTHING_LEFT, "reason": reason, "value": left, "threshold": self._config["least_words"]}
        verdict: Row = {name: known[name] for name in ("doc_id", "source", "host", "lang", "profile", "locator")}
        verdict |= {"n_chars": len(document.text), "kept_chars": 0, "kept_bytes": 0, "failing": failing, "edits": [], "times": 0}
        # Nobody looked for private values in a text that workers died on.
        verdict |= {"excerpt": None if known["quarantined"] else edited.text[:EXCERPT], "masked": []}
        if cause is None:
            self._kept[split].write(replace(edited, facts=self._facts(document, edited, known)))
            sizes = {"kept_chars": len(edited.text), "kept_bytes": len(edited.text.encode())}
            verdict |= {"split": split, "times": 1, "edits": edit_counts(edits), "masked": masked(edited.text, edits), **sizes}
            self._counts[split] += 1
            self._counts["characters"] += len(edited.text)
        else:
            verdict |= {name: cause.get(name) for name in ("stage", "rule", "reason", "value", "threshold", "dup_of", "cluster")}
            self._dropped.write(dropped_row(verdict))
            self._counts["dropped"] += 1
        self._verdicts.append(verdict)

    def _facts(self, document: Document, edited: Document, known: Row) -> Row:
        """What is told of a document beside its text, without its private values."""
        text = cuts.apply(document.text, spans_of(known["cuts"]))
        mask = Mask(self._config["pii"], self._config["regions"]).knowing(text, private_in(known))
        return mask.facts(edited.facts) | {"lang": known["lang"], "lang_score": known["lang_score"]}

    def close(self) -> Mapping[str, Any]:
        """Finish the files; the counts."""
        for writer in self._kept.values():
            writer.close()
        table = pa.Table.from_pylist(self._verdicts, schema=VERDICTS)
        pq.write_table(table, self._out, compression="zstd", row_group_size=record.ROWS)
        self._dropped.close()
        return self._counts | {"documents": len(self._verdicts)}


def private_in(known: Row) -> list[pii.Span]:
    """The private values of a document, in places of its text without common lines."""
    return [pii.Span(row["start"], row["end"], row["op"]) for row in known["pii"]]


def masked(text: str, edits: Sequence[Row]) -> list[Row]:
    """Of each kind of private value the first, as it stands masked in the edited ``text``, with what is around it."""
    found: dict[str, str] = {}
    shift = 0
    for edit in edits:
        start = edit["start"] + shift
        if edit["stage"] == pii.STAGE and edit["op"] not in found:
            found[edit["op"]] = context(text, start, start + len(edit["repl"]))
        shift += len(edit["repl"]) - (edit["end"] - edit["start"])
    return [{"op": op, "shown": shown} for op, shown in sorted(found.items())]


def apply(document: Document, known: Row, repeats: Sequence[Row], config: Mapping[str, Any]) -> tuple[Document, list[Row]]:
    """The document with its cuts made and its private values replaced, and the list of edits in places of the text as it was read."""
    common = spans_of(known["cuts"])
    edits: list[Row] = [{"op": lines.OP, "start": start, "end": end, "repl": "", "stage": "cut"} for start, end in common]
    edits += [{"op": row["op"], "start": row["start"], "end": row["end"], "repl": "", "stage": "cut"} for row in repeats]
    text = cuts.apply(document.text, common)
    if config["decontamination"]["action"] == "cut":
        hit = cuts.merged((back(row["start"], common, False), back(row["end"], common, True)) for row in known["hits"])
        edits += [{"op": decontaminate.OP, "start": start, "end": end, "repl": "", "stage": "cut"} for start, end in hit]
    _, masks = pii.replace(text, private_in(known), config["pii_mode"], seeds.derive(config["seed"], "pii", document=document.id))
    edits += [edit | {"start": back(int(edit["start"]), common, False), "end": back(int(edit["end"]), common, True)} for edit in masks]
    edits = apart(edits)
    if not edits:
        return document, []
    earlier = json.loads(str(document.facts.get("edits") or "[]"))
    kept = parts(document.text, edits)
    facts = {**document.facts, "edits": json.dumps([*earlier, *edits], ensure_ascii=False)}
    if "structure" in facts:
        facts["structure"] = json.dumps(shifted(json.loads(str(facts["structure"])), edits))
    return replace(document, text=kept, facts=facts), edits


def back(at: int, spans: Sequence[cuts.Span], is_end: bool) -> int:
    """Where a place in the text without ``spans`` lies in the text with them; an end stays before a cut, a start goes behind it."""
    for start, end in spans:
        if at < start or (is_end and at == start):
            break
        at += end - start
    return at


def apart(edits: Sequence[Row]) -> list[Row]:
    """The edits in order; where two overlap, the one that starts first stands (of two the longer), and of the other what is behind it."""
    found: list[Row] = []
    for edit in sorted(edits, key=lambda edit: (edit["start"], -edit["end"])):
        start = max(edit["start"], found[-1]["end"] if found else 0)
        if start < edit["end"]:
            found.append(edit | {"start": start})
    return found


def parts(text: str, edits: Sequence[Row]) -> str:
    """The text with each edit done."""
    found, behind = [], 0
    for edit in edits:
        found += [text[behind : edit["start"]], edit["repl"]]
        behind = edit["end"]
    return "".join([*found, text[behind:]])


def shifted(structure: Sequence[Row], edits: Sequence[Row]) -> list[Row]:
    """The blocks as they lie after the edits; a block that was cut away is gone."""

    def place(at: int) -> int:
        shift = 0
        for edit in edits:
            if at < edit["end"]:
                return (edit["start"] + len(edit["repl"]) if at > edit["start"] else at) + shift
            shift += len(edit["repl"]) - (edit["end"] - edit["start"])
        return at + shift

    blocks = [block | {"start": place(block["start"]), "end": place(block["end"])} for block in structure]
    return [block for block in blocks if block["start"] < block["end"]]
