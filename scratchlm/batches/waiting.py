"""What is known of the documents of a split while their tokens wait for a place in a shard: a file of rows, mapped into memory."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from scratchlm.core.errors import DataError

ROWS = pa.schema(
    [
        ("order", pa.int64()),
        ("doc_id", pa.string()),
        ("place", pa.int64()),  # of the token that opens it, among those that wait
        ("length", pa.int64()),
        ("source", pa.string()),
        ("bytes", pa.int64()),
    ]
)
AT_ONCE = 65_536
"""Rows of a batch; only the last may have fewer."""


def rows_of(rows: list[tuple[int, str, int, int, str, int]]) -> pa.RecordBatch:
    """Rows of those columns as a batch."""
    return pa.record_batch(list(zip(*rows, strict=True)) or [[]] * len(ROWS), ROWS)


def ordered(rows: pa.Table, split: str) -> Int[np.ndarray, " documents"]:
    """The numbers of ``rows`` in the order of their hashes, whatever order they stand in; DataError for two of one document."""
    hashes = rows["order"].to_numpy()
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    for first in np.flatnonzero(hashes[1:] == hashes[:-1]).tolist():
        one, other = (rows["doc_id"][int(row)].as_py() for row in order[first : first + 2])
        if one == other:
            raise DataError(f"{split}: two documents have the id {one}. Run `scratchlm corpus` with --again.")
        if one > other:
            order[first], order[first + 1] = order[first + 1], order[first]
    return order


def taken(batches: Sequence[pa.RecordBatch], numbers: Int[np.ndarray, " documents"]) -> pa.Table:
    """The rows of these numbers, in this order.

    Each batch is asked for its own: asked for rows of all, Arrow would first join every id of the split, and refuses 2 GiB of them.
    """
    ranked = np.argsort(numbers)
    parts = np.split(numbers[ranked], np.searchsorted(numbers[ranked], AT_ONCE * np.arange(1, len(batches))))
    found = [batch.take(pa.array(part % AT_ONCE)) for batch, part in zip(batches, parts, strict=True)]
    return pa.Table.from_batches(found).take(pa.array(np.argsort(ranked)))
