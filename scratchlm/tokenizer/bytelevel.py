"""Pieces made of bytes: what byte pairs, word pieces and the unigram model share, so that no text is beyond them and every text comes back.

Text is cut into words, each byte is written as a letter (GPT-2's trick: files of vocabularies then hold printable text), and a model of
the `tokenizers` library spells the word with its pieces. There is no normaliser: accents, capitals and blanks stay as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from scratchlm.core.errors import ArtifactError
from scratchlm.tokenizer import splits
from scratchlm.tokenizer.interface import CONTROL, END_OF_TEXT, FILE, UNKNOWN, Ragged, check_ids, well_formed, write

Batch = Callable[[list[str]], Ragged | None]
"""Encodes well-formed texts, each as the tokenizer itself would; None where it might not."""


class ByteLevel:
    """A tokenizer of pieces of one or more bytes, run by `tokenizers`."""

    unknown: int | None = None
    left = 0
    """Texts that the faster engine has left to `tokenizers`."""

    def __init__(
        self, inner: tokenizers.Tokenizer, kind: str, *, prefix: str = "", batch: Batch | None = None, learned_share: float = 1.0
    ) -> None:
        """``prefix`` marks the names of pieces that stand inside a word; ``batch`` is a faster engine with the same ids, asked first.

        ``learned_share``: the part of the text that its training could look at.
        """
        inner.encode_special_tokens = True  # text that spells a control token stays text
        self.kind = kind
        self.learned_share = learned_share
        self._inner = inner
        self._batch = batch
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
        self._pieces = [piece_bytes(name_of.get(id), id in self._controls, prefix) for id in range(self.size)]

    def encode(self, text: str) -> list[int]:
        return self._inner.encode(well_formed(text)).ids

    def encode_batch(self, texts: Sequence[str]) -> Ragged:
        formed = [well_formed(text) for text in texts]
        if self._batch:
            if (found := self._batch(formed)) is not None:
                return found
            self.left += len(formed)
        return Ragged.of(encoded.ids for encoded in self._inner.encode_batch_fast(formed))

    def decode(self, ids: Sequence[int]) -> str:
        check_ids(ids, self.size)
        return b"".join(self._pieces[id] for id in ids if id not in self._controls).decode("utf-8", "replace")

    def piece(self, id: int) -> bytes:
        return self._pieces[id]

    def save(self, path: Path) -> None:
        write(self, self.spec(), path)

    def spec(self) -> str:
        """The text of its ``tokenizer.json``."""
        return self._inner.to_str(pretty=True)


def byte_level(model: models.Model, split: str = splits.DEFAULT, *more: pre_tokenizers.PreTokenizer) -> tokenizers.Tokenizer:
    """``model`` over text cut by ``split`` into bytes; ``more`` cuts the letters that stand for them further."""
    inner = tokenizers.Tokenizer(model)
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.pre_tokenizer = pre_tokenizers.Sequence([splits.cutter(split), letters, *more])  # pyright: ignore[reportAttributeAccessIssue]
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
_LETTER_OF = {byte: letter for letter, byte in _BYTE_OF.items()}
ALPHABET = sorted(_BYTE_OF)
"""The 256 letters in the order of their code points, in which every vocabulary of ours begins."""


def spelled(piece: bytes) -> str:
    """``piece`` in letters."""
    return "".join(_LETTER_OF[byte] for byte in piece)


def read_back(letters: str) -> bytes:
    """The bytes that ``letters`` stand for."""
    return bytes(_BYTE_OF[letter] for letter in letters)


def piece_bytes(name: str | None, control: bool, prefix: str = "") -> bytes:
    """The bytes a piece's name in ``tokenizer.json`` stands for; a control token is its own name."""
    if name is None:  # a hole in the ids of a foreign vocabulary
        return UNKNOWN.encode()
    return name.encode() if control else read_back(name.removeprefix(prefix))
