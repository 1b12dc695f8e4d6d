"""Copies as map and reduce over files: the order of preference, then exact copies, one web address, near copies; each from who is left.

Every function is work for a unit. A map takes a run of files, a reduce a bucket of keys or a range of places, and what they write lies in
buckets by its reader, so no unit holds more than its own run, bucket or range. Three units see the whole corpus: `order` and `follow`
leave it to DuckDB, which spills, and `settle` holds one bit for each document. A band that more than five million documents share does
not fit its bucket.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.corpus import copies, minhash, places
from scratchlm.corpus.runs import given
from scratchlm.corpus.schema import DECISIONS
from scratchlm.units.desk import Desk
from scratchlm.units.shuffle import MOST_ROWS, read_bucket, write_buckets

Facts = Mapping[str, Any]
RANGE = 2**16
"""Places whose links are sorted, settled and looked up at once: at most 300 MB, if each document is like 16 others in every band."""
SAID = [("row", pa.int64()), ("run", pa.int32()), ("kind", pa.string()), ("value", pa.float32()), ("firm", pa.bool_())]
FOLLOWED = pa.schema([*SAID, ("through", pa.bool_()), ("dup_of", pa.string())])
"""Copies with the id of the document that is kept; ``through``: the one they are a copy of went as well."""
REASONS = {"exact": "the same text as another document", "address": "the web address of another document"}


def order(desk: Desk, config: Facts) -> Facts:
    """The place of every document that is left, and by place its id, its row in the corpus and its run. Inputs: ranked, all files."""
    names = places.columns(config["keep"])
    tables = ((number // config["run_files"], desk.table(url, names)) for number, url in enumerate(desk.inputs))
    return {"documents": places.order(tables, desk.path, tuple(config["keep"]), memory_mb=config["memory_mb"])}


def keys(desk: Desk, config: Facts) -> Facts:
    """Map: the rows of one run that a kind of copy is sought by, in buckets.

    Inputs: places; ranked and signatures of the run; the copies found so far, of all buckets. ``config["start"]``: its first row's rank.
    """
    files = given(desk, config)
    scope = [config["scope"]] if config["scope"] != "all" else []
    of_kind = {"exact": ["substance_high", "substance_low", "named"], "address": ["address"], "near": ["enough"]}[config["kind"]]
    table = pa.concat_tables([desk.table(url, ["row", "pinned", "held_out", *scope, *of_kind]) for url in files["ranked"]])
    start, run = int(config["start"]), int(config["run"])
    place = desk.array(files["places"][0])[start : start + len(table)]
    left = still_there(files["found"], run, table["row"].to_numpy())
    own = {"place": place, "row": table["row"], "run": np.full(len(table), run, np.int32)}
    own |= {"scope": copies.scope_keys(table, config["scope"]), "pinned": table["pinned"], "held_out": table["held_out"]}
    if config["kind"] == "near":
        left &= table["enough"].to_numpy()
        brief, key = _signed(desk, files["signatures"], left)
        banded = pa.table({name: own[name] for name in copies.BANDED.names[1:-1]}).filter(pa.array(left))
        banded = banded.append_column("brief", copies.packed(brief))
        _send(desk.path("keys.parquet"), key, lambda at: copies.band_rows(banded, key, at), config["buckets"])
    else:
        hashed = _exact(table) if config["kind"] == "exact" else _address(table)
        rows = pa.table(own | hashed).select(copies.SAME.names).cast(copies.SAME)
        rows = rows.filter(pa.array(left & np.asarray(rows["key"].is_valid())))
        write_buckets(desk.path("keys.parquet"), rows, places.bucket_of(rows["key"].to_numpy(), config["buckets"]), config["buckets"])
    return {"documents": int(left.sum())}


def _exact(table: pa.Table) -> dict[str, Any]:
    """Both halves of the hash of what a document says; and its name, which must be equal too if it is pinned."""
    return {"key": table["substance_high"], "check": table["substance_low"], "apart": copies.word_keys(table["named"].to_pylist())}


def _address(table: pa.Table) -> dict[str, Any]:
    """Both halves of the hash of a document's web address; none for one without."""
    hashed = [copies.text_key(page) if page is not None else (None, None) for page in table["address"].to_pylist()]
    key, check = (pa.array([pair[side] for pair in hashed], pa.uint64()) for side in (0, 1))
    return {"key": key, "check": check, "apart": key}


