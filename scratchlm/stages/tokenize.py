"""tokenize: the corpus as ids. Encodes all three splits into shards that training maps into memory."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import Field

from scratchlm.batches.shards import Encoded, Layout, write_split
from scratchlm.core.artifact import Artifact, Draft, Home
from scratchlm.core.config import Settings
from scratchlm.core.errors import DataError
from scratchlm.core.journal import Journal
from scratchlm.evals.vocabulary import chunks
from scratchlm.sources import record
from scratchlm.tokenizer import fast, store
from scratchlm.tokenizer.bytelevel import ByteLevel
from scratchlm.tokenizer.interface import Tokenizer, begin_of_text

SPLITS = ("train", "validation", "test")
CHUNK_CHARACTERS = 2_000_000
"""Encoded at once: enough for an engine that uses every core, and little memory."""


class Config(Settings):
    shard_tokens: int = Field(default=2**26, gt=0)
    """Tokens in a shard at most (128 MiB at 16 bits); only a single longer document exceeds it."""
    seed: int = 0
    """Orders the documents."""


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Encode every split of the corpus with the tokenizer trained on it."""
    corpus, vocabulary = home.open("corpus"), home.open("tokenizer")

    def make(draft: Draft) -> None:
        tokenizer, facts = store.load(vocabulary.path), store.facts_of(vocabulary.path)
        engine = engine_of(vocabulary.path, journal)
        layout = Layout(facts.sha256, begin_of_text(tokenizer), tokenizer.size, config.shard_tokens, config.seed)
        for split in SPLITS:
            counts = Counter(documents=0, tokens=0, bytes=0, unknown=0)
            write_split(draft.path / split, encoded(tokenizer, corpus.path / f"{split}.parquet", counts, journal), layout)
            if split == "train" and not counts["bytes"]:
                raise DataError(f"{corpus.path / 'train.parquet'}: no text to learn from. Give more with --data.")
            draft.count(**{f"{split}_{name}": count for name, count in counts.items()})
            journal.event("split", split=split, **counts)
        draft.count(engine=engine)
        if isinstance(tokenizer, ByteLevel) and tokenizer.left:
            draft.count(left_by_engine=tokenizer.left)
            note = f"{tokenizer.left:,} documents, encoded together with a character that it may cut otherwise, were left to {fast.PLAIN}"
            journal.event("engine", note=f"{engine}: {note}, which gives the same ids but more slowly")

    return home.build("shards", config, [corpus, vocabulary], make)


def engine_of(path: Path, journal: Journal) -> str:
    """Who encodes, and a word where it is not the one that was chosen."""
    chosen = store.engine_of(path)
    if chosen not in fast.ENGINES:
        journal.event("engine", note=f"{path / store.DECISIONS} names an engine '{chosen}', which is none: {fast.PLAIN} encodes")
        return fast.PLAIN
    if chosen == fast.NAME and not fast.installed():
        trouble = fast.trouble() or fast.ABSENT
        journal.event("engine", note=f"{chosen} is {trouble} here: {fast.PLAIN} encodes, to the same ids but more slowly")
        return fast.PLAIN
    return chosen


def encoded(tokenizer: Tokenizer, path: Path, counts: Counter[str], journal: Journal) -> Iterator[Encoded]:
    """The documents at ``path`` as ids, added up in ``counts``: tokens with a separator each, bytes without.

    ``unknown`` counts characters that the vocabulary cannot hold; they are shown as U+FFFD ever after.
    """
    total = float(pq.read_metadata(path).num_rows)
    for chunk in chunks(record.read(path, facts=()), CHUNK_CHARACTERS):
        for document, ids in zip(chunk, tokenizer.encode_batch([document.text for document in chunk]), strict=True):
            size = len(document.text.encode())
            unknown = 0 if tokenizer.unknown is None else int((ids == tokenizer.unknown).sum())
            counts.update(documents=1, tokens=len(ids) + 1, bytes=size, unknown=unknown)
            yield Encoded(document.id, ids, document.source, size)
        journal.progress(f"encoding {path.stem}", float(counts["documents"]), total, "documents", tokens=counts["tokens"])
