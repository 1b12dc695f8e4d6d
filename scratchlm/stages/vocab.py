"""vocab: which pieces is text made of? Trains a tokenizer on the training split."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from scratchlm.core import seeds
from scratchlm.core.artifact import Artifact, Draft, Home
from scratchlm.core.config import Settings
from scratchlm.core.errors import DataError
from scratchlm.core.journal import Journal
from scratchlm.sources import record
from scratchlm.tokenizer import store
from scratchlm.tokenizer.interface import Tokenizer

SHOWN = 40
"""Pieces in each list of the report."""


class Config(Settings):
    kind: str = "bpe"
    """A row of TOKENIZERS: bpe, char or byte."""
    size: int = 4096
    """Rows of the embedding at most, control tokens included; a text that gives fewer gives fewer."""
    max_bytes: int | None = Field(default=None, gt=0)
    """Train on about this many UTF-8 bytes, documents drawn by a hash of seed and id; None: on all."""
    seed: int = 0
    """Draws the sample."""


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Train a tokenizer on the cleaned corpus and measure it on held-out text."""
    corpus = home.open("corpus")

    def make(draft: Draft) -> None:
        chosen, total = sampled(corpus.path / "train.parquet", config)
        if not total:
            raise DataError(f"{corpus.path / 'train.parquet'}: no text to train a tokenizer on. Give more with --data.")
        texts = _texts(corpus.path / "train.parquet", chosen, total, journal)
        tokenizer = store.train(config.kind, texts, size=config.size)
        journal.event("vocabulary_text", documents=len(chosen), bytes=total)
        if tokenizer.size < config.size:
            journal.event("fewer_pieces", asked=config.size, size=tokenizer.size, reason=f"the text gives '{config.kind}' no more")
        tokenizer.save(draft.path)
        report = measured(tokenizer, corpus.path / "validation.parquet")
        draft.write_json("pieces.json", report)
        draft.count(kind=tokenizer.kind, size=tokenizer.size, bytes_per_token=report["bytes_per_token"])
        journal.event("vocabulary", kind=tokenizer.kind, size=tokenizer.size, bytes_per_token=report["bytes_per_token"])

    return home.build("tokenizer", config, [corpus], make)


def measured(tokenizer: Tokenizer, path: Path) -> dict[str, Any]:
    """How well ``tokenizer`` shortens the documents at ``path``, and its longest and most frequent pieces there."""
    used: Counter[int] = Counter()
    size = 0
    for document in record.read(path):
        used.update(tokenizer.encode(document.text))
        size += len(document.text.encode())
    ordinary = [id for id in range(tokenizer.size) if id not in tokenizer.control.values()]
    longest = sorted(ordinary, key=lambda id: (-len(tokenizer.piece(id)), id))[:SHOWN]
    return {
        "bytes": size,
        "tokens": used.total(),
        "bytes_per_token": round(size / used.total(), 4) if used else 0.0,
        "pieces_used": len(used),
        "longest": [_row(tokenizer, id, used) for id in longest],
        "most_frequent": [_row(tokenizer, id, used) for id, _ in sorted(used.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]],
    }


def _row(tokenizer: Tokenizer, id: int, used: Counter[int]) -> dict[str, Any]:
    return {"id": id, "piece": tokenizer.piece(id).decode("utf-8", "replace"), "times": used[id]}


def sampled(path: Path, config: Config) -> tuple[frozenset[str], int]:
    """Ids of the documents to train on, and the bytes of their texts; the same ones in whatever order they stand."""
    sizes = {document.id: len(document.text.encode()) for document in record.read(path)}
    order = sorted(sizes, key=lambda id: (seeds.derive(config.seed, "vocab", document=id), id)) if config.max_bytes else list(sizes)
    chosen: set[str] = set()
    total = 0
    for id in order:
        if config.max_bytes and total >= config.max_bytes:
            break
        chosen.add(id)
        total += sizes[id]
    return frozenset(chosen), total


def _texts(path: Path, chosen: frozenset[str], total: int, journal: Journal) -> Iterator[str]:
    done = 0
    for number, document in enumerate(record.read(path)):
        if document.id in chosen:
            done += len(document.text.encode())
            yield document.text
        if number % 256 == 0:
            journal.progress("reading for the vocabulary", float(done), float(total), "B")
