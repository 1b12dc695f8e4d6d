"""The order of preference: every document gets a place, 0 for the one that would be kept before all others.

Global steps then carry one integer for a document instead of its id and all that decides between copies. Sorting everything by several
columns is the one step that no bucket bounds, so DuckDB does it: it spills to disk (``memory_mb`` is its whole allowance). It has one
thread and the id ends the order, so that neither threads nor the order of the files show in the result.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Int64, Shaped

from scratchlm.core.config import nearest
from scratchlm.core.errors import DataError, UsageError
from scratchlm.corpus.minhash import Signatures

KEEP = ("pinned", "held_out", "score", "fetched_at", "characters")
"""What is kept of two copies: what is pinned, what is held out (so its copies leave training), the better, the newer, the longer one."""
IDS, PLACES, ROWS = "ids.npy", "places.npy", "rows.npy"
BATCH = 65_536

PerDocument = Int64[np.ndarray, " N"]


def order(files: Sequence[str], path: Callable[[str], Path], keep: Sequence[str] = KEEP, *, memory_mb: int = 512) -> int:
    """Give each row of the Parquet files its place and write three arrays to ``path(name)``; how many documents there are.

    ``keep`` names columns, the most important first; the largest value (true, the highest score) comes first, with a '-' before the name
    the smallest; unknown values come last, and the smallest ``doc_id`` decides what is left. Takes 48 bytes on disk for each document.
    DataError when an id comes twice.
    """
    import duckdb  # heavy: only when there is something to sort

    starts = offsets(files)
    kinds = {IDS: "S32", PLACES: "i8", ROWS: "i8"}
    ids, places, rows = (np.lib.format.open_memmap(path(name), "w+", kind, (int(starts[-1]),)) for name, kind in kinds.items())
    if not starts[-1]:
        return 0
    with tempfile.TemporaryDirectory(dir=path(IDS).parent) as aside:
        with duckdb.connect(config={"memory_limit": f"{memory_mb}MB", "threads": 1, "temp_directory": aside}) as base:
            _sort(base, list(files), keep, f"{aside}/sorted.parquet")
        number_of, done = {file: number for number, file in enumerate(files)}, 0
        with pq.ParquetFile(f"{aside}/sorted.parquet") as found:
            for batch in found.iter_batches(BATCH):
                file_of = np.array([number_of[file] for file in batch["of_file"].to_pylist()])
                own = starts[file_of] + batch["file_row_number"].to_numpy()
                end = done + len(own)
                ids[done:end] = batch["doc_id"].to_numpy(zero_copy_only=False)
                rows[done:end] = own
                places[own] = np.arange(done, end)
                done = end
    return done


def _sort(base: Any, files: list[str], keep: Sequence[str], out: str) -> None:
    base.execute("SET preserve_insertion_order = true")
    table = "read_parquet(?, filename = 'of_file', file_row_number = true)"
    kinds = {row[0]: row[1] for row in base.execute(f"DESCRIBE SELECT * FROM {table}", [files]).fetchall()}
    if twice := base.execute(f"SELECT doc_id FROM {table} GROUP BY doc_id HAVING count(*) > 1 ORDER BY 1 LIMIT 1", [files]).fetchone():
        raise DataError(f"{files[0]}: the id {twice[0]} comes twice in {len(files)} files. Give every document its own.")
    terms = [_term(name, kinds) for name in keep]
    by, quoted = ", ".join([*terms, "doc_id"]), out.replace("'", "''")
    base.execute(f"COPY (SELECT doc_id, of_file, file_row_number FROM {table} ORDER BY {by}) TO '{quoted}' (FORMAT parquet)", [files])


def _term(name: str, kinds: dict[str, str]) -> str:
    column = name.removeprefix("-")
    if column not in kinds:
        raise UsageError(f"keep: no column '{column}'.{nearest(column, kinds)}")
    # Not a number is unknown, though SQL counts it as the largest of all.
    value = f"nullif(\"{column}\", 'NaN')" if kinds[column] in ("FLOAT", "DOUBLE") else f'"{column}"'
    return f"{value} {'ASC' if name.startswith('-') else 'DESC'} NULLS LAST"


def offsets(files: Sequence[str]) -> Int64[np.ndarray, " F"]:
    """The number of the first row of each file when all rows are counted through, and the number of rows."""
    return np.cumsum([0, *(pq.read_metadata(file).num_rows for file in files)]).astype(np.int64)


def stored(files: Sequence[str], starts: Int64[np.ndarray, " F"], rows: PerDocument) -> Callable[[PerDocument], Signatures]:
    """A function from places to signatures, which lie in one ``.npy`` for each file of documents; only what is asked for is read."""
    parts = [np.load(file, mmap_mode="r") for file in files]

    def signatures(places: PerDocument) -> Signatures:
        own = np.asarray(rows[places])
        file_of = np.searchsorted(starts, own, side="right") - 1
        found = np.empty((len(own), parts[0].shape[1]), np.uint32)
        for number in np.unique(file_of):
            here = file_of == number
            found[here] = parts[number][own[here] - starts[number]]
        return found

    return signatures


def bucket_of(keys: Shaped[np.ndarray, " N"], buckets: int) -> Shaped[np.ndarray, " N"]:
    """The bucket of each 64-bit key: equal shares of all keys, the smallest first, so buckets in order are keys in order."""
    return ((keys >> np.uint64(32)) * np.uint64(buckets) >> np.uint64(32)).astype(np.int64)
