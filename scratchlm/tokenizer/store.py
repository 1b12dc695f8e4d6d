"""The kinds of tokenizer, and how one is written to a directory and read back."""

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from scratchlm.core.artifact import sha256_of
from scratchlm.core.config import nearest
from scratchlm.core.errors import ArtifactError, ScratchError, UsageError
from scratchlm.tokenizer import bpe, byte, char, fast, foreign, splits, unigram, wordpiece
from scratchlm.tokenizer.interface import FACTS_FILE, FILE, Kind, Tokenizer, TokenizerFacts

TOKENIZERS: dict[str, Kind] = {
    "bpe": Kind(bpe.train, bpe.read, bpe.FEWEST, bpe.read_fast),
    "wordpiece": Kind(wordpiece.train, wordpiece.read, wordpiece.FEWEST),
    "unigram": Kind(unigram.train, unigram.read, unigram.FEWEST),
    "char": Kind(char.train, char.read, char.FEWEST),
    "byte": Kind(byte.train, byte.read, byte.FEWEST),
}
MOST = 2**20
"""Rows at most, several times the largest vocabulary in use: an engine sets memory aside for as many as it is asked for."""
DECISIONS = "decisions.json"
"""Beside a tokenizer, no part of what it is: which engine encodes."""


def train(kind: str, texts: Iterable[str], *, size: int, split: str = splits.DEFAULT) -> Tokenizer:
    """A tokenizer of ``kind`` learned from ``texts``, of at most ``size`` rows: where the text gives fewer, it has fewer."""
    check(kind, size=size, split=split)
    return TOKENIZERS[kind].train(texts, size, split)


def check(kind: str, *, size: int, split: str) -> None:
    """UsageError for what no text could give."""
    if kind not in TOKENIZERS:
        raise UsageError(f"vocab: no kind of tokenizer '{kind}'.{nearest(kind, TOKENIZERS)}")
    fewest = TOKENIZERS[kind].fewest
    if size < fewest:
        raise UsageError(
            f"vocab: size {size} is too small for '{kind}', which needs {fewest} rows before it learns any. Give at least that."
        )
    if size > MOST:
        raise UsageError(f"vocab: size {size} is more than {MOST}, the most rows a vocabulary may have. Give fewer.")
    splits.named(split)


def load(path: Path) -> Tokenizer:
    """The tokenizer in the directory ``path``; ArtifactError when a file is missing, damaged or of an unknown kind.

    It encodes with the engine that was chosen when it was made, or with `tokenizers` where that one is not installed; the ids are the same.
    """
    facts = facts_of(path)
    remedy = "Adopt the model again with --again." if facts.kind == foreign.Foreign.kind else "Run `scratchlm vocab` with --again."
    if facts.kind not in (*TOKENIZERS, foreign.Foreign.kind):
        raise ArtifactError(f"{path / FACTS_FILE}: no kind of tokenizer '{facts.kind}'.{nearest(facts.kind, TOKENIZERS)}")
    if sha256_of(path / FILE) != facts.sha256:
        raise ArtifactError(f"{path / FILE}: its contents are not those {FACTS_FILE} names. {remedy}")
    try:
        return _read((path / FILE).read_text(encoding="utf-8"), facts, engine_of(path))
    except ScratchError:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises no other
        said = " ".join(str(error).split())[:120]
        raise ArtifactError(f"{path / FILE}: not a tokenizer of kind '{facts.kind}' ({said}). {remedy}") from None


def _read(text: str, facts: TokenizerFacts, engine: str) -> Tokenizer:
    if facts.kind == foreign.Foreign.kind:
        return foreign.read(text, facts)
    kind = TOKENIZERS[facts.kind]
    quick = kind.read_fast(text) if kind.read_fast and engine == fast.NAME else None
    return quick or kind.read(text)


def engine_of(path: Path) -> str:
    """The engine that was chosen to encode with the tokenizer at ``path``."""
    try:
        return json.loads((path / DECISIONS).read_text(encoding="utf-8"))["encoding"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return fast.PLAIN


def facts_of(path: Path) -> TokenizerFacts:
    """What the directory says of its tokenizer, without loading it."""
    for name in (FILE, FACTS_FILE):
        if not (path / name).is_file():
            raise ArtifactError(f"{path / name}: not there, so this is no tokenizer. Run `scratchlm vocab` first.")
    try:
        return TokenizerFacts.model_validate_json((path / FACTS_FILE).read_bytes())
    except ValidationError:
        raise ArtifactError(f"{path / FACTS_FILE}: not facts this version understands. Run `scratchlm vocab` with --again.") from None