def _signed(desk: Desk, urls: Sequence[str], left: np.ndarray) -> tuple[minhash.Brief, copies.Keys]:
    """The brief signatures and the keys of all bands of the documents of a run that are left."""
    brief, key, start = [np.zeros((0, minhash.SLOTS), np.uint8)], [np.zeros(0, np.uint64)], 0
    for url in urls:
        signatures = desk.array(url)[:]
        own = signatures[left[start : start + len(signatures)]]
        brief.append(minhash.brief(own))
        key.append(minhash.band_keys(own).ravel())
        start += len(signatures)
    return np.concatenate(brief), np.concatenate(key)


def _send(path: Path, key: copies.Keys, rows: Callable[[np.ndarray], pa.Table], buckets: int) -> None:
    """Write rows in buckets by key, each bucket made only when it is written."""
    bucket = places.bucket_of(key, buckets)
    sort = np.argsort(bucket, kind="stable")
    edges = np.searchsorted(bucket[sort], np.arange(buckets + 1)).tolist()
    with pq.ParquetWriter(path, copies.BANDED, compression="zstd", compression_level=1) as out:
        for start, end in itertools.pairwise(edges):
            out.write_table(rows(sort[start:end]), row_group_size=MOST_ROWS)


def still_there(found: Sequence[str], run: int, rows: np.ndarray) -> np.ndarray:
    """Which rows of a run are no copies, of any kind that was sought so far."""
    gone = [read_bucket([url], run, ["row"])["row"].to_numpy() for url in found]
    return ~np.isin(rows, np.concatenate([np.zeros(0, np.int64), *gone]))


def same(desk: Desk, config: Facts) -> Facts:
    """Reduce: exact copies, or documents of one web address, in one bucket. Inputs: keys of all runs."""
    found = copies.same(read_bucket(desk.inputs, config["bucket"]))
    write_buckets(desk.path("copies.parquet"), found, found["run"].to_numpy().astype(np.int64), int(config["runs"]))
    return {"copies": len(found)}


