"""Copies as map and reduce over files: the order of preference, then exact copies, one web address, near copies; each from who is left.

Every function is work for a unit. What all of them share is a set of arrays by place (``places.py``): ids, rows, and who is pinned or
held out. Buckets keep a reduce small; only ``settle`` walks over all links, in blocks.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.corpus import copies, places
from scratchlm.corpus.schema import DECISIONS
from scratchlm.units.desk import Desk
from scratchlm.units.shuffle import read_bucket, write_buckets

Facts = Mapping[str, Any]
FOUND = pa.schema([(name, pa.int64()) for name in ("place", "of", "cluster", "size")] + [("value", pa.float32())])
SPARED, HELD_OUT = "spared.npy", "held_out.npy"
BLOCK = 2**18
"""Links that are settled at a time."""


def order(desk: Desk, config: Facts) -> Facts:
    """The place of every document that is left, and by place its id, its row in the corpus, and whether it is pinned or held out."""
    files = [desk.local(url) for url in desk.inputs]
    total = places.order(files, desk.path, tuple(config["keep"]), memory_mb=config["memory_mb"])
    place_of = np.load(desk.path(places.PLACES), mmap_mode="r")
    columns = {"pinned": np.zeros(total, np.bool_), "held_out": np.zeros(total, np.bool_), "row": np.zeros(total, np.int64)}
    for file, start in zip(files, places.offsets(files)[:-1].tolist(), strict=True):
        table = pq.read_table(file, columns=list(columns))
        own = place_of[start : start + len(table)]
        for name, column in columns.items():
            column[own] = table[name].to_numpy()
    np.save(desk.path(SPARED), columns["pinned"])
    np.save(desk.path(HELD_OUT), columns["held_out"])
    np.save(desk.path("corpus_rows.npy"), columns["row"])
    return {"documents": total}


def keys(desk: Desk, config: Facts) -> Facts:
    """Map: the rows of one file that a kind of copy is sought by, in buckets. Inputs: ranked, its signatures, places, who is left."""
    table, start = desk.table(desk.inputs[0]), int(config["start"])
    place = desk.array(desk.inputs[2])[start : start + len(table)]
    left = desk.array(desk.inputs[3])[place]
    table, place = table.filter(pa.array(left)), place[left]
    scopes = copies.scope_keys(table, config["scope"])
    if config["kind"] == "near":
        signatures = desk.array(desk.inputs[1])[left]
        rows = copies.banded(signatures, table["enough"].to_numpy(), place, scopes)
    else:
        rows = exact_rows(table, place, scopes) if config["kind"] == "exact" else address_rows(table, place, scopes)
    write_buckets(desk.path("keys.parquet"), rows, places.bucket_of(rows["key"].to_numpy(), config["buckets"]), config["buckets"])
    return {"documents": len(place)}


def exact_rows(table: pa.Table, place: np.ndarray, scopes: np.ndarray) -> pa.Table:
    """A row for each document: both halves of the hash of what it says."""
    high, low = (table[name].to_numpy() for name in ("substance_high", "substance_low"))
    return pa.table({"key": high, "check": low, "scope": scopes, "apart": copies.word_keys(table["named"].to_pylist()), "place": place})


def address_rows(table: pa.Table, place: np.ndarray, scopes: np.ndarray) -> pa.Table:
    """A row for each document that has a web address."""
    known = [address for address in table["address"].to_pylist() if address is not None]
    has = np.array([address is not None for address in table["address"].to_pylist()], dtype=np.bool_)
    hashed = [copies.text_key(address) for address in known]
    key, check = (np.array([pair[side] for pair in hashed], dtype=np.uint64) for side in (0, 1))
    return pa.table({"key": key, "check": check, "scope": scopes[has], "apart": key, "place": place[has]})


def same(desk: Desk, config: Facts) -> Facts:
    """Reduce: exact copies, or documents of one web address, in one bucket. Inputs: pinned, held out, then keys of all files."""
    spared, held_out = (desk.array(url) for url in desk.inputs[:2])
    found = copies.same(read_bucket(desk.inputs[2:], config["bucket"]), spared=spared, held_out=held_out)
    write(desk, found)
    return {"copies": len(found.place)}


def link(desk: Desk, config: Facts) -> Facts:
    """Reduce: pairs of similar documents in one bucket. Inputs: held out, rows, then signatures of all files, then keys of all files."""
    files = int(config["files"])
    held_out, rows = desk.array(desk.inputs[0]), desk.array(desk.inputs[1])
    stored = places.stored([desk.local(url) for url in desk.inputs[2 : 2 + files]], np.array(config["starts"], dtype=np.int64), rows)
    found, crowd = copies.links(read_bucket(desk.inputs[2 + files :], config["bucket"]), stored, least=config["least"], held_out=held_out)
    pq.write_table(found, desk.path("links.parquet"), compression="zstd")
    return {"links": len(found), "crowded_buckets": crowd.buckets, "largest_bucket": crowd.largest, "pairs_left_out": crowd.skipped}


def settle(desk: Desk, config: Facts) -> Facts:
    """Which near copies go. Inputs: pinned, then the links of all buckets."""
    spared = desk.array(desk.inputs[0])
    merged = desk.path("all_links.parquet")
    pq.write_table(copies.joined([desk.table(url) for url in desk.inputs[1:]]), merged, compression="zstd")
    found = copies.settle(lambda: _blocks(merged), len(spared), spared=np.asarray(spared))
    write(desk, found)
    return {"copies": len(found.place)}


def _blocks(path: Any) -> Iterator[pa.Table]:
    """The links in blocks, all of one document in one block."""
    rest = copies.LINKS.empty_table()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BLOCK):
            table = pa.concat_tables([rest, pa.Table.from_batches([batch])])
            place = table["place"].to_numpy()
            border = int(np.searchsorted(place, place[-1]))
            yield table.slice(0, border)
            rest = table.slice(border)
    yield rest


def write(desk: Desk, found: copies.Copies) -> None:
    """The copies that one bucket, or the end, has."""
    table = pa.table({name: getattr(found, name) for name in FOUND.names}, schema=FOUND)
    pq.write_table(table, desk.path("copies.parquet"), compression="zstd")


def leave(desk: Desk, config: Facts) -> Facts:
    """Who is left by place, once the copies of a kind are gone. Inputs: who was left (none at the start), copies of all buckets."""
    total = int(config["total"])
    left = desk.array(desk.inputs[0]).copy() if config["goes_on"] else np.ones(total, np.bool_)
    for url in desk.inputs[1 if config["goes_on"] else 0 :]:
        left[desk.table(url, ["place"])["place"].to_numpy()] = False
    np.save(desk.path("left.npy"), left)
    return {"documents": int(left.sum())}


def decide(desk: Desk, config: Facts) -> Facts:
    """All copies as ``DECISIONS``, in buckets by the file of the document. Inputs: ids and rows by place, then the copies of each kind.

    ``config["kinds"]``: for each further input its kind and limit; ``config["starts"]``: the first row of each file.
    """
    ids, rows = (desk.array(url) for url in desk.inputs[:2])
    parts = [DECISIONS.empty_table()]
    for url, (kind, limit) in zip(desk.inputs[2:], config["kinds"], strict=True):
        parts.append(_decided(desk.table(url), kind, limit, ids, rows))
    table = pa.concat_tables(parts).sort_by("row")
    starts = np.array(config["starts"], dtype=np.int64)
    write_buckets(desk.path("decisions.parquet"), table, np.searchsorted(starts, table["row"].to_numpy(), side="right") - 1, len(starts))
    return {"copies": len(table)}


def _decided(found: pa.Table, kind: str, limit: float, ids: np.ndarray, rows: np.ndarray) -> pa.Table:
    place, of, cluster = (found[name].to_numpy() for name in ("place", "of", "cluster"))
    value = found["value"].to_numpy().astype(np.float64)
    reasons = {"exact": "the same text as another document", "address": "the web address of another document"}
    said = [reasons.get(kind) or f"about {share:.0%} of its phrases stand in another document" for share in value.tolist()]
    names = {"dup_of": ids[of].astype("U32"), "cluster": ids[cluster].astype("U32")}
    words = {"stage": pa.repeat(kind, len(place)), "rule": pa.repeat(f"{kind} copy", len(place)), "reason": pa.array(said, pa.string())}
    numbers = {"row": rows[place], "value": value, "threshold": np.full(len(place), limit)}
    return pa.table(words | names | numbers).select(DECISIONS.names).cast(DECISIONS)


def every(found: Sequence[Any], name: str) -> list[str]:
    """The address of one output of each finished unit."""
    return [done.files[name] for done in found]
