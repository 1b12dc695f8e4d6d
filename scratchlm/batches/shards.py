"""Shards: the tokens of a split in flat files, each document opened by the token that stands before a text, beside an index of them.

``shard-00000.bin`` holds the ids (little-endian, 16 bits where they fit, else 32), ``shard-00000.idx.parquet`` one row per document,
``shard-00000.json`` what the pair must be. Documents stand in the order of a hash of seed and id, whatever order they came in.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int, UInt32
from pydantic import ValidationError

from scratchlm.batches import waiting
from scratchlm.core import seeds
from scratchlm.core.artifact import sha256_of, write_atomically
from scratchlm.core.config import Settings
from scratchlm.core.errors import ArtifactError

INDEX = pa.schema(
    [
        ("doc_ordinal", pa.int64()),  # counted through all shards of the split
        ("doc_id", pa.string()),
        ("start", pa.int64()),  # of the token that opens it, in this shard
        ("length", pa.int64()),  # that token included
        ("source", pa.dictionary(pa.int32(), pa.string())),
        ("bytes", pa.int64()),  # of its text in UTF-8
    ]
)
SPOOLED, SPOOLED_ROWS = "unsorted.tmp", "unsorted.arrow"
REMEDY = "Run `scratchlm tokenize` with --again."


class ShardFacts(Settings):
    """What a shard's ``.json`` says of it."""

    shard: int
    of: int
    """Shards in the split."""
    tokenizer: str
    """SHA-256 of the ``tokenizer.json`` whose ids these are."""
    opening: int
    """The token before every document."""
    dtype: str
    """As numpy writes it: ``<u2`` or ``<u4``."""
    n_tokens: int
    n_documents: int
    sha256: str
    """Of the ``.bin``."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A document as ids, not yet opened by a token."""

    id: str
    ids: Sequence[int] | UInt32[np.ndarray, " ids"]
    source: str
    bytes: int
    """Length of its text in UTF-8."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a split is written."""

    tokenizer: str
    """SHA-256 of its ``tokenizer.json``."""
    opening: int
    """The token before every document."""
    size: int
    """Pieces of the tokenizer."""
    shard_tokens: int
    """Tokens in a shard at most."""
    seed: int
    """Orders the documents."""

    @property
    def dtype(self) -> str:
        """The smallest width that holds every id, as numpy writes it."""
        return "<u2" if self.size <= 65_536 else "<u4"


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of tokens, memory-mapped, and where its documents start."""

    tokens: np.ndarray
    starts: Int[np.ndarray, " documents"]


@dataclass(frozen=True, slots=True)
class Shards:
    """A split: its shards one after another."""

    shards: tuple[Shard, ...]
    borders: Int[np.ndarray, " shards_and_one"]
    """First token of each shard, then the number of all tokens."""
    starts: Int[np.ndarray, " documents"]
    """First token of each document, counted through all shards."""
    sizes: Int[np.ndarray, " documents"]
    """Bytes of each document's text in UTF-8."""

    @property
    def tokens(self) -> int:
        return int(self.borders[-1])

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the text; separators count none."""
        return int(self.sizes.sum())

    @property
    def documents(self) -> int:
        return len(self.starts)

    def window(self, start: int, length: int) -> tuple[Int[np.ndarray, " T"], Int[np.ndarray, " T"]]:
        """The ids at ``start`` and after, and the ordinal of the document each belongs to; IndexError outside the split."""
        if start < 0 or length < 0 or start + length > self.tokens:
            raise IndexError(f"window {start}+{length} is not inside the {self.tokens} tokens of the split")
        ids = np.empty(length, np.int64)
        done = 0
        place = int(np.searchsorted(self.borders, start, side="right")) - 1
        while done < length:
            shard = self.shards[place].tokens
            offset = start + done - int(self.borders[place])
            part = shard[offset : offset + length - done]
            ids[done : done + len(part)] = part
            done += len(part)
            place += 1
        return ids, np.searchsorted(self.starts, np.arange(start, start + length), side="right") - 1


def write_split(path: Path, documents: Iterable[Encoded], layout: Layout) -> None:
    """Write ``documents``, whose ids are unique, as the shards of the split ``path``, ordered by their hashes.

    Tokens and what is known of each document wait in files, so a split may be larger than memory: some 30 bytes of it are used for each
    document, beside pages of those files, which the system takes back when it needs them. A document stays whole: one longer than a
    shard gets a shard of its own.
    """
    path.mkdir(parents=True, exist_ok=True)
    for left in path.iterdir():  # by a kill
        left.unlink()
    _spool(path, documents, layout)
    with pa.memory_map(str(path / SPOOLED_ROWS)) as file:
        index = pa.ipc.open_file(file)
        batches = [index.get_batch(number) for number in range(index.num_record_batches)]
        rows = pa.Table.from_batches(batches)
        order = waiting.ordered(rows, path.name)
        groups = list(_grouped(rows["length"].to_numpy()[order], layout.shard_tokens))
        spooled = _mapped(path / SPOOLED, layout.dtype)
        for shard, group in enumerate(groups):
            stem = path / name_of(shard)
            parts = np.split(order[group], range(waiting.AT_ONCE, group.stop - group.start, waiting.AT_ONCE))
            tokens = _write_shard(stem, (waiting.taken(batches, part) for part in parts), spooled, group.start)
            facts = ShardFacts(
                shard=shard,
                of=len(groups),
                tokenizer=layout.tokenizer,
                opening=layout.opening,
                dtype=layout.dtype,
                n_tokens=tokens,
                n_documents=group.stop - group.start,
                sha256=sha256_of(stem.with_suffix(".bin")),
            )
            write_atomically(stem.with_suffix(".json"), (facts.model_dump_json(indent=1) + "\n").encode())
        del spooled, rows, batches, index  # some systems keep a mapped file from being removed
    (path / SPOOLED).unlink()
    (path / SPOOLED_ROWS).unlink()


def open_split(path: Path, split: str, *, tokenizer: str | None = None) -> Shards:
    """The shards of ``split`` below ``path``; ArtifactError when one is missing, cut, or made for another tokenizer.

    ``tokenizer`` is the hash its facts give (None: any).
    """
    folder = path / split
    found = [_facts_at(file) for file in sorted(folder.glob("shard-*.json"))]
    if not found or [facts.shard for facts in found] != list(range(found[0].of)):
        raise ArtifactError(f"{folder}: {len(found)} of {found[0].of if found else 'its'} shards are here. {REMEDY}")
    for facts in found:
        if tokenizer is not None and facts.tokenizer != tokenizer:
            raise ArtifactError(f"{folder / name_of(facts.shard)}.bin: made for another tokenizer than the one in use. {REMEDY}")
    read = [_read_shard(folder / name_of(facts.shard), facts) for facts in found]
    borders = np.cumsum([0, *(facts.n_tokens for facts in found)], dtype=np.int64)
    starts = [shard.starts + border for (shard, _), border in zip(read, borders[:-1], strict=True)]
    return Shards(tuple(shard for shard, _ in read), borders, np.concatenate(starts), np.concatenate([sizes for _, sizes in read]))


def name_of(shard: int) -> str:
    return f"shard-{shard:05d}"


def _spool(path: Path, documents: Iterable[Encoded], layout: Layout) -> None:
    """Write the tokens of ``documents`` as they come, and beside them a row for each."""
    place = 0
    rows: list[tuple[int, str, int, int, str, int]] = []
    with (path / SPOOLED).open("wb") as file, pa.ipc.new_file(path / SPOOLED_ROWS, waiting.ROWS) as index:
        for document in documents:
            tokens = np.empty(1 + len(document.ids), layout.dtype)
            tokens[0], tokens[1:] = layout.opening, document.ids
            file.write(tokens.data)
            order = seeds.derive(layout.seed, "shards", document=document.id)
            rows.append((order, document.id, place, len(tokens), document.source, document.bytes))
            place += len(tokens)
            if len(rows) == waiting.AT_ONCE:
                index.write_batch(waiting.rows_of(rows))
                rows = []
        index.write_batch(waiting.rows_of(rows))


def _grouped(lengths: Int[np.ndarray, " documents"], shard_tokens: int) -> Iterator[slice]:
    """The documents of each shard; at least one shard, so that an empty split is told from a missing one."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(ends) or start == 0:
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + shard_tokens, side="right")))
        yield slice(start, min(end, len(ends)))
        start = end