def link(desk: Desk, config: Facts) -> Facts:
    """Reduce: pairs of similar documents in one bucket, in buckets by range of places. Inputs: keys of all runs."""
    rows = read_bucket(desk.inputs, config["bucket"])
    found, crowd = copies.links(rows, near=config["near"], held_out=config["held_out"])
    write_buckets(desk.path("links.parquet"), found, found["place"].to_numpy() // RANGE, int(config["ranges"]))
    return {"links": len(found), "crowded_buckets": crowd.buckets, "largest_bucket": crowd.largest, "pairs_left_out": crowd.skipped}


def sort(desk: Desk, config: Facts) -> Facts:
    """The links of one range of places in order, each once. Inputs: links of all buckets."""
    found = copies.joined([read_bucket([url], config["bucket"]) for url in desk.inputs])
    pq.write_table(found, desk.path("links.parquet"), compression="zstd")
    return {"links": len(found)}


def settle(desk: Desk, config: Facts) -> Facts:
    """Which near copies go, a file for each range of places. Inputs: the sorted links of all ranges."""
    count = 0
    for number, found in enumerate(copies.settle((desk.table(url) for url in desk.inputs), int(config["total"]))):
        pq.write_table(found, desk.path(f"{number}.parquet"), compression="zstd")
        count += len(found)
    return {"copies": count}


def locate(desk: Desk, config: Facts) -> Facts:
    """Where the near copies of one range of places lie, in buckets by run. Inputs: the copies of the range; rows and runs by place."""
    found, first = desk.table(desk.inputs[0]), int(config["bucket"]) * RANGE
    at = found["place"].to_numpy() - first
    for name, url in zip(("row", "run"), desk.inputs[1:], strict=True):
        found = found.append_column(name, pa.array(desk.array(url)[first : first + RANGE][at]))
    write_buckets(desk.path("copies.parquet"), found, found["run"].to_numpy().astype(np.int64), int(config["runs"]))
    return {"copies": len(found)}


FOLLOW = """
COPY (
    WITH kept AS (SELECT doc_id, file_row_number AS place FROM read_parquet({ordered}, file_row_number = true)),
    near AS (SELECT n.*, coalesce(m.of, n.of) AS last FROM read_parquet({near}) n LEFT JOIN read_parquet({near}) m ON n.of = m.place),
    address AS (SELECT a.*, coalesce(n.last, a.of) AS last FROM read_parquet({address}) a LEFT JOIN near n ON a.of = n.place),
    exact AS (
        SELECT e.*, coalesce(a.last, n.last, e.of) AS last FROM read_parquet({exact}) e
        LEFT JOIN address a ON e.of = a.place LEFT JOIN near n ON e.of = n.place
    ),
    every AS (
        SELECT 'exact' AS kind, * FROM exact UNION ALL SELECT 'address' AS kind, * FROM address UNION ALL SELECT 'near' AS kind, * FROM near
    )
    SELECT row, run, kind, value, firm, last <> of AS through, doc_id AS dup_of FROM every JOIN kept ON last = kept.place ORDER BY row
) TO {out} (FORMAT parquet)
"""


def follow(desk: Desk, config: Facts) -> Facts:
    """All copies in favour of a document that is kept, for its own copy of another may have gone; a file for each run.

    Inputs: the order of all documents; the copies of each kind.
    """
    import duckdb  # heavy: only when there is something to join

    files = given(desk, config)
    with tempfile.TemporaryDirectory(dir=desk.path("0.parquet").parent) as aside:
        names = {name: f"{aside}/{name}.parquet" for name in ("exact", "address", "near")}
        for kind, path in names.items():
            with pq.ParquetWriter(path, copies.COPIES, compression="zstd") as out:
                for url in files[kind]:
                    out.write_table(desk.table(url))
        names |= {"ordered": desk.local(files["ordered"][0]), "out": f"{aside}/followed.parquet"}
        with duckdb.connect(config={"memory_limit": f"{config['memory_mb']}MB", "threads": 1, "temp_directory": aside}) as base:
            base.execute(FOLLOW.format(**{name: places.quoted(path) for name, path in names.items()}))
        count = 0
        for run, table in enumerate(_by_run(names["out"], int(config["runs"]))):
            pq.write_table(table, desk.path(f"{run}.parquet"), compression="zstd")
            count += len(table)
    return {"copies": count}


def _by_run(path: str, runs: int) -> Iterator[pa.Table]:
    """The rows of each run, which come in the order of runs."""
    rest, done = FOLLOWED.empty_table(), 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(places.BATCH):
            rest = pa.concat_tables([rest, pa.Table.from_batches([batch]).cast(FOLLOWED)])
            while done < rest["run"][-1].as_py():
                own = int(np.searchsorted(rest["run"].to_numpy(), done, side="right"))
                yield rest.slice(0, own)
                rest, done = rest.slice(own), done + 1
    yield rest
    yield from [FOLLOWED.empty_table()] * (runs - done - 1)


def decide(desk: Desk, config: Facts) -> Facts:
    """``DECISIONS`` on the copies of a run, a file for each file of documents. Inputs: the copies of the run.

    ``config["starts"]``: the first row of each file, and of the next run; ``config["limits"]``: of near copies and of held-out text.
    """
    found = decided(desk.table(desk.inputs[0]), *config["limits"])
    edges = np.searchsorted(found["row"].to_numpy(), config["starts"]).tolist()
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        pq.write_table(found.slice(start, end - start), desk.path(f"{number}.parquet"), compression="zstd")
    return {"copies": len(found)}


def decided(found: pa.Table, near: float | None, held_out: float) -> pa.Table:
    """``FOLLOWED`` as ``DECISIONS``; the limits are those of near copies and of copies of held-out text."""
    rows = found.to_pylist()
    limits = [1.0 if row["kind"] != "near" else held_out if row["firm"] else near for row in rows]
    told = {
        "row": found["row"], "stage": found["kind"], "rule": [f"{row['kind']} copy" for row in rows], "reason": list(map(_reason, rows)),
        "value": found["value"], "threshold": limits, "dup_of": found["dup_of"], "cluster": found["dup_of"],
    }  # fmt: skip
    return pa.table([told[name] for name in DECISIONS.names], names=DECISIONS.names).cast(DECISIONS)


def _reason(row: Facts) -> str:
    where = "a document that is held out" if row["firm"] else "another document"
    said = REASONS.get(row["kind"]) or f"about {row['value']:.0%} of its phrases stand in {where}"
    return f"{said}, which itself went for the one that is kept" if row["through"] else said


def left(desk: Desk, config: Facts) -> Facts:
    """The place of each document of a run by its row, and -1 for those that are gone. Inputs as of `keys`, without signatures."""
    files = given(desk, config)
    rows = np.concatenate([desk.table(url, ["row"])["row"].to_numpy() for url in files["ranked"]])
    start, first = int(config["start"]), int(config["first_row"])
    place = desk.array(files["places"][0])[start : start + len(rows)]
    there = still_there(files["found"], int(config["run"]), rows)
    found = np.full(int(config["rows"]), -1, np.int64)
    found[rows[there] - first] = place[there]
    np.save(desk.path("left.npy"), found)
    return {"documents": int(there.sum())}


def every(found: Sequence[Any], name: str) -> list[str]:
    """The address of one output of each finished unit."""
    return [done.files[name] for done in found]
