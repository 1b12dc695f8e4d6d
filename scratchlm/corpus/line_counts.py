"""Lines of hosts as map and reduce: runs of files are counted, buckets of lines summed, and each run is told its common lines."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.corpus import lines
from scratchlm.corpus.places import bucket_of
from scratchlm.corpus.runs import documents_in
from scratchlm.corpus.steps import site_of, structure_of
from scratchlm.units.desk import Desk
from scratchlm.units.shuffle import read_bucket, write_buckets

Facts = Mapping[str, Any]


def count(desk: Desk, config: Facts) -> Facts:
    """Map: for each host and line of a run the number of its documents, in buckets by line; and of each host, in buckets by host."""
    rules, parts = lines.LineRules(**config["lines"]), []
    for url, groups in zip(desk.inputs, config["groups"], strict=True):
        own = [
            lines.counted([site_of(d) for d in batch], [d.text for d in batch], [structure_of(d) for d in batch], rules)
            for batch in documents_in(desk, url, groups)
        ]
        parts.append(lines.summed(own))
    counts = lines.summed(parts)
    is_size = counts["line"].to_numpy() == 0
    for name, key, own in (("hosts", "host", counts.filter(pa.array(is_size))), ("lines", "line", counts.filter(pa.array(~is_size)))):
        write_buckets(desk.path(f"{name}.parquet"), own, bucket_of(own[key].to_numpy(), config["buckets"]), config["buckets"])
    return {"lines": len(counts)}


def sizes(desk: Desk, config: Facts) -> Facts:
    """The documents of each host that has enough of them, in order of host: 16 bytes each. Inputs: hosts of all runs."""
    least, found = lines.LineRules(**config["lines"]).least, [lines.COUNTS.empty_table()]
    for bucket in range(config["buckets"]):
        whole = lines.summed([read_bucket([url], bucket) for url in desk.inputs])
        found.append(whole.filter(pa.array(whole["documents"].to_numpy() >= least)))
    table = pa.concat_tables(found).select(["host", "documents"])
    pq.write_table(table, desk.path("sizes.parquet"), compression="zstd")
    return {"hosts": len(table)}


def common(desk: Desk, config: Facts) -> Facts:
    """Reduce: the common lines of one bucket, in buckets by the runs in which they stand. Inputs: sizes, then lines of all runs."""
    parts = [read_bucket([url], config["bucket"]) for url in desk.inputs[1:]]
    rows = [part.append_column("run", pa.array(np.full(len(part), run, np.int32))) for run, part in enumerate(parts)]
    found = lines.common(pa.concat_tables(rows), desk.table(desk.inputs[0]), lines.LineRules(**config["lines"]))
    write_buckets(desk.path("common.parquet"), found, found["run"].to_numpy().astype(np.int64), len(parts))
    return {"lines": len(found)}


def tell(desk: Desk, config: Facts) -> Facts:
    """The common lines that stand in one run, in order. Inputs: the common lines of all buckets."""
    keys = np.sort(read_bucket(desk.inputs, config["bucket"])["key"].to_numpy())
    pq.write_table(pa.table({"key": keys}), desk.path("common.parquet"), compression="zstd")
    return {"lines": len(keys)}
