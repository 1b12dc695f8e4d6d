"""Byte-level byte-pair encoding: bytes, and the pairs of pieces that stand together most often, merged one after another.

Sennrich et al. 2016, arXiv:1508.07909; over bytes: Radford et al. 2019 (GPT-2). Trained and run by the `tokenizers` library.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from scratchlm.core.errors import ArtifactError
from scratchlm.tokenizer.interface import CONTROL, END_OF_TEXT, FILE, UNKNOWN, well_formed, write

# Exactly Qwen2's pattern: llama.cpp knows it by name, so exports need no new code there. One digit per piece helps arithmetic.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
FEWEST = 256 + len(CONTROL)
# A pair seen once says nothing about the language: merging it would only memorise a line of the training text.
FEWEST_SIGHTINGS = 2


class BytePairs:
    """Pieces of one or more bytes."""

    kind = "bpe"
    unknown: int | None = None

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        inner.encode_special_tokens = True  # text that spells a control token stays text
        self._inner = inner
        id_of = inner.get_vocab(with_added_tokens=True)
        if not set(CONTROL) <= set(id_of):
            raise ArtifactError(
                f"{FILE}: it has no token {', '.join(sorted(set(CONTROL) - set(id_of)))}. Train one with `scratchlm vocab`."
            )
        self.size = max(id_of.values()) + 1
        self.control: Mapping[str, int] = {name: id_of[name] for name in CONTROL}
        self.end_of_text = self.control[END_OF_TEXT]
        self._controls = frozenset(self.control.values())
        name_of = {id: name for name, id in id_of.items()}
        self._pieces = [piece_bytes(name_of.get(id), id in self._controls) for id in range(self.size)]

    def encode(self, text: str) -> list[int]:
        return self._inner.encode(well_formed(text)).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoded.ids for encoded in self._inner.encode_batch_fast([well_formed(text) for text in texts])]

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self._pieces[id] for id in ids if id not in self._controls).decode("utf-8", "replace")

    def piece(self, id: int) -> bytes:
        return self._pieces[id]

    def save(self, path: Path) -> None:
        write(self, self._inner.to_str(pretty=True), path)


def train(texts: Iterable[str], size: int) -> BytePairs:
    """At most ``size`` rows: 256 bytes, merges, control tokens. The same texts in the same order give the same file."""
    inner = byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(CONTROL),
        min_frequency=FEWEST_SIGHTINGS,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    inner.train_from_iterator(map(well_formed, texts), trainer)
    return BytePairs(with_control(inner))


def read(text: str) -> BytePairs:
    """The tokenizer a ``tokenizer.json`` describes."""
    return BytePairs(tokenizers.Tokenizer.from_str(text))


def byte_level(model: models.Model) -> tokenizers.Tokenizer:
    """Text cut by ``SPLIT`` into bytes, no normaliser: what goes in comes out."""
    inner = tokenizers.Tokenizer(model)
    cut = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    inner.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])  # pyright: ignore[reportAttributeAccessIssue]
    inner.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return inner


def with_control(inner: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """``inner`` with the control tokens behind all others, marked special for every other runtime."""
    inner.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in CONTROL])
    return inner


def byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in ``tokenizer.json``: printable ones for themselves, others from U+0100 on (GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTE_OF = byte_letters()


def piece_bytes(name: str | None, control: bool) -> bytes:
    """The bytes a piece's name in ``tokenizer.json`` stands for; a control token is its own name."""
    if name is None:  # a hole in the ids of a foreign vocabulary
        return UNKNOWN.encode()
    return name.encode() if control else bytes(_BYTE_OF[letter] for letter in name)
