"""The kinds of tokenizer, and how one is written to a directory and read back."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from scratchlm.core.artifact import sha256_of
from scratchlm.core.config import nearest
from scratchlm.core.errors import ArtifactError, UsageError
from scratchlm.tokenizer import bpe, byte, char
from scratchlm.tokenizer.interface import FACTS_FILE, FILE, Kind, Tokenizer, TokenizerFacts

TOKENIZERS: dict[str, Kind] = {
    "bpe": Kind(bpe.train, bpe.read, bpe.FEWEST),
    "char": Kind(char.train, char.read, char.FEWEST),
    "byte": Kind(byte.train, byte.read, byte.FEWEST),
}


def train(kind: str, texts: Iterable[str], *, size: int) -> Tokenizer:
    """A tokenizer of ``kind`` learned from ``texts``, of at most ``size`` rows: where the text gives fewer, it has fewer."""
    if kind not in TOKENIZERS:
        raise UsageError(f"vocab: no kind of tokenizer '{kind}'.{nearest(kind, TOKENIZERS)}")
    fewest = TOKENIZERS[kind].fewest
    if size < fewest:
        raise UsageError(
            f"vocab: size {size} is too small for '{kind}', which needs {fewest} rows before it learns any. Give at least that."
        )
    return TOKENIZERS[kind].train(texts, size)


def load(path: Path) -> Tokenizer:
    """The tokenizer in the directory ``path``; ArtifactError when a file is missing, damaged or of an unknown kind."""
    facts = facts_of(path)
    kind = TOKENIZERS.get(facts.kind)
    if kind is None:
        raise ArtifactError(f"{path / FACTS_FILE}: no kind of tokenizer '{facts.kind}'.{nearest(facts.kind, TOKENIZERS)}")
    if sha256_of(path / FILE) != facts.sha256:
        raise ArtifactError(f"{path / FILE}: its contents are not those {FACTS_FILE} names. Run `scratchlm vocab` with --again.")
    return kind.read((path / FILE).read_text(encoding="utf-8"))


def facts_of(path: Path) -> TokenizerFacts:
    """What the directory says of its tokenizer, without loading it."""
    for name in (FILE, FACTS_FILE):
        if not (path / name).is_file():
            raise ArtifactError(f"{path / name}: not there, so this is no tokenizer. Run `scratchlm vocab` first.")
    try:
        return TokenizerFacts.model_validate_json((path / FACTS_FILE).read_bytes())
    except ValidationError:
        raise ArtifactError(f"{path / FACTS_FILE}: not facts this version understands. Run `scratchlm vocab` with --again.") from None
