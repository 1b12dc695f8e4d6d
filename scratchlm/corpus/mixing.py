"""The mix as map and reduce: what is taken of every source is planned, and each document goes as often as it is seen where its key says."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.corpus import mix
from scratchlm.corpus.copying import every
from scratchlm.corpus.places import bucket_of
from scratchlm.corpus.road import Road
from scratchlm.sources.record import ROWS, SCHEMA
from scratchlm.units.desk import Desk
from scratchlm.units.shuffle import read_bucket, write_buckets
from scratchlm.units.unit import Done

Facts = Mapping[str, Any]
KEY, COPY = pa.field("key", pa.uint64()), pa.field("copy", pa.int32())
BUCKET_CHARACTERS = 32_000_000
"""Of one part of the mixed corpus, sorted in memory."""


def mixed(road: Road, selected: Sequence[Done], config: mix.MixConfig, seed: int) -> tuple[list[str], mix.Plan]:
    """The training documents of all files in the order of the mix, in parts, and the plan."""
    train = every(selected, "train.parquet")
    settings = {"mix": config.model_dump(), "seed": seed}
    (planned,) = road.step("mix", own=True, units=[road.unit("mix", "mixing:plan", train, **settings)])
    plan = mix.Plan.model_validate(planned.facts["plan"])
    buckets = max(1, plan.taken // BUCKET_CHARACTERS)
    sending = {"plan": planned.facts["plan"], "limits": planned.facts["limits"], "seed": seed, "buckets": buckets}
    sent = every(road.step("mix", [road.unit("sent", "mixing:send", [url], **sending) for url in train]), "documents.parquet")
    parts = road.step("mix", [road.unit("mixed", "mixing:sort", sent, bucket=number) for number in range(buckets)])
    return every(parts, "documents.parquet"), plan


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
    made, seed = mix.Plan.model_validate(config["plan"]), int(config["seed"])
    order = mix.ordered(table["doc_id"].to_pylist(), table["source"].to_pylist(), made, config["limits"], seed)
    sent = table.take(order["row"]).append_column(KEY, order["key"]).append_column(COPY, order["copy"])
    buckets = int(config["buckets"])
    write_buckets(desk.path("documents.parquet"), sent, bucket_of(order["key"].to_numpy(), buckets), buckets)
    return {"documents": len(sent)}


def sort(desk: Desk, config: Facts) -> Facts:
    """Reduce: one part of the mixed corpus in its order."""
    by = [("key", "ascending"), ("doc_id", "ascending"), ("copy", "ascending")]
    table = read_bucket(desk.inputs, config["bucket"]).sort_by(by).select(SCHEMA.names)
    with pq.ParquetWriter(desk.path("documents.parquet"), SCHEMA, compression="zstd", compression_level=3) as out:
        out.write_table(table.cast(SCHEMA), row_group_size=ROWS)
    return {"documents": len(table)}
