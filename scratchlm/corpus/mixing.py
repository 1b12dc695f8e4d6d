"""The mix as map and reduce: what is taken of every source is planned, and each document goes as often as it is seen where its key says.

The books follow: a document that is not seen is dropped by the mix, any other is kept as many times as it is seen.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.corpus import mix
from scratchlm.corpus.copying import every
from scratchlm.corpus.places import bucket_of
from scratchlm.corpus.road import Road
from scratchlm.corpus.schema import VERDICTS, dropped_row
from scratchlm.corpus.split import SPLITS
from scratchlm.sources.record import DROPPED, ROWS, SCHEMA
from scratchlm.units.desk import Desk
from scratchlm.units.shuffle import read_bucket, write_buckets
from scratchlm.units.unit import Done

Facts = Mapping[str, Any]
KEY, COPY = pa.field("key", pa.uint64()), pa.field("copy", pa.int32())
BUCKET_CHARACTERS = 32_000_000
"""Of one part of the mixed corpus, sorted in memory."""


LEFT_OUT = "left out by the mix"


def mixed(road: Road, selected: Sequence[Done], config: mix.MixConfig, seed: int) -> tuple[list[str], list[Done], mix.Plan]:
    """The training documents of all files in the order of the mix, in parts; the files with their books as they are now; and the plan."""
    train = every(selected, "train.parquet")
    settings = {"mix": config.model_dump(), "seed": seed}
    (planned,) = road.step("mix", own=True, units=[road.unit("mix", "mixing:plan", train, **settings)])
    plan = mix.Plan.model_validate(planned.facts["plan"])
    buckets = max(1, plan.taken // BUCKET_CHARACTERS)
    sharing = {"plan": planned.facts["plan"], "limits": planned.facts["limits"], "seed": seed}
    sent = every(
        road.step("mix", [road.unit("sent", "mixing:send", [url], buckets=buckets, **sharing) for url in train]), "documents.parquet"
    )
    parts = road.step("mix", [road.unit("mixed", "mixing:sort", sent, bucket=number) for number in range(buckets)])
    books = zip(every(selected, "verdicts.parquet"), every(selected, "dropped.parquet"), strict=True)
    booked = road.step("mix", [road.unit("booked", "mixing:book", own, **sharing) for own in books])
    after = [replace(done, files={**done.files, **now.files}) for done, now in zip(selected, booked, strict=True)]
    return every(parts, "documents.parquet"), after, plan


def plan(desk: Desk, config: Facts) -> Facts:
    """What is taken of every source, and below which key a document is seen once more."""
    sizes: dict[str, int] = {}
    for url in desk.inputs:
        for source, characters in _columns(desk, url, ["source", "n_chars"]):
            sizes[source] = sizes.get(source, 0) + characters
    made = mix.plan(sizes, mix.MixConfig(**config["mix"]))
    limits = {
        name: mix.limit(lambda name=name: _rows(desk, name, config["seed"]), part.rest) for name, part in made.parts.items() if part.rest
    }
    return {"plan": made.model_dump(), "limits": limits}


def _columns(desk: Desk, url: str, names: list[str]) -> Iterator[tuple[Any, ...]]:
    table = desk.table(url, names)
    yield from zip(*(table[name].to_pylist() for name in names), strict=True)


def _rows(desk: Desk, wanted: str, seed: int) -> Iterator[tuple[mix.Keys, mix.Sizes]]:
    for url in desk.inputs:
        table = desk.table(url, ["doc_id", "source", "n_chars"])
        own = table.filter(pa.array([source == wanted for source in table["source"].to_pylist()], pa.bool_()))
        yield mix.part_keys(seed, own["doc_id"].to_pylist()), own["n_chars"].to_numpy()


def send(desk: Desk, config: Facts) -> Facts:
    """Map: each training document of a file as often as it is seen, in buckets by its key."""
    table = desk.table(desk.inputs[0])
    doc_ids = table["doc_id"].to_pylist()
    order = mix.ordered(doc_ids, _times(doc_ids, table["source"].to_pylist(), config), int(config["seed"]))
    sent = table.take(order["row"]).append_column(KEY, order["key"]).append_column(COPY, order["copy"])
    buckets = int(config["buckets"])
    write_buckets(desk.path("documents.parquet"), sent, bucket_of(order["key"].to_numpy(), buckets), buckets)
    return {"documents": len(sent)}


def _times(doc_ids: Sequence[str], sources: Sequence[str], config: Facts) -> mix.Sizes:
    return mix.times(doc_ids, sources, mix.Plan.model_validate(config["plan"]), config["limits"], int(config["seed"]))


def book(desk: Desk, config: Facts) -> Facts:
    """The books of a file after the mix. Inputs: its verdicts and its dropped documents."""
    verdicts = desk.table(desk.inputs[0]).to_pylist()
    train = [row for row in verdicts if row["split"] == SPLITS[0]]
    times = _times([row["doc_id"] for row in train], [row["source"] for row in train], config).tolist()
    gone = []
    for row, seen in zip(train, times, strict=True):
        row["times"] = seen
        if not seen:
            part = config["plan"]["parts"][row["source"]]
            share = part["taken"] / part["size"]
            reason = f"the mix takes {share:.0%} of what '{row['source']}' holds"
            row |= {"split": None, "stage": "mix", "rule": LEFT_OUT, "reason": reason, "value": share}
            row |= {"kept_chars": 0, "kept_bytes": 0, "edits": [], "masked": []}
            gone.append(dropped_row(row))
    table = pa.Table.from_pylist(verdicts, schema=VERDICTS)
    pq.write_table(table, desk.path("verdicts.parquet"), compression="zstd", row_group_size=ROWS)
    dropped = pa.concat_tables([desk.table(desk.inputs[1]), pa.Table.from_pylist(gone, schema=DROPPED)])
    pq.write_table(dropped, desk.path("dropped.parquet"), compression="zstd", compression_level=3)
    return {"documents": len(train), "left_out": len(gone)}


def sort(desk: Desk, config: Facts) -> Facts:
    """Reduce: one part of the mixed corpus in its order."""
    by = [("key", "ascending"), ("doc_id", "ascending"), ("copy", "ascending")]
    table = read_bucket(desk.inputs, config["bucket"]).sort_by(by).select(SCHEMA.names)
    with pq.ParquetWriter(desk.path("documents.parquet"), SCHEMA, compression="zstd", compression_level=3) as out:
        out.write_table(table.cast(SCHEMA), row_group_size=ROWS)
    return {"documents": len(table)}
