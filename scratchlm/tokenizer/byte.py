"""Bytes as they are: 256 ids and the control tokens. Nothing to learn, any text fits."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tokenizers import models

from scratchlm.tokenizer import splits
from scratchlm.tokenizer.bytelevel import byte_letters, byte_level, with_control
from scratchlm.tokenizer.interface import CONTROL, END_OF_TEXT, Ragged, check_ids, control_after, well_formed, write

FEWEST = 256 + len(CONTROL)


class Bytes:
    """Each id below 256 is that byte."""

    kind = "byte"
    size = FEWEST
    unknown: int | None = None

    def __init__(self) -> None:
        self.control: Mapping[str, int] = control_after(256)
        self.end_of_text = self.control[END_OF_TEXT]
        self._names = {id: name.encode() for name, id in self.control.items()}

    def encode(self, text: str) -> list[int]:
        return list(well_formed(text).encode("utf-8"))

    def encode_batch(self, texts: Sequence[str]) -> Ragged:
        return Ragged.of(self.encode(text) for text in texts)

    def decode(self, ids: Sequence[int]) -> str:
        check_ids(ids, self.size)
        return bytes(id for id in ids if id not in self._names).decode("utf-8", "replace")

    def piece(self, id: int) -> bytes:
        return self._names[id] if id in self._names else bytes([id])

    def save(self, path: Path) -> None:
        """For other runtimes: byte pairs without a single merge."""
        inner = with_control(byte_level(models.BPE(vocab=byte_letters(), merges=[])))
        write(self, inner.to_str(pretty=True), path)


def train(texts: Iterable[str], size: int, split: str = splits.DEFAULT) -> Bytes:
    """Reads nothing, since bytes need no training."""
    return Bytes()


def read(text: str) -> Bytes:
    """All of them are equal, so the file is only for others."""
    return Bytes()
