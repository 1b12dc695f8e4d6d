"""vocab: which pieces is text made of? Trains a tokenizer on the training split."""

import heapq
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from scratchlm.core import seeds
from scratchlm.core.artifact import Artifact, Draft, Home
from scratchlm.core.config import FREE, Settings
from scratchlm.core.errors import CheckFailed, DataError, UsageError
from scratchlm.core.journal import Journal
from scratchlm.evals.vocabulary import beside, measured, own
from scratchlm.sources import record
from scratchlm.tokenizer import fast, foreign_files, foreign_patterns, splits, store
from scratchlm.tokenizer.bytelevel import ByteLevel
from scratchlm.tokenizer.interface import Tokenizer

CHECKED = 64
"""Held-out documents whose ids are compared between two engines in every run."""
LOSSY = 0.01
"""A larger share of held-out characters that are unknown is told."""


class Config(Settings):
    kind: str = "bpe"
    """A row of TOKENIZERS: bpe, wordpiece, unigram, char or byte."""
    size: int = 4096
    """Rows of the embedding at most, control tokens included; a text that gives fewer gives fewer."""
    split: str = splits.DEFAULT
    """A row of SPLITS, which says where a word ends: gpt2, gpt4, qwen2 or llama3. Characters and bytes have no words."""
    max_bytes: int | None = Field(default=1_000_000_000, gt=0)
    """Train on about this many UTF-8 bytes, documents drawn by a hash of seed and id, which bounds memory; None: on all."""
    compare: Path | None = Field(default=None, json_schema_extra=FREE)
    """A folder with another tokenizer, such as GPT-2's `encoder.json` and `vocab.bpe`: it is measured on the same text, for the report."""
    compare_split: str | None = Field(default=None, json_schema_extra=FREE)
    """Where that one cuts text, if its files do not say: a name that adopting takes as a split, such as gpt-2."""
    engine: Literal["fastest", "gigatoken", "tokenizers"] = Field(default="fastest", json_schema_extra=FREE)
    """Encodes; both give the same ids. fastest: gigatoken where it is installed and shown to be equal, otherwise tokenizers."""
    seed: int = 0
    """Draws the sample."""

    @model_validator(mode="after")
    def _can_be_trained(self) -> "Config":
        store.check(self.kind, size=self.size, split=self.split)
        return self

    @field_validator("compare")
    @classmethod
    def _from_here(cls, compare: Path | None) -> Path | None:
        """A later command may be given elsewhere."""
        return None if compare is None else compare.resolve()

    @field_validator("compare_split")
    @classmethod
    def _is_known(cls, split: str | None) -> str | None:
        """Also where nothing is compared yet: it stays in the home."""
        known = sorted([*foreign_patterns.PATTERNS, *foreign_patterns.ALIASES])
        if split is not None and split not in known:
            raise ValueError(f"give one of {', '.join(known)}")
        return split


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Train a tokenizer on the cleaned corpus and measure it on held-out text."""
    corpus = home.open("corpus")
    other = cache(lambda: _other(config))
    if _compared_with(home.path / "tokenizer") != str(config.compare):
        other()  # refused at once, also where a finished tokenizer is not compared any more

    def make(draft: Draft) -> None:
        other()
        sample = sampled(corpus.path / "train.parquet", config)
        if not sample.bytes:
            raise DataError(f"{corpus.path / 'train.parquet'}: no text to train a tokenizer on. Give more with --data.")
        texts = _texts(corpus.path / "train.parquet", sample, journal)
        trained = store.train(config.kind, texts, size=config.size, split=config.split)
        text = {"text_documents": len(sample.ids), "text_bytes": sample.bytes, "text_bytes_of": sample.of}
        journal.event("vocabulary_text", **text)
        if trained.size < config.size:
            journal.event("fewer_pieces", asked=config.size, size=trained.size, reason=fewer(config.kind))
        trained.save(draft.path)
        engine = decided(config, draft.path)
        draft.write_json(store.DECISIONS, {"encoding": engine})
        tokenizer = store.load(draft.path)
        held_out = corpus.path / "validation.parquet"
        check_engines(trained, tokenizer, held_out)
        report = measured(tokenizer, record.read(held_out, facts=("lang",)), other())
        check_round_trip(tokenizer, report["round_trip"]["documents_lost"])
        draft.write_json("pieces.json", own(report))
        if config.compare is not None:
            told = {"other": config.compare.name, "folder": str(config.compare)} | beside(report)
            draft.write_json(store.DECISIONS, {"encoding": engine, "compared": told})
        share = round(trained.learned_share, 4) if isinstance(trained, ByteLevel) else 1.0
        facts = {"kind": tokenizer.kind, "size": tokenizer.size, "bytes_per_token": report["bytes_per_token"], "engine": engine}
        draft.count(**facts, **text, learned_share=share)
        journal.event("vocabulary", **facts)
        if note := lossy(report["coverage"], full=trained.size >= config.size):
            journal.event("unknown_characters", note=note)

    made = home.build("tokenizer", config, [corpus], make)
    for event, note in _too_late(config, made.path):
        journal.event(event, note=note)
    return made


def _too_late(config: Config, path: Path) -> Iterator[tuple[str, str]]:
    """What was asked of a tokenizer that was finished before: an event and a note each."""
    if config.compare is not None and _compared_with(path) != str(config.compare):
        yield "not_compared", f"{path} was finished before: --again makes the same once more and compares it"
    used = store.engine_of(path)
    # On a machine that lacks the engine that was chosen another one encodes: nothing to make again.
    asked = decided(config, path) if config.engine == "fastest" and used == fast.PLAIN else config.engine
    if asked not in ("fastest", used):
        yield "engine", f"{path} was finished before and encodes with {used}: --again makes the same once more, for {asked}"


def _other(config: Config) -> Tokenizer | None:
    """The tokenizer to compare with; UsageError when there is none in its folder."""
    try:
        return None if config.compare is None else foreign_files.adopt(config.compare, split=config.compare_split).tokenizer
    except UsageError as error:
        raise UsageError(f"vocab.compare: {error}") from None


def _compared_with(path: Path) -> str | None:
    """The folder of the other tokenizer in the report of the one at ``path``, if there are both."""
    file = path / store.DECISIONS
    return json.loads(file.read_text(encoding="utf-8")).get("compared", {}).get("folder") if file.exists() else None


def lossy(coverage: Mapping[str, Any], *, full: bool) -> str | None:
    """What to say of a tokenizer that does not know many characters; ``full``: it has all rows that it was allowed."""
    characters, unknown = coverage["characters"], coverage["unknown"]
    if unknown <= LOSSY * characters:
        return None
    more = "a larger --set vocab.size=N" if full else "a text to learn from that has them"
    way_out = f"Give {more}, or a kind that knows every byte, such as --set vocab.kind=bpe"
    return f"{100 * unknown / characters:.1f} % of the held-out characters are unknown to it and do not come back. {way_out}"


def fewer(kind: str) -> str:
    """Why there are fewer rows than were asked for."""
    return "each byte has its row already" if kind == "byte" else f"the text gives '{kind}' no more"


def decided(config: Config, path: Path) -> str:
    """The engine that is to encode with the tokenizer at ``path``; UsageError when the one asked for cannot."""
    kind = store.TOKENIZERS[config.kind]
    can = kind.read_fast is not None and kind.read_fast((path / store.FILE).read_text(encoding="utf-8")) is not None
    if config.engine == fast.NAME and not can:
        why = (
            f"it is shown to be equal for byte pairs only, not for '{config.kind}'"
            if fast.installed()
            else f"it is {fast.trouble() or fast.ABSENT}"
        )
        raise UsageError(f"vocab: engine {fast.NAME} cannot be used: {why}. Give `--set vocab.engine={fast.PLAIN}`.")
    return fast.NAME if can and config.engine != fast.PLAIN else fast.PLAIN


def check_engines(plain: Tokenizer, quick: Tokenizer, path: Path) -> None:
    """CheckFailed when the engine that was chosen gives other ids than the plain one, one text at a time, on documents at ``path``."""
    documents = list(islice(record.read(path, facts=()), CHECKED))
    for document, ids in zip(documents, quick.encode_batch([document.text for document in documents]), strict=True):
        if plain.encode(document.text) != ids.tolist():
            raise CheckFailed(f"{path}: two engines give document {document.id} other ids. Give `--set vocab.engine={fast.PLAIN}`.")


def check_round_trip(tokenizer: Tokenizer, lost: list[str]) -> None:
    """CheckFailed when a document does not come back from its ids, unless the kind has characters that it does not know."""
    if lost and tokenizer.unknown is None:
        raise CheckFailed(f"vocab: {len(lost)} held-out documents do not come back from their ids, {lost[0]} first. Give another kind.")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a tokenizer is trained on."""

    ids: frozenset[str]
    bytes: int
    """Of their texts."""
    of: int
    """Bytes of all texts there are."""


def sampled(path: Path, config: Config) -> Sample:
    """The documents to train on, the same ones in whatever order they stand: those of the lowest hashes, until they are enough.

    Memory is needed for the ids that are chosen, however many there are.
    """
    chosen: list[tuple[int, str, int]] = []
    total = whole = 0
    for document in record.read(path, facts=()):
        size = len(document.text.encode())
        heapq.heappush(chosen, (-seeds.derive(config.seed, "vocab", document=document.id), document.id, size))
        total += size
        whole += size
        while config.max_bytes and total - chosen[0][2] >= config.max_bytes:
            total -= heapq.heappop(chosen)[2]
    return Sample(frozenset(id for _, id, _ in chosen), total, whole)


def _texts(path: Path, sample: Sample, journal: Journal) -> Iterator[str]:
    done = 0
    for number, document in enumerate(record.read(path, facts=())):
        if document.id in sample.ids:
            done += len(document.text.encode())
            yield document.text
        if number % 256 == 0:
            journal.progress("reading for the vocabulary", float(done), float(sample.bytes), "B")
