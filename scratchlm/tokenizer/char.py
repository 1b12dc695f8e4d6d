"""One id per character seen in training; all others share one id, shown as U+FFFD."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers

from scratchlm.core.errors import ArtifactError
from scratchlm.tokenizer import splits
from scratchlm.tokenizer.bytelevel import with_control
from scratchlm.tokenizer.interface import CONTROL, END_OF_TEXT, UNKNOWN, Ragged, check_ids, control_after, well_formed, write

FEWEST = 1 + len(CONTROL)


class Characters:
    """Ids in the order of ``characters``, then the unknown one, then control tokens."""

    kind = "char"

    def __init__(self, characters: str) -> None:
        self._characters = characters
        self._ids = {character: id for id, character in enumerate(characters)}
        self._beyond = len(characters)
        self.unknown: int | None = self._beyond
        self.control: Mapping[str, int] = control_after(len(characters) + 1)
        self.size = len(characters) + FEWEST
        self.end_of_text = self.control[END_OF_TEXT]
        self._shown = [*characters, UNKNOWN] + [""] * len(CONTROL)

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(character, self._beyond) for character in well_formed(text)]

    def encode_batch(self, texts: Sequence[str]) -> Ragged:
        return Ragged.of(self.encode(text) for text in texts)

    def decode(self, ids: Sequence[int]) -> str:
        check_ids(ids, self.size)
        return "".join(self._shown[id] for id in ids)

    def piece(self, id: int) -> bytes:
        return [*self._shown[: self._beyond + 1], *CONTROL][id].encode()

    def save(self, path: Path) -> None:
        """For other runtimes: words of one character."""
        inner = tokenizers.Tokenizer(models.WordLevel(vocab=self._ids | {UNKNOWN: self._beyond}, unk_token=UNKNOWN))
        inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")  # pyright: ignore[reportAttributeAccessIssue]
        inner.decoder = decoders.Fuse()  # pyright: ignore[reportAttributeAccessIssue]
        write(self, with_control(inner).to_str(pretty=True), path)


def train(texts: Iterable[str], size: int, split: str = splits.DEFAULT) -> Characters:
    """The most frequent characters of ``texts`` in code point order; where ``size`` is too small the rarest become unknown."""
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update(well_formed(text))
    del seen[UNKNOWN]
    frequent = sorted(seen, key=lambda character: (-seen[character], character))[: size - FEWEST]
    return Characters("".join(sorted(frequent)))


def read(text: str) -> Characters:
    """The tokenizer a ``tokenizer.json`` of this kind describes."""
    vocab = json.loads(text)["model"]["vocab"]
    characters = sorted((character for character in vocab if character != UNKNOWN), key=vocab.__getitem__)
    if [vocab[character] for character in characters] != list(range(len(characters))):
        raise ArtifactError("tokenizer.json: its ids are not those of a character tokenizer. Run `scratchlm vocab` with --again.")
    return Characters("".join(characters))