def _write_shard(stem: Path, parts: Iterable[pa.Table], spooled: np.ndarray, ordinal: int) -> int:
    """Write the tokens of the rows in ``parts`` and their index, whose first row is the document ``ordinal``; how many tokens there are."""
    tokens = 0
    with stem.with_suffix(".bin").open("wb") as file, pq.ParquetWriter(f"{stem}.idx.parquet", INDEX, compression="zstd") as index:
        for rows in parts:
            lengths = rows["length"].to_numpy()
            for place, length in zip(rows["place"].to_numpy().tolist(), lengths.tolist(), strict=True):
                file.write(spooled[place : place + length].data)
            columns = {
                "doc_ordinal": np.arange(ordinal, ordinal + len(lengths)),
                "doc_id": rows["doc_id"],
                "start": tokens + np.cumsum(lengths) - lengths,
                "length": lengths,
                "source": rows["source"].cast(INDEX.field("source").type),
                "bytes": rows["bytes"],
            }
            index.write_table(pa.table(columns, INDEX))
            tokens += int(lengths.sum())
            ordinal += len(lengths)
    return tokens


def _facts_at(file: Path) -> ShardFacts:
    try:
        return ShardFacts.model_validate_json(file.read_bytes())
    except ValidationError:
        raise ArtifactError(f"{file}: not a shard's facts that this version understands. {REMEDY}") from None


def _read_shard(stem: Path, facts: ShardFacts) -> tuple[Shard, np.ndarray]:
    tokens_file, index_file = stem.with_suffix(".bin"), Path(f"{stem}.idx.parquet")
    for file in (tokens_file, index_file):
        if not file.is_file():
            raise ArtifactError(f"{file}: missing. {REMEDY}")
    wanted, found = facts.n_tokens * np.dtype(facts.dtype).itemsize, tokens_file.stat().st_size
    if wanted != found:
        raise ArtifactError(f"{tokens_file}: {found:,} bytes where {wanted:,} were written. {REMEDY}")
    try:
        index = pq.read_table(index_file, columns=["start", "length", "bytes"])
    except (pa.ArrowInvalid, OSError):
        raise ArtifactError(f"{index_file}: damaged. {REMEDY}") from None
    if index.num_rows != facts.n_documents or sum(index["length"].to_numpy()) != facts.n_tokens:
        raise ArtifactError(f"{index_file}: its documents are not those of the tokens beside it. {REMEDY}")
    return Shard(_mapped(tokens_file, facts.dtype), index["start"].to_numpy()), index["bytes"].to_numpy()


def _mapped(file: Path, dtype: str) -> np.ndarray:
    """A read-only memory map; an empty file, which cannot be mapped, as an empty array."""
    return np.memmap(file, dtype, mode="r") if file.stat().st_size else np.empty(0, dtype)
