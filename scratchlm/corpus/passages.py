"""Repeated passages as map and reduce: texts travel to shards in the order of preference, the places to cut travel back to the files."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.corpus import cuts, substrings
from scratchlm.corpus.selection import back
from scratchlm.corpus.steps import documents, moved, spans_of, structure_of
from scratchlm.units.desk import Desk
from scratchlm.units.shuffle import read_bucket, write_buckets

Facts = Mapping[str, Any]
BLOCK = pa.list_(pa.struct([("kind", pa.string()), ("start", pa.int64()), ("end", pa.int64())]))
TEXTS = pa.schema(
    [
        ("place", pa.int64()),
        ("row", pa.int64()),
        ("doc_id", pa.string()),
        ("text", pa.large_string()),
        ("structure", BLOCK),
        ("cuts", pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64())]))),
    ]
)
SPANS = pa.schema([("row", pa.int64()), ("doc_id", pa.string()), ("op", pa.string()), ("start", pa.int64()), ("end", pa.int64())])
WIDEST = 4
"""Bytes of a character at most."""


def shard(desk: Desk, config: Facts) -> Facts:
    """The shard of each document that is left, by its row in the corpus, and its place; -1 for the others.

    Inputs: rows and who is left by place, then the ranked documents of all files.
    """
    rows, left = desk.array(desk.inputs[0]), desk.array(desk.inputs[1])
    size = np.zeros(int(config["documents"]), np.int64)
    for url in desk.inputs[2:]:
        table = desk.table(url, ["row", "characters"])
        size[table["row"].to_numpy()] = table["characters"].to_numpy()
    own = np.asarray(rows[left])
    most = int(config["shard_bytes"]) // WIDEST
    shards = substrings.shards(size[own].tolist(), most)
    found = np.full((2, len(size)), -1, np.int64)
    for number, part in enumerate(shards):
        found[0, own[part]] = number
    found[1, own] = np.flatnonzero(left)
    np.save(desk.path("shards.npy"), found)
    return {"shards": len(shards)}


def send(desk: Desk, config: Facts) -> Facts:
    """Map: the texts of a file without their common lines, in buckets by shard. Inputs: documents, attributes, shards."""
    found = desk.array(desk.inputs[2])
    cut = desk.table(desk.inputs[1], ["cuts"])["cuts"].to_pylist()
    number, rows = 0, []
    for batch in documents(desk, config["groups"]):
        for document in batch:
            row = int(config["first_row"]) + number
            if found[0, row] >= 0:
                spans = spans_of(cut[number])
                text, structure = cuts.apply(document.text, spans), json.loads(moved(structure_of(document), spans))
                row_cuts = [{"start": start, "end": end} for start, end in spans]
                names = (int(found[1, row]), row, document.id, text, structure, row_cuts)
                rows.append(dict(zip(TEXTS.names, names, strict=True)))
            number += 1
    table = pa.Table.from_pylist(rows, schema=TEXTS)
    write_buckets(desk.path("texts.parquet"), table, np.asarray(found[0])[table["row"].to_numpy()], int(config["shards"]))
    return {"documents": len(rows)}


def search(desk: Desk, config: Facts) -> Facts:
    """Reduce: what of the documents of one shard stands in a more preferred one, or earlier in the same. Inputs: texts of all files."""
    table = read_bucket(desk.inputs, config["bucket"]).sort_by("place")
    found, stepped = substrings.passages(table["text"].to_pylist(), table["structure"].to_pylist(), int(config["least"]))
    rows = []
    about = zip(table["row"].to_pylist(), table["doc_id"].to_pylist(), table["cuts"].to_pylist(), found, strict=True)
    for row, doc_id, cut, spans in about:
        common = spans_of(cut)
        ends = ((back(start, common, False), back(end, common, True)) for start, end in spans)
        rows += [{"row": row, "doc_id": doc_id, "op": substrings.OP, "start": start, "end": end} for start, end in ends]
    pq.write_table(pa.Table.from_pylist(rows, schema=SPANS), desk.path("spans.parquet"), compression="zstd")
    return {"spans": len(rows), "blocks_in_the_way": stepped}


def route(desk: Desk, config: Facts) -> Facts:
    """The spans of all shards in buckets by file."""
    table = pa.concat_tables([SPANS.empty_table(), *(desk.table(url) for url in desk.inputs)]).sort_by(
        [("row", "ascending"), ("start", "ascending")]
    )
    starts = np.array(config["starts"], dtype=np.int64)
    write_buckets(desk.path("spans.parquet"), table, np.searchsorted(starts, table["row"].to_numpy(), side="right") - 1, len(starts))
    return {"spans": len(table)}
