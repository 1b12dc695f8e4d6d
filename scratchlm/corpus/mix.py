"""How much of which source is learned from, and in which order: a plan that is exact, and an order that is a function of the seed alone.

A source of n characters gets a share proportional to weight · n**(1/T) at temperature T (Conneau and Lample 2019, arXiv:1901.07291;
Xue et al. 2021, arXiv:2010.11934: above 1, small sources are seen more often), unless its epochs are given. A share of 2.4 epochs is
every document twice and four tenths of them once more: those whose hash is smallest, so a larger share holds the smaller one. The order
is that of another hash, of seed, document and copy: files are shuffled by sending rows to buckets by their key and sorting each bucket.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from jaxtyping import Int64, UInt64
from pydantic import Field, model_validator

from scratchlm.core import seeds
from scratchlm.core.config import Settings, nearest
from scratchlm.core.errors import UsageError

Keys = UInt64[np.ndarray, " N"]
Sizes = Int64[np.ndarray, " N"]
EVERYTHING = 2**64
ORDER = pa.schema([("key", pa.uint64()), ("doc_id", pa.string()), ("copy", pa.int32()), ("row", pa.int64())])
"""One row for each time a document is seen; ``row`` is its place in its file."""


class Share(Settings):
    """What is wanted of one source."""

    weight: float = Field(default=1.0, ge=0.0)
    """How often a character of it is seen for each time that one of a source of weight 1 is; 0 leaves it out."""
    epochs: float | None = Field(default=None, ge=0.0)
    """How often it is seen, whatever the others and the limit of all; None: as its weight says."""
    most_epochs: float | None = Field(default=None, gt=0.0)
    """Its own limit; None: that of all."""

    @model_validator(mode="before")
    @classmethod
    def _a_number_is_a_weight(cls, value: Any) -> Any:
        return {"weight": value} if isinstance(value, int | float) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _says_one_thing(self) -> "Share":
        if self.epochs is not None and self.most_epochs is not None:
            raise ValueError("give epochs, which are seen whatever happens, or most_epochs, which bound what its weight gives; not both")
        return self


class MixConfig(Settings):
    """How sources are mixed."""

    sources: dict[str, Share] = Field(default_factory=dict)
    """By name; a number alone is a weight, and a source that is not named has weight 1."""
    temperature: float = Field(default=1.0, ge=1.0, allow_inf_nan=False)
    """1: sources count by their size; the higher, the more they count the same."""
    total: int | None = Field(default=None, gt=0)
    """Characters to learn from; None: what the sources with ``epochs`` make, and once what the others hold."""
    most_epochs: float = Field(default=4.0, gt=0.0)
    """A source is not seen more often by its weight: up to four times is nearly as good as new text (Muennighoff et al. 2023,
    arXiv:2305.16264)."""


class Part(Settings):
    """What is taken of one source."""

    size: int
    """Characters there are."""
    taken: int
    """Characters to take, all epochs together."""
    whole: int
    """Times that every document is seen."""
    rest: int
    """Characters of the last epoch, which is not whole."""


class Plan(Settings):
    """What is taken of every source."""

    parts: dict[str, Part]
    wanted: int
    """Characters asked for."""
    taken: int
    """Characters planned; less than asked for when limits on epochs leave nothing to take."""


def plan(sizes: Mapping[str, int], config: MixConfig) -> Plan:
    """How much of each source is seen how often. What a limit on epochs takes from one source goes to those that have not met theirs."""
    for name in config.sources:
        if name not in sizes:
            raise UsageError(f"mix.sources: there is no source '{name}'.{nearest(name, sizes)}")
    shares = {name: config.sources.get(name, Share()) for name in sorted(sizes) if sizes[name]}
    most = {name: sizes[name] * (share.most_epochs or config.most_epochs) for name, share in shares.items()}
    taken = {name: share.epochs * sizes[name] for name, share in shares.items() if share.epochs is not None}
    once = sum(sizes[name] for name, share in shares.items() if name not in taken and share.weight)
    wanted = config.total or round(sum(taken.values())) + once
    left = max(0.0, wanted - sum(taken.values()))
    open_ = {
        name: share.weight * sizes[name] ** (1 / config.temperature) for name, share in shares.items() if name not in taken and share.weight
    }
    while open_:
        every = sum(open_.values())
        fair = {name: weight / every * left for name, weight in open_.items()}
        full = [name for name in open_ if fair[name] >= most[name]]
        for name in full or open_:
            taken[name] = min(fair[name], most[name])
        left -= sum(most[name] for name in full)
        open_ = {name: weight for name, weight in open_.items() if name not in taken}
    parts = {name: _part(sizes[name], round(taken.get(name, 0.0))) for name in sorted(sizes)}
    return Plan(parts=parts, wanted=wanted, taken=sum(part.taken for part in parts.values()))


def _part(size: int, taken: int) -> Part:
    whole, rest = divmod(taken, size) if size else (0, 0)
    return Part(size=size, taken=taken, whole=whole, rest=rest)


def part_keys(seed: int, doc_ids: Iterable[str]) -> Keys:
    """What decides who is in an epoch that is not whole: the smallest are."""
    salt = seeds.derive(seed, "part")
    return np.array([xxhash.xxh3_64_intdigest(doc_id.encode(), salt) for doc_id in doc_ids], dtype=np.uint64)


def limit(rows: Callable[[], Iterable[tuple[Keys, Sizes]]], rest: int) -> int:
    """The part key below which documents fill ``rest`` characters of a source, and none more of them fits.

    ``rows`` gives keys and characters of the source's documents in portions, anew each time: a first pass weighs 65,536 equal ranges of
    keys, a second one sorts the range in which the limit falls.
    """
    weights = np.zeros(2**16, np.int64)
    for keys, sizes in rows():
        np.add.at(weights, keys >> np.uint64(48), sizes)
    sums = np.cumsum(weights)
    if rest >= sums[-1]:
        return EVERYTHING
    place = int(np.searchsorted(sums, rest, side="right"))
    inside = [(keys[here], sizes[here]) for keys, sizes in rows() if (here := keys >> np.uint64(48) == place).any()]
    keys, sizes = (np.concatenate(columns) for columns in zip(*inside, strict=True))
    sort = np.argsort(keys)
    over = np.searchsorted(np.cumsum(sizes[sort]) + sums[place] - weights[place], rest, side="right")
    return int(keys[sort][over])


def order_key(seed: int, doc_id: str, copy: int) -> int:
    """Where a copy of a document stands in the order of all: 64 bits of a hash, smaller ones first."""
    return xxhash.xxh3_64_intdigest(doc_id.encode(), _salt(seed, copy))


@functools.lru_cache(maxsize=64)
def _salt(seed: int, copy: int) -> int:
    return seeds.derive(seed, "order", copy=copy)


def times(doc_ids: Sequence[str], sources: Sequence[str], mixed: Plan, limits: Mapping[str, int], seed: int) -> Sizes:
    """How often each document is seen; ``limits``: by source, the part key below which it is seen once more."""
    keys = part_keys(seed, doc_ids).tolist()
    more = [limits.get(source, 0) > key for source, key in zip(sources, keys, strict=True)]
    return np.array([mixed.parts[source].whole for source in sources], dtype=np.int64) + np.array(more, dtype=np.int64)


def ordered(doc_ids: Sequence[str], seen: Sizes, seed: int) -> pa.Table:
    """Map: a row of ``ORDER`` for each time that a document of a file is seen, sorted; send them to ``bucket_of(key, buckets)``."""
    rows = np.repeat(np.arange(len(seen)), seen)
    copies = np.arange(len(rows)) - np.repeat(np.cumsum(seen) - seen, seen)
    ids = [doc_ids[row] for row in rows.tolist()]
    key = np.array([order_key(seed, doc_id, copy) for doc_id, copy in zip(ids, copies.tolist(), strict=True)], dtype=np.uint64)
    return arranged([pa.table([key, pa.array(ids, pa.string()), copies.astype(np.int32), rows], schema=ORDER)])


def arranged(parts: Sequence[pa.Table]) -> pa.Table:
    """Reduce: the rows of one bucket in their order, whatever other columns they carry."""
    return pa.concat_tables(parts).sort_by([("key", "ascending"), ("doc_id", "ascending"), ("copy", "ascending")])
