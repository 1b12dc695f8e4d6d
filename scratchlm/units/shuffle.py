"""Rows sent to buckets through files: each map unit writes one file with a row group per bucket, each reduce unit reads its group of all.

So a global step never holds more than one bucket, and what travels between machines is one file for each unit, not one for
each pair of unit and bucket.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.core.errors import ArtifactError
from scratchlm.units import storage

MOST_ROWS = 64 * 2**20
"""Rows of a row group that pyarrow does not split."""


def write_buckets(path: Path, table: pa.Table, bucket_of: np.ndarray, buckets: int) -> None:
    """Write each row into the row group of its bucket; rows of a bucket keep their order."""
    assert len(bucket_of) == len(table), "every row has a bucket"
    order = np.argsort(bucket_of, kind="stable")
    edges = np.searchsorted(bucket_of[order], np.arange(buckets + 1))
    assert edges[0] == 0, "a bucket is counted from 0"
    assert edges[-1] == len(table), f"a bucket is below {buckets}"
    with pq.ParquetWriter(path, table.schema, compression="zstd", compression_level=3) as writer:
        for start, end in itertools.pairwise(edges.tolist()):
            assert end - start <= MOST_ROWS, "a bucket of one unit fits a row group"
            writer.write_table(table.take(order[start:end]), row_group_size=MOST_ROWS)


def read_bucket(urls: Sequence[str], bucket: int, columns: list[str] | None = None) -> pa.Table:
    """The rows of one bucket: file after file as given, in each in the order they were written."""
    parts = []
    for url in urls:
        # Columns are fetched in few large reads: on an object store each read is a request.
        with storage.open_ranges(url) as source, pq.ParquetFile(source, pre_buffer=True) as file:
            if bucket >= file.num_row_groups:
                raise ArtifactError(f"{url}: has {file.num_row_groups} buckets, asked for number {bucket}. Make it again with --again.")
            parts.append(file.read_row_group(bucket, columns=columns))
    return pa.concat_tables(parts)
