"""The order of preference: every document gets a place, 0 for the one that would be kept before all others.

Global steps then carry one integer for a document instead of its id and all that decides between copies. Sorting everything by several
columns is a step that no bucket bounds, so DuckDB does it: it spills to disk (``memory_mb`` is its whole allowance). It has one thread and
the id ends the order, so that neither threads nor the order of the files show in the result.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Int64, Shaped

from scratchlm.core.errors import DataError

FIRST = ("pinned", "held_out")
"""What is always kept before all else: what must train, then what is held out, so that it is its copies that leave training."""
KEEP = ("score", "fetched_at", "characters")
"""What is kept of two other copies: the better, the newer, the longer one."""
ORDERED, PLACES, ROWS, RUNS = "ordered.parquet", "places.npy", "rows.npy", "runs.npy"
BATCH = 65_536


def columns(keep: Sequence[str]) -> list[str]:
    """The columns that `order` wants for an order by ``keep``."""
    return list(dict.fromkeys(["doc_id", "row", *FIRST, *(name.removeprefix("-") for name in keep)]))


def order(tables: Iterable[tuple[int, pa.Table]], path: Callable[[str], Path], keep: Sequence[str] = KEEP, *, memory_mb: int = 512) -> int:
    """Give each row of the tables its place and write four files to ``path(name)``; how many rows there are.

    A table has the columns that `columns` names and comes with the number of its run; ``row`` ascends through all of them. ``ORDERED``
    has ``doc_id`` and ``row`` in the order of places; the arrays have the row and the run by place, and the place by the rank of the row.
    ``FIRST`` and then ``keep`` name columns, the most important first; the largest value (true, the highest score) comes first, with a
    '-' before the name the smallest; unknown values come last, and the smallest ``doc_id`` decides what is left. Takes 60 bytes on disk
    for each document, and three times that while it sorts. DataError when an id comes twice.
    """
    import duckdb  # heavy: only when there is something to sort

    with tempfile.TemporaryDirectory(dir=path(PLACES).parent) as aside:
        total = _gathered(tables, f"{aside}/asked.parquet", keep)
        with duckdb.connect(config={"memory_limit": f"{memory_mb}MB", "threads": 1, "temp_directory": aside}) as base:
            _sort(base, aside, keep, path(ORDERED))
        _save(path(ROWS), "<i8", total, _column(path(ORDERED), "row"))
        _save(path(RUNS), "<i4", total, _column(f"{aside}/runs.parquet", "run"))
        _save(path(PLACES), "<i8", total, _column(f"{aside}/back.parquet", "place"))
    return total


def _gathered(tables: Iterable[tuple[int, pa.Table]], path: str, keep: Sequence[str]) -> int:
    """All tables as one file, with words in place of their dictionaries."""
    total, writer, names = 0, None, columns(keep)
    for run, table in tables:
        plain = [
            column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column for column in table.select(names).columns
        ]
        whole = pa.table([*plain, pa.array(np.full(len(table), run, np.int32))], names=[*names, "run"])
        writer = writer or pq.ParquetWriter(path, whole.schema, compression="zstd")
        writer.write_table(whole)
        total += len(whole)
    if writer is None:
        empty = {name: pa.array([], pa.string() if name == "doc_id" else pa.int64()) for name in names}
        pq.write_table(pa.table({**empty, "run": pa.array([], pa.int32())}), path)
    else:
        writer.close()
    return total


def _sort(base: Any, aside: str, keep: Sequence[str], out: Path) -> None:
    base.execute("SET preserve_insertion_order = true")
    base.execute(f"CREATE VIEW asked AS SELECT * FROM read_parquet({quoted(f'{aside}/asked.parquet')})")
    kinds = {row[0]: row[1] for row in base.execute("DESCRIBE asked").fetchall()}
    if twice := base.execute("SELECT doc_id FROM asked GROUP BY doc_id HAVING count(*) > 1 ORDER BY 1 LIMIT 1").fetchone():
        raise DataError(f"corpus: the id {twice[0]} comes twice. Give every document its own.")
    by = ", ".join([*(_term(name, kinds) for name in (*FIRST, *keep)), "doc_id"])
    _copy(base, f"SELECT doc_id, row, run FROM asked ORDER BY {by}", f"{aside}/sorted.parquet")
    found = f"read_parquet({quoted(f'{aside}/sorted.parquet')}, file_row_number = true)"
    _copy(base, f"SELECT doc_id, row FROM {found}", out)
    _copy(base, f"SELECT run FROM {found}", f"{aside}/runs.parquet")
    _copy(base, f"SELECT file_row_number AS place FROM {found} ORDER BY row", f"{aside}/back.parquet")


def _copy(base: Any, query: str, out: str | Path) -> None:
    base.execute(f"COPY ({query}) TO {quoted(out)} (FORMAT parquet)")


def quoted(path: str | Path) -> str:
    """A path as a word of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def _term(name: str, kinds: dict[str, str]) -> str:
    column = name.removeprefix("-")
    # Not a number is unknown, though SQL counts it as the largest of all.
    value = f"nullif(\"{column}\", 'NaN')" if kinds[column] in ("FLOAT", "DOUBLE") else f'"{column}"'
    return f"{value} {'ASC' if name.startswith('-') else 'DESC'} NULLS LAST"


def _column(path: str | Path, name: str) -> Iterator[np.ndarray]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH, columns=[name]):
            yield batch[name].to_numpy()


def _save(path: Path, kind: str, total: int, parts: Iterable[np.ndarray]) -> None:
    """An array in numpy's own format, written part after part."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": (total,)})
        for part in parts:
            file.write(part.astype(kind).tobytes())


def offsets(counts: Iterable[int]) -> Int64[np.ndarray, " F"]:
    """The number of the first row of each file when all rows are counted through, and the number of rows."""
    return np.cumsum([0, *counts]).astype(np.int64)


def bucket_of(keys: Shaped[np.ndarray, " N"], buckets: int) -> Shaped[np.ndarray, " N"]:
    """The bucket of each 64-bit key: equal shares of all keys, the smallest first, so buckets in order are keys in order."""
    return ((keys >> np.uint64(32)) * np.uint64(buckets) >> np.uint64(32)).astype(np.int64)


def begins(*columns: Shaped[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    """Where a row differs from the one before it in one of the columns."""
    new = np.ones(len(columns[0]), dtype=np.bool_)
    new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return new
